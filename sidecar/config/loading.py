"""From a file and the environment to a Config.

All that is found wrong is reported, in one order: unknown or doubled variables by name, then the file from
top to bottom, then each setting in the model's order; and if nothing of that is wrong, the rules between settings.
"""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import msgspec

from sidecar.config.addresses import TokenStore
from sidecar.config.checks import check_listeners, check_tls, limits_warnings, resolve_endpoint
from sidecar.config.errors import Complaints, ConfigError, InvalidValue
from sidecar.config.model import SECTIONS, SETTINGS, Admin, Config, Limits, Listen, Tls
from sidecar.config.places import open_directory_above
from sidecar.config.secret_file import anchored, read_secret_file, secret_path, world_readable_warning
from sidecar.config.setting import REQUIRED
from sidecar.config.sources import (
    CONFIG,
    NO_FILE,
    ConfigFile,
    environment_warnings,
    read_document,
    read_environment,
    read_options,
)
from sidecar.config.values import PATH, checked_text
from sidecar.core.secret import Secret
from sidecar.core.text import printable_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sidecar.config.setting import Setting
    from sidecar.config.sources import RawValue


def load(
    path: Path | None, environ: Mapping[str, str], options: Mapping[str, tuple[str, str]] = MappingProxyType({})
) -> Config:
    """Read and check the whole configuration.

    The file is ``path``, else what ``SIDECAR_CONFIG`` names, else none. A variable wins over the file, in
    either of its spellings (``…_API_KEY_FILE`` over ``api_key``). Relative paths in the file start at its
    directory, those in variables at the working directory. ``options`` win over both: a command line's, by
    setting, each with its name and its text. Nothing is logged: see ``Config.warnings``.

    Raises ConfigError, with a line for each thing that is wrong: where, what, and what to do. It holds no
    configured value.
    """
    complaints = Complaints()
    from_environment = read_environment(environ, complaints)
    document: ConfigFile | None = None
    with complaints:
        named_by = "--config" if path is not None else CONFIG
        path = _path_from(environ) if path is None else path
        document = NO_FILE if path is None else read_document(path, complaints, named_by)
    reader = _Reader(NO_FILE if document is None else document)
    given = reader.document.given | from_environment | read_options(options)
    sections: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    for setting in SETTINGS:
        value = given.get(setting.name)
        if value is None and document is None:
            continue  # it may stand in the file that could not be read
        with complaints:
            sections[setting.section][setting.key] = reader.read(setting, value)
    complaints.raise_all()
    reader.warnings.extend(environment_warnings(environ))
    return _build(sections, reader)


def _path_from(environ: Mapping[str, str]) -> Path | None:
    text = environ.get(CONFIG)
    if not text:
        return None
    try:
        return PATH.parse(text)
    except InvalidValue as unfit:
        raise ConfigError(CONFIG, str(unfit), f"give {PATH.expected}") from None


class _Reader:
    """Reads one setting after the other, and notes what the whole configuration has to tell of them."""

    def __init__(self, document: ConfigFile) -> None:
        self.document = document
        self.secret_files: dict[str, Path] = {}
        self.warnings: list[str] = []

    def read(self, setting: Setting, given: RawValue | None) -> Any:
        """Return the setting's value: as given, else its default."""
        if given is None:
            if setting.default is REQUIRED:
                raise self._missing(setting)
            return setting()
        try:
            value = self._from_file(given) if given.from_file else self._in_place(given)
        except InvalidValue as unfit:
            raise ConfigError(given.where, str(unfit), f"give {setting.kind.expected}") from None
        self._warn_of_place(setting, value)
        return value

    def _in_place(self, given: RawValue) -> Any:
        kind = given.setting.kind
        raw = kind.from_text(given.value) if isinstance(given.value, str) and given.is_text else given.value
        value = _anchored(kind.parse(raw), given.base)
        document = self.document
        if _holds_secret(value) and not given.is_text and document.path is not None:
            self.secret_files[given.setting.name] = document.path
            if document.world_readable:
                self._warn_of(given.setting, document.path)
        return value

    def _from_file(self, given: RawValue) -> Any:
        kind = given.setting.kind
        try:
            file = secret_path(checked_text(given.value), given.base)
        except InvalidValue as unfit:
            raise ConfigError(given.where, str(unfit), f"give {PATH.expected} that holds the value") from None
        try:
            content = read_secret_file(file)
            value = _anchored(kind.parse(content.value.reveal()), given.base)
        except ConfigError as error:
            where = f"{given.where}:"
            raise ConfigError(where, str(error)) from None
        except InvalidValue as unfit:
            where = f"{given.where}: {printable_name(file)}"
            raise ConfigError(where, str(unfit), f"it must hold {kind.expected}") from None
        self._warn_of_place(given.setting, file)
        if _holds_secret(value):
            self.secret_files[given.setting.name] = file
            if content.world_readable:
                self._warn_of(given.setting, file)
        return value

    def _warn_of(self, setting: Setting, file: Path) -> None:
        self.warnings.append(world_readable_warning(file, f"holds {setting.name}"))

    def _warn_of_place(self, setting: Setting, value: object) -> None:
        """Warn if others could put something else in the place that ``value`` names."""
        path = value.path if isinstance(value, TokenStore) else value
        if isinstance(path, Path) and (directory := open_directory_above(path)) is not None:
            self.warnings.append(
                f"{setting.name}: every user of this machine may write to {printable_name(directory)} and so replace "
                f"{printable_name(path)}: choose a directory that others may not write to, or chmod +t this one"
            )

    def _missing(self, setting: Setting) -> ConfigError:
        variable = f"{setting.variable}_FILE or {setting.variable}" if setting.kind.is_secret else setting.variable
        path = self.document.path
        file = "a file that mangopay-sidecar init writes" if path is None else printable_name(path)
        mend = f"set {variable}, or {setting.key} under [{setting.section}] in {file}"
        return ConfigError(setting.name, "is missing", mend)


def _anchored(value: Any, base: Path) -> Any:
    if isinstance(value, Path):
        return anchored(value, base)
    if isinstance(value, TokenStore) and value.path is not None:
        return TokenStore(value.kind, path=anchored(value.path, base))
    return value


def _holds_secret(value: object) -> bool:
    if isinstance(value, msgspec.Struct):
        return any(isinstance(part, Secret) for part in msgspec.structs.astuple(value))
    return isinstance(value, Secret)


def _build(sections: dict[str, dict[str, Any]], reader: _Reader) -> Config:
    """Check what only several settings together can tell, and freeze."""
    mangopay, client_certificate = sections["mangopay"], sections["tls"]["client_cert_file"] is not None
    complaints = Complaints()
    with complaints:
        mangopay["endpoint"] = resolve_endpoint(
            mangopay["environment"], mangopay["base_url"], client_certificate=client_certificate
        )
    listen, admin = Listen(**sections["listen"]), Admin(**sections["admin"])
    check_listeners(listen, admin, mangopay["environment"], complaints)
    check_tls(Tls(**sections["tls"]), complaints)
    complaints.raise_all()
    reader.warnings.extend(limits_warnings(Limits(**sections["limits"])))
    built: dict[str, Any] = {section: model(**sections[section]) for section, model in SECTIONS.items()}
    return Config(**built, secret_files=MappingProxyType(reader.secret_files), warnings=tuple(reader.warnings))
