"""Time, as the rest of the sidecar may see it."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """A clock that can be injected, so that tests move time instead of waiting for it."""

    def now(self) -> float:
        """Seconds on a monotonic clock that also runs while the machine sleeps (CLOCK_BOOTTIME)."""
        ...

    def wall(self) -> float:
        """Seconds since the Unix epoch."""
        ...

    async def sleep_until(self, deadline: float) -> None:
        """Return once :meth:`now` has reached ``deadline`` (seconds)."""
        ...
