"""What a call and the keeper do in each state, as tables."""

from __future__ import annotations

from typing import Final

import pytest
from msgspec.structs import replace

from sidecar.core.errors import ErrorCode
from sidecar.core.secret import Secret
from sidecar.core.tokens import policy
from sidecar.core.tokens.policy import Decision, Fail, Use, UseAndRefresh, Wait
from sidecar.core.tokens.state import Fetch, Latch, State, Token

#: Asked for at 0, a life of 1000 seconds.
TOKEN: Final = Token(Secret("t"), 3, 0.0, 900.0, 950.0, 1000.0)
HELD: Final = State(generation=3, token=TOKEN, used=True)
EMPTY: Final = State()

FRESH, SOFT, HARD, EXPIRED = 899.9, 900.0, 950.0, 1000.0
MOMENTS: Final = (FRESH, SOFT, HARD, EXPIRED)

FETCHING = Fetch(0.0, 0, probe=False)


def latch(until: float, cause: str = "credentials", *, probing: bool = False) -> Latch:
    return Latch(0.0, until, 1, cause, probing)


USE, REFRESH, WAIT = Use(TOKEN), UseAndRefresh(TOKEN), Wait()


UNAVAILABLE, LOCKED, REFUSED = (
    ErrorCode.TOKEN_UNAVAILABLE,
    ErrorCode.TOKEN_LOCKED_OUT,
    ErrorCode.CREDENTIALS_REFUSED,
)


@pytest.mark.parametrize(
    ("change", "decisions"),
    [
        pytest.param({}, (USE, REFRESH, WAIT, WAIT), id="held"),
        pytest.param({"used": False}, (USE, REFRESH, WAIT, WAIT), id="held, not used yet"),
        pytest.param({"fetch": FETCHING}, (USE, USE, WAIT, WAIT), id="refreshing"),
        pytest.param(
            {"failures": 1, "retry_at": 0.0}, (USE, REFRESH, REFRESH, WAIT), id="a failed refresh may be tried again"
        ),
        pytest.param(
            {"failures": 4, "retry_at": 1500.0},
            (USE, USE, USE, Fail(UNAVAILABLE, 500)),
            id="a failed refresh backs off",
        ),
        pytest.param({"failures": 1, "retry_at": 1001.0}, (USE, USE, USE, WAIT), id="due within a second"),
        pytest.param({"failures": 1, "fetch": FETCHING}, (USE, USE, USE, WAIT), id="refreshing after a failure"),
        pytest.param({"refusal": latch(1500)}, (USE, USE, USE, Fail(REFUSED, 500)), id="refused"),
        pytest.param({"refusal": latch(0)}, (USE, REFRESH, REFRESH, WAIT), id="refused, the latch is over"),
        pytest.param({"refusal": latch(0), "fetch": FETCHING}, (USE, USE, USE, WAIT), id="refused, probing"),
        pytest.param(
            {"refusal": latch(0), "failures": 1, "retry_at": 1000.5},
            (USE, USE, USE, Fail(REFUSED, 0.5)),
            id="refused, the probe failed",
        ),
        pytest.param({"lockout": latch(1500)}, (USE, USE, USE, Fail(LOCKED, 500)), id="locked out"),
        pytest.param({"refusal": latch(1000)}, (USE, USE, USE, WAIT), id="refused, the latch ends now"),
        pytest.param({"lockout": latch(1000)}, (USE, USE, USE, WAIT), id="locked out, the latch ends now"),
        pytest.param(
            {"lockout": latch(1000.5)}, (USE, USE, USE, Fail(LOCKED, 0.5)), id="locked out for half a second more"
        ),
        pytest.param({"lockout": latch(0)}, (USE, REFRESH, REFRESH, WAIT), id="locked out, the latch is over"),
        pytest.param(
            {"lockout": latch(0, probing=True), "fetch": FETCHING}, (USE, USE, USE, WAIT), id="locked out, probing"
        ),
        pytest.param(
            {"lockout": latch(400, probing=True)},
            (USE, USE, USE, Fail(LOCKED, -600)),
            id="locked out, another credential probes",
        ),
        pytest.param(
            {"lockout": latch(1200), "refusal": latch(1500)},
            (USE, USE, USE, Fail(LOCKED, 500)),
            id="locked out and refused",
        ),
    ],
)
def test_a_call_with_a_token_fresh_in_its_soft_and_hard_window_and_expired(
    change: dict[str, object], decisions: tuple[Decision, ...]
) -> None:
    state = replace(HELD, **change)
    assert tuple(policy.decide(state, now) for now in MOMENTS) == decisions


@pytest.mark.parametrize("now", MOMENTS)
def test_an_expired_token_is_never_handed_out_and_no_valid_one_withheld_after_the_wait(now: float) -> None:
    token = policy.usable_token(HELD, now)
    assert (token is None) is (now >= TOKEN.expires_at)


