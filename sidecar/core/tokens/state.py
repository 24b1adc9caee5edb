"""What is known of one credential's token, and how each event changes it: contract section 5 as a state machine.

A :class:`State` is never changed, only replaced, by one function for each event,
which takes the time and a random number as arguments::

    used, demanded                     a call got the token, or wants one that is not there
    fetch_begun, fetch_ended           a token request was sent; what came of it
    unauthorized, accepted,            what the API said about a token
    resent, withdrawn
    lockout_changed, key_changed       what happened elsewhere

What follows from a state is decided in :mod:`sidecar.core.tokens.policy`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
from msgspec.structs import replace

from sidecar.core.backoff import Backoff
from sidecar.core.tokens import unauthorized as unauthorized_rule
from sidecar.core.tokens.oauth import Fetched, FetchResult, LockedOut, Pause, Refused, Transient
from sidecar.core.tokens.unauthorized import Burns, Ruling, TokenFacts

if TYPE_CHECKING:
    from sidecar.core.secret import Secret
    from sidecar.core.tokens.unauthorized import ResendPermit

#: Pauses after transient failures (contract section 5.7).
TRANSIENT_BACKOFF: Final = Backoff(first=0.5, limit=30.0, spread=0.2)
#: Pauses while latched (contract section 5.6).
LATCH_BACKOFF: Final = Backoff(first=30.0, limit=900.0, spread=0.2)
#: Seconds of ``Retry-After`` that are honoured at most: an absurd one must not stop a payment service for good.
TRANSIENT_RETRY_AFTER_LIMIT: Final = 3_600.0
LATCH_RETRY_AFTER_LIMIT: Final = 86_400.0

#: The cause of the latch that all credentials of an account share.
LOCKOUT: Final = "lockout"

# Contract section 5.2: shares of a token's life, and seconds at most.
_SOFT_SHARE: Final = 0.1
_SOFT_LIMIT: Final = 300.0
_HARD_SHARE: Final = 0.05
_HARD_LIMIT: Final = 30.0
#: The soft window shrinks by up to this much, so that a fleet does not refresh all at once: later, never earlier.
_SOFT_JITTER: Final = 0.25
#: Seconds between token requests at least, where tokens live shorter than that.
_SHORTEST_PERIOD: Final = 1.0

_NEVER: Final = float("-inf")


class Token(msgspec.Struct, frozen=True):
    """An access token and its moments (seconds of ``Clock.now``)."""

    value: Secret
    #: 1 for the first token of this credential, then counting up.
    generation: int
    sent_at: float
    soft_at: float
    hard_at: float
    expires_at: float


class Latch(msgspec.Struct, frozen=True):
    """No token request until ``until``; then one probe."""

    #: When Mangopay said so for the first of ``count`` consecutive times.
    since: float
    until: float
    #: Consecutive times that Mangopay said so.
    count: int
    #: :data:`LOCKOUT`, or a word of :class:`sidecar.core.tokens.oauth.Refusal`.
    cause: str
    #: Some credential's probe is on its way (lockouts, which credentials share).
    probing: bool = False


class Fetch(msgspec.Struct, frozen=True):
    """A token request on its way."""

    begun_at: float
    #: The key that it was made with, by :attr:`State.key`.
    key: int
    #: It tries whether the lockout is over.
    probe: bool


class State(msgspec.Struct, frozen=True):
    """One credential's token and what is known about getting the next one."""

    #: Of the newest token ever fetched.
    generation: int = 0
    #: Never a burnt one; may have expired.
    token: Token | None = None
    #: Since it was fetched.
    used: bool = False
    #: A call, or the start of the sidecar, wanted a token that was not there; until one is.
    demand: bool = False
    fetch: Fetch | None = None
    #: Consecutive transient failures.
    failures: int = 0
    retry_at: float = _NEVER
    #: Shared by all credentials of the account.
    lockout: Latch | None = None
    #: This credential's own.
    refusal: Latch | None = None
    #: Counts changes of the API key, and of the client certificate.
    key: int = 0
    burns: Burns = msgspec.field(default_factory=Burns)

    @property
    def latch(self) -> Latch | None:
        """The latch that answers calls."""
        return self.lockout or self.refusal


