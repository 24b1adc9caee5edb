"""The way to Mangopay, and Mangopay itself: the finding of each kind of failure, and what was retried or read back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.admin.finding import Area, Finding, FindingKind, Level
from sidecar.advice.texts.calls import FAILURES
from sidecar.core.resend import FailureKind
from sidecar.core.text import count
from sidecar.core.tokens.oauth import EDGE_PAGE, RATE_LIMITED, SERVER_ERROR

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sidecar.admin.status import Snapshot

#: So many consecutive failed calls are an outage.
OUTAGE: Final = 3
#: Seconds for which an outage counts as one of now, and for which a recovered call is shown.
OUTAGE_SHOWN_FOR: Final = 300.0
RECOVERED_SHOWN_FOR: Final = 300.0

_BREAKING: Final = (FindingKind.CONNECTIONS_BREAKING, Area.NETWORK)
_KINDS: Final = {
    FailureKind.NO_SLOT: (FindingKind.POOL_EXHAUSTED, Area.SIDECAR),
    FailureKind.RESOLVE: (FindingKind.DNS_FAILING, Area.NETWORK),
    FailureKind.CONNECT: (FindingKind.CONNECT_FAILING, Area.NETWORK),
    FailureKind.EGRESS: (FindingKind.EGRESS_FAILING, Area.NETWORK),
    FailureKind.TLS: (FindingKind.TLS_FAILING, Area.NETWORK),
    FailureKind.DEAD_BEFORE_WRITE: _BREAKING,
    FailureKind.LOST: _BREAKING,
    FailureKind.TIMEOUT: (FindingKind.MANGOPAY_SILENT, Area.MANGOPAY),
    FailureKind.BROKEN: (FindingKind.ANSWERS_BROKEN, Area.NETWORK),
    SERVER_ERROR: (FindingKind.MANGOPAY_ERRORS, Area.MANGOPAY),
    EDGE_PAGE: (FindingKind.EDGE_PAGES, Area.NETWORK),
    RATE_LIMITED: (FindingKind.RATE_LIMITED, Area.RATE_LIMIT),
}


def failure(kind: str, level: Level, text: str) -> Finding:
    """Make the finding of one kind of failure."""
    kind = kind if kind in _KINDS else FailureKind.LOST
    words = FAILURES[kind]
    finding, area = _KINDS[kind]
    return Finding(finding, level, area, words.title, text, words.mend)


def of_upstream(facts: Snapshot) -> Iterator[Finding]:
    """Tell how calls failed: those that fail now first, then those of the last minute."""
    upstream, last = facts.upstream, facts.upstream.last_failure
    now = {last.kind: 0} if upstream.failures and last is not None else {}
    for kind, number in (now | upstream.failures_last_minute).items():
        newest = last is not None and last.kind == kind
        running = upstream.failures if newest else 0
        if running:
            calls = "call" if running == 1 else count(running, "call")
            text = f"The last {calls} failed, and none was answered since."
        else:
            others = "others fail in another way" if upstream.failures else "others were answered"
            text = f"{count(number, 'call')} failed so in the last minute; {others}."
        if newest and last is not None and last.detail:
            text = f"{text} Last seen: {last.detail}."
        outage = running >= OUTAGE and last is not None and facts.time - last.at <= OUTAGE_SHOWN_FOR
        yield failure(kind, Level.CRITICAL if outage else Level.WARNING, text)


_RECOVERED: Final = {
    "token": (
        FindingKind.TOKEN_MENDED,
        Area.TOKEN,
        "A call was retried with a new token",
        (
            "Mangopay answered 401; the sidecar sent call {id} again with a new token, and its app got the answer. If "
            "this happens often, somebody else fetches tokens with the same key."
        ),
    ),
    "connection": (
        FindingKind.CONNECTION_MENDED,
        Area.NETWORK,
        "A call was retried on a new connection",
        "Call {id} was sent again on a new connection, as is safe for it, and its app got the answer.",
    ),
    "idempotency": (
        FindingKind.ANSWER_READ_BACK,
        Area.NETWORK,
        "A stored answer was read back",
        (
            "The answer to call {id} was lost, or refused it as a repeat; its app got the answer that Mangopay has "
            "stored under its Idempotency-Key."
        ),
    ),
}


def of_recovered(facts: Snapshot) -> Iterator[Finding]:
    """Tell of the newest call that was recovered."""
    recovered = facts.last_mended
    if recovered is None or facts.time - recovered.at > RECOVERED_SHOWN_FOR:
        return
    for how in recovered.how:
        kind, area, title, text = _RECOVERED[how]
        yield Finding(kind, Level.INFO, area, title, text.format(id=recovered.id), "")
