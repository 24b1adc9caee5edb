"""The memory for request bodies is bounded, given out in order, and always given back."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.errors import SidecarError
from sidecar.proxy.body import Pieces
from sidecar.proxy.budget import MOST_WAITING, ReplayBudget, gives_way


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


# --- hold and wait ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("held", "used", "expected"),
    [
        ([], 0, None),
        ([40, 30], 100, None),  # somebody else holds 30, and will give it back
        ([40, 30, 30], 100, 2),
        ([40, 60, 0], 100, 1),  # to refuse the one that holds nothing would help nobody
        ([0, 0], 0, None),
    ],
)
def test_the_last_to_come_gives_way_if_nobody_else_can(held: list[int], used: int, expected: int | None) -> None:
    assert gives_way(held, used) == expected


async def _grow(budget: ReplayBudget, sizes: list[int], log: list[str], name: str) -> None:
    reservation = budget.reservation()
    try:
        for size in sizes:
            if not reservation.take(size):
                await reservation.wait(size, reservation.queue(size))
            await asyncio.sleep(0)
        log.append(f"{name} whole")
    except SidecarError as error:
        log.append(f"{name} {error.code.value}")
    finally:
        reservation.release()


async def test_of_five_bodies_that_hold_each_other_up_four_come_through() -> None:
    budget = ReplayBudget(64)
    log: list[str] = []
    await asyncio.gather(*(_grow(budget, [1] * 16, log, name) for name in "abcde"))
    assert log[0] == "e overloaded"
    assert sorted(log) == ["a whole", "b whole", "c whole", "d whole", "e overloaded"]
    assert budget.used == 0


async def test_one_that_is_whole_is_waited_for() -> None:
    budget = ReplayBudget(64)
    log: list[str] = []
    whole = budget.reservation()
    whole.take(32)
    growing = [asyncio.ensure_future(_grow(budget, [1] * 16, log, name)) for name in "abc"]
    for _ in range(50):
        await asyncio.sleep(0)
    assert "c whole" not in log
    assert not any("overloaded" in each for each in log)
    whole.release()
    await asyncio.gather(*growing)
    assert sorted(log) == ["a whole", "b whole", "c whole"]


async def test_as_many_give_way_as_it_takes() -> None:
    """What one holds is not enough for those that wait."""
    budget = ReplayBudget(60)
    log: list[str] = []
    await asyncio.gather(*(_grow(budget, [20, 40], log, name) for name in "abc"))
    assert sorted(log) == ["a whole", "b overloaded", "c overloaded"]
    assert budget.used == 0


@given(
    limit=st.integers(4, 64),
    bodies=st.lists(st.lists(st.integers(1, 4), min_size=1, max_size=16), min_size=1, max_size=8),
)
async def test_whatever_comes_somebody_goes_on(limit: int, bodies: list[list[int]]) -> None:
    budget = ReplayBudget(limit)
    log: list[str] = []
    bodies = [sizes for sizes in bodies if sum(sizes) <= limit]
    async with asyncio.timeout(20):
        await asyncio.gather(*(_grow(budget, sizes, log, f"{number}") for number, sizes in enumerate(bodies)))
    assert len(log) == len(bodies)
    assert not bodies or any("whole" in each for each in log)
    assert budget.used == 0


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
