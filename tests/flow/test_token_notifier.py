"""Waiting for a change, each until its own deadline, at the cost of one task."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from sidecar.runtime import Tasks
from sidecar.tokens.notifier import Notifier
from tests.support.clock import FakeClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Ring:
    """A notifier, and who waits for it."""

    def __init__(self) -> None:
        self.clock = FakeClock(now=100.0)
        self.tasks = Tasks()
        self.notifier = Notifier(self.clock, self.tasks, name="timer")

    def wait(self, deadline: float | None) -> asyncio.Task[None]:
        return asyncio.create_task(self.notifier.wait(deadline))


@pytest.fixture
async def ring() -> AsyncIterator[Ring]:
    made = Ring()
    yield made
    assert len(made.notifier) == 0, "a waiter was left behind"
    await made.clock.settle()
    assert len(made.tasks) == 0, "a timer was left behind"


async def test_ringing_wakes_everybody(ring: Ring) -> None:
    waiters = [ring.wait(deadline) for deadline in (None, 110.0, 105.0)]
    await ring.clock.settle()
    ring.notifier.notify_all()
    await asyncio.gather(*waiters)


async def test_each_waiter_wakes_at_its_own_deadline_whatever_their_order(ring: Ring) -> None:
    deadlines = {name: ring.wait(at) for name, at in {"c": 103.0, "a": 101.0, "never": None, "b": 102.0}.items()}
    woken = []
    for _ in range(3):
        await ring.clock.advance(1)
        woken.append({name for name, task in deadlines.items() if task.done()})
    assert woken == [{"a"}, {"a", "b"}, {"a", "b", "c"}]
    ring.notifier.notify_all()
    await deadlines["never"]


async def test_a_deadline_that_has_passed_does_not_wait(ring: Ring) -> None:
    waiter = ring.wait(50.0)
    await ring.clock.settle()
    assert waiter.done()


async def test_many_waiters_share_one_timer(ring: Ring) -> None:
    waiters = [ring.wait(110.0 + index) for index in range(50)]
    await ring.clock.settle()
    assert len(ring.tasks) == 1
    ring.notifier.notify_all()
    await asyncio.gather(*waiters)


@pytest.mark.parametrize("moment", ["before it waits", "while it waits", "after it was woken"])
async def test_a_waiter_that_is_cancelled_leaves_nothing_behind(ring: Ring, moment: str) -> None:
    waiter = ring.wait(110.0)
    if moment != "before it waits":
        await ring.clock.settle()
    if moment == "after it was woken":
        ring.notifier.notify_all()
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter


async def test_a_cancelled_waiter_does_not_stop_the_timer_of_another(ring: Ring) -> None:
    first, second = ring.wait(101.0), ring.wait(102.0)
    await ring.clock.settle()
    first.cancel()
    await ring.clock.advance(2)
    assert second.done()


async def test_who_waits_again_waits_for_the_next_ring(ring: Ring) -> None:
    first = ring.wait(None)
    await ring.clock.settle()
    ring.notifier.notify_all()
    again = ring.wait(None)
    await first
    await ring.clock.settle()
    assert not again.done()
    ring.notifier.notify_all()
    await again
