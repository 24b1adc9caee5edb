"""One fetch for everybody, refresh ahead, and what a call sees while a token is on its way."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from sidecar.core.errors import ErrorCode, Outcome, SidecarError
from sidecar.core.secret import Secret
from sidecar.core.tokens.oauth import Fetched
from tests.support.canary import CANARY_TOKEN, record
from tests.support.clock import FakeClock
from tests.support.tokens import TRANSIENT, FakeSource, Managers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sidecar.core.tokens.state import Token
    from sidecar.tokens.manager import TokenManager

LATE = float("inf")


class SuspendedClock(FakeClock):
    """A clock of a machine that can be put to sleep."""

    def suspend(self, seconds: float) -> None:
        """Let time pass without waking anybody who sleeps."""
        self._now += seconds


@pytest.fixture
def clock() -> SuspendedClock:
    return SuspendedClock(now=1000.0)


@pytest.fixture
async def managers(clock: FakeClock) -> AsyncIterator[Managers]:
    made = Managers(clock)
    yield made
    await made.close()


def calls(manager: TokenManager, number: int) -> list[asyncio.Task[Token]]:
    return [asyncio.create_task(manager.take(LATE), name=f"call {index}") for index in range(number)]


def is_ready(manager: TokenManager) -> bool:
    return manager.ready


async def test_two_hundred_cold_calls_are_served_by_one_token_request(clock: FakeClock, managers: Managers) -> None:
    source = FakeSource(clock, delay=0.3)
    manager = managers.start(source)
    waiting = calls(manager, 200)
    await clock.advance(0.3)
    tokens = await asyncio.gather(*waiting)
    assert {token.generation for token in tokens} == {1}
    assert source.requests == 1


async def test_of_fifty_callers_the_first_goes_away_and_the_others_are_served(
    clock: FakeClock, managers: Managers
) -> None:
    source = FakeSource(clock)
    source.gated = True
    manager = managers.start(source)
    first, *others = calls(manager, 50)
    await clock.settle()
    first.cancel()
    await clock.settle()
    source.let_go()
    assert len({token.generation for token in await asyncio.gather(*others)}) == 1
    assert first.cancelled()
    assert source.requests == 1


async def test_when_every_caller_goes_away_the_fetch_goes_on(clock: FakeClock, managers: Managers) -> None:
    source = FakeSource(clock)
    source.gated = True
    manager = managers.start(source)
    waiting = calls(manager, 3)
    await clock.settle()
    for call in waiting:
        call.cancel()
    await clock.settle()
    source.let_go()
    await clock.settle()
    assert manager.take_nowait(clock.now()) is not None
    assert source.requests == 1


async def test_a_call_can_be_cancelled_at_every_moment_and_leaves_nothing_behind(
    clock: FakeClock, managers: Managers
) -> None:
    """Cancelled after each number of turns of the event loop, before, while and after the token arrives."""
    for turns in range(12):
        source = FakeSource(clock)
        source.gated = True
        manager = managers.start(source)
        doomed, spared = calls(manager, 2)
        for turn in range(turns):
            if turn == 5:
                source.let_go()
            await asyncio.sleep(0)
        doomed.cancel()
        await clock.settle()
        source.let_go()
        assert (await spared).generation == 1
        await asyncio.gather(doomed, return_exceptions=True)
        await clock.settle()
        assert source.requests == 1
        names = {task.get_name() for task in asyncio.all_tasks()}
        assert not any("waits.timer" in name or "call" in name for name in names), names


async def test_a_prefetch_makes_ready_and_its_token_needs_no_waiting(clock: FakeClock, managers: Managers) -> None:
    source = FakeSource(clock, delay=1.0)
    manager = managers.start(source, prefetch=True)
    await clock.settle()
    assert not is_ready(manager)
    assert manager.take_nowait(clock.now()) is None
    await clock.advance(1.0)
    assert is_ready(manager)
    token = manager.take_nowait(clock.now())
    assert token is not None
    assert (await manager.take(LATE)) is token
    assert managers.metrics.waits == []


async def test_without_prefetch_nothing_is_fetched_until_a_call_wants_it(clock: FakeClock, managers: Managers) -> None:
    source = FakeSource(clock)
    manager = managers.start(source)
    await clock.advance(10_000)
    assert manager.ready
    assert source.requests == 0
    await manager.take(LATE)
    assert source.requests == 1


async def test_check_begins_the_fetch_that_the_call_will_need(clock: FakeClock, managers: Managers) -> None:
    source = FakeSource(clock)
    manager = managers.start(source)
    manager.check(clock.now())
    await clock.settle()
    assert manager.take_nowait(clock.now()) is not None


async def test_an_idle_sidecar_makes_no_calls(clock: FakeClock, managers: Managers) -> None:
    source = FakeSource(clock, life=1200)
    managers.start(source, prefetch=True)
    await clock.advance(24 * 3600)
    assert source.requests == 1


async def test_a_used_token_is_refreshed_once_in_the_background(clock: FakeClock, managers: Managers) -> None:
    source = FakeSource(clock, life=1200)
    manager = managers.start(source)
    await manager.take(LATE)
    await clock.advance(24 * 3600)
    soft_window = 120 * 0.875
    assert source.sent_at == [1000.0, pytest.approx(1000 + 1200 - soft_window)]


async def test_the_first_use_in_the_soft_window_gets_the_token_and_has_it_refreshed(
    clock: FakeClock, managers: Managers
) -> None:
    source = FakeSource(clock, life=1200)
    manager = managers.start(source, prefetch=True)
    await clock.advance(1150 - 20)
    token = manager.take_nowait(clock.now())
    assert token is not None
    await clock.settle()
    assert token.generation == 1
    assert source.requests == 2


async def test_in_the_hard_window_a_call_waits_for_the_new_token(clock: FakeClock, managers: Managers) -> None:
    source = FakeSource(clock, life=1200)
    manager = managers.start(source, prefetch=True)
    await clock.advance(1180)
    assert manager.take_nowait(clock.now()) is None
    assert (await manager.take(LATE)).generation == 2


async def test_a_failed_refresh_keeps_the_token_in_use_until_it_expires(clock: FakeClock, managers: Managers) -> None:
    source = FakeSource(clock, life=100)
    manager = managers.start(source)
    await manager.take(LATE)
    source.then(*[TRANSIENT] * 100)
    await clock.advance(99.9)
    assert source.requests > 2
    assert manager.take_nowait(clock.now()) is not None
    assert is_ready(manager)
    await clock.advance(0.1)
    assert manager.take_nowait(clock.now()) is None
    assert not is_ready(manager)


async def test_a_refresh_that_hangs_gives_the_old_token_to_who_has_waited_long_enough(
    clock: FakeClock, managers: Managers
) -> None:
    source = FakeSource(clock, life=1200)
    manager = managers.start(source, prefetch=True)
    await clock.advance(1171)
    source.gated = True
    call = asyncio.create_task(manager.take(LATE))
    await clock.advance(9.9)
    assert not call.done()
    await clock.advance(0.1)
    assert (await call).generation == 1
    source.let_go()


async def test_tokens_of_five_seconds_carry_a_steady_load(clock: FakeClock, managers: Managers) -> None:
    source = FakeSource(clock, life=5, delay=0.05)
    manager = managers.start(source, prefetch=True)
    await clock.advance(0.1)
    waits = 0
    for _ in range(1500):
        token = manager.take_nowait(clock.now())
        if token is None:
            waits += 1
            taking = asyncio.create_task(manager.take(LATE))
            await clock.advance(0.05)
            token = await taking
        assert clock.now() < token.expires_at
        manager.accepted(token.generation, "/a")
        await clock.advance(0.01)
    assert waits == 0
    assert 3 <= source.requests <= 5


async def test_a_wait_ends_at_the_calls_own_deadline(clock: FakeClock, managers: Managers) -> None:
    source = FakeSource(clock)
    source.gated = True
    manager = managers.start(source)
    patient = asyncio.create_task(manager.take(LATE))
    await clock.advance(1)
    hasty = asyncio.create_task(manager.take(clock.now() + 2))
    await clock.advance(2)
    assert hasty.done()
    assert not patient.done()
    await clock.advance(7)
    for call in (hasty, patient):
        with pytest.raises(SidecarError) as raised:
            await call
        assert raised.value.code is ErrorCode.TOKEN_UNAVAILABLE
        assert raised.value.outcome is Outcome.NOT_SENT
        assert raised.value.retry_after == 1
    assert managers.metrics.waits == [2, 10]
    source.let_go()


async def test_a_call_rides_out_two_quick_failures(clock: FakeClock, managers: Managers) -> None:
    source = FakeSource(clock, TRANSIENT, TRANSIENT)
    manager = managers.start(source)
    call = asyncio.create_task(manager.take(LATE))
    await clock.advance(1.5)
    assert (await call).generation == 1
    assert source.sent_at == [1000.0, 1000.5, 1001.5]


async def test_when_the_next_attempt_is_far_off_calls_are_answered_at_once(
    clock: FakeClock, managers: Managers
) -> None:
    source = FakeSource(clock, *[TRANSIENT] * 4)
    manager = managers.start(source, prefetch=True)
    await clock.advance(4)
    assert manager.take_nowait(clock.now()) is None
    with pytest.raises(SidecarError) as checked:
        manager.check(clock.now())
    with pytest.raises(SidecarError) as taken:
        await manager.take(LATE)
    for raised in (checked.value, taken.value):
        assert (raised.code, raised.retry_after) == (ErrorCode.TOKEN_UNAVAILABLE, 4)
    assert managers.metrics.waits == []
    await clock.advance(4)
    assert manager.take_nowait(clock.now()) is not None


async def test_a_bug_in_the_source_does_not_end_the_keeper(clock: FakeClock, managers: Managers) -> None:
    source = FakeSource(clock, ZeroDivisionError("secret?"))
    manager = managers.start(source)
    call = asyncio.create_task(manager.take(LATE))
    await clock.settle()
    status = manager.status()
    assert (status.last_error, status.last_failure) == ("internal error: ZeroDivisionError", "elsewhere")
    await clock.advance(0.5)
    assert (await call).generation == 1


async def test_a_token_that_expired_on_its_way_is_asked_for_again_after_a_pause(
    clock: FakeClock, managers: Managers
) -> None:
    source = FakeSource(clock, Fetched(Secret("t"), 5.0, 900.0))
    manager = managers.start(source)
    call = asyncio.create_task(manager.take(LATE))
    await clock.settle()
    assert source.requests == 1
    await clock.advance(0.5)
    assert (await call).generation == 1


async def test_closing_cancels_the_fetch_and_answers_who_waits(clock: FakeClock, managers: Managers) -> None:
    source = FakeSource(clock)
    source.gated = True
    manager = managers.start(source)
    call = asyncio.create_task(manager.take(LATE))
    await clock.settle()
    await manager.close()
    with pytest.raises(SidecarError) as raised:
        await call
    assert raised.value.code is ErrorCode.SHUTTING_DOWN
    assert source.in_flight == 0
    assert len(managers.tasks) == 0


async def test_after_a_long_sleep_of_the_machine_the_next_call_gets_a_new_token(
    clock: SuspendedClock, managers: Managers
) -> None:
    source = FakeSource(clock, life=1200)
    manager = managers.start(source)
    await manager.take(LATE)
    clock.suspend(5000)
    assert manager.take_nowait(clock.now()) is None
    assert (await manager.take(LATE)).generation == 2


async def test_status_tells_everything_but_the_token(clock: FakeClock, managers: Managers) -> None:
    source = FakeSource(clock, life=1000)
    source.gated = True
    manager = managers.start(source, prefetch=True)
    assert manager.status().state == "empty"
    await clock.settle()
    assert manager.status().state == "refreshing"
    source.let_go()
    await clock.settle()
    status = manager.status()
    assert (status.credential, status.state, status.valid, status.generation) == ("api", "valid", True, 1)
    assert status.expires_at == clock.wall() + 1000
    assert status.refresh_at == clock.wall() + 1000 - 100 * 0.875
    assert (status.latch_reason, status.latched_until, status.last_error, status.paused_until) == (None,) * 4
    assert status.next_attempt_at is None
    manager.take_nowait(clock.now())
    assert manager.status().next_attempt_at == status.refresh_at
    record("the status", repr(status))


async def test_events_are_logged_without_a_secret(clock: FakeClock, managers: Managers) -> None:
    token = Fetched(Secret(CANARY_TOKEN), 300.0, clock.now(), ("expires_in is missing: 300 s assumed",))
    source = FakeSource(clock, TRANSIENT, token)
    with capture_logs() as logs:
        managers.start(source, prefetch=True)
        await clock.advance(1)
    record("the log", repr(logs))
    assert [(entry["log_level"], entry["event"]) for entry in logs] == [
        ("warning", "token.fetch_failed"),
        ("warning", "token.expires_in_odd"),
        ("info", "token.refreshed"),
    ]
    failed, _, refreshed = logs
    assert (failed["detail"], failed["failures"], failed["pause"], failed["credential"]) == (
        "status 503",
        1,
        0.5,
        "api",
    )
    assert (refreshed["generation"], refreshed["expires_in"]) == (1, 300.0)
