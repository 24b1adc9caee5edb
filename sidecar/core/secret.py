"""A value that must not be seen."""

from __future__ import annotations

import hmac
from typing import Final


class Secret:
    """A string that shows itself only to :meth:`reveal`.

    ``repr``, ``str`` and every format give ``***``; it cannot be pickled, so no
    traceback, log line or message can carry it by accident.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value: Final = value

    def reveal(self) -> str:
        """Return the value itself. Every call is a place to review."""
        return self._value

    def __repr__(self) -> str:
        return "***"

    def __str__(self) -> str:
        return "***"

    def __format__(self, format_spec: str) -> str:
        return "***"

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a Secret cannot be pickled or copied")

    def __eq__(self, other: object) -> bool:
        """Compare in constant time; equal only to a Secret of the same value."""
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash((Secret, self._value))
