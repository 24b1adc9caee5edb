"""What became of a write, by what Mangopay has stored under its key.

::

    asked             path    date                        status      verdict
    ----------------  ------  --------------------------  ----------  -------------
    no: without key                                                   without_key
    no: another account's or environment's                            other_account
    no: over a day ago                                                too_old
    nothing stored            (nearly) a day ago                      too_old
    nothing stored            later                                   not_there
    stored            other                                           not_this_call
    stored            same    before the first try                    not_this_call
    stored            same    (nearly) a day after it                 too_old
    stored            same    yet to come                             not_this_call
    stored            same    since then                  2xx         executed
    stored            same    since then                  4xx         refused
    stored            same    since then                  3xx, 5xx    failed
    no answer                                                         not_asked

Only ``executed`` and ``refused`` are certain. A stored 5xx says what the caller would
have got, and not whether Mangopay had executed the request by then.

What can be compared? The log has the path with ids masked, so both are compared
masked: two calls that differ in an id alone cannot be told apart by it, but they
should not have one key. The date is compared as in reading back (contract section 6),
but between the clock of the sidecar's machine then and Mangopay's now; for these a
second is allowed. Whatever does not fit is not this call's answer: a wrong "executed"
would let a payment be forgotten, a wrong "not this call" costs a look. What was stored a
day after the first try may be about a repeat alone: Mangopay had forgotten the first
try by then, and took the key as a new one.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from sidecar.core.error_report import read_error_report
from sidecar.core.redact import mask_path
from sidecar.core.stored_response import UNKNOWN_KEY, comparable, is_older, is_to_come, read_document
from sidecar.core.text import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sidecar.core.reconciliation.writes import UncertainWrite

#: Seconds for which Mangopay keeps a response (page "idempotency").
KEPT: Final = 24 * 3600.0
#: Seconds around that within which it cannot be told whether a response is still kept: a call takes a while.
MARGIN: Final = 300.0
#: Seconds by which the clocks of the sidecar's machine and of this one may differ.
CLOCKS: Final = 1.0
#: Seconds after the last try from which on a response is that to a later one: longer than any call is waited for.
LATER: Final = 120.0
_LONGEST_ID: Final = 64


class VerdictKind(StrEnum):
    """What became of a write."""

    EXECUTED = "executed"
    REFUSED = "refused"
    FAILED = "failed"
    NOT_THERE = "not_there"
    NOT_THIS_CALL = "not_this_call"
    TOO_OLD = "too_old"
    WITHOUT_KEY = "without_key"
    OTHER_ACCOUNT = "other_account"
    NOT_ASKED = "not_asked"


#: Those after which nothing is left to find out.
CERTAIN: Final = frozenset({VerdictKind.EXECUTED, VerdictKind.REFUSED})


class Stored(msgspec.Struct, frozen=True):
    """The response that is stored under a key."""

    status: int
    #: Of the request that it answers; ids are masked.
    path: str
    #: By Mangopay's clock (Unix seconds).
    made_at: float
    #: ``Id`` and ``Status`` of the resource, where it has them.
    resource_id: str | None
    resource_status: str | None
    #: ``Type`` of an error report.
    type: str | None
    #: Seconds by which Mangopay's clock is ahead of ours.
    ahead: float


class NothingStored(msgspec.Struct, frozen=True):
    """Mangopay knows nothing of the key."""


class LookupFailed(msgspec.Struct, frozen=True):
    """It cannot be told what is stored; the reason is for people."""

    reason: str
    #: The next question would end in the same way.
    permanent: bool = False


LookupResult: TypeAlias = Stored | NothingStored | LookupFailed


class Verdict(msgspec.Struct, frozen=True):
    """What became of a write, and all that is known of it."""

    kind: VerdictKind
    #: What is stored, if it is about the verdict.
    stored: Stored | None = None
    #: It answers a later request with the same key: the app's repeat.
    by_later_try: bool = False
    #: For people: why there is no answer, or why it is not this call's.
    reason: str = ""

    @property
    def certain(self) -> bool:
        """Whether nothing is left to find out."""
        return self.kind in CERTAIN


class _Resource(msgspec.Struct):
    id: Any = msgspec.field(name="Id", default=None)
    status: Any = msgspec.field(name="Status", default=None)


def read_lookup(status: int, headers: Mapping[str, str], body: bytes, *, ahead: float | None) -> LookupResult | None:
    """Return what a response of Mangopay's to ``GET …/responses/{key}`` tells; None if it tells nothing of the key.

    ``headers`` by lower-case name; ``ahead`` is its ``Date`` less our clock, None without one.
    """
    if status == 200:
        document = read_document(body)
        if document is None or ahead is None:
            return None
        report = read_error_report((), document.body) if document.status >= 400 else None
        resource = _resource(document.body)
        return Stored(
            document.status,
            mask_path(document.path),
            document.made_at,
            _shown(resource.id),
            _shown(resource.status),
            None if report is None else report.type,
            ahead,
        )
    report = read_error_report([(name.encode(), value.encode()) for name, value in headers.items()], body)
    # A 404 of any type says so, too.
    if report.type is not None and (status == 404 or (status == 400 and report.type == UNKNOWN_KEY)):
        return NothingStored()
    return None


def verdict_unasked(write: UncertainWrite, *, environment: str | None, now: float) -> Verdict | None:
    """Return the verdict on a write that Mangopay need not be asked of; None if it has to be.

    ``environment`` is that of the sidecar that would be asked; None if it is not known. ``now`` is Unix seconds.
    """
    first = write.first
    if first.foreign:
        return Verdict(VerdictKind.OTHER_ACCOUNT, reason="its path names another ClientId than the sidecar's")
    if environment is not None and first.environment != environment:
        return Verdict(
            VerdictKind.OTHER_ACCOUNT,
            reason=f"it was made in {first.environment}, and the sidecar that was asked is for {environment}",
        )
    if first.key is None:
        return Verdict(VerdictKind.WITHOUT_KEY)
    if now - write.ended > KEPT + MARGIN:
        return Verdict(VerdictKind.TOO_OLD)
    return None


def judge(write: UncertainWrite, result: LookupResult, *, now: float) -> Verdict:
    """Return the verdict on a write whose key was asked for; ``now`` is Unix seconds by our clock."""
    if isinstance(result, LookupFailed):
        return Verdict(VerdictKind.NOT_ASKED, reason=result.reason)
    if isinstance(result, NothingStored):
        # The response to the first try may be forgotten already, and then a later one was refused because of it.
        forgotten = now - write.first.started > KEPT - MARGIN
        return Verdict(VerdictKind.TOO_OLD if forgotten else VerdictKind.NOT_THERE)
    return _judge_stored(write, result, now)


def _judge_stored(write: UncertainWrite, stored: Stored, now: float) -> Verdict:
    if comparable(stored.path) != comparable(write.first.path):
        reason = f"its key was used for {printable(stored.path)}"
        return Verdict(VerdictKind.NOT_THIS_CALL, stored, reason=reason)
    if is_older(stored.made_at, write.first.started + stored.ahead - CLOCKS):
        reason = "its key was used before, and the answer is that to the earlier call"
        return Verdict(VerdictKind.NOT_THIS_CALL, stored, reason=reason)
    made_at = stored.made_at - stored.ahead
    if is_to_come(made_at, now):
        return Verdict(VerdictKind.NOT_THIS_CALL, stored, reason="its answer has a date that is yet to come")
    by_later_try = made_at > write.ended + LATER
    if made_at - write.first.started > KEPT - MARGIN:
        reason = "the answer to the first try may have been forgotten by then"
        return Verdict(VerdictKind.TOO_OLD, stored, by_later_try, reason)
    return Verdict(_kind(stored.status), stored, by_later_try)


def _kind(status: int) -> VerdictKind:
    if status < 300:
        return VerdictKind.EXECUTED
    return VerdictKind.REFUSED if 400 <= status < 500 else VerdictKind.FAILED


def _resource(body: bytes) -> _Resource:
    try:
        return msgspec.json.decode(body, type=_Resource)
    except (ValueError, RecursionError):
        return _Resource()


def _shown(value: object) -> str | None:
    return printable(value, _LONGEST_ID) if isinstance(value, str) and value else None
