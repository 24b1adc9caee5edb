"""Bytes that are many pieces are worked through in turns, a bounded number of them in each pass of the loop."""

from __future__ import annotations

import asyncio

import pytest

from sidecar.turns import SLICE, Backlog, Turns, lines_in

pytestmark = pytest.mark.any_loop

#: Chunks of one byte.
_TINY = b"1\r\ny\r\n"
#: What one turn may exceed a pass by: a slice in which every byte is a line.
_MOST = 1024 + SLICE


class _Connection:
    """Works through its bytes, and writes down how many lines in each turn."""

    def __init__(self, turns: Turns) -> None:
        self.done = b""
        self.turns: list[int] = []
        self.backlog = Backlog(turns, self._work)

    def receive(self, data: bytes) -> None:
        self.done += self.backlog.first_turn(data)
        self.backlog.go_on()

    def _work(self, data: bytes) -> None:
        self.done += data
        self.turns.append(lines_in(data))
        self.backlog.go_on()


@pytest.mark.parametrize(
    "data", [b"", b"x" * 300_000, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"y\r\n" * 60, b"{\n" * 9000]
)
async def test_bytes_of_few_pieces_need_no_turn(data: bytes) -> None:
    connection = _Connection(Turns())
    connection.receive(data)
    assert (connection.done, bool(connection.backlog)) == (data, False)


async def test_a_pass_has_room_for_so_many_pieces_whoever_brings_them() -> None:
    turns = Turns()
    connections = [_Connection(turns) for _ in range(20)]
    data = _TINY * 3000
    for connection in connections:
        connection.receive(data)
        assert connection.backlog
    passes = 0
    while any(connection.backlog for connection in connections):
        before = sum(sum(connection.turns) for connection in connections)
        await asyncio.sleep(0)
        passes += 1
        assert sum(sum(connection.turns) for connection in connections) - before <= _MOST
        worked = [len(connection.turns) for connection in connections]
        assert max(worked) - min(worked) <= 1, "one after another"
    assert all(connection.done == data for connection in connections)
    assert passes >= 20 * lines_in(data) // _MOST


async def test_small_reads_share_the_same_pass() -> None:
    turns = Turns()
    connections = [_Connection(turns) for _ in range(50)]
    for connection in connections:
        connection.receive(_TINY * 100)
    at_once = [connection for connection in connections if not connection.backlog]
    assert sum(lines_in(connection.done) for connection in at_once) <= _MOST
    for _ in range(50):
        await asyncio.sleep(0)
    assert all(connection.done == _TINY * 100 for connection in connections)


async def test_what_comes_while_something_waits_comes_behind_it() -> None:
    connection = _Connection(Turns())
    connection.receive(_TINY * 2000)
    connection.receive(b"the end")
    while connection.backlog:
        await asyncio.sleep(0)
    assert connection.done == _TINY * 2000 + b"the end"


async def test_what_is_forgotten_takes_no_turn() -> None:
    turns = Turns()
    gone, other = _Connection(turns), _Connection(turns)
    gone.receive(_TINY * 2000)
    other.receive(_TINY * 2000)
    gone.backlog.clear()
    while other.backlog:
        await asyncio.sleep(0)
    assert (gone.done, gone.turns) == (b"", [])


async def test_pieces_of_a_usual_size_need_no_turn() -> None:
    data = (b"x" * 1000 + b"\r\n") * 200
    assert Backlog(Turns(), lambda _: None).first_turn(data) == data


async def test_where_much_waits_already_what_comes_is_worked_through_at_once() -> None:
    turns = Turns()
    tiny = b"1\r\nx\r\n" * 10_000
    backlogs = [Backlog(turns, lambda _: None) for _ in range(100)]
    kept = [not backlog.first_turn(tiny) for backlog in backlogs]
    assert kept == [number * len(tiny) < 4 * 1024 * 1024 for number in range(100)]
    for backlog in backlogs:
        backlog.clear()
    assert turns.waiting_bytes == 0
