"""The way to Mangopay, and Mangopay itself: each kind of failure told apart, and what was mended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from sidecar.admin.status import Area, Finding, FindingKind, Level
from sidecar.admin.status_text import count, sentence
from sidecar.advice.texts import DIAGNOSES
from sidecar.core.causes import Cause
from sidecar.core.resend import FailureKind
from sidecar.core.tokens.oauth import EDGE_PAGE
from sidecar.telemetry.recent import RATE_LIMITED, SERVER_ERROR

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sidecar.admin.status import Snapshot

#: Calls that fail running until that is an outage and no accident.
OUTAGE: Final = 3
#: Seconds for which an outage counts as one of now, and for which a mended call is told.
OUTAGE_TOLD: Final = 300.0
MENDED_TOLD: Final = 300.0

_CHECK: Final = "The command mangopay-sidecar check looks at each step of the way and names the one that fails."


class _Row(NamedTuple):
    """What one kind of failure means."""

    kind: FindingKind
    area: Area
    title: str
    mend: str


def _mend(cause: Cause) -> str:
    return sentence(DIAGNOSES[cause].mend)


_BREAKING: Final = _Row(
    FindingKind.CONNECTIONS_BREAKING,
    Area.NETWORK,
    "Connections to Mangopay break",
    f"{_mend(Cause.CONNECTION_LOST)} {_CHECK}",
)
_FAILURES: Final = {
    FailureKind.RESOLVE: _Row(
        FindingKind.DNS_FAILING,
        Area.NETWORK,
        "Mangopay's host name cannot be resolved",
        f"{_mend(Cause.UNKNOWN_HOST)} {_CHECK}",
    ),
    FailureKind.CONNECT: _Row(
        FindingKind.CONNECT_FAILING,
        Area.NETWORK,
        "Mangopay cannot be connected to",
        f"{_mend(Cause.CONNECTION_REFUSED)} {_mend(Cause.CONNECT_TIMEOUT)} {_CHECK}",
    ),
    FailureKind.EGRESS: _Row(
        FindingKind.EGRESS_FAILING,
        Area.NETWORK,
        "The egress proxy gives no way to Mangopay",
        f"{_mend(Cause.EGRESS_REFUSED)} {_CHECK}",
    ),
    FailureKind.TLS: _Row(
        FindingKind.TLS_FAILING,
        Area.NETWORK,
        "There is no trusted TLS connection to Mangopay",
        f"Check the certificates of section [tls], and this machine's clock. {_CHECK}",
    ),
    FailureKind.DEAD_BEFORE_WRITE: _BREAKING,
    FailureKind.LOST: _BREAKING,
    FailureKind.TIMEOUT: _Row(
        FindingKind.MANGOPAY_SILENT,
        Area.MANGOPAY,
        "Mangopay does not answer in time",
        f"{_mend(Cause.NO_ANSWER)} Before a write is repeated, find out whether it was executed.",
    ),
    FailureKind.BROKEN: _Row(
        FindingKind.ANSWERS_BROKEN,
        Area.NETWORK,
        "What answers in Mangopay's place is not valid HTTP",
        f"{_mend(Cause.ANSWER_BROKEN)} Look at the proxies and gateways in between.",
    ),
    SERVER_ERROR: _Row(
        FindingKind.MANGOPAY_ERRORS,
        Area.MANGOPAY,
        "Mangopay answers with errors of its own",
        _mend(Cause.SERVER_ERROR),
    ),
    EDGE_PAGE: _Row(
        FindingKind.EDGE_PAGES,
        Area.NETWORK,
        "The edge before Mangopay answers with web pages",
        f"{_mend(Cause.EDGE_PAGE)} {_CHECK}",
    ),
    RATE_LIMITED: _Row(
        FindingKind.RATE_LIMITED,
        Area.RATE_LIMIT,
        "Mangopay answers 429: too many calls",
        "Call less often until the window starts anew; the list of calls shows who calls what.",
    ),
}


def failure(kind: str, level: Level, text: str) -> Finding:
    """Make the finding of one kind of failure."""
    if kind == FailureKind.NO_SLOT:
        return pool_exhausted(level, text)
    row = _FAILURES.get(kind, _BREAKING)
    return Finding(row.kind, level, row.area, row.title, text, row.mend)


def of_upstream(facts: Snapshot) -> Iterator[Finding]:
    """Tell how calls failed: those that fail now first, then those of the last minute."""
    upstream, last = facts.upstream, facts.upstream.last_failure
    now = {last.kind: 0} if upstream.failures and last is not None else {}
    for kind, number in (now | upstream.failures_last_minute).items():
        newest = last is not None and last.kind == kind
        running = upstream.failures if newest else 0
        if running:
            text = f"The last {count(running, 'call')} failed, and none was answered since."
        else:
            others = "others fail in another way" if upstream.failures else "others were answered"
            text = f"{count(number, 'call')} failed so in the last minute; {others}."
        if newest and last is not None and last.detail:
            text = f"{text} Last seen: {last.detail}."
        outage = running >= OUTAGE and last is not None and facts.time - last.at <= OUTAGE_TOLD
        yield failure(kind, Level.CRITICAL if outage else Level.WARNING, text)


_MENDED: Final = {
    "token": (
        FindingKind.TOKEN_MENDED,
        Area.TOKEN,
        "A revoked token was mended",
        (
            "Mangopay answered 401; the sidecar sent call {id} again with a new token, and its app got the answer. If "
            "this happens often, somebody else fetches tokens with the same key."
        ),
    ),
    "connection": (
        FindingKind.CONNECTION_MENDED,
        Area.NETWORK,
        "A broken connection was mended",
        "Call {id} was sent again on a new connection, as is safe for it, and its app got the answer.",
    ),
    "idempotency": (
        FindingKind.ANSWER_READ_BACK,
        Area.NETWORK,
        "A lost answer was read back",
        (
            "The connection broke before the answer to call {id} was there; Mangopay had executed it, and its app got "
            "the stored answer."
        ),
    ),
}


def of_mended(facts: Snapshot) -> Iterator[Finding]:
    """Tell of the newest call that was mended."""
    mended = facts.last_mended
    if mended is None or facts.time - mended.at > MENDED_TOLD:
        return
    for how in mended.how:
        kind, area, title, text = _MENDED[how]
        yield Finding(kind, Level.INFO, area, title, text.format(id=mended.id), "")


def pool_exhausted(level: Level, text: str) -> Finding:
    """Make the finding that calls wait for a connection."""
    return Finding(
        FindingKind.POOL_EXHAUSTED,
        level,
        Area.SIDECAR,
        "All connections to Mangopay are in use",
        text,
        "Either Mangopay is slower than usual (see the latency), or there are more calls: raise "
        "SIDECAR_UPSTREAM_POOL_SIZE.",
    )
