"""Which of Mangopay's rate windows the numbers of a response belong to.

A response tells for each window the calls used, the calls remaining, and when it
starts anew, but not how long it is. There are not always four of them, nor the
same four: so the place among the others says nothing, and a number under the
wrong name is a false alarm for a day. A window is told by one of two things:

1. **By its limit**, which is used + remaining: 2,300 calls are those of 15
   minutes, if Mangopay has not agreed on others with the account.
2. **By the distance of its reset**, the seconds from the response's ``Date``. No
   reset is farther away than its window is long, so the distance says how long
   the window is *at least*, and no more: a day's window looks like a short one in
   its last minutes. Only the longest can be told: what starts anew in more than an
   hour is the day's; when that is known, what starts anew in more than 30 minutes
   is the hour's; and so on down, until one of them cannot be told.

A name that was told is remembered for its limit. So it stays when the distance
becomes short. Once more calls than the limit were used, nothing remains and the sum is
larger than the limit: then a window keeps the name if it is the only one left that
can have exceeded that limit, the largest limit first. A longer window may have a
smaller limit, so to exceed a limit alone tells nothing.

A distance that is longer than the window contradicts any name. Two windows that
claim one name by their limits do not get it. A window that cannot be told has no
name, and whoever shows it makes no metric and no alert of it.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec.structs import replace

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: Seconds, of the windows that Mangopay documents (page "rate limiting"), the longest first.
LENGTHS: Final[Mapping[str, int]] = MappingProxyType({"24h": 86_400, "1h": 3_600, "30m": 1_800, "15m": 900})
#: Calls in each, unless Mangopay has agreed on others.
LIMITS: Final[Mapping[int, str]] = MappingProxyType({2_300: "15m", 4_500: "30m", 8_800: "1h", 105_600: "24h"})
#: Seconds of the longest window that is shorter than the named one. Windows of 1 and 5 minutes have been seen besides.
_SHORTER: Final[Mapping[str, int]] = MappingProxyType({"24h": 3_600, "1h": 1_800, "30m": 900, "15m": 300})
#: Seconds by which a reset may be off: Mangopay's are cut to minutes, and ``Date`` may be by another clock.
SLACK: Final = 60.0


class RateWindow(msgspec.Struct, frozen=True):
    """One window: calls used and remaining, and when it resets (Unix seconds). None: not told."""

    #: A key of :data:`LENGTHS`; None: it cannot be told which one it is.
    window: str | None
    used: int | None
    remaining: int | None
    reset: int | None

    @property
    def limit(self) -> int | None:
        """Used + remaining: the limit, unless more was used than that; None if it cannot be known."""
        return None if self.used is None or self.remaining is None else self.used + self.remaining


def name_windows(
    windows: Sequence[RateWindow], *, date: float | None, learned: Mapping[int, str]
) -> tuple[tuple[RateWindow, ...], Mapping[int, str]]:
    """Return the ``windows`` of one response with their names, and what was learned of limits.

    ``date`` is the response's ``Date`` (Unix seconds), ``learned`` what earlier
    responses taught. There is one limit for each name in it at most.
    """
    distances = [None if date is None or each.reset is None else each.reset - date for each in windows]
    known = {**LIMITS, **learned}
    names: list[str | None] = [None] * len(windows)
    _name_by_limit(names, [None if each.limit is None else known.get(each.limit) for each in windows], distances)
    _name_by_exceeded_limit(names, windows, distances, learned)
    _name_by_distance(names, distances)
    named = tuple(replace(window, window=name) for window, name in zip(windows, names, strict=True))
    return named, _learn(learned, named)


def used_up_for(windows: Sequence[RateWindow], date: float) -> float | None:
    """Return the seconds until every window of which nothing remains has its reset: the ``Retry-After`` of a 429.

    ``date`` is the response's (Unix seconds); a day at most. None: no window is used up, or no reset was told.
    """
    waits = [each.reset - date for each in windows if each.remaining == 0 and each.reset is not None]
    return min(max(1.0, *waits), LENGTHS["24h"]) if waits else None


def _name_by_limit(names: list[str | None], claims: Sequence[str | None], distances: Sequence[float | None]) -> None:
    """Give a window the name that it claims, if no other claims it and its distance does not contradict."""
    for index, (name, distance) in enumerate(zip(claims, distances, strict=True)):
        if name is not None and claims.count(name) == 1 and _fits(name, distance):
            names[index] = name


def _name_by_exceeded_limit(
    names: list[str | None],
    windows: Sequence[RateWindow],
    distances: Sequence[float | None],
    learned: Mapping[int, str],
) -> None:
    """Name a window that is used up, if it is the only one left that exceeds a remembered limit; the largest first.

    Not if some remembered window must be missing from the response: any other might take its name.
    """
    if names.count(None) < len(set(learned.values()).difference(names)):
        return
    for limit in sorted(learned, reverse=True):
        name = learned[limit]
        if name in names:
            continue
        over = [
            index
            for index, each in enumerate(windows)
            if names[index] is None and each.remaining == 0 and each.used is not None and each.used > limit
        ]
        if len(over) == 1 and _fits(name, distances[over[0]]):
            names[over[0]] = name


def _fits(name: str, distance: float | None) -> bool:
    """Say whether a reset at this distance does not contradict a name."""
    return distance is None or distance <= LENGTHS[name] + SLACK


def _name_by_distance(names: list[str | None], distances: Sequence[float | None]) -> None:
    """Name what can be told by its distance alone, the longest first."""
    for name, length in LENGTHS.items():
        if name in names:
            continue
        least = _SHORTER[name] + SLACK
        fitting = [
            index
            for index, distance in enumerate(distances)
            if names[index] is None and distance is not None and least < distance <= length + SLACK
        ]
        if len(fitting) != 1:
            return  # one with a shorter distance may be this one
        names[fitting[0]] = name


def _learn(learned: Mapping[int, str], windows: Sequence[RateWindow]) -> Mapping[int, str]:
    """Remember the limits of the ``windows`` with a name, in place of other limits of the same name.

    While nothing remains the limit is not known for certain.
    """
    result = dict(learned)
    for each in windows:
        if each.window is None or each.limit is None or not each.remaining:
            continue
        result = {limit: name for limit, name in result.items() if name != each.window}
        result[each.limit] = each.window
    return result
