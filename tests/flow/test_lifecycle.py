"""The phases from start to stop, moved by signals and a fake clock."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

import pytest

from sidecar.lifecycle import Lifecycle, Phase
from tests.support.clock import FakeClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TERM, INT = signal.SIGTERM, signal.SIGINT


class Server:
    """A proxy port with calls in flight that the test ends."""

    def __init__(self, clock: FakeClock, in_flight: int) -> None:
        self.draining = False
        self._clock = clock
        self._in_flight = in_flight
        self._changed = asyncio.Event()

    def begin_drain(self) -> None:
        self.draining = True

    async def drained(self, deadline: float) -> bool:
        waits = [asyncio.create_task(self._idle()), asyncio.create_task(self._clock.sleep_until(deadline))]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            return not self._in_flight
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    def finish(self) -> None:
        self._in_flight -= 1
        self._changed.set()

    async def _idle(self) -> None:
        while self._in_flight:
            self._changed.clear()
            await self._changed.wait()


class Running:
    """A life cycle under way."""

    def __init__(self, *, delay: float = 0.0, drain: float = 25.0, in_flight: int = 1) -> None:
        self.clock = FakeClock()
        self.lifecycle = Lifecycle(self.clock, delay=delay, drain=drain)
        self.lifecycle.started()
        self.server = Server(self.clock, in_flight)
        self.task = asyncio.create_task(self.lifecycle.run(self.server))

    async def receive(self, number: signal.Signals) -> None:
        self.lifecycle.receive(number)
        await self.clock.settle()

    async def exit_status(self) -> int:
        await self.clock.settle()
        assert self.task.done(), f"still {self.lifecycle.phase}"
        return await self.task


@pytest.fixture
async def running() -> AsyncIterator[list[Running]]:
    """A list for the test's life cycle; what is still running in the end is cancelled."""
    started: list[Running] = []
    yield started
    for each in started:
        each.task.cancel()
    await asyncio.gather(*(each.task for each in started), return_exceptions=True)


def test_readiness_is_blocked_until_the_listeners_are_bound() -> None:
    lifecycle = Lifecycle(FakeClock(), delay=0, drain=25)
    phases = [lifecycle.phase]
    lifecycle.started()
    assert [*phases, lifecycle.phase] == [Phase.STARTING, Phase.SERVING]


@pytest.mark.parametrize("number", [TERM, INT])
async def test_without_a_delay_a_signal_starts_the_drain_at_once(
    running: list[Running], number: signal.Signals
) -> None:
    run = Running()
    running.append(run)
    await run.receive(number)
    assert run.lifecycle.phase is Phase.DRAINING
    assert run.server.draining


async def test_sigterm_blocks_readiness_at_once_but_requests_are_served_for_the_delay(running: list[Running]) -> None:
    run = Running(delay=5)
    running.append(run)
    run.lifecycle.receive(TERM)
    seen = [(run.lifecycle.phase, run.server.draining)]
    for seconds in (4.99, 0.02):
        await run.clock.advance(seconds)
        seen.append((run.lifecycle.phase, run.server.draining))
    assert seen == [(Phase.DELAYING, False), (Phase.DELAYING, False), (Phase.DRAINING, True)]


async def test_sigint_skips_the_delay(running: list[Running]) -> None:
    run = Running(delay=5)
    running.append(run)
    await run.receive(INT)
    assert run.server.draining


async def test_the_process_ends_with_0_when_the_last_call_has_finished(running: list[Running]) -> None:
    run = Running(in_flight=2)
    running.append(run)
    await run.receive(TERM)
    run.server.finish()
    await run.clock.settle()
    assert not run.task.done()
    run.server.finish()
    assert await run.exit_status() == 0
    assert run.lifecycle.phase is Phase.STOPPED


async def test_an_idle_server_stops_at_once(running: list[Running]) -> None:
    run = Running(in_flight=0)
    running.append(run)
    await run.receive(TERM)
    assert await run.exit_status() == 0


