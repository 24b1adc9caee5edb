"""The memory for request bodies is bounded, given out in order, and always given back."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.proxy.body import Pieces
from sidecar.proxy.budget import MOST_WAITING, ReplayBudget


def test_what_is_free_is_taken_at_once() -> None:
    budget = ReplayBudget(100)
    assert budget.reservation().take(60)
    assert budget.reservation().take(40)
    assert budget.used == 100


def test_nothing_beyond_the_limit_is_taken() -> None:
    budget = ReplayBudget(100)
    reservation = budget.reservation()
    assert reservation.take(60)
    assert not reservation.take(41)
    assert (budget.used, reservation.held) == (60, 60)


def test_a_reservation_gives_everything_back_once() -> None:
    budget = ReplayBudget(100)
    first, second = budget.reservation(), budget.reservation()
    first.take(60)
    second.take(40)
    first.release()
    first.release()
    assert budget.used == 40


def test_a_reservation_gives_back_no_more_than_it_holds() -> None:
    budget = ReplayBudget(100)
    first, second = budget.reservation(), budget.reservation()
    first.take(60)
    second.take(40)
    first.release(10)
    assert (first.held, budget.used) == (50, 90)
    first.release(1000)
    assert (first.held, budget.used) == (0, 40)


@pytest.mark.parametrize(
    ("held", "size", "expected"), [(0, 100, True), (0, 101, False), (60, 40, True), (60, 41, False)]
)
def test_waiting_for_more_than_the_whole_budget_has_no_hope(held: int, size: int, expected: bool) -> None:
    reservation = ReplayBudget(100).reservation()
    assert reservation.take(held)
    assert reservation.can_ever_take(size) is expected


async def _wait(budget: ReplayBudget, size: int) -> tuple[asyncio.Task[None], asyncio.Future[None]]:
    reservation = budget.reservation()
    waiter = reservation.queue(size)
    task = asyncio.ensure_future(reservation.wait(size, waiter))
    await asyncio.sleep(0)
    return task, waiter


async def test_those_who_wait_are_served_in_order() -> None:
    budget = ReplayBudget(100)
    holder = budget.reservation()
    holder.take(100)
    first, _ = await _wait(budget, 80)
    second, _ = await _wait(budget, 10)
    holder.release(50)
    await asyncio.sleep(0)
    assert not first.done()
    assert not second.done(), "there is room for 10, but 80 came first"
    holder.release(50)
    await asyncio.gather(first, second)
    assert budget.used == 90


async def test_nobody_overtakes_those_who_wait() -> None:
    budget = ReplayBudget(100)
    holder = budget.reservation()
    holder.take(90)
    task, _ = await _wait(budget, 20)
    assert not budget.reservation().take(5)
    holder.release()
    await task
    assert budget.reservation().take(5)


async def test_whoever_is_cancelled_leaves_the_line() -> None:
    budget = ReplayBudget(100)
    holder = budget.reservation()
    holder.take(90)
    first, _ = await _wait(budget, 50)
    second, _ = await _wait(budget, 10)
    first.cancel()
    await asyncio.wait([first])
    await second
    assert budget.used == 100


async def test_whoever_is_cancelled_when_just_served_gives_it_back() -> None:
    budget = ReplayBudget(100)
    holder = budget.reservation()
    holder.take(100)
    task, waiter = await _wait(budget, 50)
    holder.release()
    assert waiter.done()
    task.cancel()
    await asyncio.wait([task])
    assert budget.used == 0


async def test_whoever_waited_too_long_leaves_the_line() -> None:
    budget = ReplayBudget(100)
    holder = budget.reservation()
    holder.take(90)
    first, waiter = await _wait(budget, 50)
    second, _ = await _wait(budget, 10)
    waiter.set_exception(KeyError("too long"))
    with pytest.raises(KeyError):
        await first
    await second
    assert budget.used == 100


@given(st.lists(st.binary(max_size=20_000), max_size=20))
def test_pieces_join_to_what_was_added(pieces: list[bytes]) -> None:
    collected = Pieces()
    for piece in pieces:
        collected.add(piece)
    assert collected.size == sum(map(len, pieces))
    assert collected.join() == b"".join(pieces)


def test_many_tiny_pieces_weigh_little() -> None:
    collected = Pieces()
    for _ in range(100_000):
        collected.add(b"xy")
    assert len(collected.take()) < 10


def test_a_body_that_came_in_one_piece_is_not_copied() -> None:
    collected = Pieces()
    piece = b"x" * 10_000
    collected.add(piece)
    assert collected.join() is piece


async def test_no_more_than_so_many_wait() -> None:
    budget = ReplayBudget(100)
    first = budget.reservation()
    assert first.take(100)
    waiting = [budget.reservation() for _ in range(MOST_WAITING)]
    for each in waiting:
        assert each.can_ever_take(1)
        each.queue(1)
    assert not budget.reservation().can_ever_take(1)
    first.release()
    assert budget.reservation().can_ever_take(1)
