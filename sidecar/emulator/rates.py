"""Rate limits: calls counted in sliding windows, and told in every response's headers (Mangopay: "Rate limiting").

A call counts in a window for as long as the window is long, then it leaves it: nothing
starts anew at once. What is told as the reset is a whole window away from each
response, cut to minutes, as Mangopay's responses show it; in windows that are
shorter than Mangopay's it is cut to seconds.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sidecar.emulator.messages import Headers

#: The documented windows, in seconds.
WINDOWS: Final = (15 * 60, 30 * 60, 3600, 24 * 3600)
#: Calls leave a window in groups: those of one part of it together, so that their number needs no memory.
PARTS: Final = 64
#: Resets of windows from this length on (seconds) are cut to minutes.
_CUT_TO_MINUTES: Final = 15 * 60


class Window(msgspec.Struct, frozen=True):
    """So many calls (``limit``) in so many seconds (``length``)."""

    length: int
    limit: int

    def reset(self, wall: float) -> int:
        """Return what a response at ``wall`` tells as the reset (Unix seconds)."""
        moment = int(wall) + self.length
        return moment - moment % 60 if self.length >= _CUT_TO_MINUTES else moment


class _Group(msgspec.Struct):
    """Calls that came within one part of a window, and leave it together."""

    since: float
    calls: int


class _Count:
    """The calls of one window."""

    __slots__ = ("_groups", "_length", "used")

    def __init__(self, length: int) -> None:
        self._length = length
        self._groups: deque[_Group] = deque()
        self.used = 0

    def add(self, wall: float) -> None:
        self.pass_time(wall)
        self.used += 1
        if self._groups and wall - self._groups[-1].since < self._length / PARTS:
            self._groups[-1].calls += 1
        else:
            self._groups.append(_Group(wall, 1))

    def pass_time(self, wall: float) -> None:
        """Forget the calls that have left."""
        while self._groups and self._groups[0].since + self._length <= wall:
            self.used -= self._groups.popleft().calls


class Rates:
    """The calls of one ClientId, counted by the length of the window."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: dict[int, _Count] = {}

    def count(self, wall: float, windows: Sequence[Window]) -> bool:
        """Count a call at ``wall`` (Unix seconds); return whether it is within every window."""
        for window in windows:
            self._counts.setdefault(window.length, _Count(window.length)).add(wall)
        return all(self._counts[window.length].used <= window.limit for window in windows)

    def headers(self, wall: float, windows: Sequence[Window], style: Literal["lines", "line", "none"]) -> Headers:
        """Return ``X-RateLimit`` (used), ``-Remaining`` and ``-Reset`` (Unix seconds), one value a window."""
        if style == "none":
            return ()
        counts = [self._counts.get(window.length) for window in windows]
        numbers = [0 if count is None else count.used for count in counts]
        used = [b"%d" % number for number in numbers]
        left = [b"%d" % max(0, window.limit - number) for window, number in zip(windows, numbers, strict=True)]
        resets = [b"%d" % window.reset(wall) for window in windows]
        fields = ((b"X-RateLimit", used), (b"X-RateLimit-Remaining", left), (b"X-RateLimit-Reset", resets))
        if style == "line":
            return tuple((name, b", ".join(values)) for name, values in fields if values)
        return tuple((name, value) for name, values in fields for value in values)
