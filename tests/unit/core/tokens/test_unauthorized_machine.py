"""Every interleaving of calls, resends, token requests and revocations: no storm, bounded memory, two deliveries."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec.structs import replace

from sidecar.core.redact import mask_path
from sidecar.core.tokens import unauthorized as rules
from sidecar.core.tokens.unauthorized import MOST_PATHS, Burns, ResendPermit, Ruling, TokenFacts, Trial

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
        #: When tokens that came were asked for because of 401s, since some path has been pausing without interruption.
        #: A request that failed is asked again when contract 5.7 says so: that is the same refresh.
        self.asked: list[float] = []
        #: When 401s began a refresh, since then; whatever came of it.
        self.begun: list[float] = []
        #: When the token request on its way was sent, and whether it is one of those.
        self.sent_at = 0.0
        self.counts = False
        #: Masked paths that have given another response than 401.
        self.said_otherwise: set[str] = set()

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
        if ok:
            self.said_otherwise.add(mask_path(call.path))
        if call.permit is not None:
            self.burns = rules.resent(self.burns, call.permit, call.generation, self.now, unauthorized=not ok)
            self.calls.remove(call)
        elif ok:
            self.burns = rules.accepted(self.burns, call.generation, call.path, self.now)
            self.calls.remove(call)
        else:
            self.refuse(call)

    def refuse(self, call: Delivery) -> None:
        was_burnt = self.burnt
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
            if self.pausing():
                self.begun.append(self.now)

    @precondition(lambda self: not self.fetching)
    @rule(whatever=st.booleans())
    def request_token(self, whatever: bool) -> None:
        if self.burnt or whatever:
            self.fetching = True
            self.sent_at, self.counts = self.now, self.burnt and self.pausing()
            self.burns = rules.token_requested(self.burns, self.now, burnt=self.burnt)

    @precondition(lambda self: self.fetching)
    @rule(
        ok=st.sampled_from([True, True, False]),
        shared=st.booleans(),
        age=st.sampled_from([0.0, 60.0]),
        held_up=st.booleans(),
    )
    def token_response(self, ok: bool, shared: bool, age: float, held_up: bool = False) -> None:
        """``held_up``: the request waited for a lock, and left only now."""
        self.fetching = False
        if held_up:
            self.sent_at, self.counts = self.now, self.burnt and self.pausing()
        if ok:
            if self.counts and not shared:
                self.asked.append(self.sent_at)
            sent_at = self.now - age if shared else self.sent_at
            self.burns = rules.token_renewed(self.burns, sent_at, burnt=self.burnt, shared=shared)
            self.generation += 1
            self.burnt = False

    @rule(path=paths, ok=st.booleans(), to_request=pauses, to_token=pauses, to_response=pauses, held_up=st.booleans())
    def a_whole_refresh(
        self, path: str, ok: bool, to_request: float, to_token: float, to_response: float, held_up: bool
    ) -> None:
        """Single steps rarely come in this order."""
        if self.burnt or self.fetching or len(self.calls) >= 100:
            return
        call = Delivery(path, self.generation)
        self.calls.append(call)
        self.refuse(call)
        if call.waiting:
            self.wait(to_request)
            self.request_token(whatever=False)
            self.wait(to_token)
            self.token_response(ok=True, shared=False, age=0.0, held_up=held_up)
        self.resend()
        self.wait(to_response)
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
            self.begun.clear()
        for moments in (self.asked, self.begun):
            assert all(later - earlier >= rules.BRAKE for earlier, later in pairwise(moments))

    @invariant()
    def memory_is_bounded(self) -> None:
        burns = self.burns
        assert max(len(burns.faults), len(burns.trusted)) <= MOST_PATHS
        assert len(burns.proven) <= rules.MOST_PROVEN
        assert all(set(trial.doubted) <= set(trial.paths) for trial in self.trials())
        assert all(len(trial.paths) <= MOST_PATHS for trial in self.trials())
        assert len(burns.earlier) <= rules.MOST_EARLIER
        assert all(path == "/users/{id}" or not any(map(str.isdigit, path)) for path in burns.faults)

    def trials(self) -> tuple[Trial, ...]:
        latest = self.burns.trial
        return self.burns.earlier if latest is None else (*self.burns.earlier, latest)

    @invariant()
    def each_trial_waits_for_as_many_judges_as_there_are(self) -> None:
        permits = [call.permit for call in self.calls if call.permit is not None and call.permit.judge]
        for trial in self.trials():
            assert trial.judges == sum(permit.generation == trial.generation for permit in permits)
        assert all(trial.judges for trial in self.burns.earlier)

    @invariant()
    def no_pause_is_longer_than_a_minute_and_all_paths_may_start_a_refresh_in_the_end(self) -> None:
        facts = TokenFacts(self.generation, burnt=False, expired=False, fetching=False)
        for path in ("/a", "/users/1", "/p/c"):
            assert rules.rule(self.burns, facts, self.generation, path, self.now + 60)[1] in (
                Ruling.BURN,
                # All its judges have withdrawn, and this is the response that decides.
                *([Ruling.PASS] if rules.is_news(replace(self.burns, faults={}, proven={path: None}), path) else []),
            )

    @invariant()
    def a_path_that_has_only_ever_said_401_starts_one_refresh_a_verdict(self) -> None:
        begun = Counter(
            trial.paths[0]
            for trial in self.trials()
            if trial.stage is rules.Stage.TRIED and trial.judges and self.now < trial.begun_at + rules.BRAKE
        )
        assert all(count == 1 for path, count in begun.items() if path not in self.said_otherwise)

    @invariant()
    def no_refresh_that_was_useful_holds_anything_against_a_path(self) -> None:
        useful = {trial.generation for trial in self.trials() if trial.stage is rules.Stage.USEFUL}
        assert not useful & {fault.trial for fault in self.burns.faults.values()}


TestCalls = Calls.TestCase
TestCalls.settings = settings(max_examples=120, stateful_step_count=60, deadline=None)