@pytest.mark.parametrize(("newer_than", "decision"), [(0, USE), (2, USE), (3, WAIT)])
def test_a_resend_takes_only_a_newer_generation(newer_than: int, decision: Decision) -> None:
    assert policy.decide(HELD, FRESH, newer_than) == decision


def test_a_first_attempt_takes_any_generation() -> None:
    first = replace(TOKEN, generation=1)
    assert policy.decide(replace(HELD, generation=1, token=first), FRESH) == Use(first)


@pytest.mark.parametrize(("now", "may"), [(6.9, False), (7.0, True)])
def test_a_token_may_be_asked_for_from_the_moment_on_at_which_a_pause_ends(now: float, may: bool) -> None:
    assert policy.may_fetch(replace(EMPTY, failures=1, retry_at=7.0), now) is may


@pytest.mark.parametrize(
    ("state", "moment"),
    [
        pytest.param(EMPTY, None, id="nothing wanted"),
        pytest.param(replace(EMPTY, demand=True), float("-inf"), id="wanted"),
        pytest.param(replace(EMPTY, demand=True, retry_at=7.0, failures=2), 7.0, id="backing off"),
        pytest.param(replace(EMPTY, demand=True, fetch=FETCHING), None, id="on its way"),
        pytest.param(HELD, 900.0, id="held and used"),
        pytest.param(replace(HELD, used=False), None, id="held, not used"),
        pytest.param(replace(HELD, failures=1, retry_at=905.0), 905.0, id="a failed refresh"),
        pytest.param(replace(HELD, refusal=latch(950)), None, id="refused, no call waits"),
        pytest.param(replace(HELD, refusal=latch(950), demand=True), 950.0, id="refused, a call waits"),
        pytest.param(replace(HELD, lockout=latch(950)), None, id="locked out, no call waits"),
        pytest.param(replace(EMPTY, lockout=latch(950), demand=True), 950.0, id="locked out, a call waits"),
        pytest.param(
            replace(EMPTY, lockout=latch(950), refusal=latch(990), demand=True), 990.0, id="locked out and refused"
        ),
        pytest.param(replace(EMPTY, lockout=latch(5, probing=True), demand=True), None, id="another credential probes"),
    ],
)
def test_when_the_keeper_fetches(state: State, moment: float | None) -> None:
    assert policy.next_fetch(state, FRESH) == moment


def test_an_expired_token_that_nobody_wants_is_not_refreshed() -> None:
    assert policy.next_fetch(HELD, EXPIRED) is None


@pytest.mark.parametrize(
    ("state", "ready"),
    [
        pytest.param(EMPTY, True, id="nothing wanted yet"),
        pytest.param(replace(EMPTY, fetch=FETCHING, demand=True), True, id="the first call waits"),
        pytest.param(replace(EMPTY, failures=1, retry_at=2000.0, demand=True), False, id="failing"),
        pytest.param(replace(EMPTY, failures=1, fetch=FETCHING, demand=True), False, id="failing, trying again"),
        pytest.param(replace(EMPTY, refusal=latch(2000.0), demand=True), False, id="refused"),
        pytest.param(replace(EMPTY, lockout=latch(2000.0)), False, id="locked out"),
        pytest.param(replace(EMPTY, lockout=latch(0.0)), True, id="the next call may probe"),
        pytest.param(replace(EMPTY, lockout=latch(0.0), demand=True), False, id="a probe is due"),
        pytest.param(HELD, True, id="expired, to be fetched by the next call"),
    ],
)
def test_readiness_without_a_valid_token(state: State, ready: bool) -> None:
    assert policy.is_ready(state, EXPIRED, prefetch=False) is ready


@pytest.mark.parametrize("state", [replace(HELD, failures=9), replace(HELD, lockout=latch(2000.0))])
def test_a_valid_token_is_readiness_enough(state: State) -> None:
    assert policy.is_ready(state, FRESH, prefetch=True)


def test_the_first_prefetch_is_waited_for() -> None:
    assert not policy.is_ready(replace(EMPTY, demand=True), 0.0, prefetch=True)
    assert policy.is_ready(replace(EMPTY, generation=1), 0.0, prefetch=True)


@pytest.mark.parametrize(
    ("change", "code", "retry_after"),
    [
        ({"fetch": FETCHING}, UNAVAILABLE, 0.0),
        ({"failures": 1, "retry_at": 1000.5}, UNAVAILABLE, 0.5),
        ({"refusal": latch(0), "fetch": FETCHING}, REFUSED, 0.0),
        ({"lockout": latch(0), "fetch": FETCHING}, LOCKED, 0.0),
    ],
)
def test_a_call_that_waited_too_long_is_told_why(
    change: dict[str, object], code: ErrorCode, retry_after: float
) -> None:
    assert policy.give_up(replace(EMPTY, **change), EXPIRED) == Fail(code, retry_after)
