"""What can be wrong with a configuration, in words.

::

    ConfigError        where, what is wrong, what to do: one line for the user
    └── CombinedConfigError   several of them, a line each
    InvalidValue(ValueError)  raised by a kind of value; loading adds where it was, and makes a ConfigError of it
    └── UnreadableFile        the system said no; it knows what to do about that

None of them ever holds a value that somebody configured: it may be a secret under the wrong key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.core.system_errors import mend, reason

if TYPE_CHECKING:
    from collections.abc import Iterable


class ConfigError(Exception):
    """The configuration cannot be used; ``str()`` gives one line for the user.

    ``where`` names a variable, or a file and key; ``what`` says what is wrong there; ``mend`` what to do.
    """

    def __init__(self, where: str, what: str = "", mend: str = "") -> None:
        super().__init__(f"{where} {what}".rstrip() + (f": {mend}" if mend else ""))

    @property
    def lines(self) -> tuple[str, ...]:
        """What is wrong, each thing in a line of its own."""
        return (str(self),)


class CombinedConfigError(ConfigError):
    """Several things are wrong; ``str()`` gives a line for each."""

    def __init__(self, errors: Iterable[ConfigError]) -> None:
        self._lines: Final = tuple(line for error in errors for line in error.lines)
        super().__init__("\n".join(self._lines))

    @property
    def lines(self) -> tuple[str, ...]:
        """What is wrong, each thing in a line of its own."""
        return self._lines


class Complaints:
    """Errors that are gathered, so that the user is told all of them at once."""

    def __init__(self) -> None:
        self._errors: Final[list[ConfigError]] = []

    def __bool__(self) -> bool:
        return bool(self._errors)

    def add(self, error: ConfigError) -> None:
        """Keep ``error`` for :meth:`raise_all`."""
        self._errors.append(error)

    def __enter__(self) -> None:
        """Keep the ConfigError that ends what is done within, if one does."""

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> bool:
        if isinstance(error, ConfigError):
            self._errors.append(error)
            return True
        return False

    def raise_all(self) -> None:
        """Raise ConfigError if there is any: the one, or CombinedConfigError."""
        if len(self._errors) == 1:
            raise self._errors[0]
        if self._errors:
            raise CombinedConfigError(self._errors)


class InvalidValue(ValueError):  # noqa: N818 - it names the value's state, and is never shown by that name
    """A value is refused; the message ends the sentence "SIDECAR_LISTEN_PORT …" ("is empty")."""


class UnreadableFile(InvalidValue):
    """The system does not let a file be read; the message ends the sentence "FILE …"."""

    def __init__(self, error: OSError | None) -> None:
        """``error`` is the system's; None: no file can have such a name."""
        why = "no path has such characters" if error is None else reason(error)
        super().__init__(f"cannot be read ({why})")
        #: What to do; None: that depends.
        self.mend: Final = None if error is None else mend(error)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the known name that is most like ``name``."""
    from difflib import SequenceMatcher  # only a message needs it

    name = name[:100].replace("-", "_")
    return max(known, key=lambda candidate: SequenceMatcher(None, candidate, name).ratio())
