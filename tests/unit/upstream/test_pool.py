"""Which connection a call gets, how long one is kept, and who waits: the pool without a socket."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, cast

import pytest

from sidecar.core.resend import FailureKind
from sidecar.runtime import Tasks
from sidecar.upstream.errors import UpstreamError
from sidecar.upstream.pool import IDLE_TIMEOUT, Pool
from tests.support.clock import FakeClock
from tests.support.in_memory import Fate, ScriptedMangopay, respond

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sidecar.upstream.connection import Connection
    from sidecar.upstream.dialing import Dialer

HEAD = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
LATE = 1e9


class Rig:
    """A pool of two connections."""

    def __init__(self) -> None:
        self.clock, self.tasks, self.mangopay = FakeClock(), Tasks(), ScriptedMangopay()
        self.pool = Pool(cast("Dialer", self.mangopay), size=2, clock=self.clock, tasks=self.tasks)

    async def use(self, *headers: str) -> Connection:
        """Make one exchange; return its connection, which is idle or closed by then."""
        self.mangopay.script.append(Fate(response=respond(200, b"ok", *headers)))
        connection = self.pool.take_idle(self.clock.now()) or await self.pool.acquire(LATE)
        response = await connection.exchange(HEAD, None, head_only=False, timeout=5.0)
        assert response.take_whole() == b"ok"
        return connection


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    rig = Rig()
    yield rig
    await rig.pool.close()
    await rig.tasks.close()


async def test_the_connection_that_was_used_last_is_used_again(rig: Rig) -> None:
    first, second = await rig.pool.acquire(LATE), await rig.pool.acquire(LATE)
    assert not first.reused
    first.release()
    second.release()
    assert rig.pool.take_idle(rig.clock.now()) is second
    assert second.reused
    assert rig.pool.take_idle(rig.clock.now()) is first
    assert rig.pool.take_idle(rig.clock.now()) is None


@pytest.mark.parametrize(
    ("keep_alive", "kept_for"),
    [(None, IDLE_TIMEOUT), ("timeout=5", 4.0), ("timeout=2, max=9", 1.0), ("timeout=600", IDLE_TIMEOUT)],
)
async def test_an_idle_connection_is_used_no_more_a_second_before_upstream_closes_it(
    rig: Rig, keep_alive: str | None, kept_for: float
) -> None:
    for early, reused in ((0.01, True), (0.0, False)):
        connection = await rig.use(*[f"Keep-Alive: {keep_alive}"] if keep_alive else [])
        rig.clock._now += kept_for - early  # no sweep comes between
        assert (rig.pool.take_idle(rig.clock.now()) is connection) is reused
        connection.abort()


@pytest.mark.parametrize("seconds", [0, 1])
async def test_a_connection_that_upstream_keeps_for_a_second_is_not_kept(rig: Rig, seconds: int) -> None:
    await rig.use(f"Keep-Alive: timeout={seconds}")
    assert (rig.pool.idle, rig.pool.open) == (0, 0)


async def test_a_call_beyond_the_size_waits_for_a_connection_or_a_slot(rig: Rig) -> None:
    first, second = await rig.pool.acquire(LATE), await rig.pool.acquire(LATE)
    waiting = [asyncio.ensure_future(rig.pool.acquire(LATE)) for _ in range(2)]
    await rig.clock.settle()
    assert rig.pool.waiting == 2
    first.release()
    await rig.clock.settle()
    assert waiting[0].result() is first
    assert first.reused
    second.abort()
    assert (await waiting[1]) is not second
    assert (rig.mangopay.dials, rig.pool.open) == (3, 2)


async def test_a_call_that_wants_a_new_one_gets_the_slot_of_an_idle_one(rig: Rig) -> None:
    idle = [await rig.pool.acquire(LATE) for _ in range(2)]
    for connection in idle:
        connection.release()
    fresh = await rig.pool.acquire(LATE, fresh=True)
    assert fresh not in idle
    assert not fresh.reused
    assert (rig.pool.idle, rig.pool.open) == (1, 2)


@pytest.mark.parametrize(("seconds", "reused"), [(0.9, False), (1.0, True)])
async def test_a_new_connection_that_was_given_back_unused_is_new_for_a_second(
    rig: Rig, seconds: float, reused: bool
) -> None:
    connection = await rig.pool.acquire(LATE)
    connection.release(fresh=True)
    rig.clock._now += seconds
    assert rig.pool.take_idle(rig.clock.now()) is connection
    assert connection.reused is reused
    others = await rig.pool.acquire(LATE)
    waiting = asyncio.ensure_future(rig.pool.acquire(LATE))
    await rig.clock.settle()
    others.release(fresh=not reused)
    assert (await waiting).reused is reused


async def test_a_call_that_waits_too_long_gets_none(rig: Rig) -> None:
    for _ in range(2):
        await rig.pool.acquire(LATE)
    waiting = asyncio.ensure_future(rig.pool.acquire(rig.clock.now() + 3.0))
    await rig.clock.advance(2.9)
    assert not waiting.done()
    await rig.clock.advance(1.0)
    with pytest.raises(UpstreamError) as raised:
        await waiting
    assert raised.value.failure.kind is FailureKind.NO_SLOT


async def test_a_connection_on_which_something_waits_is_not_used(rig: Rig) -> None:
    """The system knows before the event loop has looked: here by a pipe in place of a socket."""
    reading, writing = os.pipe()
    try:
        rig.mangopay.descriptor = reading
        connection = await rig.use()
        os.write(writing, b"x")
        assert rig.pool.take_idle(rig.clock.now()) is None
        assert connection.is_alive() is False
        assert rig.pool.open == 0
    finally:
        os.close(reading)
        os.close(writing)


async def test_after_a_change_of_certificate_no_connection_of_before_is_used(rig: Rig) -> None:
    await rig.use()
    used = await rig.pool.acquire(LATE)
    other = await rig.pool.acquire(LATE)
    other.release()
    rig.pool.retire()
    assert rig.pool.idle == 0
    used.release()
    assert (rig.pool.idle, rig.pool.open) == (0, 0)
