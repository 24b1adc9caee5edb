"""Every interleaving of calls, resends, token requests and revocations: no storm, bounded memory, two deliveries."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sidecar.core.tokens import unauthorized as rules
from sidecar.core.tokens.unauthorized import MOST_PATHS, Burns, Fault, ResendPermit, Ruling, TokenFacts

#: Two share a masked path; the others are words.
paths = st.sampled_from(["/a", "/b", "/users/1", "/users/2", *(f"/p/{chr(97 + n)}" for n in range(20))])
pauses = st.sampled_from([0.0, 0.01, 0.1, 1.0, 5.0, 9.9, 10.0, 20.0, 60.0])


@dataclass
class Delivery:
    """A call that waits for the response to its first or second delivery, or for its second."""

    path: str
    generation: int
    #: Its leave to be resent, once it has had a 401.
    permit: ResendPermit | None = None
    #: It has had a 401 and waits for a newer token.
    waiting: bool = False
    deliveries: int = 1


class Calls(RuleBasedStateMachine):
    """An app's calls, as the rule is told of them, by whoever tells it in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.burns = Burns()
        self.now = 0.0
        self.generation = 1
        self.burnt = self.fetching = False
        self.calls: list[Delivery] = []
        #: When 401s made the sidecar ask for a token since some path has been pausing without interruption.
        self.asked: list[float] = []

    @rule(seconds=pauses)
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: not self.burnt and len(self.calls) < 100)
    @rule(path=paths, times=st.sampled_from([1, 1, 3]))
    def call(self, path: str, times: int) -> None:
        self.calls += [Delivery(path, self.generation) for _ in range(times)]

    @precondition(lambda self: self.calls)
    @rule(which=st.integers(0, 99), ok=st.booleans())
    def respond(self, which: int, ok: bool) -> None:
        answered = [call for call in self.calls if not call.waiting]
        if not answered:
            return
        call = answered[which % len(answered)]
        if call.permit is not None:
            self.burns = rules.resent(self.burns, call.permit, call.generation, self.now, unauthorized=not ok)
            self.calls.remove(call)
        elif ok:
            self.burns = rules.accepted(self.burns, call.generation, call.path, self.now)
            self.calls.remove(call)
        else:
            self.refuse(call)

    def refuse(self, call: Delivery) -> None:
        was_burnt, pausing = self.burnt, self.pausing()
        facts = TokenFacts(self.generation, was_burnt, expired=False, fetching=self.fetching)
        self.burns, ruling, call.permit = rules.rule(self.burns, facts, call.generation, call.path, self.now)
        if ruling is Ruling.PASS:
            assert call.generation == self.generation, "an older generation's 401 is always resent"
            assert not was_burnt
            self.calls.remove(call)
            return
        call.waiting = True
        if ruling is Ruling.BURN:
            assert not was_burnt
            assert call.generation == self.generation
            self.burnt = True
            if pausing:
                self.asked.append(self.now)

    @precondition(lambda self: not self.fetching)
    @rule(whatever=st.booleans())
    def request_token(self, whatever: bool) -> None:
        if self.burnt or whatever:
            self.fetching = True
            self.burns = rules.token_requested(self.burns)

    @precondition(lambda self: self.fetching)
    @rule(ok=st.sampled_from([True, True, False]), shared=st.booleans(), age=st.sampled_from([0.0, 60.0]))
    def token_response(self, ok: bool, shared: bool, age: float) -> None:
        self.fetching = False
        if ok:
            self.generation += 1
            self.burnt = False
            self.burns = rules.token_renewed(self.burns, self.now - age, shared=shared)

    @rule(path=paths, ok=st.booleans())
    def a_whole_refresh(self, path: str, ok: bool) -> None:
        """Single steps rarely come in this order."""
        if self.burnt or self.fetching or len(self.calls) >= 100:
            return
        call = Delivery(path, self.generation)
        self.calls.append(call)
        self.refuse(call)
        if call.waiting:
            self.request_token(whatever=False)
            self.token_response(ok=True, shared=False, age=0.0)
        self.resend()
        if call in self.calls:
            self.respond([each for each in self.calls if not each.waiting].index(call), ok)

    @precondition(lambda self: any(call.waiting for call in self.calls))
    @rule()
    def resend(self) -> None:
        for call in self.calls:
            if call.waiting and call.permit is not None and not self.burnt and self.generation > call.permit.generation:
                call.waiting = False
                call.generation = self.generation
                call.deliveries += 1
                assert call.deliveries <= 2

    @precondition(lambda self: any(call.permit is not None for call in self.calls))
    @rule(which=st.integers(0, 99))
    def withdraw(self, which: int) -> None:
        leaving = [call for call in self.calls if call.permit is not None]
        call = leaving[which % len(leaving)]
        assert call.permit is not None
        self.burns = rules.withdrawn(self.burns, call.permit)
        self.calls.remove(call)

    def pausing(self) -> bool:
        return any(self.now < fault.until for fault in self.burns.faults.values())

    @invariant()
    def one_token_in_ten_seconds_as_long_as_a_path_pauses(self) -> None:
        if not self.pausing():
            self.asked.clear()
        assert all(later - earlier >= rules.BRAKE for earlier, later in pairwise(self.asked))

    @invariant()
    def memory_is_bounded(self) -> None:
        burns = self.burns
        assert max(len(burns.faults), len(burns.trusted)) <= MOST_PATHS
        assert burns.trial is None or len(burns.trial.paths) <= MOST_PATHS
        assert all(path == "/users/{id}" or not any(map(str.isdigit, path)) for path in burns.faults)

    @invariant()
    def a_trial_waits_for_as_many_judges_as_there_are(self) -> None:
        trial = self.burns.trial
        if trial is not None:
            judges = [call for call in self.calls if call.permit is not None and call.permit.judge]
            assert trial.judges == sum(
                call.permit.generation == trial.generation for call in judges if call.permit is not None
            )

    @invariant()
    def no_pause_is_longer_than_a_minute_and_all_paths_may_start_a_refresh_in_the_end(self) -> None:
        facts = TokenFacts(self.generation, burnt=False, expired=False, fetching=False)
        for path in ("/a", "/users/1", "/p/c"):
            assert rules.rule(self.burns, facts, self.generation, path, self.now + 60)[1] in (
                Ruling.BURN,
                # All its judges have withdrawn, and this is the response that decides.
                *([Ruling.PASS] if rules.is_news(replace(self.burns, faults={})) else []),
            )

    @invariant()
    def a_useful_refresh_forgets_all_faults(self) -> None:
        trial = self.burns.trial
        if trial is not None and trial.stage is rules.Stage.USEFUL:
            assert dict[str, Fault](self.burns.faults) == {}


TestCalls = Calls.TestCase
TestCalls.settings = settings(max_examples=120, stateful_step_count=60, deadline=None)
