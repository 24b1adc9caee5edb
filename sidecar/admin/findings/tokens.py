"""Tokens and keys: latched, not to be had, about to end, or refreshed in vain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.admin.finding import Area, Finding, FindingKind, Level
from sidecar.admin.findings.upstream import failure
from sidecar.advice.texts.tokens import explain
from sidecar.core.text import capital, count
from sidecar.core.tokens.oauth import ELSEWHERE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sidecar.admin.status import Snapshot
    from sidecar.tokens.status import TokenStatus

#: Paths that a finding names at most.
_PATHS_SHOWN: Final = 3

_LATCHED: Final = {
    "lockout": (FindingKind.LOCKED_OUT, Area.LOCK),
    "credentials": (FindingKind.KEY_REFUSED, Area.KEY),
    "forbidden": (FindingKind.ADDRESS_REFUSED, Area.NETWORK),
    "certificate": (FindingKind.CERTIFICATE_REFUSED, Area.CERTIFICATE),
}
_REFUSED: Final = (FindingKind.TOKEN_REQUEST_REFUSED, Area.KEY)


def of_tokens(facts: Snapshot) -> Iterator[Finding]:
    """Tell of each credential why it has no token, or will have none soon."""
    for token in facts.tokens:
        if token.latch_cause is not None:
            yield _latched(token, facts.time)
        elif token.failures:
            yield from _not_fetched(token)
        else:
            yield from _idle(token, facts.time)
        if token.paused_until is not None:
            yield Finding(
                FindingKind.REFRESHES_FUTILE,
                Level.WARNING,
                Area.TOKEN,
                _of(token, "Mangopay answers 401, and new tokens do not help"),
                f"401s from {_paths(token.paused_paths)} are passed on as they are, and no token is fetched for them: "
                "too many token requests would get the account locked. Other paths are not held up.",
                "Look at those paths: may this key use them?",
                token.paused_until,
                "401s may refresh the token again",
            )


def _paths(paths: tuple[str, ...]) -> str:
    """Return some paths, masked as they are, for a sentence."""
    shown = ", ".join(paths[:_PATHS_SHOWN])
    return shown if len(paths) <= _PATHS_SHOWN else f"{shown} and {len(paths) - _PATHS_SHOWN} more"


def _latched(token: TokenStatus, now: float) -> Finding:
    kind, area = _LATCHED.get(token.latch_cause or "", _REFUSED)
    short, what, mend = explain(token.latch_cause, token.credential)
    text = f"{what} The sidecar sends no token request until its next try."
    text += (
        " Until the token in hand expires, calls go on."
        if token.valid
        else " Calls that need a token are refused here."
    )
    until = token.latched_until
    if until is not None and until <= now:
        text, until = f"{text} The time is up: the next call that needs a token makes it try.", None
    title = capital(short)
    if token.latch_cause != "lockout":  # which all credentials share
        title = _of(token, title)
    return Finding(kind, _failing(token), area, title, text, mend, until, "next try" if until is not None else "")


def _not_fetched(token: TokenStatus) -> Iterator[Finding]:
    """The token endpoint fails for a reason that may pass: what that means for the token, and what is behind it."""
    times = f"{count(token.failures, 'try', 'tries')} failed in a row: {token.last_error or 'no reason known'}."
    mend = "The sidecar tries again by itself."
    if token.last_failure is None:
        mend += " What responds may not be Mangopay: see SIDECAR_MANGOPAY_BASE_URL, and run mangopay-sidecar check."
    if token.valid:
        yield Finding(
            FindingKind.TOKEN_NOT_RENEWED,
            Level.WARNING,
            Area.TOKEN,
            _of(token, "The token expires soon and cannot be refreshed"),
            f"{times} Calls go on until the token in hand expires.",
            mend,
            token.expires_at,
            "token expires",
        )
    else:
        yield Finding(
            FindingKind.TOKEN_UNAVAILABLE,
            _failing(token),
            Area.TOKEN,
            _of(token, "There is no token"),
            f"{times} Calls are answered 503 token_unavailable, and none is executed.",
            mend,
            token.next_attempt_at,
            "next try",
        )
    if token.last_failure is not None and token.last_failure != ELSEWHERE:
        text = f"The token endpoint: {token.last_error or 'no reason known'}."
        yield failure(token.last_failure, _failing(token), text)


def _idle(token: TokenStatus, now: float) -> Iterator[Finding]:
    """A token that is not there, or that nobody uses: nothing is wrong."""
    if token.valid:
        due = token.refresh_at is not None and token.refresh_at <= now
        if due and token.next_attempt_at is None and token.state == "valid":
            yield Finding(
                FindingKind.TOKEN_IDLE,
                Level.INFO,
                Area.TOKEN,
                _of(token, "The token expires soon, and nobody uses it"),
                "An idle sidecar asks for no token. The next call has it refreshed, or fetches a new one.",
                "",
                token.expires_at,
                "token expires",
            )
    elif token.state == "refreshing" or token.next_attempt_at is not None:
        title = _of(token, "A token is being fetched" if token.generation else "The first token is being fetched")
        yield Finding(FindingKind.TOKEN_PENDING, Level.INFO, Area.TOKEN, title, "Calls wait for it.", "")
    elif token.generation:
        title = _of(token, "The last token has expired, unused")
        text = "An idle sidecar asks for no token. The next call fetches a new one, and waits for it."
        yield Finding(FindingKind.TOKEN_EXPIRED_UNUSED, Level.INFO, Area.TOKEN, title, text, "")


def _failing(token: TokenStatus) -> Level:
    """How bad it is that this token cannot be had; the embedded key serves two paths only."""
    return Level.WARNING if token.valid or token.credential != "api" else Level.CRITICAL


def _of(token: TokenStatus, title: str) -> str:
    return title if token.credential == "api" else f"{title} ({token.credential} key)"
