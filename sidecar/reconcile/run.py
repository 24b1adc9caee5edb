"""From the calls in the log to the report: which writes there are, what is looked up, what is said of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.core.reconciliation.verdicts import judge, verdict_unasked
from sidecar.core.reconciliation.writes import group_writes
from sidecar.reconcile.report import Document, document_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.core.clock import Clock
    from sidecar.core.reconciliation.verdicts import Verdict
    from sidecar.core.reconciliation.writes import UncertainWrite
    from sidecar.reconcile.logs import Reading
    from sidecar.reconcile.lookup import ResponseLookup


def reconcile(
    reading: Reading,
    lookup: ResponseLookup,
    *,
    clock: Clock,
    since: float | None = None,
    environment: str | None = None,
    progress: Callable[[int, int], None] = lambda _asked, _all: None,
) -> Document:
    """Return what became of the writes in ``reading``.

    ``since`` is seconds: writes of which the last try ended before are left out, and their calls counted.
    ``environment`` is the sidecar's, if the configuration tells it; else the sidecar is asked for it. ``progress`` is
    told how many keys have been asked for, of how many.
    """
    now = clock.wall()
    earliest = None if since is None else now - since
    told = group_writes(reading.calls)
    # A write's first try may have been earlier: its answer is to be known as the write's own.
    writes = [each for each in told if earliest is None or each.ended >= earliest]
    left_out = sum(len(each.tries) for each in told) - sum(len(each.tries) for each in writes)
    judged: list[tuple[UncertainWrite, Verdict]] = []
    open_writes: list[UncertainWrite] = []
    if any(verdict_unasked(write, environment=environment, now=now) is None for write in writes):
        environment = lookup.environment() or environment
    for write in writes:
        if (verdict := verdict_unasked(write, environment=environment, now=now)) is not None:
            judged.append((write, verdict))
        else:
            open_writes.append(write)
    for number, write in enumerate(open_writes):
        progress(number, len(open_writes))
        key = write.first.key
        assert key is not None  # noqa: S101 - without one there is a verdict already
        judged.append((write, judge(write, lookup.look_up(key), now=clock.wall())))
    progress(len(open_writes), len(open_writes))
    return document_of(judged, reading, left_out=left_out, since=earliest)
