"""Rate limits: calls counted in fixed windows, and told in every response's headers (Mangopay: "Rate limiting")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sidecar.emulator.messages import Headers

#: The documented windows, in seconds.
WINDOWS: Final = (15 * 60, 30 * 60, 3600, 24 * 3600)


class Window(msgspec.Struct, frozen=True):
    """So many calls (``limit``) in so many seconds (``length``)."""

    length: int
    limit: int


class _Count(msgspec.Struct):
    """What was used of a window, and when (Unix seconds) it starts anew."""

    used: int = 0
    end: int = 0


class Rates:
    """The calls of one ClientId, counted by the length of the window."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: dict[int, _Count] = {}

    def count(self, wall: float, windows: Sequence[Window]) -> bool:
        """Count a call at ``wall`` (Unix seconds); return whether it is within every window."""
        within = True
        for window in windows:
            count = self._counts.setdefault(window.length, _Count())
            if wall >= count.end:
                count.end = int(wall) + window.length
                count.used = 0
            count.used += 1
            within = within and count.used <= window.limit
        return within

    def headers(self, windows: Sequence[Window], style: Literal["lines", "line", "none"]) -> Headers:
        """Return ``X-RateLimit`` (used), ``-Remaining`` and ``-Reset`` (Unix seconds), one value a window."""
        if style == "none":
            return ()
        counts = [self._counts.get(window.length, _Count()) for window in windows]
        used = [b"%d" % count.used for count in counts]
        left = [b"%d" % max(0, window.limit - count.used) for window, count in zip(windows, counts, strict=True)]
        ends = [b"%d" % count.end for count in counts]
        fields = ((b"X-RateLimit", used), (b"X-RateLimit-Remaining", left), (b"X-RateLimit-Reset", ends))
        if style == "line":
            return tuple((name, b", ".join(values)) for name, values in fields if values)
        return tuple((name, value) for name, values in fields for value in values)
