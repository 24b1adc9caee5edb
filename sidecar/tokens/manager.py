"""One credential's access token: one task fetches it, every call uses it.

What to do is decided in :mod:`sidecar.core.tokens.policy`; here are only the waiting, the fetching
and the log. Calls never fetch. They note that a token is wanted and wait for the refresher, the one
task that does; so there is one token request at a time whoever waits, and a call that goes away
cancels nothing.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol

import structlog

from sidecar.core.tokens import policy
from sidecar.core.tokens import state as states
from sidecar.core.tokens.oauth import ELSEWHERE, FetchResult, Transient
from sidecar.core.tokens.policy import Decision, Fail, Use, UseAndRefresh, Wait
from sidecar.core.tokens.state import Latch, State, Token
from sidecar.core.tokens.unauthorized import is_news
from sidecar.patience import look_at_sockets
from sidecar.tokens.events import describe_result, log_fetch_result, log_futile_refresh
from sidecar.tokens.failures import shutting_down, token_failure
from sidecar.tokens.lockout import AccountLockout
from sidecar.tokens.notifier import Notifier
from sidecar.tokens.status import TokenStatus, token_status

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.core.clock import Clock
    from sidecar.core.errors import SidecarError
    from sidecar.core.tokens.unauthorized import ResendPermit
    from sidecar.runtime import Tasks

_log = structlog.get_logger()


class TokenSource(Protocol):
    """Where tokens come from: Mangopay's token endpoint, or a store in front of it."""

    async def fetch(self) -> FetchResult:
        """Get a token that was not given before. Failures are results, not exceptions."""
        ...

    def burnt(self) -> None:
        """Note that the token given last must never be used again."""
        ...


class TokenMetrics(Protocol):
    """What is counted here."""

    def token_wait(self, seconds: float) -> None:
        """Note how long a call waited, of those that had to."""
        ...


