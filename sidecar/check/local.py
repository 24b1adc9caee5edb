"""What can be checked without any network: configuration, secret files, client certificate."""

from __future__ import annotations

import re
import stat
from random import getrandbits
from typing import TYPE_CHECKING, Any, Final

from sidecar.advice.classify import certificate_fits
from sidecar.check.report import Report, StepName
from sidecar.config import ConfigError, MangopayEnvironment, load
from sidecar.config.secret_file import world_readable_warning
from sidecar.core.causes import OF_DEFECT, Cause, StepFinding
from sidecar.core.text import printable_name
from sidecar.network.trust import TlsFileError
from sidecar.tracing.opening import exposed_headers, make_traces
from sidecar.upstream.trust import load_trust

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping
    from pathlib import Path

    from sidecar.config import Config
    from sidecar.core.clock import Clock
    from sidecar.core.endpoint import Endpoint
    from sidecar.upstream.trust import Trust

#: How loading says that the file of a secret cannot be had.
_OF_SECRET_FILE: Final = re.compile(r"SIDECAR_\w+_FILE |[a-z]+\.[a-z_]+_file ")
_UNREADABLE: Final = ("names no file that is there", "cannot be read")


def _is_unreadable_secret(line: str) -> bool:
    return _OF_SECRET_FILE.match(line) is not None and any(words in line for words in _UNREADABLE)


class LocalSteps:
    """Takes the steps; what they found to be good is left here for those that follow."""

    def __init__(
        self,
        path: Path | None,
        environ: Mapping[str, str],
        clock: Clock,
        report: Report,
        *,
        unread: str | None,
        run: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        """``unread``: a sentence about a configuration that is not read, if there is one; ``run`` as of examine()."""
        self._path: Final = path
        self._environ: Final = environ
        self._unread: Final = () if unread is None else (unread,)
        self._run: Final = run
        self._clock: Final = clock
        self._report: Final = report
        self.config: Config | None = None
        #: None for plain ``http://``.
        self.trust: Trust | None = None

    def take(self) -> bool:
        """Take the steps; return whether a sidecar could start with this configuration."""
        report = self._report
        report.take(StepName.CONFIG, self._read)
        config = self.config
        if config is None:
            report.skip("there is no configuration", StepName.FILES, StepName.CERTIFICATE)
            return False
        report.take(StepName.FILES, lambda: _files(config))
        report.take(StepName.CERTIFICATE, lambda: self._certificate(config))
        return report.bad_config is None

    def _read(self) -> StepFinding:
        try:
            config = self.config = load(self._path, self._environ)
        except ConfigError as error:
            self._report.bad_config = message = "\n".join((*error.lines, *self._unread))
            # A line begins with the variable or key that it is about, or with the path of the configuration file.
            unreadable = any(map(_is_unreadable_secret, error.lines))
            return StepFinding.failed(Cause.SECRET_FILE_UNREADABLE if unreadable else Cause.CONFIG_UNUSABLE, message)
        endpoint = config.mangopay.endpoint
        detail = f"{config.mangopay.client_id} in {config.mangopay.environment}, at {endpoint.origin}{endpoint.prefix}"
        if config.mangopay.environment is MangopayEnvironment.EMULATOR:
            detail += " (an emulator: never for money)"
        warnings = [*_warnings(config), *self._unread]
        if (collector := config.tracing.otlp_endpoint) is not None:
            try:
                self._run(_make_traces(config, collector, self._clock))
            except ConfigError as error:
                self._report.bad_config = str(error)
                return StepFinding.failed(Cause.CONFIG_UNUSABLE, str(error))
            if (warning := exposed_headers(collector, self._environ)) is not None:
                warnings.append(warning)
        if warnings:
            return StepFinding.warning(Cause.CONFIG_WARNING, "; ".join((detail, *warnings)))
        return StepFinding.ok(detail)

    def _certificate(self, config: Config) -> StepFinding:
        tls, endpoint = config.tls, config.mangopay.endpoint
        if endpoint.scheme != "https":
            return StepFinding.skipped("plain http:// has no certificates")
        wall = self._clock.wall()
        try:
            trust = self.trust = load_trust(tls, wall)
        except TlsFileError as error:
            self._report.bad_config = str(error)
            return StepFinding.failed(OF_DEFECT[error.defect], str(error))
        if not certificate_fits(endpoint, client_certificate=trust.validity is not None):
            which = "no client certificate" if trust.validity is None else "a client certificate"
            return StepFinding.failed(Cause.CLIENT_CERTIFICATE_WRONG_HOST, f"{which} for {endpoint.name}")
        if trust.validity is None:
            return StepFinding.skipped("no client certificate is set")
        detail = f"matches its key, {trust.validity.days_left(wall)} days left, {trust.validity}"
        if trust.validity.warning(wall) is not None:
            return StepFinding.warning(Cause.CLIENT_CERTIFICATE_EXPIRING, detail)
        return StepFinding.ok(detail)


def _warnings(config: Config) -> list[str]:
    """Return what ``run`` warns of, but for the modes of files, of which the next step tells."""
    of_modes = {world_readable_warning(file, f"holds {name}") for name, file in config.secret_files.items()}
    return [each for each in config.warnings if each not in of_modes]


async def _make_traces(config: Config, collector: Endpoint, clock: Clock) -> None:
    """Make what sends traces as ``run`` does, and close it. Raises ConfigError."""
    await make_traces(config, collector, clock=clock, chance=getrandbits).close()


def _files(config: Config) -> StepFinding:
    """Look at the modes of all files that hold a secret."""
    files = {path: name for name, path in config.secret_files.items()}
    if config.tls.client_key_file is not None:
        files[config.tls.client_key_file] = "tls.client_key_file"
    if not files:
        return StepFinding.ok("no secret comes from a file")
    modes = {}
    for path, name in files.items():
        try:
            modes[path] = stat.S_IMODE(path.stat().st_mode)
        except OSError:
            is_tls = path == config.tls.client_key_file
            cause = Cause.TLS_FILE_UNREADABLE if is_tls else Cause.SECRET_FILE_UNREADABLE
            return StepFinding.failed(cause, f"{printable_name(path)} ({name}) cannot be looked at")
    open_to_all = [path for path, mode in modes.items() if mode & stat.S_IROTH]
    named = ", ".join(f"{printable_name(path)} ({modes[path]:04o})" for path in open_to_all or modes)
    if open_to_all:
        return StepFinding.warning(Cause.SECRET_WORLD_READABLE, f"every user of this machine may read {named}")
    return StepFinding.ok(named)
