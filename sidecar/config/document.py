"""The TOML file."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from sidecar.config.errors import ConfigError, Unfit, nearest, shown
from sidecar.config.given import SPELLINGS, Given, add
from sidecar.config.model import SECTIONS
from sidecar.config.secret_file import read_bounded
from sidecar.config.values import type_name

MAX_FILE: Final = 1024 * 1024
# The parser's reason, if it is one of its fixed phrases: others quote what stands in the file.
_FIXED_REASON: Final = r"([A-Za-z -]+) \((at [a-z0-9, ]+)\)"
_POSITION: Final = r"\((at [a-z0-9, ]+)\)$"


class Document(msgspec.Struct, frozen=True):
    """What a file gives."""

    #: As it was named, for messages; None: there is no file.
    path: Path | None
    #: By setting.
    given: dict[str, Given]
    #: Every user of this machine may read the file.
    world_readable: bool


NO_DOCUMENT: Final = Document(None, {}, world_readable=False)


def read_document(path: Path) -> Document:
    """Read the configuration file ``path``; raises ConfigError for anything that does not belong there."""
    try:
        content, world_readable = read_bounded(path, MAX_FILE)
    except Unfit as unfit:
        raise ConfigError(shown(path), str(unfit), "name a readable file by --config or SIDECAR_CONFIG") from None
    complaint, tables = _parse(content)
    if complaint:
        raise ConfigError(shown(path), complaint)
    found: dict[str, Given] = {}
    for name, value in _entries(path, tables):
        setting, is_twin = SPELLINGS[name]
        add(found, Given(setting, value, f"{shown(path)}: {name}", path.parent, is_text=False, is_twin=is_twin))
    return Document(path, found, world_readable)


def _parse(content: bytes) -> tuple[str, dict[str, Any]]:
    """Return what is wrong with ``content`` (or nothing) and its tables, so that no exception holds them."""
    import tomllib

    if len(content) > MAX_FILE:
        return f"is larger than {MAX_FILE} bytes: it is no configuration file of the sidecar", {}
    try:
        return "", tomllib.loads(content.decode("utf-8"))
    except UnicodeDecodeError:
        return "is not UTF-8: save it as UTF-8", {}
    except tomllib.TOMLDecodeError as error:
        if content.startswith(b"\xef\xbb\xbf"):
            return "begins with a byte order mark: save it as UTF-8 without one", {}
        return _describe(str(error)), {}
    except (ValueError, RecursionError):  # a number of thousands of digits; thousands of brackets
        return "is not valid TOML (a number too long, or arrays too deep): mend it", {}


def _describe(message: str) -> str:
    if match := re.fullmatch(_FIXED_REASON, message):
        return f"is not valid TOML {match[2]} ({match[1].lower()}): mend that line (strings need quotes)"
    position = re.search(_POSITION, message)
    return f"is not valid TOML {position[1] if position else ''}".rstrip() + ": mend that line (strings need quotes)"


def _entries(path: Path, tables: dict[str, Any]) -> Iterator[tuple[str, object]]:
    """Yield dotted names and values, in the file's order; every name is a known one."""
    for section, table in tables.items():
        where = f"{shown(path)}: {shown(section)}"
        if section not in SECTIONS:
            raise _unknown_section(where, section, table)
        if not isinstance(table, dict):
            raise ConfigError(where, f"is {type_name(table)}", f"write it as a table, [{section}]")
        for key, value in table.items():
            name = f"{section}.{key}"
            if name not in SPELLINGS:
                where = f"{shown(path)}: {shown(name)}"
                raise ConfigError(where, "is no key", f"the nearest is {_nearest_key(section, key)}")
            yield name, value


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
