"""What the last calls tell: see :class:`sidecar.telemetry.recent.RecentCalls`. Moments are of ``Clock.now``."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sidecar.telemetry.record import CallRecord


class FailedCall(NamedTuple):
    """A call that Mangopay did not answer as it should, and why.

    ``kind`` is a word of FailureKind, EDGE_PAGE, or one of :mod:`sidecar.telemetry.recent`.
    """

    record: CallRecord
    kind: str


class ForeignCalls(NamedTuple):
    """Calls for another ClientId, with less than ``recent.FOREIGN_SHOWN_FOR`` between one and the next."""

    calls: int
    #: When the first one ended (``Clock.now``).
    since: float
    newest: CallRecord


class DeprecatedCalls(msgspec.Struct):
    """Calls to one endpoint that Mangopay calls deprecated, since the start."""

    calls: int
    #: When the newest one ended (``Clock.now``).
    at: float


class UpstreamHealth(NamedTuple):
    """What the last calls tell about upstream. Moments are of ``Clock.now``."""

    #: The end of the newest call that Mangopay answered as it should.
    answered_at: float | None
    #: Consecutive failed calls since then.
    failures: int
    last_failure: FailedCall | None
    #: Failures of the last minute by kind; :data:`~sidecar.telemetry.recent.FAILURES` together at most.
    last_minute: Mapping[str, int]
