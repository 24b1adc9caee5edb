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
becomes short; and once more calls than the limit were used, when nothing remains
and the sum is larger than the limit, the largest remembered limit below it counts.

A distance that is longer than the window contradicts any name. Two windows that
claim one name by their limits do not get it. A window that cannot be told has no
name, and whoever shows it makes no metric and no alert of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

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


@dataclass(frozen=True, slots=True)
class RateWindow:
    """One window: calls used and remaining, and when it starts anew (Unix seconds). None: not told."""

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
    _grant(names, [None if each.limit is None else known.get(each.limit) for each in windows], distances)
    _grant(names, [_by_exceeded_limit(each, learned) for each in windows], distances)
    _name_by_distance(names, distances)
    named = tuple(replace(window, window=name) for window, name in zip(windows, names, strict=True))
    return named, _learn(learned, named)


def _by_exceeded_limit(window: RateWindow, learned: Mapping[int, str]) -> str | None:
    if window.remaining != 0 or window.used is None:
        return None
    exceeded = [limit for limit in learned if limit < window.used]
    return learned[max(exceeded)] if exceeded else None


def _grant(names: list[str | None], claims: Sequence[str | None], distances: Sequence[float | None]) -> None:
    """Give a claimed name to a window without one, if no other has or claims it and no distance contradicts."""
    taken = set(names)
    claims = [claim if name is None else None for name, claim in zip(names, claims, strict=True)]
    for index, (name, distance) in enumerate(zip(claims, distances, strict=True)):
        if name is None or name in taken or claims.count(name) > 1:
            continue
        if distance is None or distance <= LENGTHS[name] + SLACK:
            names[index] = name


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