class TokenManager:
    """Hands out one credential's token, and keeps it fresh while it is used."""

    def __init__(  # noqa: PLR0913 - the parts it is made of, put together in one place only
        self,
        credential: str,
        source: TokenSource,
        clock: Clock,
        random: Callable[[], float],
        metrics: TokenMetrics,
        *,
        wait_timeout: float,
        prefetch: bool,
        tasks: Tasks,
        lockout: AccountLockout | None = None,
        attended: Clock | None = None,
    ) -> None:
        """Make a manager for ``credential`` (``api`` or ``embedded``); nothing happens before :meth:`start`.

        ``random`` gives numbers from 0 to 1. A call waits for ``wait_timeout``
        seconds at most, as ``attended`` counts them (without it ``clock``).
        Managers of one account are given the same ``lockout``.
        """
        #: ``api`` or ``embedded``.
        self.credential: Final = credential
        self._source: Final = source
        self._clock: Final = clock
        self._attended: Final = clock if attended is None else attended
        self._random: Final = random
        self._metrics: Final = metrics
        self._wait_timeout: Final = wait_timeout
        self._prefetch: Final = prefetch
        self._tasks: Final = tasks
        self._lockout: Final = AccountLockout() if lockout is None else lockout
        self._lockout.join(self._on_lockout)
        self._state = State(demand=prefetch, lockout=self._lockout.latch)
        self._last_error: str | None = None
        self._last_failure: str | None = None
        #: Notified when there may be something to fetch; only the refresher waits for it.
        self._work: Final = Notifier(clock, tasks, name=f"token.{credential}.refresher.timer")
        #: Notified when a fetch has ended, or a lockout begun: calls look again.
        self._news: Final = Notifier(self._attended, tasks, name=f"token.{credential}.waits.timer")
        self._refresher: asyncio.Task[None] | None = None
        self._closed = False

    def start(self) -> None:
        """Begin to fetch what is wanted; at once if ``prefetch``."""
        self._refresher = self._tasks.spawn(self._refresh(), name=f"token.{self.credential}.refresher")

    async def close(self) -> None:
        """End the refresher, with the fetch it may be waiting for. Calls that still wait get ``shutting_down``."""
        self._closed = True
        if self._refresher is not None:
            self._refresher.cancel()
            await asyncio.gather(self._refresher, return_exceptions=True)
        self._news.notify_all()

    # What calls use.

    def take_nowait(self, now: float, *, newer_than: int = 0) -> Token | None:
        """Return the token if it can be used ``now`` (``Clock.now``); else :meth:`take` waits, or says why not."""
        state = self._state
        token = state.token
        # What nearly every call meets is decided here, without asking the policy.
        if token is not None and state.used and now < token.soft_at and token.generation > newer_than:
            return token
        return self._hand_out(policy.decide(state, now, newer_than))

    async def take(self, deadline: float, *, newer_than: int = 0) -> Token:
        """Return a token, waiting for one until ``deadline`` (``Clock.now``) or for ``wait_timeout``.

        While the process stands still neither comes closer.
        ``newer_than``: the generation that a 401 has just burnt, for a resend.
        Raises SidecarError ``token_unavailable``, ``token_locked_out``,
        ``credentials_refused`` or ``shutting_down``, at once if waiting would not help.
        """
        if (token := self._take_or_fail(newer_than)) is not None:
            return token
        begun = self._clock.now()
        patient_until = self._attended.now() + min(deadline - begun, self._wait_timeout)
        try:
            while self._attended.now() < patient_until:
                await self._news.wait(patient_until)
                if (token := self._take_or_fail(newer_than)) is not None:
                    return token
            await look_at_sockets()  # the token may have come in time, and lie in a socket
            if (token := self._take_or_fail(newer_than)) is not None:
                return token
            return self._last_resort(newer_than)
        finally:
            self._metrics.token_wait(self._clock.now() - begun)

    def take_again(self, taken: Token, now: float, *, newer_than: int = 0) -> Token | None:
        """Return what can be used ``now``: ``taken``, which :meth:`take` returned a while ago, or a newer token.

        A call that waited in vain for the successor of ``taken`` uses it to its end, and waits no second time. None if
        it has been burnt or has expired, and there is no other.
        """
        token = self.take_nowait(now, newer_than=newer_than)
        if token is None and policy.usable_token(self._state, now, newer_than) is taken:
            return taken
        return token

    def check(self, now: float) -> None:
        """Begin to get what a call will need ``now`` (``Clock.now``): if it had to wait for a token, have one fetched.

        Raises SidecarError if :meth:`take` would at once.
        """
        token = self._state.token
        if token is None or now >= token.soft_at:
            self._fetch_or_fail(policy.decide(self._state, now))

    def accepted(self, generation: int, path: str) -> None:
        """Note a response other than a token 401 to a call with a token of ``generation`` to ``path`` (no query)."""
        if is_news(self._state.burns, path):
            before = self._state
            self._state = states.accepted(before, generation, path, self._clock.now())
            self._log_futile(before)

    def unauthorized(self, generation: int, path: str) -> ResendPermit | None:
        """Note a token 401, not to a resend, that a call with ``generation`` to ``path`` (no query) got.

        Returns a permit to resend it with a token newer than ``generation``, or None if the caller
        gets the 401. Also for calls that cannot be resent. Whoever has a permit tells what became
        of it: :meth:`resend_answered` or :meth:`resend_withdrawn`.
        """
        before = self._state
        self._state, permit = states.unauthorized(before, generation, path, self._clock.now())
        if self._state.token is None and before.token is not None:
            _log.info("token.burnt", credential=self.credential, generation=generation)
            self._source.burnt()
            self._work.notify_all()
        self._log_futile(before)
        return permit

    def resend_answered(self, permit: ResendPermit, generation: int, *, unauthorized: bool) -> None:
        """Note the response to a resend that carried ``generation``: a token 401, or anything else."""
        before = self._state
        self._state = states.resent(before, permit, generation, self._clock.now(), unauthorized=unauthorized)
        self._log_futile(before)

    def resend_withdrawn(self, permit: ResendPermit) -> None:
        """Note that a call with a permit got no response to its resend, or was not resent."""
        self._state = states.withdrawn(self._state, permit)

    def _log_futile(self, before: State) -> None:
        if self._state.burns.faults is not before.burns.faults:
            log_futile_refresh(self.credential, before, self._state, self._clock.now())

    # What the rest of the sidecar uses.

    @property
    def ready(self) -> bool:
        """Whether calls can be expected to get a token."""
        return policy.is_ready(self._state, self._clock.now(), prefetch=self._prefetch)

    def status(self) -> TokenStatus:
        """Return a snapshot, without the token."""
        return token_status(
            self.credential,
            self._state,
            self._clock.now(),
            self._clock.wall(),
            last_error=self._last_error,
            last_failure=self._last_failure,
        )

    def key_changed(self) -> None:
        """Note a new API key or certificate of ``source``: a latch of refused credentials is cleared at once."""
        refused = self._state.refusal is not None
        self._state = states.key_changed(self._state)
        if refused:
            _log.info("token.unlatched", credential=self.credential, reason="key or certificate changed")
        self._work.notify_all()
        self._news.notify_all()

    # Inside.

    def _hand_out(self, decision: Decision) -> Token | None:
        """Return the token of ``decision``, noted as used; None if it has none."""
        if not isinstance(decision, Use | UseAndRefresh):
            return None
        refresh = isinstance(decision, UseAndRefresh)
        first = not self._state.used
        self._state = states.used(self._state, refresh=refresh)
        if first or refresh:
            # The refresher does not watch an unused token, and its timer may be late after the machine slept.
            self._work.notify_all()
        return decision.token

    def _fetch_or_fail(self, decision: Decision) -> None:
        """Have a token fetched if ``decision`` is to wait for one; raise SidecarError if it is to fail."""
        if isinstance(decision, Wait | Fail):
            self._state = states.demanded(self._state)
            self._work.notify_all()
        if isinstance(decision, Fail):
            raise self._failure(decision)

    def _take_or_fail(self, newer_than: int) -> Token | None:
        decision = policy.decide(self._state, self._clock.now(), newer_than)
        if (token := self._hand_out(decision)) is None:
            self._fetch_or_fail(decision)
            if self._closed:
                raise shutting_down()
        return token

    def _last_resort(self, newer_than: int) -> Token:
        """Return a token that is about to expire, to a call that has waited long enough for its successor."""
        now = self._clock.now()
        token = policy.usable_token(self._state, now, newer_than)
        if token is None:
            raise self._failure(policy.give_up(self._state, now))
        self._state = states.used(self._state)
        return token

    def _failure(self, fail: Fail) -> SidecarError:
        return token_failure(fail, self._state.latch, self.credential, self._last_error)

    def _on_lockout(self, latch: Latch | None) -> None:
        self._state = states.lockout_changed(self._state, latch)
        self._work.notify_all()
        self._news.notify_all()

    def _change(self, state: State) -> None:
        before, self._state = self._state, state
        if state.lockout != before.lockout:
            self._lockout.publish(state.lockout, by=self._on_lockout)

    async def _refresh(self) -> None:
        """Fetch whenever a fetch is due, for as long as the manager lives."""
        while not self._closed:
            now = self._clock.now()
            moment = policy.next_fetch(self._state, now)
            if moment is not None and moment <= now:
                await self._renew(now)
            else:
                await self._work.wait(moment)

    async def _renew(self, now: float) -> None:
        self._change(states.fetch_begun(self._state, now))
        try:
            result = await self._source.fetch()
        except asyncio.CancelledError:
            # Closing. Whoever shares the account must not wait for this one's probe.
            self._change(states.fetch_ended(self._state, Transient("closed"), self._clock.now(), self._random()))
            raise
        except Exception as error:  # noqa: BLE001 - the refresher outlives a bug: without it no call would get a token
            result = Transient(f"internal error: {type(error).__name__}", failure=ELSEWHERE)
        before = self._state
        self._change(states.fetch_ended(before, result, self._clock.now(), self._random()))
        self._last_error = None if self._state.generation > before.generation else describe_result(result)
        self._last_failure = result.failure if isinstance(result, Transient) else None
        log_fetch_result(self.credential, before, self._state, result, self._clock.now())
        self._news.notify_all()