def demanded(state: State) -> State:
    """Note that a call wants a new token."""
    return state if state.demand else replace(state, demand=True)


def used(state: State, *, refresh: bool = False) -> State:
    """Note that the token was given to a call; ``refresh``: in the time in which it is refreshed ahead.

    Without a latch a used token is refreshed ahead in any case; while latched only such a call starts a request.
    """
    demand = state.demand or (refresh and state.latch is not None)
    return state if state.used and demand == state.demand else replace(state, used=True, demand=demand)


def fetch_begun(state: State, now: float) -> State:
    """Note that the token request is being sent."""
    lockout = state.lockout
    return replace(
        state,
        fetch=Fetch(now, state.key, probe=lockout is not None),
        lockout=None if lockout is None else replace(lockout, probing=True),
        burns=unauthorized_rule.token_requested(state.burns, now, burnt=state.token is None),
    )


def fetch_ended(state: State, result: FetchResult, now: float, roll: float) -> State:
    """Note what came of the token request; ``roll`` is random, 0 to 1."""
    fetch = state.fetch or Fetch(now, state.key, probe=False)
    state = replace(state, fetch=None)
    match result:
        case Fetched():
            return _renewed(state, fetch, result, now, roll)
        case LockedOut():
            lockout = _locked_out(state.lockout, fetch, result, now, roll)
            return replace(state, lockout=lockout, failures=0, retry_at=_NEVER)
        case Refused():
            return _refused(state, fetch, result, now, roll)
        case _:  # Transient
            return _failed(state, fetch, result, now, roll)


def _renewed(state: State, fetch: Fetch, result: Fetched, now: float, roll: float) -> State:
    token = _issue(result, state.generation + 1, roll)
    if now >= token.expires_at:
        # Its life was shorter than its way here. Asking again at once would ask for ever.
        return _failed(state, fetch, Transient("expired on its way"), now, roll)
    return replace(
        state,
        generation=token.generation,
        token=token,
        used=False,
        demand=False,
        failures=0,
        retry_at=result.sent_at + _SHORTEST_PERIOD if result.expires_in < _SHORTEST_PERIOD else _NEVER,
        lockout=None if fetch.probe else state.lockout,
        refusal=None,
        burns=unauthorized_rule.token_renewed(
            state.burns, result.sent_at, burnt=state.token is None, shared=result.shared
        ),
    )


def _issue(result: Fetched, generation: int, roll: float) -> Token:
    life = result.expires_in
    expires_at = result.sent_at + life
    soft = min(life * _SOFT_SHARE, _SOFT_LIMIT) * (1.0 - _SOFT_JITTER * roll)
    hard = hard_window(life)
    return Token(result.value, generation, result.sent_at, expires_at - soft, expires_at - hard, expires_at)


def hard_window(life: float) -> float:
    """Return how many seconds before expiry a call waits for the next token, if a token lives for ``life`` seconds."""
    return min(life * _HARD_SHARE, _HARD_LIMIT)


def _locked_out(latch: Latch | None, fetch: Fetch, result: LockedOut, now: float, roll: float) -> Latch:
    """Return the account's latch after one more lockout."""
    if result.pause is not None:
        return _decided(LOCKOUT, result.pause)
    if latch is None:
        return _latched(LOCKOUT, 0, now, now, result.retry_after, roll)
    if not fetch.probe:
        # Sent before the account was known to be locked: the same lockout, reported twice.
        # After its pause that is news: the account is locked still, so the same pause begins again.
        least = LATCH_BACKOFF.delay(latch.count, roll) if now >= latch.until else 0.0
        pause = max(least, _honoured(result.retry_after, LATCH_RETRY_AFTER_LIMIT))
        return replace(latch, until=max(latch.until, now + pause))
    return _latched(LOCKOUT, latch.count, latch.since, now, result.retry_after, roll)


