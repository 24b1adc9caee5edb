"""Keys and certificates change without a restart (contract section 3): noticed, read whole, checked, swapped.

::

    a file changes ─► ChangeWatch: has it settled? ─┐
    SIGHUP ─────────────────────────────────────────┴─► read and check all ─► swap what differs ─► config.reloaded
                                                              └─► keep what is no good ─► config.reload_failed

What can change: the API keys, the client certificate with its key and password,
and the CA files. A token fetched with the old key stays in use to its end, and
a connection with the old certificate until its exchange is over. What came from a
pipe stays as it is, since a pipe gives its content once.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec
import structlog

from sidecar.config import ConfigError
from sidecar.config.model import SETTINGS
from sidecar.config.secret_file import can_be_read_again
from sidecar.core.rotation import ChangeWatch
from sidecar.core.text import printable_name
from sidecar.telemetry.line_format import exception_fields
from sidecar.threads import DaemonThreads
from sidecar.upstream.trust import TLS_FILES, make_trust, read_files

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping
    from pathlib import Path

    from sidecar.config import Config, Tls
    from sidecar.core.clock import Clock
    from sidecar.core.secret import Secret
    from sidecar.runtime import Tasks
    from sidecar.tokens.fetcher import Fetcher
    from sidecar.tokens.manager import TokenManager
    from sidecar.upstream.dialing import Dialer
    from sidecar.upstream.expiry import CertificateExpiry
    from sidecar.upstream.pool import Pool
    from sidecar.upstream.trust import Trust

T = TypeVar("T")

#: Seconds between two looks at the files.
INTERVAL: Final = 1.0

#: The settings whose value may change; those that name the files of [tls] stay, their contents may change.
_ROTATING: Final = ("mangopay.api_key", "mangopay.embedded_api_key", "tls.client_key_password")
#: What is shown to upstream, as opposed to what is trusted there.
_CREDENTIALS: Final = frozenset({"client_cert_file", "client_key_file"})

_log = structlog.get_logger()


class RotatingKey(msgspec.Struct, frozen=True):
    """An API key in use."""

    fetcher: Fetcher
    manager: TokenManager

    def replace(self, key: Secret) -> bool:
        """Use ``key`` for the next token request on; return whether it is another one."""
        if key == self.fetcher.api_key:
            return False
        self.fetcher.api_key = key
        self.manager.key_changed()
        return True


class Swappable(msgspec.Struct, frozen=True):
    """The parts that get new values."""

    #: By setting: ``mangopay.api_key``.
    keys: Mapping[str, RotatingKey]
    dialer: Dialer
    pool: Pool
    expiry: CertificateExpiry


class _Loaded(msgspec.Struct, frozen=True):
    """What a reading brought; None where nothing can be or has to be swapped."""

    #: What the files looked like before and after.
    before: object
    after: object
    config: Config | None = None
    trust: Trust | None = None
    #: One line.
    error: str | None = None


class Reloader:
    """Keeps the running parts up to date with the files that they came from."""

    def __init__(
        self,
        config: Config,
        trust: Trust | None,
        read_config: Callable[[], Config],
        parts: Swappable,
        *,
        clock: Clock,
        tasks: Tasks,
        in_thread: Callable[[Callable[[], Any]], Awaitable[Any]] | None = None,
    ) -> None:
        """``config`` and ``trust`` are what the parts were made with (no ``trust``: upstream speaks no TLS).

        ``read_config`` reads the configuration anew; it may raise ConfigError.
        """
        self._config: Final = config
        self._trust = trust
        self._read_config: Final = read_config
        self._parts: Final = parts
        self._clock: Final = clock
        self._tasks: Final = tasks
        self._in_thread: Final = DaemonThreads("reload", 1).run if in_thread is None else in_thread
        self._paths = _watched(config.tls, config.secret_files)
        self._watch: Final = ChangeWatch()
        self._one_at_a_time: Final = asyncio.Lock()
        self._restart_told: list[str] = []
        #: Why the last reload did not take effect; None if it did.
        self.error: str | None = None

    @property
    def successful(self) -> bool:
        """Whether the last reload took effect."""
        return self.error is None

    async def run(self) -> None:
        """Look at the files for ever; return at once if there are none: SIGHUP works without this."""
        while self._paths:
            await self._clock.sleep_until(self._clock.now() + INTERVAL)
            await self._outlive(self._look)

    def reload_now(self) -> None:
        """Read everything now: somebody asked for it by SIGHUP."""
        self._tasks.spawn(self._outlive(self._reload_asked, asked=True), name="config.reload")

    async def _outlive(self, reload: Callable[[], Awaitable[None]], *, asked: bool = False) -> None:
        """Call ``reload``. What nobody foresaw is told once, and the files are read again later, changed or not.

        ``asked``: a person asked for it by SIGHUP, so it is told each time.
        """
        try:
            await reload()
        except Exception as error:  # noqa: BLE001 - the edge of a task that has to outlive a bug
            self._watch.postponed(self._clock.now())
            what = f"internal error: {type(error).__name__}"
            if asked or what != self.error:
                self.error = what
                _log.error("config.reload_failed", **exception_fields(error))

    async def _look(self) -> None:
        async with self._one_at_a_time:
            signature = await self._in_thread(self._signature)
            if self._watch.due(signature, self._clock.now()):
                await self._reload(asked=False)

    async def _reload_asked(self) -> None:
        async with self._one_at_a_time:
            self._watch.due(await self._in_thread(self._signature), self._clock.now())
            await self._reload(asked=True)

    async def _reload(self, *, asked: bool) -> None:
        loaded: _Loaded = await self._in_thread(self._load)
        if loaded.before != loaded.after:
            return  # written to at this very moment: the next look sees that, and waits until it is over
        changed = self._swap(loaded)
        if loaded.error is not None:
            if self._watch.failed(self._clock.now(), asked=asked):
                self.error = loaded.error
                _log.error("config.reload_failed", message=loaded.error, mend="what is named here stays as it was")
        else:
            self._watch.loaded()
        if changed or (loaded.error is None and (asked or not self.successful)):
            _log.info("config.reloaded", changed=changed, asked=asked)
        if loaded.error is None:
            self.error = None

    # --- reading: in a thread of its own, for a file may be on a slow disk -------------------------------------------

    def _signature(self) -> object:
        return tuple(_look_at(path) for path in self._paths)

    def _load(self) -> _Loaded:
        before = self._signature()
        config = trust = error = None
        try:
            self._refuse_pipes()
            config = self._read_config()
            trust = self._load_trust(config)
        except ConfigError as caught:
            error = "; ".join(caught.lines)
        return _Loaded(before, self._signature(), config, trust, error)

    def _refuse_pipes(self) -> None:
        """Raise ConfigError for a pipe in the place of a file: reading it would wait for whoever writes to it."""
        for path, setting in self._paths.items():
            if not can_be_read_again(path):
                raise ConfigError(
                    f"{setting}: {printable_name(path)}",
                    "is no regular file any more, so it is not read",
                    "put a file there, or restart",
                )

    def _load_trust(self, config: Config) -> Trust | None:
        """Return what to trust and show from now on; None if that is what is in use."""
        if self._trust is None:
            return None
        tls = msgspec.structs.replace(self._config.tls, client_key_password=config.tls.client_key_password)
        files = read_files(tls)
        if files.digests == self._trust.digests:
            return None
        return make_trust(files, self._clock.wall())

    # --- swapping: between two turns of the event loop ---------------------------------------------------------------

    def _swap(self, loaded: _Loaded) -> list[str]:
        """Put new values where they are used; return the settings that changed."""
        changed: list[str] = []
        if (config := loaded.config) is not None:
            self._paths = _watched(self._config.tls, config.secret_files)
            for name, key in self._parts.keys.items():
                value: Secret | None = _value(config, name)
                if value is not None and key.replace(value):
                    changed.append(name)
            self._tell_of_restart(config)
        if loaded.trust is not None:
            changed += self._swap_trust(loaded.trust)
        return changed

    def _swap_trust(self, trust: Trust) -> list[str]:
        parts, old = self._parts, {} if self._trust is None else self._trust.digests
        new = trust.digests
        names = [name for name in (*TLS_FILES, "client_key_password") if old.get(name) != new.get(name)]
        self._trust = trust
        parts.dialer.ssl_context = trust.context
        parts.pool.retire()
        if _CREDENTIALS.intersection(names):
            parts.expiry.watch(trust.validity)
            for key in parts.keys.values():
                key.fetcher.certificate = new.get("client_cert_file", b"")
                key.manager.key_changed()  # it may be the certificate that was refused
        return [f"tls.{name}" for name in names]

    def _tell_of_restart(self, config: Config) -> None:
        """Say which settings differ that only a restart can change; once for each set of them."""
        names = [name for name in _fixed_settings() if _value(config, name) != _value(self._config, name)]
        if (config.mangopay.embedded_api_key is None) != (self._config.mangopay.embedded_api_key is None):
            names.append("mangopay.embedded_api_key")
        if names and names != self._restart_told:
            _log.warning("config.restart_needed", changed=names, message="these keys change with a restart only")
        self._restart_told = names


def _fixed_settings() -> Iterator[str]:
    return (setting.name for setting in SETTINGS if setting.name not in _ROTATING)


def _value(config: Config, name: str) -> Any:
    section, _, key = name.partition(".")
    return getattr(getattr(config, section), key)


def _watched(tls: Tls, secret_files: Mapping[str, Path]) -> dict[Path, str]:
    """Return the files whose change counts, each with a setting that it is for."""
    named: dict[Path, str] = {}
    for name in _ROTATING:
        if name in secret_files:
            named.setdefault(secret_files[name], name)
    for name in TLS_FILES:
        path: Path | None = getattr(tls, name)
        if path is not None:
            named.setdefault(path, f"tls.{name}")
    return named


def _look_at(path: Path) -> object:
    """Return what differs once ``path`` was written to, replaced, or a link on the way to it turned; None: it is gone.

    The time of the last change of status (st_ctime) is set by all of these, and nobody can set it back.
    """
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
