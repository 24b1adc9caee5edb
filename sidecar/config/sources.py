"""Where values come from, before they are read: the TOML file and the variables ``SIDECAR_<SECTION>_<KEY>``."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from sidecar.config.errors import Complaints, ConfigError, UnreadableFile, nearest
from sidecar.config.model import SECTIONS, SETTINGS
from sidecar.config.secret_file import read_bounded
from sidecar.config.setting import Setting
from sidecar.config.values import type_name
from sidecar.core.edge import BOM
from sidecar.core.text import printable_name


class RawValue(msgspec.Struct, frozen=True):
    """One setting as one source gives it."""

    setting: Setting
    #: What TOML held, or the text of the variable or option; with ``from_file`` the name of a file.
    value: object
    #: For messages: the variable, the option, or the file and key.
    where: str
    #: Relative paths start here.
    base: Path
    #: The value is the text of a variable or an option.
    is_text: bool
    #: ``<key>_file`` was given, not the key.
    from_file: bool


#: Both spellings of every key, by dotted name: ``mangopay.api_key`` and ``mangopay.api_key_file``.
SPELLINGS: Final[Mapping[str, tuple[Setting, bool]]] = {entry.name: (entry, False) for entry in SETTINGS} | {
    f"{entry.name}_file": (entry, True) for entry in SETTINGS if entry.allows_file
}


def _add(found: dict[str, RawValue], given: RawValue, complaints: Complaints) -> None:
    """Note ``given`` by its setting's name; complain if its source gave that setting already."""
    other = found.setdefault(given.setting.name, given)
    if other is not given:
        both = f"{other.where} and {given.where}"
        complaints.add(ConfigError(both, "are both set", "keep one of them"))


# --- the file ---------------------------------------------------------------------------------------------------------

MAX_FILE: Final = 1024 * 1024
# The parser's reason, if it is one of its fixed phrases: others quote what stands in the file.
_FIXED_REASON: Final = r"([A-Za-z -]+) \((at [a-z0-9, ]+)\)"
_POSITION: Final = r"\((at [a-z0-9, ]+)\)$"


class ConfigFile(msgspec.Struct, frozen=True):
    """What a file gives."""

    #: As it was named, for messages; None: there is no file.
    path: Path | None
    #: By setting.
    given: dict[str, RawValue]
    #: Every user of this machine may read the file.
    world_readable: bool


NO_FILE: Final = ConfigFile(None, {}, world_readable=False)


def read_document(path: Path, complaints: Complaints, named_by: str = "--config") -> ConfigFile:
    """Read the configuration file ``path``, which ``named_by`` names, and complain of what does not belong there.

    Raises ConfigError if it cannot be read, or is no TOML.
    """
    try:
        content, world_readable = read_bounded(path, MAX_FILE)
    except UnreadableFile as unfit:
        mend = unfit.mend or "name a readable file"
        raise ConfigError(f"{named_by}: {printable_name(path)}", str(unfit), mend) from None
    complaint, tables, lines = _parse(content)
    if complaint:
        raise ConfigError(printable_name(path), complaint)
    found: dict[str, RawValue] = {}
    places = _Places(path, lines)
    for name, value in _entries(places, tables, complaints):
        setting, from_file = SPELLINGS[name]
        where = places.of(name)
        _add(found, RawValue(setting, value, where, path.parent, is_text=False, from_file=from_file), complaints)
    return ConfigFile(path, found, world_readable)


class _Places(NamedTuple):
    """Where things stand in a file, for messages."""

    path: Path
    #: By section, and by ``section.key``.
    lines: Mapping[str, int]

    def of(self, name: str) -> str:
        """Return the file and, if it is known, the line that ``name`` stands in, and the name."""
        line = self.lines.get(name)
        return f"{printable_name(self.path)}{'' if line is None else f':{line}'}: {printable_name(name)}"


def _parse(content: bytes) -> tuple[str, dict[str, Any], dict[str, int]]:
    """Return what is wrong with ``content`` (or nothing), its tables and their lines: no exception is to hold them."""
    import tomllib

    from sidecar.config.lines import lines_of

    if len(content) > MAX_FILE:
        return f"is larger than {MAX_FILE} bytes: it is no configuration file of the sidecar", {}, {}
    try:
        text = content.decode("utf-8")
        return "", tomllib.loads(text), lines_of(text)
    except UnicodeDecodeError:
        return "is not UTF-8: save it as UTF-8", {}, {}
    except tomllib.TOMLDecodeError as error:
        if content.startswith(BOM):
            return "begins with a byte order mark: save it as UTF-8 without one", {}, {}
        return _describe(str(error)), {}, {}
    except (ValueError, RecursionError):  # a number of thousands of digits; thousands of brackets
        return "is not valid TOML (a number too long, or arrays too deep): correct it", {}, {}


def _describe(message: str) -> str:
    if match := re.fullmatch(_FIXED_REASON, message):
        return f"is not valid TOML {match[2]} ({match[1].lower()}): correct that line (strings need quotes)"
    position = re.search(_POSITION, message)
    return f"is not valid TOML {position[1] if position else ''}".rstrip() + ": correct that line (strings need quotes)"


