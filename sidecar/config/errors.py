"""What can be wrong with a configuration, in words.

::

    ConfigError        one line for the user: where, what is wrong, the mend
    InvalidValue(ValueError)  raised by a kind of value; loading adds where it was, and makes a ConfigError of it

Neither ever holds a value that somebody configured: it may be a secret under the wrong key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


class ConfigError(Exception):
    """The configuration cannot be used; ``str()`` gives one line for the user.

    ``where`` names a variable, or a file and key; ``what`` says what is wrong there; ``mend`` what to do.
    """

    def __init__(self, where: str, what: str = "", mend: str = "") -> None:
        super().__init__(f"{where} {what}".rstrip() + (f": {mend}" if mend else ""))


class InvalidValue(ValueError):  # noqa: N818 - it names the value's state, and is never shown by that name
    """A value is refused; the message ends the sentence "SIDECAR_LISTEN_PORT …" ("is empty")."""


def printable(name: str | Path, limit: int = 200) -> str:
    """Make a file's or key's name safe to print on one line, cut after ``limit`` characters."""
    text = str(name)
    if len(text) > limit:
        text = f"{text[:limit]}…"
    return text if text.isprintable() else ascii(text)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the known name that is most like ``name``."""
    from difflib import SequenceMatcher  # only a message needs it

    name = name[:100].replace("-", "_")
    return max(known, key=lambda candidate: SequenceMatcher(None, candidate, name).ratio())
