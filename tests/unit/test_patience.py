"""A deadline ends nothing before the sockets were looked at once more."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest

from sidecar.patience import PatientTimeout, look_at_sockets

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