def _entries(places: _Places, tables: dict[str, Any], complaints: Complaints) -> Iterator[tuple[str, object]]:
    """Yield dotted names and values, in the file's order; complain of every name that is no known one."""
    for section, table in tables.items():
        if section not in SECTIONS:
            complaints.add(_unknown_section(places.of(section), section, table))
        elif not isinstance(table, dict):
            mend = f"write it as a table, [{section}]"
            complaints.add(ConfigError(places.of(section), f"is {type_name(table)}", mend))
        else:
            for key, value in table.items():
                name = f"{section}.{key}"
                if name in SPELLINGS:
                    yield name, value
                else:
                    mend = f"the nearest is {_nearest_key(section, key)}"
                    complaints.add(ConfigError(places.of(name), "is no key", mend))


def _unknown_section(where: str, section: str, table: object) -> ConfigError:
    """Say what is wrong with ``section``, which may also be a key that stands outside its section."""
    if isinstance(table, dict):
        return ConfigError(where, "is no section", f"the nearest is [{nearest(section, SECTIONS)}]")
    return ConfigError(where, "stands outside a section", f"the nearest key is {_nearest_key('', section)}")


def _nearest_key(section: str, key: str) -> str:
    """Prefer the same key of another section, then a like one of this section, then a like one of any."""
    keys = {name: name.partition(".")[2] for name in SPELLINGS}
    same = [name for name, known in keys.items() if known == key]
    if same:
        return nearest(f"{section}.{key}", same)
    own = [name for name in keys if name.startswith(f"{section}.")]
    return nearest(f"{section}.{key}", own or list(SPELLINGS))


# --- the environment --------------------------------------------------------------------------------------------------

PREFIX: Final = "SIDECAR_"
#: Names the configuration file; all other variables are keys.
CONFIG: Final = "SIDECAR_CONFIG"

_VARIABLES: Final = {f"{PREFIX}{name.replace('.', '_')}".upper(): spelling for name, spelling in SPELLINGS.items()}

# What Kubernetes sets in every container for a Service whose name begins with "sidecar": its own
# SIDECAR_[…_]SERVICE_HOST, _SERVICE_PORT and _SERVICE_PORT_<NAME>, and after Docker's links _PORT=tcp://… and
# _PORT_<n>_<PROTOCOL> with _PROTO, _PORT and _ADDR.
_LINK_NAME: Final = (
    r"SIDECAR(?:_[A-Z0-9_]+)?_"
    r"(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|PORT_[0-9]+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)"
)
#: Of the compiled build (setup.py); it may still be set where the sidecar is started.
_OF_BUILD: Final = "SIDECAR_COMPILE"
_LINK_VALUE: Final = ("tcp://", "udp://", "sctp://")
_PROXIES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


def read_options(options: Mapping[str, tuple[str, str]]) -> dict[str, RawValue]:
    """Return what command-line options give, by setting; each is a setting's name, the option and its text."""
    given = ((name, *SPELLINGS[name], option, text) for name, (option, text) in options.items())
    return {
        name: RawValue(setting, text, option, Path(), is_text=True, from_file=from_file)
        for name, setting, from_file, option, text in given
    }


def read_environment(environ: Mapping[str, str], complaints: Complaints) -> dict[str, RawValue]:
    """Return what the variables give, by setting; empty ones count as unset.

    Complains of a ``SIDECAR_*`` variable that is neither a key's nor a Kubernetes service link.
    """
    found: dict[str, RawValue] = {}
    for variable in sorted(name for name in environ if name.startswith(PREFIX)):
        text = environ[variable]
        if not text or variable == CONFIG or is_service_link(variable, text):
            continue
        if variable not in _VARIABLES:
            mend = f"the nearest is {nearest(variable, [*_VARIABLES, CONFIG])}"
            if variable == _OF_BUILD:
                mend = "it is for pip install alone: unset it"
            complaints.add(ConfigError(printable_name(variable), "is no variable of the sidecar", mend))
            continue
        setting, from_file = _VARIABLES[variable]
        _add(found, RawValue(setting, text, variable, Path(), is_text=True, from_file=from_file), complaints)
    return found


def is_service_link(variable: str, text: str) -> bool:
    """Tell whether Kubernetes injects a variable of this shape for some Service.

    A Service called ``sidecar-listen`` makes ``SIDECAR_LISTEN_PORT=tcp://…``, which is no port of ours.
    """
    if variable.endswith("_PORT") and text.lower().startswith(_LINK_VALUE):
        return True
    return variable not in _VARIABLES and re.fullmatch(_LINK_NAME, variable) is not None


def environment_warnings(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence for each thing in ``environ`` that somebody may have meant for us, and that is ignored."""
    for variable in sorted(_VARIABLES.keys() & environ.keys()):
        if is_service_link(variable, environ[variable]):
            yield (
                f"{variable} holds a Kubernetes service link and is ignored: rename the Service, or set "
                "enableServiceLinks: false"
            )
    proxies = [name for base in _PROXIES for name in (base, base.lower()) if environ.get(name)]
    if proxies:
        yield f"{', '.join(proxies)} set in the environment: ignored, only upstream.egress_proxy names a proxy"
