"""Mangopay's rate limits, as its responses tell them.

Each response carries ``X-RateLimit`` (used), ``X-RateLimit-Remaining`` and
``X-RateLimit-Reset`` (Unix time) with one value per window: on one
comma-separated line or on several lines, and not always four. Which window a
value belongs to, :mod:`sidecar.core.rate_windows` says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.core.http.dates import read_http_date
from sidecar.core.rate_windows import RateWindow, name_windows

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sidecar.core.http.field import Field

#: Windows read at most: whatever a response says, its cost is bounded.
_MOST_WINDOWS: Final = 8
#: A number longer than this is none of ours: Unix time has ten digits.
_MOST_DIGITS: Final = 15

_USED: Final = b"x-ratelimit"
_REMAINING: Final = b"x-ratelimit-remaining"
_RESET: Final = b"x-ratelimit-reset"
_COLUMNS: Final = frozenset((_USED, _REMAINING, _RESET))


class RateLimits:
    """The newest values; parsed only when somebody looks."""

    __slots__ = ("_fields", "_learned", "_windows")

    def __init__(self) -> None:
        self._fields: Sequence[Field] = ()
        self._windows: tuple[RateWindow, ...] | None = ()
        # The limits of windows that were told by the distance of their reset.
        self._learned: Mapping[int, str] = {}

    def observe(self, fields: Sequence[Field]) -> None:
        """Remember the rate headers among ``fields`` (``ResponseHead.read_here``), which are kept, not copied."""
        for field in fields:
            if field.key in _COLUMNS:
                self._fields = fields
                self._windows = None
                return

    def windows(self) -> tuple[RateWindow, ...]:
        """The windows of the newest response that told any, in its order."""
        if self._windows is None:
            self._windows = self.told(self._fields)
        return self._windows

    def told(self, fields: Sequence[Field]) -> tuple[RateWindow, ...]:
        """Read the windows that one response's ``fields`` tell; none if they tell none."""
        windows = _parse([(field.key, field.value) for field in fields if field.key in _COLUMNS])
        dates = [field.value.decode("latin-1") for field in fields if field.key == b"date"]
        date = read_http_date(dates[0] if dates else "")
        named, self._learned = name_windows(windows, date=date, learned=self._learned)
        return named


def _parse(lines: Iterable[tuple[bytes, bytes]]) -> tuple[RateWindow, ...]:
    values: dict[bytes, list[int | None]] = {_USED: [], _REMAINING: [], _RESET: []}
    for column, line in lines:
        values[column] += [_number(item) for item in line.split(b",", _MOST_WINDOWS)[:_MOST_WINDOWS]]
    count = min(_MOST_WINDOWS, max(map(len, values.values())))
    return tuple(
        RateWindow(
            window=None,
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
