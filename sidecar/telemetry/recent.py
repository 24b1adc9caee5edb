"""The last calls, and what they tell about the way to Mangopay: for the status document and the page.

Most calls only pass through one short function. Errors, failures of upstream and recovered calls take
more work, and everything else is worked out when somebody asks.
"""

from __future__ import annotations

from collections import Counter, deque
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from sidecar.core.errors import ErrorCode, Outcome
from sidecar.core.resend import FailureKind
from sidecar.core.tokens.oauth import EDGE_PAGE, RATE_LIMITED, SERVER_ERROR
from sidecar.telemetry.recent_facts import DeprecatedCalls, FailedCall, ForeignCalls, UpstreamHealth

if TYPE_CHECKING:
    from sidecar.core.deprecation import Deprecation
    from sidecar.telemetry.record import CallRecord

#: Calls, errors of the sidecar's own (and as many with the outcome unknown), and failures of upstream that are kept.
#: A record takes some 750 bytes with its strings, and 3.8 KiB at the worst (benchmarks/page_cost.py measures both).
CALLS: Final = 200
ERRORS: Final = 20
FAILURES: Final = 100
#: Characters of a path that are kept: all that is ever shown of one (``core.redact``), and one more.
_LONGEST_PATH: Final = 257
#: Seconds that count as "the last minute".
_MINUTE: Final = 60.0

#: Seconds for which a call for another ClientId is told, and counted together with the next one.
FOREIGN_SHOWN_FOR: Final = 300.0

#: Refusals that have a finding of their own, and may come by the thousand.
_TOLD_APART: Final = (ErrorCode.CLIENT_ID_MISMATCH, ErrorCode.RATE_RESERVED)


class RecentCalls:
    """Keeps the last finished calls; an observer of :class:`~sidecar.telemetry.recorder.CallRecorder`."""

    __slots__ = (
        *("_answered_at", "_calls", "_errors", "_failures", "_running", "_unknown"),
        *("deprecated", "foreign", "recovered", "total"),
    )

    def __init__(self, *, calls: int = CALLS, errors: int = ERRORS, failures: int = FAILURES) -> None:
        self._calls: deque[CallRecord] = deque(maxlen=calls)
        self._errors: deque[CallRecord] = deque(maxlen=errors)
        # Apart, so that no other error pushes out one whose payment somebody has to look up.
        self._unknown: deque[CallRecord] = deque(maxlen=errors)
        self._failures: deque[FailedCall] = deque(maxlen=failures)
        self._running = 0
        # That of the newest response before the calls that are none; the calls themselves tell of later ones.
        self._answered_at: float | None = None
        #: Calls observed so far.
        self.total = 0
        #: The newest call that was recovered.
        self.recovered: CallRecord | None = None
        #: The newest calls for another ClientId, however long ago.
        self.foreign: ForeignCalls | None = None
        #: By the row of the table; there are few.
        self.deprecated: dict[Deprecation, DeprecatedCalls] = {}

    def observe(self, record: CallRecord) -> None:
        """Keep the record of a call that is over."""
        self.total += 1
        if len(record.path) > _LONGEST_PATH:
            record.path = record.path[:_LONGEST_PATH]
        if self._running or record.status >= 429 or record.error is not None or record.recovered:
            self._look_at(record)
        if record.foreign:
            self._count_foreign(record)
        if (row := record.deprecation) is not None:
            known = self.deprecated.get(row)
            if known is None:
                known = self.deprecated[row] = DeprecatedCalls(0, 0.0)
            known.calls += 1
            known.at = record.ended
        if (record.source != "upstream" or not 0 < record.status < 429) and self._calls:
            self._keep_moment(self._calls[-1])
        self._calls.append(record)

    def newest_first(self, most: int | None = None) -> list[CallRecord]:
        """Return the calls kept, or the newest ``most`` of them."""
        calls = list(self._calls)
        calls.reverse()
        return calls if most is None else calls[:most]

    def errors_newest_first(self) -> list[CallRecord]:
        """Return the newest calls that the sidecar ended itself, but those that have a finding of their own.

        Those with the outcome ``unknown`` are only ever pushed out by others of that outcome.
        """
        return sorted((*reversed(self._errors), *reversed(self._unknown)), key=attrgetter("ended"), reverse=True)

    def health(self, now: float) -> UpstreamHealth:
        """Judge upstream at ``now`` (``Clock.now``)."""
        recent = [failure.kind for failure in self._failures if failure.record.ended > now - _MINUTE]
        return UpstreamHealth(
            answered_at=self._answered_at if self._running else self._last_response(),
            failures=self._running,
            last_failure=self._failures[-1] if self._failures else None,
            last_minute=Counter(recent),
        )

    def _look_at(self, record: CallRecord) -> None:
        if record.outcome is Outcome.UNKNOWN and record.error is not None:
            self._unknown.append(record)
        elif record.error is not None and record.error not in _TOLD_APART:
            self._errors.append(record)
        if record.recovered:
            self.recovered = record
        kind = failure_kind(record)
        if kind is not None:
            if not self._running:
                self._answered_at = self._last_response()
            self._running += 1
            self._failures.append(FailedCall(record, kind))
        elif self._running and _is_response(record):
            self._running = 0

    def _keep_moment(self, record: CallRecord) -> None:
        """Keep when the newest response came, which calls that are none may push out."""
        if _is_response(record):
            self._answered_at = record.ended

    def _count_foreign(self, record: CallRecord) -> None:
        known, now = self.foreign, record.ended
        if known is None or now - known.newest.ended > FOREIGN_SHOWN_FOR:
            self.foreign = ForeignCalls(1, now, record)
        else:
            self.foreign = ForeignCalls(known.calls + 1, known.since, record)

    def _last_response(self) -> float | None:
        for record in reversed(self._calls):
            if _is_response(record):
                return record.ended
        return self._answered_at


#: What the caller sees of a failure that the timeline does not name: the response broke off within its body.
_BROKE_OFF: Final = {
    ErrorCode.UPSTREAM_UNREACHABLE: FailureKind.LOST.value,
    ErrorCode.UPSTREAM_TIMEOUT: FailureKind.TIMEOUT.value,
}
_KINDS: Final = frozenset(kind.value for kind in FailureKind)


def failure_kind(record: CallRecord) -> str | None:
    """Return how upstream failed this call; None if it did not, or if that cannot be known."""
    if record.error is None:
        if record.source != "upstream" or record.status < 429:
            return None
        if (record.status == 429 or record.status >= 500) and record.report is not None and record.report.is_page:
            return EDGE_PAGE
        if record.status == 429:
            return RATE_LIMITED
        return SERVER_ERROR if record.status >= 500 else None
    calls = [attempt for attempt in record.timeline if attempt.purpose == "call"]
    if not calls:
        return None
    last = calls[-1]
    if isinstance(last.result, int):
        if record.own_failure:
            return None
        return _BROKE_OFF.get(record.error)
    return last.result if last.result in _KINDS else None


def _is_response(record: CallRecord) -> bool:
    """Whether Mangopay answered the call as it should."""
    return record.source == "upstream" and record.error is None and 0 < record.status < 500 and record.status != 429
