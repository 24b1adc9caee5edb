"""Time in which the process stood still is held against nobody (contract section 6).

A process is stopped by a debugger, by ``docker pause``, with the machine that is
frozen or put to sleep. Its clock goes on meanwhile, and so does everybody else:
what they sent lies in the sockets, and nobody could look. Whoever watches
deadlines looks in regular ticks; one that comes far too late tells of such a time.
"""

from __future__ import annotations


class Standstill:
    """Tells how long the process stood still, from the moments at which it looked."""

    __slots__ = ("_last", "_longest", "total")

    def __init__(self, now: float, longest: float) -> None:
        """``now`` is the first look. Looks that are more than ``longest`` seconds apart tell of a standstill."""
        self._last = now
        self._longest = longest
        #: Seconds of standstill until the last look.
        self.total = 0.0

    def look(self, now: float) -> float:
        """Note a look at ``now`` (seconds); return for how long the process stood still since the last one."""
        gap, self._last = now - self._last, now
        if gap <= self._longest:
            return 0.0
        self.total += gap
        return gap
