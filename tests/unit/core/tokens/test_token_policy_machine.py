"""Every history of calls, fetches, 401s and time: what must hold in all of them."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec.structs import replace

from sidecar.core.secret import Secret
from sidecar.core.tokens import policy
from sidecar.core.tokens import state as states
from sidecar.core.tokens.oauth import Fetched, FetchResult, LockedOut, Refusal, Refused, Transient
from sidecar.core.tokens.policy import Fail, Use, UseAndRefresh, Wait
from sidecar.core.tokens.state import Fetch, Latch, State
from sidecar.core.tokens.unauthorized import Stage, paused_paths

if TYPE_CHECKING:
    from sidecar.core.tokens.unauthorized import ResendPermit

rolls = st.floats(0, 1)
lives = st.sampled_from([0.3, 2.0, 5.0, 60.0, 1200.0, 3600.0, 86_400.0])
retry_afters = st.none() | st.sampled_from([1.0, 45.0, 2000.0])
results: st.SearchStrategy[FetchResult] = st.one_of(
    retry_afters.map(lambda seconds: LockedOut("x", seconds)),
    st.tuples(st.sampled_from(Refusal), retry_afters).map(lambda told: Refused(told[0], "x", told[1])),
    retry_afters.map(lambda seconds: Transient("x", seconds)),
)
paths = st.sampled_from(["/a", "/b"])
#: Of a generation that a response is about: mostly the newest.
ages = st.sampled_from([1, 1, 1, 1, 2, 3])
pauses = st.sampled_from([0.0, 0.01, 0.3, 0.5, 1.0, 3.0, 9.9, 10.0, 24.0, 40.0, 120.0, 800.0, 3000.0])


class TokenMachine(RuleBasedStateMachine):
    """Does what the manager does, and keeps its own account of what may happen when."""

    def __init__(self) -> None:
        super().__init__()
        self.state = State()
        self.now = 0.0
        self.burnt: set[int] = set()
        #: No token request before this, by what was last heard of the token endpoint.
        self.quiet_until = 0.0
        self.locked_until = 0.0
        self.locked_count = 0
        self.wanted = False
        self.expires_at: dict[int, float] = {}
        #: Generations that calls were sent with; any may still be answered.
        self.given: list[int] = []
        self.burns: list[ResendPermit] = []
        #: When 401s burnt tokens since a judge was last helped, or a path was in its pause.
        self.burnt_at: list[float] = []

    # Time. Whenever it moves the keeper has looked before, and looks again.

    @rule(seconds=pauses)
    def wait(self, seconds: float) -> None:
        self._move_to(self.now + seconds)

    @rule(just_before=st.booleans())
    def until_something_changes(self, just_before: bool) -> None:
        moments = [policy.allowed_at(self.state), *paused_paths(self.state.burns, self.now).values()]
        if (token := self.state.token) is not None:
            moments += [token.soft_at, token.hard_at, token.expires_at]
        moment = min((moment for moment in moments if moment > self.now + 0.002), default=self.now)
        self._move_to(moment - 0.001 if just_before and moment > self.now else moment)

    def _move_to(self, moment: float) -> None:
        self._keep()
        self.now = moment
        self._keep()

    # Calls.

    @rule()
    def call(self) -> None:
        self._take(0)

    def _take(self, newer_than: int) -> int | None:
        token_before = self.state.token
        match policy.decide(self.state, self.now, newer_than):
            case (Use(token) | UseAndRefresh(token)) as decision:
                assert self.now < self.expires_at[token.generation]
                assert token.generation > newer_than
                assert token.generation not in self.burnt
                assert token.generation == self.state.generation
                refresh = isinstance(decision, UseAndRefresh)
                if refresh and self.state.latch is not None:
                    self.wanted = True
                self.state = states.used(self.state, refresh=refresh)
                if refresh:
                    assert policy.next_fetch(self.state, self.now) is not None
                self.given.append(token.generation)
                return token.generation
            case Wait():
                valid = policy.usable_token(self.state, self.now, newer_than)
                assert valid is None or (self.now >= valid.hard_at and not self.state.failures)
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
        return None

    @precondition(lambda self: self.given)
    @rule(age=ages)
    def accept(self, age: int) -> None:
        self.state = states.accepted(self.state, self._generation(age), "/a", self.now)

    @precondition(lambda self: self.given)
    @rule(age=ages, path=paths)
    def refuse(self, age: int, path: str) -> None:
        generation = self._generation(age)
        token, pausing = self.state.token, self._pausing()
        self.state, permit = states.unauthorized(self.state, generation, path, self.now)
        if token is not None and self.state.token is None:
            assert generation == token.generation
            self.burnt.add(generation)
            self.wanted = True
            if pausing:
                self.burnt_at.append(self.now)
        if generation < self.state.generation:
            assert permit is not None, "an older generation's 401 is always resent"
        if permit is not None:
            self.burns.append(permit)

    @rule(path=paths, life=lives, resent=st.sampled_from(["accepted", "refused", "not resent"]))
    def refused_and_renewed(self, path: str, life: float, resent: str) -> None:
        """A whole 401 at once: single steps rarely come in this order."""
        if self._take(0) is None:
            return
        self.refuse(1, path)
        self.renew(life, 0.5)
        if self.burns and resent != "not resent":
            self.resend(first=False, unauthorized=resent == "refused")

    @precondition(lambda self: self.state.token is not None and not self.state.used)
    @rule()
    def first_call(self) -> None:
        if self._take(0) is not None:
            self.accept(1)

    def _generation(self, age: int) -> int:
        return sorted(set(self.given))[-age:][0]

    @precondition(lambda self: self.burns)
    @rule(first=st.booleans(), unauthorized=st.booleans())
    def resend(self, first: bool, unauthorized: bool) -> None:
        permit = self.burns[0 if first else -1]
        generation = self._take(permit.generation)
        if generation is None:
            return
        self.burns.remove(permit)
        token = self.state.token
        trial = self.state.burns.trial
        self.state = states.resent(self.state, permit, generation, self.now, unauthorized=unauthorized)
        assert self.state.token is token, "a 401 on a resend burns nothing"
        latest = permit.judge and trial is not None and permit.generation == trial.generation
        if not unauthorized and latest and trial is not None and trial.stage is not Stage.USEFUL:
            assert not self._pausing(), "a useful refresh ends all pauses"

    @precondition(lambda self: self.burns)
    @rule()
    def leave(self) -> None:
        """A caller hangs up before its call is resent."""
        permit = self.burns.pop()
        token = self.state.token
        self.state = states.withdrawn(self.state, permit)
        assert self.state.token is token

    def _pausing(self) -> bool:
        return any(self.now < fault.until for fault in self.state.burns.faults.values())

    # The keeper.

    @precondition(lambda self: self.state.token is not None)
    @rule(result=results, window=st.sampled_from(["soft_at", "hard_at", "expires_at"]))
    def a_late_refresh_fails(self, result: FetchResult, window: str) -> None:
        self._take(0)
        self._move_to(max(self.now, getattr(self.state.token, window)))
        self._take(0)
        self.fail(result, 0.5)
        self._take(0)

    def _keep(self) -> None:
        due = policy.next_fetch(self.state, self.now)
        if due is None or due > self.now:
            return
        assert self.state.fetch is None, "two fetches at once"
        assert self.now >= self.quiet_until
        assert self.now >= self.locked_until
        token = self.state.token
        assert self.wanted or (token is not None and self.state.used and self.now >= token.soft_at), "an idle call"
        assert self.wanted or self.state.latch is None, "a probe that no call asked for"
        assert not (self.state.lockout is not None and self.state.lockout.probing), "two probes at once"
        self.state = states.fetch_begun(self.state, self.now)

    @initialize(life=lives)
    def first_token(self, life: float) -> None:
        self.state = states.demanded(self.state)
        self.wanted = True
        self.renew(life, 0.5)

    @rule(result=results, roll=rolls)
    def fail(self, result: FetchResult, roll: float) -> None:
        self._keep()
        fetch, token = self.state.fetch, self.state.token
        if fetch is None:
            return
        self.state = states.fetch_ended(self.state, result, self.now, roll)
        assert self.state.token is token, "a failed refresh evicts nothing"
        if isinstance(result, Refused) and fetch.probe:
            self.locked_until = self.locked_count = 0
        if isinstance(result, LockedOut):
            self._locked_out(result, fetch)
        elif isinstance(result, Transient):
            self.quiet_until = self.now + max(0.4, result.retry_after or 0.0)
        elif isinstance(result, Refused) and fetch.key == self.state.key:
            self.quiet_until = self.now + max(24.0, result.retry_after or 0.0)

    def _locked_out(self, result: LockedOut, fetch: Fetch) -> None:
        lockout = self.state.lockout
        assert lockout is not None
        if not fetch.probe and self.locked_count:
            assert lockout.count == self.locked_count, "one lockout counted twice"
        else:
            self.locked_until = self.now + max(24.0, result.retry_after or 0.0)
        self.locked_count = lockout.count

    @rule(life=lives, roll=rolls)
    def renew(self, life: float, roll: float) -> None:
        self._keep()
        fetch, generation = self.state.fetch, self.state.generation
        if fetch is None:
            return
        value = Secret(f"token-{generation + 1}")
        self.state = states.fetch_ended(self.state, Fetched(value, life, fetch.begun_at), self.now, roll)
        if self.now >= fetch.begun_at + life:
            assert self.state.generation == generation
            self.quiet_until = self.now + 0.4
            return
        assert self.state.generation == generation + 1
        self.expires_at[generation + 1] = fetch.begun_at + life
        self.wanted = False
        self.quiet_until = 0.0
        if fetch.probe:
            self.locked_until = self.locked_count = 0

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
        self.locked_count = 1

    @precondition(lambda self: self.state.lockout is not None and self.state.fetch is None)
    @rule(ends=st.booleans())
    def another_credential_probes(self, ends: bool) -> None:
        lockout = self.state.lockout
        assert lockout is not None
        if lockout.probing and ends:
            self.state = states.lockout_changed(self.state, None)
            self.locked_until = self.locked_count = 0
        elif self.now >= lockout.until:
            self.state = states.lockout_changed(self.state, replace(lockout, probing=True))

    # Always.

    @invariant()
    def no_burnt_token_is_held(self) -> None:
        assert self.state.token is None or self.state.token.generation not in self.burnt

    @invariant()
    def refreshes_are_rare_while_any_path_pauses(self) -> None:
        if not self._pausing():
            self.burnt_at.clear()
        assert all(later - earlier >= 10.0 for earlier, later in pairwise(self.burnt_at))

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
TestTokenMachine.settings = settings(max_examples=200, stateful_step_count=60, deadline=None)
