"""Snapshots of one credential's token, without the token, and of the store that tokens are shared through."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from sidecar.core.tokens import policy
from sidecar.core.tokens.state import LOCKOUT
from sidecar.core.tokens.unauthorized import paused_paths

if TYPE_CHECKING:
    from sidecar.core.tokens.state import State


class TokenStatus(msgspec.Struct, frozen=True):
    """What ``/status``, ``/readyz`` and the metrics show. Moments are Unix time; None where there is none."""

    #: ``api`` or ``embedded``.
    credential: str
    #: The first that fits of ``latched_lockout``, ``latched_refused``, ``refreshing``, ``backing_off``, ``valid``
    #: and ``empty``.
    state: str
    #: There is a token that calls can use, whatever ``state`` says.
    valid: bool
    #: Of the newest token; 0 before the first.
    generation: int
    #: When it was asked for: its life counts from then.
    fetched_at: float | None
    expires_at: float | None
    #: When it is refreshed ahead, if it was used.
    refresh_at: float | None
    #: ``lockout`` or ``refused``.
    latch_reason: str | None
    #: More exactly: ``lockout``, or for refused credentials ``credentials``, ``forbidden``, ``certificate`` or
    #: ``request``.
    latch_cause: str | None
    latched_since: float | None
    #: From then on the next call that needs a token makes the sidecar ask for one.
    latched_until: float | None
    #: When a token will be asked for next; None while none is wanted.
    next_attempt_at: float | None
    #: Consecutive transient failures.
    failures: int
    last_error: str | None
    #: How the network failed then: ``resolve``, ``connect``, ``egress``, ``tls``, ``lost``, ``timeout`` or ``broken``;
    #: ``edge_page`` if a web page came in place of a response of Mangopay's; ``elsewhere`` if neither has failed here,
    #: as when another sidecar got no token; ``server_error`` or ``rate_limited`` for 5xx and 429; None for any other
    #: response without a token.
    last_failure: str | None
    #: Masked paths whose 401s start no refresh now, since the latest ones that they started did not help.
    paused_paths: tuple[str, ...]
    #: Until then the last of them do not.
    paused_until: float | None


class StoreStatus(msgspec.Struct, frozen=True):
    """What ``/status`` and the metric ``store_up`` show of a shared store."""

    #: ``file`` or ``redis``.
    kind: str
    #: A path, or host, port and database; never a user or password.
    place: str
    #: None: it has not been used yet.
    up: bool | None
    #: When that began (Unix time).
    since: float | None
    #: What was last wrong with it; it ends the sentence "The store …".
    last_error: str | None


def token_status(
    credential: str,
    state: State,
    now: float,
    wall: float,
    *,
    last_error: str | None,
    last_failure: str | None,
) -> TokenStatus:
    """Put ``state`` into words; ``wall`` is the Unix time at ``now``."""
    token = policy.usable_token(state, now)
    attempt = policy.next_fetch(state, now)
    paused, latch = paused_paths(state.burns, now), state.latch

    def unix(moment: float) -> float:
        return moment - now + wall

    return TokenStatus(
        credential=credential,
        state=_word(state, valid=token is not None),
        valid=token is not None,
        generation=state.generation,
        fetched_at=None if token is None else unix(token.sent_at),
        expires_at=None if token is None else unix(token.expires_at),
        refresh_at=None if token is None else unix(token.soft_at),
        latch_reason=None if latch is None else ("lockout" if latch.cause == LOCKOUT else "refused"),
        latch_cause=None if latch is None else latch.cause,
        latched_since=None if latch is None else unix(latch.since),
        latched_until=None if latch is None else unix(policy.allowed_at(state)),
        next_attempt_at=None if attempt is None else max(unix(attempt), wall),
        failures=state.failures,
        last_error=last_error,
        last_failure=None if last_failure is None else str(last_failure),
        paused_paths=tuple(paused),
        paused_until=unix(max(paused.values())) if paused else None,
    )


def _word(state: State, *, valid: bool) -> str:
    if state.latch is not None:
        return "latched_lockout" if state.lockout is not None else "latched_refused"
    if state.fetch is not None:
        return "refreshing"
    if state.failures:
        return "backing_off"
    return "valid" if valid else "empty"
