"""A token manager as its calls see it: one fetch for all, refreshes ahead, latches, and 401s. Time is moved by hand."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from sidecar.core.errors import ErrorCode, Outcome, SidecarError
from sidecar.tokens.lockout import AccountLockout
from tests.support.clock import FakeClock
from tests.support.tokens import LOCKED_OUT, REFUSED, TRANSIENT, FakeSource, Managers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sidecar.tokens.manager import TokenManager


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def managers(clock: FakeClock) -> AsyncIterator[Managers]:
    made = Managers(clock)
    yield made
    await made.close()


async def take(manager: TokenManager, clock: FakeClock) -> int:
    """Take a token as a call does; return its generation."""
    token = manager.take_nowait()
    if token is None:
        token = await manager.take(clock.now() + 12)
    assert token.expires_at > clock.now()
    return token.generation


async def failure(manager: TokenManager, clock: FakeClock) -> SidecarError:
    with pytest.raises(SidecarError) as caught:
        await take(manager, clock)
    return caught.value


async def test_fifty_callers_share_one_fetch_though_the_first_goes_away(managers: Managers, clock: FakeClock) -> None:
    source = FakeSource(clock)
    source.gated = True
    manager = managers.start(source)
    callers = [asyncio.ensure_future(take(manager, clock)) for _ in range(50)]
    await clock.settle()
    callers[0].cancel()
    await clock.settle()
    source.let_go()
    answers = await asyncio.gather(*callers, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert answers[1:] == [1] * 49
    assert source.requests == 1


async def test_a_used_token_is_refreshed_in_the_last_tenth_of_its_life(managers: Managers, clock: FakeClock) -> None:
    source = FakeSource(clock, life=1200)
    manager = managers.start(source)
    assert await take(manager, clock) == 1
    begun = source.sent_at[0]
    await clock.advance(1200 * 0.9 - 1)
    assert source.requests == 1
    await clock.advance(60)
    assert source.requests == 2
    assert source.sent_at[1] - begun >= 1200 * 0.9
    assert await take(manager, clock) == 2


async def test_an_idle_sidecar_makes_no_calls(managers: Managers, clock: FakeClock) -> None:
    source = FakeSource(clock)
    managers.start(source, prefetch=True)
    await clock.advance(24 * 3600)
    assert source.requests == 1


async def test_an_hour_of_calls_with_tokens_of_five_seconds(managers: Managers, clock: FakeClock) -> None:
    source = FakeSource(clock, life=5, delay=0.05)
    manager = managers.start(source)
    for _ in range(7200):
        waiting = asyncio.ensure_future(take(manager, clock))
        await clock.settle(3)
        await clock.advance(0.5)
        await waiting
    assert source.most_in_flight == 1
    # Full use of each token: never more than one fetch for 4.5 of its 5 seconds.
    assert source.requests <= 3600 / 4.5 + 2


async def test_a_failed_refresh_never_evicts_a_valid_token(managers: Managers, clock: FakeClock) -> None:
    source = FakeSource(clock, life=1000)
    manager = managers.start(source)
    await take(manager, clock)
    source.then(*[TRANSIENT] * 200)
    for _ in range(99):
        await clock.advance(10)
        assert await take(manager, clock) == 1
    await clock.advance(10.5)
    error = await failure(manager, clock)
    assert (error.code, error.outcome) == (ErrorCode.TOKEN_UNAVAILABLE, Outcome.NOT_SENT)


@pytest.mark.parametrize(
    ("result", "code"), [(LOCKED_OUT, ErrorCode.TOKEN_LOCKED_OUT), (REFUSED, ErrorCode.CREDENTIALS_REFUSED)]
)
async def test_a_latch_makes_one_request_in_twelve_seconds_and_mends_itself(
    managers: Managers, clock: FakeClock, result: object, code: ErrorCode
) -> None:
    source = FakeSource(clock, result)  # type: ignore[arg-type]
    manager = managers.start(source)
    first = await failure(manager, clock)
    for _ in range(120):
        error = await failure(manager, clock)
        assert (error.code, error.outcome) == (code, Outcome.NOT_SENT)
        await clock.advance(0.1)
    assert first.code is code
    assert source.requests == 1
    await clock.advance(40)  # the timer probes, since calls have waited
    assert source.requests == 2
    assert await take(manager, clock) == 1


async def test_a_latch_doubles_with_each_failed_probe_up_to_a_quarter_of_an_hour(
    managers: Managers, clock: FakeClock
) -> None:
    source = FakeSource(clock, *[LOCKED_OUT] * 20)
    manager = managers.start(source)
    await failure(manager, clock)
    for _ in range(3 * 3600 // 5):
        await clock.advance(5)
        await failure(manager, clock)
    pauses = [later - earlier for earlier, later in zip(source.sent_at, source.sent_at[1:], strict=False)]
    assert pauses[0] == pytest.approx(30, abs=5.1)
    assert pauses[1] == pytest.approx(60, abs=5.1)
    assert pauses[-1] == pytest.approx(900, abs=5.1)
    assert max(pauses) <= 1080


async def test_without_demand_a_latched_credential_is_not_probed(managers: Managers, clock: FakeClock) -> None:
    source = FakeSource(clock, life=100)
    manager = managers.start(source)
    await take(manager, clock)
    source.then(LOCKED_OUT)
    await clock.advance(95)
    assert source.requests == 2  # the refresh ahead is refused; nobody has been answered for it
    await clock.advance(3600)
    assert source.requests == 2


async def test_a_lockout_latches_both_credentials_and_one_probe_serves_both(
    managers: Managers, clock: FakeClock
) -> None:
    lockout = AccountLockout()
    api, embedded = FakeSource(clock, LOCKED_OUT), FakeSource(clock)
    first = managers.start(api, lockout=lockout)
    second = managers.start(embedded, "embedded", lockout=lockout)
    await failure(first, clock)
    assert (await failure(second, clock)).code is ErrorCode.TOKEN_LOCKED_OUT
    assert (api.requests, embedded.requests) == (1, 0)
    await clock.advance(37)
    assert await take(first, clock) == 1
    assert await take(second, clock) == 1


async def test_a_changed_key_clears_refused_credentials_but_not_a_lockout(managers: Managers, clock: FakeClock) -> None:
    refused = managers.start(FakeSource(clock, REFUSED))
    locked = managers.start(FakeSource(clock, LOCKED_OUT))
    await failure(refused, clock)
    await failure(locked, clock)
    refused.key_changed()
    locked.key_changed()
    assert await take(refused, clock) == 1
    assert (await failure(locked, clock)).code is ErrorCode.TOKEN_LOCKED_OUT


async def test_a_call_waits_for_a_retry_that_is_due_within_a_second(managers: Managers, clock: FakeClock) -> None:
    source = FakeSource(clock, TRANSIENT)
    manager = managers.start(source)
    waiting = asyncio.ensure_future(take(manager, clock))
    await clock.advance(1.0)
    assert await waiting == 1
    assert source.requests == 2


async def test_a_call_waits_ten_seconds_for_a_fetch_and_no_longer(managers: Managers, clock: FakeClock) -> None:
    source = FakeSource(clock)
    source.gated = True
    manager = managers.start(source)
    waiting = asyncio.ensure_future(take(manager, clock))
    await clock.advance(9.9)
    assert not waiting.done()
    await clock.advance(0.2)
    with pytest.raises(SidecarError) as caught:
        await waiting
    assert caught.value.code is ErrorCode.TOKEN_UNAVAILABLE
    source.let_go()


async def test_200_calls_on_a_burnt_token_cause_one_fetch(managers: Managers, clock: FakeClock) -> None:
    source = FakeSource(clock, delay=0.2)
    manager = managers.start(source)
    waiting = asyncio.ensure_future(take(manager, clock))
    await clock.advance(1)
    await waiting
    burns = [manager.unauthorized(1, "/v2.01/acme/users") for _ in range(200)]
    assert all(burns)
    callers = [asyncio.ensure_future(manager.take(clock.now() + 12, newer_than=1)) for _ in burns]
    await clock.advance(1)
    assert {(await caller).generation for caller in callers} == {2}
    assert source.requests == 2


async def test_a_futile_refresh_is_not_repeated_for_ten_seconds_but_a_real_revocation_is_mended(
    managers: Managers, clock: FakeClock
) -> None:
    source = FakeSource(clock)
    manager = managers.start(source)
    assert await take(manager, clock) == 1
    burn = manager.unauthorized(1, "/bad")
    assert burn is not None
    assert (await manager.take(clock.now() + 12, newer_than=1)).generation == 2
    manager.resend_answered(burn, unauthorized=True, generation=2)
    for _ in range(90):
        await clock.advance(0.1)
        assert await take(manager, clock) == 2
        assert manager.unauthorized(2, "/bad") is None
        manager.accepted(2)
    assert source.requests == 2
    # Now the token is revoked in earnest: other paths get 401s too, running.
    assert manager.unauthorized(2, "/users") is None
    assert manager.unauthorized(2, "/wallets") is None
    mended = manager.unauthorized(2, "/users")
    assert mended is not None
    assert (await manager.take(clock.now() + 12, newer_than=2)).generation == 3
    manager.resend_answered(mended, unauthorized=False, generation=3)
    assert source.requests == 3


async def test_closing_answers_those_who_wait(managers: Managers, clock: FakeClock) -> None:
    source = FakeSource(clock)
    source.gated = True
    manager = managers.start(source)
    waiting = asyncio.ensure_future(take(manager, clock))
    await clock.settle()
    await manager.close()
    with pytest.raises(SidecarError) as caught:
        await waiting
    assert caught.value.code is ErrorCode.SHUTTING_DOWN