async def test_the_drain_ends_when_its_time_is_over_and_still_counts_as_one(running: list[Running]) -> None:
    run = Running(delay=5, drain=25)
    running.append(run)
    await run.receive(TERM)
    await run.clock.advance(29.9)
    assert not run.task.done()
    await run.clock.advance(0.2)
    assert await run.exit_status() == 0


@pytest.mark.parametrize("second", [TERM, INT])
@pytest.mark.parametrize("first", [TERM, INT])
async def test_a_second_signal_ends_the_drain_at_once_with_1(
    running: list[Running], first: signal.Signals, second: signal.Signals
) -> None:
    run = Running()
    running.append(run)
    await run.receive(first)
    await run.receive(second)
    assert await run.exit_status() == 1
    assert run.lifecycle.forced


async def test_a_second_signal_during_the_delay_ends_that_too(running: list[Running]) -> None:
    run = Running(delay=3600)
    running.append(run)
    await run.receive(TERM)
    await run.receive(INT)
    assert await run.exit_status() == 1
    assert run.lifecycle.phase is Phase.STOPPED


async def test_two_signals_before_the_loop_gets_to_run_end_at_once(running: list[Running]) -> None:
    run = Running()
    running.append(run)
    run.lifecycle.receive(TERM)
    run.lifecycle.receive(TERM)
    assert await run.exit_status() == 1


async def test_a_signal_while_starting_stops_without_a_drain() -> None:
    clock = FakeClock()
    lifecycle = Lifecycle(clock, delay=5, drain=25)
    lifecycle.receive(TERM)
    lifecycle.started()
    assert lifecycle.phase is Phase.STOPPED
    assert await lifecycle.run(Server(clock, 0)) == 0


async def test_nothing_is_left_behind_when_run_is_cancelled(running: list[Running]) -> None:
    run = Running(delay=5)
    running.append(run)
    await run.receive(TERM)
    run.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run.task
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.any_loop
@pytest.mark.parametrize("number", [TERM, INT])
async def test_the_process_s_own_signals_arrive(number: signal.Signals) -> None:
    clock = FakeClock()
    lifecycle = Lifecycle(clock, delay=0, drain=25)
    lifecycle.started()
    before = signal.getsignal(number)
    with lifecycle.signals():
        os.kill(os.getpid(), number)
        assert await lifecycle.run(Server(clock, 0)) == 0
    assert signal.getsignal(number) in (before, signal.SIG_DFL, signal.default_int_handler)


@pytest.mark.any_loop
async def test_after_the_second_signal_the_system_s_own_handling_is_back() -> None:
    """So that a third signal ends a process whose loop hangs."""
    clock = FakeClock()
    lifecycle = Lifecycle(clock, delay=0, drain=25)
    lifecycle.started()
    with lifecycle.signals():
        task = asyncio.create_task(lifecycle.run(Server(clock, 1)))
        for _ in range(2):
            os.kill(os.getpid(), TERM)
            await asyncio.sleep(0)
        assert await task == 1
        assert signal.getsignal(TERM) is signal.SIG_DFL
        assert signal.getsignal(INT) is signal.default_int_handler


# --- leaving ---------------------------------------------------------------------------------------------------------


def leaving(told: list[int]) -> Lifecycle:
    return Lifecycle(FakeClock(), delay=0, drain=25, leave=told.append)


async def test_that_only_closing_is_left_is_told_after_the_drain() -> None:
    told: list[int] = []
    lifecycle = leaving(told)
    lifecycle.started()
    lifecycle.receive(TERM)
    assert told == []
    assert await lifecycle.run(Server(FakeClock(), 0)) == 0
    assert told == [0]


async def test_that_only_closing_is_left_is_told_with_the_second_signal() -> None:
    told: list[int] = []
    lifecycle = leaving(told)
    lifecycle.started()
    lifecycle.receive(TERM)
    lifecycle.receive(INT)
    assert told == [1]


async def test_a_signal_during_the_start_waits_for_nothing() -> None:
    told: list[int] = []
    leaving(told).receive(TERM)
    assert told == [0]
