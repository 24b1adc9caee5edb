"""Every history of calls, fetches, 401s and time: what must hold in all of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, precondition, rule

from sidecar.core import token_policy as policy
from sidecar.core import token_state as states
from sidecar.core.oauth import Fetched, FetchResult, LockedOut, Refusal, Refused, Transient
from sidecar.core.secret import Secret
from sidecar.core.token_policy import Fail, Use, UseAndRefresh, Wait
from sidecar.core.token_state import Latch, State

if TYPE_CHECKING:
    from sidecar.core.unauthorized import Burn

rolls = st.floats(0, 1)
lives = st.sampled_from([0.3, 2.0, 5.0, 60.0, 1200.0, 3600.0, 86_400.0])
retry_afters = st.none() | st.sampled_from([1.0, 45.0, 2000.0])
results: st.SearchStrategy[FetchResult] = st.one_of(
    st.builds(LockedOut, st.just("x"), retry_afters),
    st.builds(Refused, st.sampled_from(Refusal), st.just("x"), retry_afters),
    st.builds(Transient, st.just("x"), retry_afters),
)
paths = st.sampled_from(["/a", "/b", "/c"])
pauses = st.sampled_from([0.0, 0.01, 0.3, 0.5, 1.0, 3.0, 9.9, 10.0, 24.0, 40.0, 120.0, 800.0, 3000.0])


class TokenMachine(RuleBasedStateMachine):
    """Does what the manager does, and keeps its own account of what may happen when."""

    sent = Bundle("sent")  # generations of calls whose answer is still to come
    resends = Bundle("resends")

    def __init__(self) -> None:
        super().__init__()
        self.state = State()
        self.now = 0.0
        self.burnt: set[int] = set()
        #: No token request before this, by what was last heard of the token endpoint.
        self.quiet_until = 0.0
        self.locked_until = 0.0
        self.wanted = False
        #: When 401s caused refreshes that no judge has called useful.
        self.futile: list[float] = []

    # Time.

    @rule(seconds=pauses)
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def until_something_changes(self) -> None:
        moments = [policy.allowed_at(self.state), self.state.burns.penalty_until]
        if (token := self.state.token) is not None:
            moments += [token.soft_at, token.hard_at, token.expires_at]
        self.now = min((moment for moment in moments if moment > self.now), default=self.now)

    # Calls.

    @rule(target=sent)
    def call(self) -> object:
        return self._take(0)

    def _take(self, newer_than: int) -> object:
        token_before = self.state.token
        match policy.decide(self.state, self.now, newer_than):
            case (Use(token) | UseAndRefresh(token)) as decision:
                assert self.now < token.expires_at
                assert token.generation > newer_than
                assert token.generation not in self.burnt
                assert token.generation == self.state.generation
                self.state = states.used(self.state, refresh=isinstance(decision, UseAndRefresh))
                if isinstance(decision, UseAndRefresh):
                    assert policy.next_fetch(self.state, self.now) is not None
                return token.generation
            case Wait():
                valid = policy.usable_token(self.state, self.now, newer_than)
                assert valid is None or self.now >= valid.hard_at
                self.state = states.demanded(self.state)
                self.wanted = True
                due = policy.next_fetch(self.state, self.now)
                assert self.state.fetch is not None or (due is not None and due - self.now <= policy.SOON)
            case Fail() as fail:
                assert token_before is None or self.now >= token_before.expires_at or newer_than
                assert self.state.fetch is None
                assert fail.retry_after > 0 or (self.state.lockout is not None and self.state.lockout.probing)
                self.state = states.demanded(self.state)
                self.wanted = True
        return multiple()

    @rule(generation=consumes(sent))
    def answer(self, generation: int) -> None:
        self.state = states.accepted(self.state, generation)

    @rule(target=resends, generation=consumes(sent), path=paths)
    def refuse(self, generation: int, path: str) -> object:
        fetching = self.state.fetch is not None
        token = self.state.token
        self.state, burn = states.unauthorized(self.state, generation, path, self.now)
        if token is not None and self.state.token is None:
            assert generation == token.generation
            self.burnt.add(generation)
            self.wanted = True
            if not fetching:
                self.futile.append(self.now)
        if generation < self.state.generation:
            assert burn is not None, "an older generation's 401 is always resent"
        return multiple() if burn is None else burn

    @rule(target=sent, burn=consumes(resends), unauthorized=st.booleans())
    def resend(self, burn: Burn, unauthorized: bool) -> object:
        generation = self._take(burn.generation)
        if not isinstance(generation, int):
            return multiple()
        token = self.state.token
        self.state = states.resent(self.state, burn, generation, unauthorized=unauthorized)
        assert self.state.token is token, "a 401 on a resend burns nothing"
        if not unauthorized and burn.judge and burn.generation == self.state.burns.trial:
            self.futile.clear()
            assert self.state.burns.penalty_until <= self.now
        return multiple()

    # The keeper.

    @precondition(lambda self: self.state.fetch is None)
    @rule()
    def keep(self) -> None:
        due = policy.next_fetch(self.state, self.now)
        if due is None or due > self.now:
            return
        assert self.now >= self.quiet_until
        assert self.now >= self.locked_until
        token = self.state.token
        assert self.wanted or (token is not None and self.state.used and self.now >= token.soft_at), "an idle call"
        assert not (self.state.lockout is not None and self.state.lockout.probing), "two probes at once"
        self.state = states.fetch_begun(self.state, self.now)

    @precondition(lambda self: self.state.fetch is not None)
    @rule(result=results, roll=rolls)
    def fail(self, result: FetchResult, roll: float) -> None:
        token, key, fetch = self.state.token, self.state.key, self.state.fetch
        self.state = states.fetch_ended(self.state, result, self.now, roll)
        assert self.state.token is token, "a failed refresh evicts nothing"
        least = {LockedOut: 24.0, Refused: 24.0, Transient: 0.4}[type(result)]
        pause = max(least, getattr(result, "retry_after", None) or 0.0)
        if isinstance(result, LockedOut):
            known_before = self.locked_until > 0 and fetch is not None and not fetch.probe
            self.locked_until = max(self.locked_until, self.now + (0 if known_before else pause))
        elif isinstance(result, Transient) or (fetch is not None and fetch.key == key):
            self.quiet_until = self.now + pause

    @precondition(lambda self: self.state.fetch is not None)
    @rule(life=lives, roll=rolls)
    def renew(self, life: float, roll: float) -> None:
        fetch, generation = self.state.fetch, self.state.generation
        assert fetch is not None
        value = Secret(f"token-{generation + 1}")
        self.state = states.fetch_ended(self.state, Fetched(value, life, fetch.begun_at), self.now, roll)
        if self.now < fetch.begun_at + life:
            assert self.state.generation == generation + 1
            self.wanted = False
            self.quiet_until = 0.0
            if fetch.probe:
                self.locked_until = 0.0
        else:
            assert self.state.generation == generation
            self.quiet_until = self.now + 0.4

    # Elsewhere.

    @rule()
    def new_key(self) -> None:
        locked = self.state.lockout
        self.state = states.key_changed(self.state)
        assert self.state.lockout is locked
        if self.state.failures == 0:
            self.quiet_until = 0.0

    @precondition(lambda self: self.state.lockout is None)
    @rule(seconds=st.sampled_from([24.0, 500.0]))
    def another_credential_is_locked_out(self, seconds: float) -> None:
        self.state = states.lockout_changed(self.state, Latch(self.now, self.now + seconds, 1, states.LOCKOUT))
        self.locked_until = self.now + seconds

    @precondition(lambda self: self.state.lockout is not None and self.state.fetch is None)
    @rule(ends=st.booleans())
    def another_credential_probes(self, ends: bool) -> None:
        lockout = self.state.lockout
        assert lockout is not None
        if lockout.probing and ends:
            self.state = states.lockout_changed(self.state, None)
            self.locked_until = 0.0
        elif self.now >= lockout.until:
            self.state = states.lockout_changed(self.state, replace(lockout, probing=True))

    # Always.

    @invariant()
    def no_burnt_token_is_held(self) -> None:
        assert self.state.token is None or self.state.token.generation not in self.burnt

    @invariant()
    def futile_refreshes_are_rare(self) -> None:
        """In any ten seconds one that the penalty allows, and one escape."""
        assert sum(moment > self.now - 10.0 for moment in self.futile) <= 2

    @invariant()
    def a_demand_is_kept_until_there_is_a_token(self) -> None:
        if self.wanted:
            assert self.state.demand

    @invariant()
    def whoever_wants_a_token_will_get_one_asked_for(self) -> None:
        probing = self.state.lockout is not None and self.state.lockout.probing
        if self.state.demand and self.state.fetch is None and not probing:
            assert policy.next_fetch(self.state, self.now) is not None


TestTokenMachine = TokenMachine.TestCase
TestTokenMachine.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