def _refused(state: State, fetch: Fetch, result: Refused, now: float, roll: float) -> State:
    # Any response but a lockout to a probe says that the account is not locked any more.
    lockout = None if fetch.probe else state.lockout
    if fetch.key != state.key:
        # The old key was refused, and nothing is known of the new one.
        return replace(state, lockout=lockout)
    last, cause = state.refusal, result.refusal.value
    if result.pause is not None:
        refusal = _decided(cause, result.pause)
    else:
        count, since = (last.count, last.since) if last is not None else (0, now)
        refusal = _latched(cause, count, since, now, result.retry_after, roll)
    return replace(state, lockout=lockout, refusal=refusal, failures=0, retry_at=_NEVER)


def _latched(cause: str, count: int, since: float, now: float, retry_after: float | None, roll: float) -> Latch:
    pause = max(LATCH_BACKOFF.delay(count + 1, roll), _honoured(retry_after, LATCH_RETRY_AFTER_LIMIT))
    return Latch(since, now + pause, count + 1, cause)


def _decided(cause: str, pause: Pause) -> Latch:
    """Return the latch that a shared store holds: counted there, once for all."""
    return Latch(pause.since, pause.until, pause.count, cause)


def _failed(state: State, fetch: Fetch, result: Transient, now: float, roll: float) -> State:
    if result.pause is not None:
        failures, retry_at = result.pause.count, result.pause.until
    else:
        failures = state.failures + 1
        retry_after = _honoured(result.retry_after, TRANSIENT_RETRY_AFTER_LIMIT)
        retry_at = now + max(TRANSIENT_BACKOFF.delay(failures, roll), retry_after)
    lockout = state.lockout
    if fetch.probe and lockout is not None:
        # A probe that got no response keeps the latch, and the next one comes after a transient's pause.
        lockout = replace(lockout, until=max(lockout.until, retry_at), probing=False)
    return replace(state, failures=failures, retry_at=retry_at, lockout=lockout)


def _honoured(retry_after: float | None, limit: float) -> float:
    return 0.0 if retry_after is None else min(retry_after, limit)


def unauthorized(state: State, generation: int, path: str, now: float) -> tuple[State, ResendPermit | None]:
    """Note a token 401, not to a resend, that a call with ``generation`` to ``path`` got.

    Returns a permit to resend the call, or None if its caller gets the 401. A
    call that cannot be resent is noted in the same way, and its permit
    :func:`withdrawn`.
    """
    token = state.token
    facts = TokenFacts(
        generation=state.generation,
        burnt=token is None,
        expired=token is not None and now >= token.expires_at,
        fetching=state.fetch is not None,
    )
    burns, ruling, permit = unauthorized_rule.rule(state.burns, facts, generation, path, now)
    state = replace(state, burns=burns)
    if ruling is Ruling.BURN:
        state = replace(state, token=None, used=False, demand=True)
    return state, permit


def accepted(state: State, generation: int, path: str, now: float) -> State:
    """Note a response other than a token 401 to a call with ``generation`` to ``path``."""
    burns = unauthorized_rule.accepted(state.burns, generation, path, now)
    return state if burns is state.burns else replace(state, burns=burns)


def resent(state: State, permit: ResendPermit, generation: int, now: float, *, unauthorized: bool) -> State:
    """Note the response to a resend, which carried ``generation``."""
    burns = unauthorized_rule.resent(state.burns, permit, generation, now, unauthorized=unauthorized)
    return replace(state, burns=burns)


def withdrawn(state: State, permit: ResendPermit) -> State:
    """Note that a call with a permit got no response to its resend, or was not resent."""
    return replace(state, burns=unauthorized_rule.withdrawn(state.burns, permit))


def lockout_changed(state: State, lockout: Latch | None) -> State:
    """Take over what another credential found out about the account's lockout."""
    return replace(state, lockout=lockout)


def key_changed(state: State) -> State:
    """Note that the API key's value changed: clears the latch of refused credentials, never that of a lockout."""
    return replace(state, key=state.key + 1, refusal=None)
