"""What each event changes: a token's windows, back-off, latches, keys."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from sidecar.core.secret import Secret
from sidecar.core.tokens import state as states
from sidecar.core.tokens.oauth import Fetched, FetchResult, LockedOut, Pause, Refusal, Refused, Transient
from sidecar.core.tokens.state import Latch, State, Token
from sidecar.core.tokens.unauthorized import Burns, Fault, OpenVerdict, ResendPermit, Stage, Trial
from tests.support.canary import CANARY_TOKEN, record

NOW = 1000.0
LOCKED = LockedOut("locked")
REFUSED = Refused(Refusal.CREDENTIALS, "refused")
FAILED = Transient("failed")


def fetched(life: float = 3600.0, sent_at: float = NOW) -> Fetched:
    return Fetched(Secret(CANARY_TOKEN), life, sent_at)


def after(state: State, *results: FetchResult, now: float = NOW, roll: float = 0.5) -> State:
    """Fetch once for each result."""
    for result in results:
        state = states.fetch_ended(states.fetch_begun(state, now), result, now, roll)
    return state


def issued(life: float, roll: float) -> Token:
    token = after(State(), fetched(life), roll=roll).token
    assert token is not None
    return token


@pytest.mark.parametrize(
    ("life", "roll", "soft", "hard"),
    [
        (3600, 0.0, 300, 30),
        (3600, 1.0, 225, 30),
        (1200, 0.0, 120, 30),
        (1200, 1.0, 90, 30),
        (600, 1.0, 45, 30),
        (300, 0.0, 30, 15),
        (5, 0.0, 0.5, 0.25),
        (5, 1.0, 0.375, 0.25),
        (86_400, 0.0, 300, 30),
    ],
)
def test_the_windows_are_a_tenth_and_a_twentieth_of_the_life_up_to_a_limit(
    life: float, roll: float, soft: float, hard: float
) -> None:
    token = issued(life, roll)
    assert token.expires_at == NOW + life
    assert token.expires_at - token.soft_at == pytest.approx(soft)
    assert token.expires_at - token.hard_at == pytest.approx(hard)


@given(st.floats(0.01, 86_400), st.floats(0, 1))
def test_the_soft_window_opens_before_the_hard_one_and_never_before_a_tenth_is_left(life: float, roll: float) -> None:
    token = issued(life, roll)
    assert NOW < token.soft_at < token.hard_at < token.expires_at
    assert token.expires_at - token.soft_at <= min(life / 10, 300) + 1e-6


def test_life_counts_from_when_the_request_was_sent() -> None:
    state = after(State(), fetched(100, sent_at=NOW - 30))
    assert state.token is not None
    assert state.token.expires_at == NOW + 70


def test_a_token_that_expired_on_its_way_is_a_transient_failure() -> None:
    state = after(State(demand=True), fetched(1, sent_at=NOW - 1))
    assert (state.token, state.generation, state.failures, state.demand) == (None, 0, 1, True)


def test_tokens_that_live_shorter_than_a_second_are_asked_for_once_a_second() -> None:
    assert after(State(), fetched(0.2)).retry_at == NOW + 1
    assert after(State(), fetched(1.0)).retry_at == float("-inf")


def test_a_new_token_counts_as_unused() -> None:
    assert not after(states.used(after(State(), fetched())), fetched()).used


def test_a_result_without_a_request_is_that_of_one_with_the_present_key_and_no_probe() -> None:
    lockout = after(State(), LOCKED).lockout
    state = State(lockout=lockout, key=3)
    assert states.fetch_ended(state, Transient("429", 90.0), NOW, 0.5).lockout == lockout
    assert states.fetch_ended(state, REFUSED, NOW, 0.5).refusal is not None


def test_a_token_ends_every_failure() -> None:
    state = after(State(demand=True), FAILED, REFUSED, LOCKED, FAILED, fetched())
    assert state.generation == 1
    assert (state.failures, state.lockout, state.refusal, state.demand, state.used) == (0, None, None, False, False)


def test_a_token_shows_in_no_repr() -> None:
    record("the repr of a state", repr(after(State(), fetched())))


@pytest.mark.parametrize("result", [FAILED, LOCKED, REFUSED])
def test_a_failed_refresh_keeps_the_token(result: FetchResult) -> None:
    state = after(State(), fetched())
    assert after(state, result).token is state.token


@pytest.mark.parametrize(("failures", "pause"), [(1, 0.5), (2, 1), (3, 2), (7, 30), (20, 30)])
def test_transient_failures_back_off(failures: int, pause: float) -> None:
    assert after(State(), *[FAILED] * failures).retry_at == NOW + pause


@pytest.mark.parametrize(("asked", "pause"), [(0.1, 0.5), (90.0, 90.0), (float("inf"), 3600.0)])
def test_a_transient_failures_retry_after_is_honoured_up_to_an_hour(asked: float, pause: float) -> None:
    assert after(State(), Transient("429", asked)).retry_at == NOW + pause


def latch_of(state: State) -> Latch:
    assert state.latch is not None
    return state.latch


@pytest.mark.parametrize("result", [LOCKED, REFUSED])
@pytest.mark.parametrize(("times", "pause"), [(1, 30), (2, 60), (5, 480), (6, 900), (12, 900)])
def test_latches_double_up_to_a_quarter_of_an_hour(result: FetchResult, times: int, pause: float) -> None:
    latch = latch_of(after(State(), *[result] * times))
    assert (latch.until, latch.count, latch.since) == (NOW + pause, times, NOW)


@pytest.mark.parametrize(("roll", "pause"), [(0.0, 24.0), (1.0, 36.0)])
def test_a_latch_is_spread_by_a_fifth(roll: float, pause: float) -> None:
    assert latch_of(after(State(), LOCKED, roll=roll)).until == pytest.approx(NOW + pause)


@pytest.mark.parametrize(("asked", "pause"), [(5.0, 30.0), (7200.0, 7200.0), (1e9, 86_400.0)])
def test_a_latchs_retry_after_is_honoured_when_longer_up_to_a_day(asked: float, pause: float) -> None:
    assert latch_of(after(State(), replace(LOCKED, retry_after=asked))).until == NOW + pause
    assert latch_of(after(State(), replace(REFUSED, retry_after=asked))).until == NOW + pause


@pytest.mark.parametrize("cause", list(Refusal))
def test_a_refusals_latch_tells_its_cause(cause: Refusal) -> None:
    assert latch_of(after(State(), Refused(cause, "refused"))).cause == cause


def test_a_probe_that_fails_transiently_keeps_a_lockout_and_moves_the_next_probe() -> None:
    state = after(State(), LOCKED)
    later = NOW + 30
    lockout = after(state, FAILED, now=later).lockout
    assert lockout is not None
    assert (lockout.until, lockout.count, lockout.probing) == (later + 0.5, 1, False)


def test_a_probe_that_fails_transiently_keeps_a_refusal() -> None:
    state = after(State(), REFUSED)
    assert after(state, FAILED, now=NOW + 30).refusal == state.refusal


def test_a_refused_probe_says_that_the_account_is_not_locked_any_more() -> None:
    state = after(State(), LOCKED, REFUSED)
    assert state.lockout is None
    assert state.refusal is not None


def test_a_lockout_keeps_the_latch_of_refused_credentials() -> None:
    state = after(State(), REFUSED, LOCKED)
    assert state.refusal is not None
    assert latch_of(state).cause == states.LOCKOUT


def test_a_probe_is_known_to_every_credential_of_the_account() -> None:
    probing = states.fetch_begun(after(State(), LOCKED), NOW + 30)
    assert probing.lockout is not None
    assert probing.lockout.probing


def test_a_lockout_response_to_a_request_sent_before_it_was_known_does_not_double_the_latch() -> None:
    lockout = after(State(), LOCKED).lockout
    other = states.lockout_changed(states.fetch_begun(State(), NOW), lockout)
    assert lockout is not None
    for moment in (NOW + 1, lockout.until - 0.5):
        assert states.fetch_ended(other, LOCKED, moment, 0.5).lockout == lockout


def test_a_request_sent_before_the_lockout_was_known_moves_no_probe_if_it_fails() -> None:
    lockout = after(State(), LOCKED).lockout
    other = states.lockout_changed(states.fetch_begun(State(), NOW), lockout)
    failed = states.fetch_ended(other, Transient("429", 90.0), NOW + 1, 0.5)
    assert (failed.lockout, failed.failures) == (lockout, 1)


def test_a_request_sent_before_the_lockout_was_known_leaves_it_as_it_is_if_it_is_refused() -> None:
    lockout = after(State(), LOCKED).lockout
    other = states.lockout_changed(states.fetch_begun(State(), NOW), lockout)
    refused = states.fetch_ended(other, REFUSED, NOW + 1, 0.5)
    assert refused.lockout == lockout
    assert refused.refusal is not None


@pytest.mark.parametrize(("first", "second"), [(100.0, 2000.0), (2000.0, 100.0)])
def test_of_a_lockout_that_is_told_twice_the_longer_pause_holds(first: float, second: float) -> None:
    lockout = after(State(), replace(LOCKED, retry_after=first)).lockout
    other = states.lockout_changed(states.fetch_begun(State(), NOW), lockout)
    told = states.fetch_ended(other, replace(LOCKED, retry_after=second), NOW, 0.5).lockout
    assert told is not None
    assert (told.until, told.count) == (NOW + 2000.0, 1)


def test_a_lockout_that_is_told_once_more_after_its_pause_begins_the_pause_again() -> None:
    lockout = after(State(), LOCKED).lockout
    assert lockout is not None
    other = states.lockout_changed(states.fetch_begun(State(), NOW), lockout)
    told = states.fetch_ended(other, LOCKED, lockout.until, 0.5).lockout
    assert told == replace(lockout, until=lockout.until + 30)


def test_a_token_for_a_request_sent_before_the_lockout_was_known_does_not_end_it() -> None:
    lockout = after(State(), LOCKED).lockout
    other = states.lockout_changed(states.fetch_begun(State(), NOW), lockout)
    assert states.fetch_ended(other, fetched(), NOW + 1, 0.5).lockout == lockout


def test_a_new_key_clears_the_latch_of_refused_credentials_only() -> None:
    state = states.key_changed(after(State(), REFUSED, LOCKED))
    assert state.refusal is None
    assert state.lockout is not None


def test_a_refusal_of_the_old_key_does_not_latch_the_new_one() -> None:
    asking = states.key_changed(states.fetch_begun(State(demand=True), NOW))
    state = states.fetch_ended(asking, REFUSED, NOW, 0.5)
    assert (state.refusal, state.fetch, state.demand) == (None, None, True)


def test_a_probe_with_the_old_key_that_is_refused_says_that_the_account_is_not_locked_any_more() -> None:
    probing = states.key_changed(states.fetch_begun(after(State(), LOCKED), NOW + 30))
    state = states.fetch_ended(probing, REFUSED, NOW + 30, 0.5)
    assert (state.lockout, state.refusal) == (None, None)


@pytest.mark.parametrize("result", [REFUSED, LOCKED])
def test_a_refusal_and_a_lockout_end_the_pause_of_failures(result: FetchResult) -> None:
    state = after(State(), FAILED, result)
    assert (state.failures, state.retry_at) == (0, float("-inf"))


def test_each_new_key_has_a_number_of_its_own() -> None:
    assert [states.key_changed(State()).key, states.key_changed(states.key_changed(State())).key] == [1, 2]


def test_a_lockout_of_the_old_key_locks_the_account() -> None:
    asking = states.key_changed(states.fetch_begun(State(), NOW))
    assert states.fetch_ended(asking, LOCKED, NOW, 0.5).lockout is not None


def test_a_burnt_token_is_gone_and_a_new_one_demanded() -> None:
    state, permit = states.unauthorized(states.used(after(State(), fetched())), 1, "/a", NOW)
    assert permit is not None
    assert (state.token, state.used, state.demand, state.generation) == (None, False, True, 1)


def test_a_second_401_on_the_burnt_token_joins_the_judges() -> None:
    state, _ = states.unauthorized(after(State(), fetched()), 1, "/a", NOW)
    state, permit = states.unauthorized(state, 1, "/b", NOW)
    assert permit is not None
    assert permit.judge
    assert state.burns.trial == Trial(1, NOW, ("/a", "/b"), judges=2)


def test_a_401_judges_nothing_while_a_request_is_on_its_way_that_no_401_has_caused() -> None:
    state, permit = states.unauthorized(states.fetch_begun(after(State(), fetched()), NOW), 1, "/a", NOW)
    assert permit is not None
    assert not permit.judge
    assert (state.token, state.burns.trial) == (None, None)


def test_an_expired_token_is_not_burnt() -> None:
    state = after(State(), fetched(100))
    burnt, permit = states.unauthorized(state, 1, "/a", NOW + 100)
    assert permit is not None
    assert (burnt.token, permit.judge) == (state.token, False)


def test_a_passed_401_changes_no_token() -> None:
    state = after(State(), fetched())
    state = replace(state, burns=replace(state.burns, faults={"/a": Fault(0, 1, NOW, NOW + 10, ended=False)}))
    passed, permit = states.unauthorized(state, 1, "/a", NOW)
    assert permit is None
    assert passed.token is state.token


def test_events_that_change_nothing_give_the_same_state() -> None:
    """Calls tell these all the time."""
    state = states.accepted(states.demanded(states.used(after(State(), fetched()))), 1, "/a", NOW)
    assert states.used(state) is state
    assert states.demanded(state) is state
    assert states.accepted(state, 1, "/a", NOW) is state


def test_responses_to_calls_and_resends_are_told_to_the_rule_of_401s() -> None:
    state, permit = states.unauthorized(after(State(), fetched()), 1, "/a", NOW)
    assert permit is not None
    assert states.withdrawn(state, permit).burns.trial == Trial(1, NOW, ("/a",), judges=0)
    state = after(state, fetched())
    assert state.burns.trial == Trial(1, NOW, ("/a",), stage=Stage.TRIED)
    futile = states.resent(state, permit, 2, NOW, unauthorized=True)
    assert futile.burns.faults["/a"].until == NOW + 10
    assert not states.accepted(futile, 2, "/a", NOW + 10).burns.faults


@pytest.mark.parametrize(("burnt", "sent", "renewed"), [(True, NOW, NOW + 1), (False, None, None)])
def test_token_requests_count_for_the_brake_if_there_is_no_token(
    burnt: bool, sent: float | None, renewed: float | None
) -> None:
    token = None if burnt else after(State(), fetched()).token
    burns = Burns(faults={"/a": Fault(0, 1, NOW - 1, NOW + 10, ended=False)})
    asking = states.fetch_begun(State(token=token, burns=burns), NOW)
    assert asking.burns.braked_at == (burns.braked_at if sent is None else sent)
    given = states.fetch_ended(asking, fetched(sent_at=NOW + 1), NOW + 1, 0.5)
    assert given.burns.braked_at == (burns.braked_at if renewed is None else renewed)


@pytest.mark.parametrize(("generation", "closed"), [(1, False), (2, True)])
def test_the_generation_of_a_resend_that_judges_nothing_is_told_too(generation: int, closed: bool) -> None:
    state = replace(State(), burns=Burns(open_verdict=OpenVerdict(1, "/a")))
    told = states.resent(state, ResendPermit(1, "/b", judge=False), generation, NOW, unauthorized=False)
    assert (told.burns.open_verdict is None) is closed


def test_a_token_that_another_sidecar_had_asked_for_before_the_401_tries_nothing() -> None:
    state, _ = states.unauthorized(after(State(), fetched()), 1, "/a", NOW)
    older = replace(fetched(), sent_at=NOW - 60, shared=True)
    assert after(state, older).burns.trial is None


@pytest.mark.parametrize(("latched", "demand"), [(False, False), (True, True)])
def test_a_call_that_would_refresh_demands_a_probe_only_while_latched(latched: bool, demand: bool) -> None:
    state = after(State(), fetched())
    if latched:
        state = after(state, REFUSED)
    assert states.used(state, refresh=True).demand is demand
    assert not states.used(state).demand


# --- what a shared store has decided -------------------------------------------------------------------------------

PAUSE = Pause(since=NOW - 50, until=NOW + 77, count=4)


def test_a_lockout_that_a_store_decided_is_taken_as_it_is_however_often_it_is_told() -> None:
    result = LockedOut("told", retry_after=5000, pause=PAUSE)
    expected = Latch(NOW - 50, NOW + 77, 4, states.LOCKOUT)
    state = after(State(), result)
    assert state.lockout == expected
    assert after(state, result, now=NOW + 77).lockout == expected


def test_a_refusal_that_a_store_decided_is_taken_as_it_is() -> None:
    result = Refused(Refusal.FORBIDDEN, "told", retry_after=5000, pause=PAUSE)
    state = after(State(failures=2), result, result)
    assert state.refusal == Latch(NOW - 50, NOW + 77, 4, "forbidden")
    assert state.failures == 0


def test_a_failure_that_a_store_decided_is_taken_as_it_is() -> None:
    result = Transient("told", retry_after=5000, pause=PAUSE)
    state = after(State(), result, result)
    assert (state.failures, state.retry_at) == (4, NOW + 77)


def test_a_probe_that_a_store_lets_wait_keeps_the_lockout_until_then() -> None:
    state = after(after(State(), LOCKED), Transient("told", pause=PAUSE), now=NOW + 30)
    assert state.lockout is not None
    assert (state.lockout.until, state.lockout.probing) == (NOW + 77, False)


def test_an_old_key_s_refusal_says_nothing_of_the_new_one_though_a_store_decided_it() -> None:
    state = states.key_changed(states.fetch_begun(State(), NOW))
    state = states.fetch_ended(state, Refused(Refusal.CREDENTIALS, "told", pause=PAUSE), NOW, 0.5)
    assert state.refusal is None


@given(st.floats(0.01, 86_400), st.floats(0, 1))
def test_the_hard_window_is_the_one_that_tokens_have(life: float, roll: float) -> None:
    token = issued(life, roll)
    assert token.expires_at - token.hard_at == pytest.approx(states.hard_window(life), rel=1e-6, abs=1e-6)
