"""How long the waits of a call may still take, and what its timeline says of them."""

from __future__ import annotations

import pytest

from sidecar.proxy.exchange import WaitBudget
from sidecar.telemetry.attempt import Attempt
from sidecar.telemetry.record import CallRecord
from tests.support.clock import FakeClock


def record(started: float) -> CallRecord:
    return CallRecord("id", started, "GET", "/")


async def test_all_waits_of_a_call_share_its_budget() -> None:
    clock = FakeClock(now=100.0)
    waiting = WaitBudget(clock, 12.0, clock)
    assert waiting.start() == 112.0
    await clock.advance(5.0)
    assert waiting.stop() == 5.0
    await clock.advance(50.0)  # nothing was waited for
    assert not waiting.is_over
    assert waiting.start() == 162.0
    await clock.advance(6.5)
    assert waiting.stop() == 6.5
    assert not waiting.is_over
    assert waiting.start() == 162.0
    await clock.advance(0.5)
    waiting.stop()
    assert waiting.is_over


async def test_time_in_which_the_process_stood_still_is_told_and_does_not_count() -> None:
    clock, attended = FakeClock(now=100.0), FakeClock(now=7.0)
    waiting = WaitBudget(clock, 12.0, attended)
    waiting.start()
    await clock.advance(60.0)
    await attended.advance(2.0)
    assert waiting.stop() == 60.0
    assert waiting.start() == 170.0


async def test_an_attempt_begins_with_its_wait_for_a_connection() -> None:
    clock = FakeClock(now=100.0)
    waiting, call = WaitBudget(clock, 12.0, clock), record(90.0)
    await clock.advance(1.0)
    waiting.start()
    await clock.advance(2.0)
    waiting.connected()
    waiting.start()
    await clock.advance(0.5)
    waiting.token_seconds += waiting.stop()
    waiting.start()
    await clock.advance(0.25)
    waiting.reconnected()
    await clock.advance(4.0)
    waiting.record_attempt(call, 200)
    assert call.timeline == (Attempt(11.0, 2.25, 0.5, 4.0, 200, "call"),)
    assert call.token_wait_seconds == 0.5


async def test_each_attempt_has_its_own_seconds() -> None:
    clock = FakeClock(now=100.0)
    waiting, call = WaitBudget(clock, 12.0, clock), record(100.0)
    waiting.start()
    await clock.advance(1.0)
    waiting.connected()
    waiting.token_seconds += 0.5
    waiting.record_attempt(call, "lost", upstream=3.0)
    await clock.advance(1.0)
    waiting.no_wait(clock.now())
    waiting.token_seconds += 0.25
    await clock.advance(2.0)
    waiting.record_attempt(call, 404, purpose="read_back")
    assert call.timeline == (
        Attempt(0.0, 1.0, 0.5, 3.0, "lost", "call"),
        Attempt(2.0, 0.0, 0.25, pytest.approx(1.75), 404, "read_back"),  # type: ignore[arg-type]
    )
    assert call.token_wait_seconds == 0.75


def test_an_attempt_tells_the_generation_of_its_token_and_leaves_none_to_the_next() -> None:
    clock = FakeClock(now=100.0)
    waiting, call = WaitBudget(clock, 12.0, clock), record(100.0)
    waiting.no_wait(clock.now())
    waiting.generation = 7
    waiting.record_attempt(call, 401)
    waiting.no_wait(clock.now())
    waiting.record_attempt(call, "token_unavailable")
    assert [each.generation for each in call.timeline] == [7, 0]
