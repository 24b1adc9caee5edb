"""Mangopay's rate limits, as its answers tell them.

Each answer carries ``X-RateLimit`` (used), ``X-RateLimit-Remaining`` and
``X-RateLimit-Reset`` (Unix time) with one value per window: on one
comma-separated line or on several lines, and not always four.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sidecar.core.response_head import Field

#: Mangopay's documented windows, in the order of the values.
_WINDOWS: Final = ("15m", "30m", "1h", "24h")
#: Windows kept at most, so that no answer can grow the number of labels.
_MOST_WINDOWS: Final = 8
#: A number longer than this is none of ours: Unix time has ten digits.
_MOST_DIGITS: Final = 15

_USED: Final = b"x-ratelimit"
_REMAINING: Final = b"x-ratelimit-remaining"
_RESET: Final = b"x-ratelimit-reset"
_COLUMNS: Final = frozenset((_USED, _REMAINING, _RESET))


@dataclass(frozen=True, slots=True)
class RateWindow:
    """One window: calls used and remaining, and when it starts anew (Unix seconds). None: not told."""

    window: str
    used: int | None
    remaining: int | None
    reset: int | None


class RateLimits:
    """The newest values; parsed only when somebody looks."""

    __slots__ = ("_fields", "_windows")

    def __init__(self) -> None:
        self._fields: Sequence[Field] = ()
        self._windows: tuple[RateWindow, ...] | None = ()

    def observe(self, fields: Sequence[Field]) -> None:
        """Remember the rate headers among an answer's fields (``ResponseHead.read_here``); without any, do nothing."""
        for field in fields:
            if field.key in _COLUMNS:
                self._fields = fields
                self._windows = None
                return

    def windows(self) -> tuple[RateWindow, ...]:
        """The windows of the newest answer that told any, shortest first."""
        if self._windows is None:
            self._windows = _parse((field.key, field.value) for field in self._fields if field.key in _COLUMNS)
        return self._windows


def _parse(lines: Iterable[tuple[bytes, bytes]]) -> tuple[RateWindow, ...]:
    values: dict[bytes, list[int | None]] = {_USED: [], _REMAINING: [], _RESET: []}
    for column, line in lines:
        values[column].extend(_number(item) for item in line.split(b",", _MOST_WINDOWS)[:_MOST_WINDOWS])
    count = min(_MOST_WINDOWS, max(map(len, values.values())))
    return tuple(
        RateWindow(
            window=_WINDOWS[index] if index < len(_WINDOWS) else f"window_{index + 1}",
            used=_at(values[_USED], index),
            remaining=_at(values[_REMAINING], index),
            reset=_at(values[_RESET], index),
        )
        for index in range(count)
    )


def _at(column: list[int | None], index: int) -> int | None:
    return column[index] if index < len(column) else None


def _number(item: bytes) -> int | None:
    digits = item.strip(b" \t")
    return int(digits) if digits.isdigit() and len(digits) <= _MOST_DIGITS else None
