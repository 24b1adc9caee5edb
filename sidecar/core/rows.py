"""Rows of a label and a text for a terminal: how they are written, and whether in colour."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from sidecar.core.text import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Ends a style.
PLAIN: Final = "\x1b[0m"
#: What says no where a variable switches something.
_NO: Final = frozenset(("0", "false", "no"))


class Style(StrEnum):
    """How a label looks where there are colours; each is its SGR sequence (ECMA-48, 8.3.117)."""

    GOOD = "\x1b[32m"
    WARNING = "\x1b[33m"
    BAD = "\x1b[1;31m"
    QUIET = "\x1b[2m"


class Row(NamedTuple):
    """One line: a label in a column of its own, and what is to be said. Without a label it belongs to the row above."""

    label: str
    text: str
    style: Style | None = None


def written(row: Row, width: int, *, color: bool) -> str:
    """Return the row with its label ``width`` characters wide; nothing in it but our own colours steers a terminal."""
    label = printable(row.label)
    padding = " " * max(1, width - len(label) + 1)
    if color and label and row.style is not None:
        label = f"{row.style}{label}{PLAIN}"
    return f"{label}{padding}{printable(row.text)}".rstrip()


def color_wanted(environ: Mapping[str, str], *, terminal: bool) -> bool:
    """Whether to write in colour: to a terminal that has colours, unless a variable says otherwise.

    ``NO_COLOR`` (no-color.org) wins over ``FORCE_COLOR`` and ``CLICOLOR_FORCE``, these over ``TERM=dumb``, and that
    over ``CLICOLOR`` (bixense.com/clicolors); an empty variable says nothing.
    """
    if environ.get("NO_COLOR"):
        return False
    if any(environ.get(name, "0").lower() not in {"", *_NO} for name in ("FORCE_COLOR", "CLICOLOR_FORCE")):
        return True
    return terminal and environ.get("TERM") != "dumb" and environ.get("CLICOLOR") not in _NO
