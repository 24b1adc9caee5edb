"""The last ten minutes in samples of five seconds each, for the sparklines of the status page.

A sampler turns the difference of the metrics since its last look into one
sample, so that no call pays for it.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sidecar.core.clock import Clock
    from sidecar.telemetry.metrics import Metrics, Reading

#: Seconds between two samples, and for how long one is kept.
INTERVAL: Final = 5.0
KEPT: Final = 600.0
_MOST: Final = int(KEPT / INTERVAL)


class HistoryEntry(NamedTuple):
    """The calls that ended within some seconds. Durations are seconds, None if there was no call."""

    #: The end of the sample (``Clock.now``), and its length: longer than usual after the machine slept.
    at: float
    seconds: float
    calls: int
    #: Errors of the sidecar's own, and 4xx and 5xx of Mangopay's.
    errors: int
    client_errors: int
    server_errors: int
    recovered: int
    #: Read from the histogram's buckets, so as exact as these are wide.
    p50: float | None
    p95: float | None


class History:
    """Keeps the samples; :meth:`run` takes them."""

    def __init__(self, metrics: Metrics, clock: Clock, settle: Callable[[], None] = lambda: None) -> None:
        """``settle`` is called before the metrics are read: it has them count every call that has ended."""
        self._settle: Final = settle
        self._metrics: Final = metrics
        self._clock: Final = clock
        self._samples: Final[deque[HistoryEntry]] = deque(maxlen=_MOST)
        self._last = metrics.reading()
        self._last_at = clock.now()
        #: Samples taken so far.
        self.taken = 0

    def samples(self) -> list[HistoryEntry]:
        """Return the samples of the last ten minutes, oldest first."""
        since = self._clock.now() - KEPT
        return [sample for sample in self._samples if sample.at > since]

    async def run(self) -> None:
        """Take a sample every five seconds, for ever."""
        while True:
            await self._clock.sleep_until(self._clock.now() + INTERVAL)
            self.sample()

    def sample(self) -> None:
        """Take a sample of what happened since the last one; none if no time has passed."""
        now = self._clock.now()
        seconds = now - self._last_at
        if seconds <= 0:
            return
        self._settle()
        before, after = self._last, self._metrics.reading()
        self._last, self._last_at = after, now
        self.taken += 1
        self._samples.append(_difference(before, after, now, seconds))


def _difference(before: Reading, after: Reading, at: float, seconds: float) -> HistoryEntry:
    counts = [later - earlier for earlier, later in zip(before.durations, after.durations, strict=True)]
    return HistoryEntry(
        at=at,
        seconds=seconds,
        calls=sum(counts),
        errors=after.errors - before.errors,
        client_errors=after.client_errors - before.client_errors,
        server_errors=after.server_errors - before.server_errors,
        recovered=after.recovered - before.recovered,
        p50=quantile(after.bounds, counts, 0.5),
        p95=quantile(after.bounds, counts, 0.95),
    )


def quantile(bounds: Sequence[float], counts: Sequence[int], share: float) -> float | None:
    """Return the value below which ``share`` (0 to 1) of the observations lie, as far as buckets can tell.

    ``bounds`` are the buckets' upper ends, the first begins at 0; ``counts`` has one more, for the rest. Within a
    bucket observations count as spread evenly, and in the last one as lying at its lower end, as in PromQL's
    ``histogram_quantile``. None if there are none.
    """
    rank = share * sum(counts)
    if not rank:
        return None
    lower = seen = 0.0
    for upper, count in zip(bounds, counts, strict=False):
        if count and seen + count >= rank:
            return lower + (upper - lower) * (rank - seen) / count
        seen += count
        lower = upper
    return bounds[-1]
