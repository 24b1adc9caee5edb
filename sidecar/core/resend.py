"""What may be sent a second time when upstream fails (contract section 6).

Money may move, so a write is never delivered twice unless Mangopay answered
401 to the first delivery. :data:`TABLE` is that rule, one row for each thing
that can happen; :func:`decide` only looks it up and counts. A delivery is an
attempt of the call on which at least one byte of the request was written.
"""

from __future__ import annotations

from enum import Enum, StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from sidecar.core.errors import ErrorCode, Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping


class FailureKind(StrEnum):
    """How an attempt to send a request and read its response failed."""

    NO_SLOT = "no_slot"
    RESOLVE = "resolve"
    EGRESS = "egress"
    CONNECT = "connect"
    TLS = "tls"
    DEAD_BEFORE_WRITE = "dead_before_write"
    LOST = "lost"
    TIMEOUT = "timeout"
    BROKEN = "broken"


class Sent(StrEnum):
    """How much of the request was handed to the connection. From PART on, upstream may have all that was written."""

    NOTHING = "nothing"
    PART = "part"
    ALL = "all"


class AttemptFailure(msgspec.Struct, frozen=True):
    """One failed attempt.

    ``reused`` says that the connection had been idle in the pool before;
    ``response_started`` that at least one byte came back, a 1xx included.
    """

    kind: FailureKind
    sent: Sent
    reused: bool
    response_started: bool


class UpstreamError(Exception):
    """An attempt to exchange a request for a response failed.

    ``detail`` is for the log: the reason in plain words, never bytes of upstream or of the request.
    """

    def __init__(self, failure: AttemptFailure, detail: str) -> None:
        super().__init__(f"{failure.kind}: {detail}")
        self.failure: Final = failure
        self.detail: Final = detail


class Verdict(NamedTuple):
    """What to do, and what the caller is told if it is not resent (or if the resend fails the same way)."""

    resend: bool
    code: ErrorCode
    outcome: Outcome


class Event(Enum):
    """What happened, in the words of the table."""

    NO_SLOT = "no connection slot became free"
    UNREACHABLE = "resolving, connecting or TLS failed before a byte of the request"
    DEAD_POOLED = "a pooled connection was dead before a byte was written"
    LOST = "the connection broke after a request byte, before any response byte"
    NO_RESPONSE = "no response in time"
    BROKEN = "broken response head or framing"


class Resend(Enum):
    """When a row allows the request to be sent again."""

    NEVER = "never"
    ONCE = "once"
    ONCE_IF_REUSED = "once, if the connection was a reused one"


class Row(NamedTuple):
    """One row: whether a safe request or a write is resent, and what its caller sees if not."""

    safe: Resend
    write: Resend
    code: ErrorCode
    outcome: Outcome


_UNREACHABLE: Final = ErrorCode.UPSTREAM_UNREACHABLE

#: Contract section 6, row by row.
TABLE: Final[Mapping[Event, Row]] = MappingProxyType(
    {
        # event               GET, HEAD               every other method   code                         outcome
        Event.NO_SLOT: Row(Resend.NEVER, Resend.NEVER, ErrorCode.OVERLOADED, Outcome.NOT_SENT),
        Event.UNREACHABLE: Row(Resend.ONCE, Resend.ONCE, _UNREACHABLE, Outcome.NOT_SENT),
        Event.DEAD_POOLED: Row(Resend.ONCE, Resend.ONCE, _UNREACHABLE, Outcome.NOT_SENT),
        Event.LOST: Row(Resend.ONCE_IF_REUSED, Resend.NEVER, _UNREACHABLE, Outcome.UNKNOWN),
        Event.NO_RESPONSE: Row(Resend.NEVER, Resend.NEVER, ErrorCode.UPSTREAM_TIMEOUT, Outcome.UNKNOWN),
        Event.BROKEN: Row(Resend.NEVER, Resend.NEVER, _UNREACHABLE, Outcome.UNKNOWN),
    }
)

#: The methods that may be delivered twice without harm. Methods are case-sensitive (RFC 9110 section 9.1);
#: OPTIONS and whatever else upstream may know count as writes, because nothing is lost by that.
SAFE_METHODS: Final = frozenset({"GET", "HEAD"})

#: However a call goes, upstream sees its request at most this often.
MAX_DELIVERIES: Final = 2

#: An attempt that failed before a byte was written may be repeated this often in one call.
MAX_CONNECT_RETRIES: Final = 1

_BEFORE_A_BYTE: Final[Mapping[FailureKind, Event]] = MappingProxyType(
    {
        FailureKind.NO_SLOT: Event.NO_SLOT,
        FailureKind.RESOLVE: Event.UNREACHABLE,
        FailureKind.EGRESS: Event.UNREACHABLE,
        FailureKind.CONNECT: Event.UNREACHABLE,
        FailureKind.TLS: Event.UNREACHABLE,
        FailureKind.DEAD_BEFORE_WRITE: Event.DEAD_POOLED,
    }
)


def classify(failure: AttemptFailure) -> Event:
    """Find the row that ``failure`` belongs to; one that contradicts itself is read as the worst that it may mean."""
    if failure.kind is FailureKind.TIMEOUT:
        return Event.NO_RESPONSE
    if failure.response_started:
        return Event.BROKEN
    if failure.sent is Sent.NOTHING:
        return _BEFORE_A_BYTE.get(failure.kind, Event.BROKEN)
    return Event.LOST if failure.kind is FailureKind.LOST else Event.BROKEN


def decide(failure: AttemptFailure, method: str, deliveries: int, connect_retries: int) -> Verdict:
    """Say whether the call may be sent again after ``failure``, and what its caller sees otherwise.

    ``deliveries`` counts the attempts of this call on which at least one byte
    was written, the failed one included; ``connect_retries`` how often the call
    was repeated before, for whatever reason.
    """
    event = classify(failure)
    row = TABLE[event]
    rule = row.safe if method in SAFE_METHODS else row.write
    if failure.sent is not Sent.NOTHING:
        deliveries = max(deliveries, 1)
    if rule is Resend.ONCE:
        allowed = connect_retries < MAX_CONNECT_RETRIES
    else:
        allowed = rule is Resend.ONCE_IF_REUSED and failure.reused
    resend = allowed and deliveries < MAX_DELIVERIES
    if deliveries and row.outcome is Outcome.NOT_SENT:
        # This attempt wrote nothing, but an earlier one of the same call did.
        return Verdict(resend, _UNREACHABLE, Outcome.UNKNOWN)
    return Verdict(resend, row.code, row.outcome)
