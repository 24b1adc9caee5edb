"""Rate limits: calls counted in fixed windows, and told in every answer's headers (Mangopay: "Rate limiting")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from sidecar.emulator.messages import Headers

#: The documented windows, in seconds.
WINDOWS: Final = (15 * 60, 30 * 60, 3600, 24 * 3600)


class Rates:
    """The calls of one ClientId."""

    __slots__ = ("_ends", "_used")

    def __init__(self) -> None:
        self._used = [0] * len(WINDOWS)
        self._ends = [0] * len(WINDOWS)

    def count(self, wall: float, limits: tuple[int, ...]) -> bool:
        """Count a call at ``wall`` (Unix seconds); return whether it is within ``limits``."""
        within = True
        for index, limit in enumerate(limits[: len(WINDOWS)]):
            if wall >= self._ends[index]:
                self._ends[index] = int(wall) + WINDOWS[index]
                self._used[index] = 0
            self._used[index] += 1
            within = within and self._used[index] <= limit
        return within

    def headers(self, limits: tuple[int, ...], style: Literal["lines", "line", "none"]) -> Headers:
        """Return ``X-RateLimit`` (used), ``-Remaining`` and ``-Reset`` (Unix seconds), one value a window."""
        if style == "none":
            return ()
        limits = limits[: len(WINDOWS)]
        used = [b"%d" % count for count in self._used[: len(limits)]]
        left = [b"%d" % max(0, limit - count) for limit, count in zip(limits, self._used, strict=False)]
        ends = [b"%d" % end for end in self._ends[: len(limits)]]
        fields = ((b"X-RateLimit", used), (b"X-RateLimit-Remaining", left), (b"X-RateLimit-Reset", ends))
        if style == "line":
            return tuple((name, b", ".join(values)) for name, values in fields)
        return tuple((name, value) for name, values in fields for value in values)
