"""The benchmark's load generator counts what was answered, and refuses what was answered wrongly."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from benchmarks.load import own, wrk
from benchmarks.load.errors import LoadError
from benchmarks.load.exchange import Tally, Work
from tests.support.ports import free_port

CORE = min(os.sched_getaffinity(0))
Responses = Callable[[bytes, bytes, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """Reads requests with a length, and lets the test answer them."""

    def __init__(self, response: Responses) -> None:
        self._answer = response
        self.port = 0
        self.connections = 0
        self.bodies: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                _, found, rest = head.partition(b"Content-Length: ")
                body = await reader.readexactly(int(rest.partition(b"\r\n")[0]) if found else 0)
                self.bodies.append(body)
                await self._answer(head, body, writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def serving(response: Responses) -> AsyncIterator[Server]:
    server = Server(response)
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0, limit=2**24)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        await listener.wait_closed()


async def make_calls(server: Server, **work: Any) -> Tally:
    values: dict[str, Any] = {"target": "/a", "response": 5, "seconds": 0.2, "warm_up": 0.05, **work}
    return await asyncio.to_thread(own.make_calls, Work(server.port, **values), core=CORE)


async def ok(_head: bytes, _body: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")


@pytest.mark.parametrize("callers", [1, 8])
async def test_callers_keep_their_connections_and_all_calls_are_waited_for(callers: int) -> None:
    async with serving(ok) as server:
        tally = await make_calls(server, callers=callers, seconds=1.0, warm_up=0.0, pids=(os.getpid(),))
    assert server.connections == tally.connections == callers
    assert tally.answered == len(server.bodies) > callers
    assert not tally.failures
    assert 0 < tally.p50 <= tally.p99
    assert tally.cpu_ns > 0 < tally.callers_cpu_ns


async def test_the_warm_up_is_not_counted() -> None:
    async with serving(ok) as server:
        tally = await make_calls(server, seconds=1.0, warm_up=0.5)
    assert 0 < tally.answered < len(server.bodies)
    assert tally.connections == 0, "they were opened before"


async def test_a_connection_for_each_call() -> None:
    async with serving(ok) as server:
        tally = await make_calls(server, new_connections=True, warm_up=0.0)
    assert server.connections == tally.connections == tally.answered


async def test_a_connection_that_the_peer_closes_is_opened_again() -> None:
    async def close(_head: bytes, _body: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
        writer.close()

    async with serving(close) as server:
        tally = await make_calls(server, seconds=1.0, warm_up=0.0)
    assert server.connections == tally.answered > 1


async def test_large_bodies_go_both_ways() -> None:
    size = 3_000_001

    async def echo(_head: bytes, body: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
        writer.write(body)

    async with serving(echo) as server:
        tally = await make_calls(server, method="POST", body=size, response=size, warm_up=0.0)
    assert {len(body) for body in server.bodies} == {size}
    assert tally.answered == len(server.bodies)


@pytest.mark.parametrize(
    ("response", "said"),
    [
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 5\r\n\r\nhello", "status 502"),
        (b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n", "status 401"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello!", "the answer's length is wrong"),
    ],
)
async def test_a_wrong_response_fails_the_run(response: bytes, said: str) -> None:
    async def wrong(_head: bytes, _body: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(response)

    async with serving(wrong) as server:
        with pytest.raises(LoadError, match=said):
            await make_calls(server)


async def test_a_response_that_is_cut_off_fails_the_run() -> None:
    async def cut(_head: bytes, _body: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel")
        writer.close()

    async with serving(cut) as server:
        with pytest.raises(LoadError, match="closed before the answer was whole"):
            await make_calls(server)


async def test_a_response_before_the_whole_request_fails_the_run() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await ok(b"", b"", writer)
        await asyncio.sleep(0.2)  # without reading on: the rest does not fit into any buffer
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listener:
        server = Server(ok)
        server.port = listener.sockets[0].getsockname()[1]
        with pytest.raises(LoadError, match="answered before all was sent"):
            await make_calls(server, method="POST", body=64 * 1024 * 1024)


async def test_a_peer_that_is_gone_fails_the_run() -> None:
    server = Server(ok)
    server.port = free_port()
    with pytest.raises(LoadError, match="ConnectionRefusedError"):
        await make_calls(server)


def test_wrk_is_told_the_same_call() -> None:
    work = Work(1, "/a", 5, method="POST", body=1024, headers={"Authorization": 'Bearer "x"'})
    said = wrk.script(work)
    assert 'wrk.method = "POST"' in said
    assert 'wrk.body = string.rep("x", 1024)' in said
    assert 'wrk.headers["Authorization"] = "Bearer \\"x\\""' in said
    assert "wrk.body" not in wrk.script(Work(1, "/a", 5))
