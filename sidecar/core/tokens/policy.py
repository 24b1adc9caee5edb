"""When a token is used, refreshed, waited for or given up: contract sections 5.2, 5.6 and 5.7.

A token's life, from the moment its request was *sent*::

    sent_at                           soft_at      hard_at      expires_at
       |---------------------------------|------------|-------------x
                     use                   use, and     wait for a
                                           refresh      new one
                                           behind

A token that was not used since it was fetched is not refreshed: an idle sidecar
makes no calls. A failed refresh never evicts a token that is still valid: after a
failure, or while latched, it is used until it expires.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from sidecar.core.errors import ErrorCode

if TYPE_CHECKING:
    from sidecar.core.tokens.state import State, Token

#: Seconds: a call waits for a token request that may be sent this soon, and is answered at once otherwise.
SOON: Final = 1.0


class Use(msgspec.Struct, frozen=True):
    """Send the call with this token."""

    token: Token


class UseAndRefresh(msgspec.Struct, frozen=True):
    """Send the call with this token, and have a new one fetched meanwhile."""

    token: Token


class Wait(msgspec.Struct, frozen=True):
    """A new token is coming, or can be asked for now or soon."""


class Fail(msgspec.Struct, frozen=True):
    """Answer the call here; a token may be had in ``retry_after`` seconds."""

    code: ErrorCode
    retry_after: float


Decision = Use | UseAndRefresh | Wait | Fail
_WAIT: Final = Wait()


def usable_token(state: State, now: float, newer_than: int = 0) -> Token | None:
    """Return the token if it is valid, and of a generation newer than ``newer_than``."""
    token = state.token
    if token is None or now >= token.expires_at or token.generation <= newer_than:
        return None
    return token


def allowed_at(state: State) -> float:
    """Return the moment before which back-off and latches allow no token request."""
    moment = state.retry_at
    if state.lockout is not None:
        moment = max(moment, state.lockout.until)
    if state.refusal is not None:
        moment = max(moment, state.refusal.until)
    return moment


def may_fetch(state: State, now: float) -> bool:
    """Whether a token request may be sent now."""
    return state.fetch is None and not _probed_elsewhere(state) and now >= allowed_at(state)


def decide(state: State, now: float, newer_than: int = 0) -> Decision:
    """Say what a call that needs a token newer than ``newer_than`` does now."""
    token = usable_token(state, now, newer_than)
    if token is None:
        return _decide_without_token(state, now)
    if now < token.soft_at:
        return Use(token)
    # Only a first attempt is worth waiting for: after a failure, or while latched, a valid token is used to its end.
    if now >= token.hard_at and state.latch is None and not state.failures:
        return _WAIT
    return UseAndRefresh(token) if may_fetch(state, now) else Use(token)


def _decide_without_token(state: State, now: float) -> Wait | Fail:
    if state.fetch is not None:
        return _WAIT
    delay = allowed_at(state) - now
    if state.lockout is not None and (delay > 0 or state.lockout.probing):
        return Fail(ErrorCode.TOKEN_LOCKED_OUT, delay)
    if state.refusal is not None and delay > 0:
        return Fail(ErrorCode.CREDENTIALS_REFUSED, delay)
    return Fail(ErrorCode.TOKEN_UNAVAILABLE, delay) if delay > SOON else _WAIT


def give_up(state: State, now: float) -> Fail:
    """Say how a call ends that has waited for as long as it may."""
    delay = max(allowed_at(state) - now, 0.0)
    if state.lockout is not None:
        return Fail(ErrorCode.TOKEN_LOCKED_OUT, delay)
    code = ErrorCode.TOKEN_UNAVAILABLE if state.refusal is None else ErrorCode.CREDENTIALS_REFUSED
    return Fail(code, delay)


def next_fetch(state: State, now: float) -> float | None:
    """Return the moment to send the next token request, ``now`` or before if at once; None while none is wanted."""
    if state.fetch is not None or _probed_elsewhere(state):
        return None
    if state.demand:
        return allowed_at(state)
    # While latched nothing is sent ahead: one probe, and only because a call wants it.
    if state.latch is None and state.used and (token := usable_token(state, now)) is not None:
        return max(token.soft_at, allowed_at(state))
    return None


def is_ready(state: State, now: float, *, prefetch: bool) -> bool:
    """Whether calls can be expected to get a token (``/readyz``).

    Once a latch or a pause is over and no call has asked for a probe, the next
    call makes it: so that one may come, this counts as ready.
    """
    if usable_token(state, now) is not None:
        return True
    if prefetch and not state.generation:
        return False
    if state.latch is None and not state.failures:
        return True
    return not state.demand and may_fetch(state, now)


def _probed_elsewhere(state: State) -> bool:
    return state.lockout is not None and state.lockout.probing and state.fetch is None
