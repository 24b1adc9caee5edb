"""A deadline ends nothing before the sockets were looked at once more."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest

from sidecar.patience import AttendedClock, PatientTimeout, look_at_sockets
from sidecar.runtime import Tasks
from tests.support.clock import FakeClock

pytestmark = pytest.mark.any_loop


async def _received(here: socket.socket) -> bytes:
    return await asyncio.get_running_loop().sock_recv(here, 100)


async def test_what_waits_in_a_socket_is_with_its_reader_after_the_look() -> None:
    here, there = socket.socketpair()
    with here, there:
        here.setblocking(False)
        reader = asyncio.ensure_future(_received(here))
        await asyncio.sleep(0)
        there.send(b"in time")
        await look_at_sockets()
        assert reader.done()
        assert await reader == b"in time"


async def test_a_timeout_that_passes_while_the_process_stands_still_ends_nothing() -> None:
    here, there = socket.socketpair()
    with here, there:
        here.setblocking(False)
        async with PatientTimeout(0.05) as timeout:
            reader = asyncio.ensure_future(_received(here))
            await asyncio.sleep(0)
            there.send(b"in time")
            time.sleep(0.2)
            assert await reader == b"in time"
        assert not timeout.expired()


async def test_a_standstill_counts_as_one_step() -> None:
    """The other side needs two more round trips after it, and is given the time."""
    async with PatientTimeout(1.0) as timeout:
        await asyncio.sleep(0)
        time.sleep(1.2)
        await asyncio.sleep(0.2)
        await asyncio.sleep(0.2)
    assert not timeout.expired()


async def test_a_timeout_ends_what_takes_too_long() -> None:
    timeout = PatientTimeout(0.05)
    with pytest.raises(TimeoutError):
        async with timeout:
            await asyncio.get_running_loop().create_future()
    assert timeout.expired()


async def test_another_error_is_not_taken_for_the_timeout() -> None:
    timeout = PatientTimeout(10)
    with pytest.raises(ValueError, match="mine"):
        async with timeout:
            raise ValueError("mine")
    assert not timeout.expired()


# --- a clock that stands still while the process does -----------------------------------------------------------------


async def test_an_attended_clock_leaves_out_the_time_in_which_nobody_looked() -> None:
    clock, tasks = FakeClock(now=100.0), Tasks()
    attended = AttendedClock(clock)
    tasks.spawn(attended.watch(), name="watch")
    await clock.advance(10.0)
    assert attended.now() == 110.0
    clock.stand_still(3600.0)
    await clock.settle()
    assert attended.now() == 110.0
    await clock.advance(2.0)
    assert (attended.now(), clock.now()) == (112.0, 3712.0)
    assert attended.wall() == clock.wall()
    await tasks.close()


async def test_whoever_asks_first_after_a_standstill_is_told_the_time_without_it() -> None:
    clock = FakeClock(now=100.0)
    attended = AttendedClock(clock)
    clock.stand_still(3600.0)
    assert attended.now() == 100.0


async def test_what_sleeps_by_it_sleeps_on_after_a_standstill() -> None:
    clock, tasks = FakeClock(), Tasks()
    attended = AttendedClock(clock)
    tasks.spawn(attended.watch(), name="watch")
    sleeper = asyncio.ensure_future(attended.sleep_until(attended.now() + 5.0))
    await clock.advance(3.0)
    clock.stand_still(60.0)
    await clock.advance(1.9)
    assert not sleeper.done()
    await clock.advance(0.2)
    assert sleeper.done()
    await tasks.close()
