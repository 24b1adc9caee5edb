"""In which line of a TOML document each key stands, so that an error can say so.

``tomllib`` does not tell. But it tells whether a text is whole: so a document is
cut into statements by adding line after line until ``tomllib`` takes them, and no
second grammar of TOML is needed.
"""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Lines that one statement may have: each further one is read anew with those before it.
_LONGEST: Final = 200
_HEADER: Final = re.compile(r"\s*\[")


def lines_of(document: str) -> dict[str, int]:
    """Return the line, counted from 1, of each section and of each ``section.key`` of a valid TOML document.

    Where a statement has more than 200 lines, it and what follows it are left out.
    """
    found: dict[str, int] = {}
    section: tuple[str, ...] = ()
    for number, text in _statements(document):
        table = tomllib.loads(text)
        if _HEADER.match(text):
            section = tuple(_path(table))
            found.setdefault(".".join(section[:2]), number)
            continue
        for key, value in table.items():
            for name in _names((*section, key), value):
                found.setdefault(name, number)
    return found


def _statements(document: str) -> Iterator[tuple[int, str]]:
    """Yield each statement and the number of its first line."""
    begun, pending = 0, ""
    # TOML knows two line ends; splitlines() knows more, which may stand in strings.
    for number, line in enumerate(document.replace("\r\n", "\n").split("\n"), 1):
        if not pending and line.strip(" \t").partition("#")[0] == "":
            continue
        if not pending:
            begun = number
        elif number - begun > _LONGEST:
            return
        pending += f"{line}\n"
        if _is_whole(pending):
            yield begun, pending
            pending = ""


def _is_whole(text: str) -> bool:
    try:
        tomllib.loads(text)
    except (ValueError, RecursionError):  # TOMLDecodeError is a ValueError
        return False
    return True


def _path(table: Any) -> Iterator[str]:
    """Yield the names that a header's tables are nested under, from the outermost one in."""
    while table:
        if isinstance(table, list):
            table = table[-1]
            continue
        [(name, table)] = table.items()
        yield name


def _names(path: tuple[str, ...], value: object) -> Iterator[str]:
    """Yield the dotted names, of a section and of a key at most, that a statement gives."""
    if len(path) >= 2:
        yield ".".join(path[:2])
        return
    yield path[0]
    if isinstance(value, dict):
        for key in value:
            yield f"{path[0]}.{key}"
