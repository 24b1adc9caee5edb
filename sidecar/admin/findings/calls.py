"""Calls that the sidecar refused itself, and those of which nobody knows what became."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from sidecar.admin.finding import Area, Finding, FindingKind, Level
from sidecar.advice.texts.calls import DIAGNOSES, READ_BACK_SCOPE
from sidecar.core.causes import Cause
from sidecar.core.text import count, duration, sentence
from sidecar.telemetry.recent import ERRORS, FOREIGN_SHOWN_FOR

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sidecar.admin.status import Snapshot

#: Seconds for which a refused caller, and an unknown outcome, are told.
REFUSED_SHOWN_FOR: Final = 300.0
UNKNOWN_SHOWN_FOR: Final = 900.0
#: Seconds for which a call to a deprecated endpoint is told.
DEPRECATED_SHOWN_FOR: Final = 86_400.0
#: From so many refusals on it is a warning: fewer may be one person's mistake.
SEVERAL: Final = 3

#: What has to be changed, by the error code of the refused call.
_REFUSED: Final = {
    "bad_request": "correct what builds the request: the answer's Message says what is malformed",
    "host_not_allowed": "add the name to SIDECAR_LISTEN_ALLOWED_HOSTS (the log names it)",
    "browser_not_allowed": "call from a server: web pages may not",
    "policy_denied": "if the call is meant to be allowed, change policy.allow, policy.deny or policy.read_only",
    "caller_not_allowed": "give the app SIDECAR_LISTEN_CALLER_KEY as its API key; on the Unix socket, add its user to "
    "SIDECAR_LISTEN_ALLOWED_UIDS",
    "request_timeout": "see what holds the caller up while it sends",
    "body_too_large": "send less, or raise SIDECAR_LISTEN_MAX_BODY",
    "expectation_failed": "send no Expect but 100-continue",
    "headers_too_large": "look for a cookie or header that grows",
    "embedded_key_missing": "set SIDECAR_MANGOPAY_EMBEDDED_API_KEY",
}


def of_foreign_calls(facts: Snapshot) -> Iterator[Finding]:
    """Tell of calls whose path names another ClientId: without this they look like a bad token or key."""
    foreign = facts.foreign_calls
    if foreign is None or facts.time - foreign.at > FOREIGN_SHOWN_FOR:
        return
    became = (
        "It was refused here, and not sent to Mangopay."
        if foreign.refused
        else "It was forwarded, as mangopay.foreign_client_ids says; its 401 says nothing of the token."
    )
    yield Finding(
        FindingKind.CLIENT_ID_MISMATCH,
        Level.WARNING,
        Area.CALLS,
        "An app uses another ClientId",
        f"Calls for another ClientId: {foreign.calls} within {duration(foreign.at - foreign.since)}, the newest "
        f"{foreign.method} {foreign.path} with the id {foreign.id}. {became}",
        f"Set the app's ClientId to {facts.client_id}, or have it write {facts.proxy.client_segment} there. Set "
        "SIDECAR_MANGOPAY_CLIENT_ID_ALIASES to * to have every ClientId replaced.",
        foreign.at + FOREIGN_SHOWN_FOR,
        "forgotten",
    )


def of_deprecated_calls(facts: Snapshot) -> Iterator[Finding]:
    """Tell which endpoints are called that Mangopay has deprecated, and what to call instead."""
    recent = [each for each in facts.deprecated_calls if facts.time - each.at <= DEPRECATED_SHOWN_FOR]
    if not recent:
        return
    told = "; ".join(f"{each.endpoint} ({count(each.calls, 'call')}) {each.announced}" for each in recent)
    instead = [f"{each.successor} in place of {each.endpoint}" for each in recent if each.successor]
    yield Finding(
        FindingKind.DEPRECATED_CALLS,
        Level.INFO,
        Area.CALLS,
        "An app calls what Mangopay has deprecated",
        f"{told}. Such calls are forwarded as any other.",
        f"Call {'; '.join(instead)}." if instead else "Call something else: nothing takes their place.",
    )


def of_calls(facts: Snapshot) -> Iterator[Finding]:
    """Tell what was wrong with calls that ended here."""
    unknown = [e for e in facts.last_errors if e.outcome == "unknown" and facts.time - e.at <= UNKNOWN_SHOWN_FOR]
    if unknown:
        number = count(len(unknown), "call") if len(unknown) < ERRORS else f"{len(unknown)} calls or more"
        yield Finding(
            FindingKind.OUTCOMES_UNKNOWN,
            Level.WARNING,
            Area.CALLS,
            "It is not known whether Mangopay executed some calls",
            f"{number} of the last 15 minutes ended without an answer after they had been sent, "
            f"the newest with the id {unknown[0].id}.",
            "Find out what became of them before you repeat any: mangopay-sidecar reconcile reads the log and tells, "
            "for 24 hours. Only a repeat with the same Idempotency-Key is safe.",
        )
    if facts.read_back_forbidden:
        yield Finding(
            FindingKind.READ_BACK_FORBIDDEN,
            Level.WARNING,
            Area.KEY,
            "The API key may not read lost answers back",
            f"Mangopay answered 403 to reading a stored answer: the key lacks the scope {READ_BACK_SCOPE}. Keyed POSTs "
            "whose answer is lost end as unknown, although Mangopay could tell what became of them.",
            sentence(DIAGNOSES[Cause.READ_BACK_FORBIDDEN].mend),
        )
    recent = [e.code for e in facts.last_errors if e.code in _REFUSED and facts.time - e.at <= REFUSED_SHOWN_FOR]
    if recent:
        codes = Counter(recent).most_common()
        yield Finding(
            FindingKind.CALLERS_REFUSED,
            Level.WARNING if len(recent) >= SEVERAL else Level.INFO,
            Area.CALLS,
            "Callers are refused by the sidecar itself",
            f"In the last 5 minutes: {', '.join(f'{code} ({count})' for code, count in codes)}.",
            sentence(_REFUSED[codes[0][0]]),
        )
