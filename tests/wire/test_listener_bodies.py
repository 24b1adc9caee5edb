"""Request bodies: whole within limits and budget, streamed beyond, refused where that is impossible."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from sidecar.core.errors import ErrorCode, Outcome, SidecarError
from sidecar.downstream.errors import CallerGoneError
from sidecar.downstream.response import AlreadySent
from sidecar.downstream.server import TICK
from sidecar.proxy.body import StreamingBody
from tests.support.proxy_port import GET, Handler, Port, chunked, listen_limits, ok, post, serve, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.downstream.request import CallerRequest
    from sidecar.downstream.response import CallerResponse
    from sidecar.proxy.body import RequestBody

pytestmark = pytest.mark.any_loop

_MIB = 1024 * 1024
_LIMITS = listen_limits(max_body=8 * _MIB, body_timeout=30.0)


class _Held:
    """Reads each body, tells about it, and keeps it until it is let go."""

    def __init__(self, port: Port) -> None:
        self.port = port
        self.bodies: list[RequestBody] = []
        self.errors: list[BaseException] = []
        self.go = asyncio.Event()

    async def __call__(self, request: CallerRequest) -> CallerResponse:
        try:
            body = await self.port.read(request)
        except BaseException as error:
            self.errors.append(error)
            raise
        self.bodies.append(body)
        try:
            await self.go.wait()
        finally:
            body.release()
        return ok(keep_alive=False)


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _held(into: list[_Held]) -> Callable[[Port], Handler]:
    def make(port: Port) -> Handler:
        into.append(_Held(port))
        return into[0]

    return make


async def test_a_body_is_in_the_budget_until_the_call_is_over() -> None:
    held: list[_Held] = []
    async with serve(_held(held), limits=_LIMITS) as port:
        with await port.client() as client:
            await client.send(post("/a", b"x" * 5000))
            await until(lambda: len(held[0].bodies) == 1)
            assert held[0].bodies[0].content == b"x" * 5000
            assert port.budget.used == 5000
            held[0].go.set()
            await client.response()
            assert port.budget.used == 0


async def test_the_budget_is_reserved_as_bytes_arrive() -> None:
    held: list[_Held] = []
    async with serve(_held(held), limits=_LIMITS) as port:
        with await port.client() as client:
            await client.send(post("/a", b"x" * 100_000)[:-60_000])
            await until(lambda: 0 < port.budget.used < 45_000)
            await client.send(b"x" * 60_000)
            await until(lambda: port.budget.used == 100_000)


async def test_a_caller_that_leaves_within_its_body_gives_the_budget_back() -> None:
    held: list[_Held] = []
    async with serve(_held(held), limits=_LIMITS) as port:
        with await port.client() as client:
            await client.send(post("/a", b"x" * 100_000)[:-1])
            await until(lambda: port.budget.used > 0)
        await until(lambda: bool(held[0].errors))
        assert isinstance(held[0].errors[0], CallerGoneError)
        assert port.budget.used == 0


async def test_no_body_is_no_work() -> None:
    held: list[_Held] = []
    async with serve(_held(held)) as port:
        with await port.client() as client:
            await client.send(b"POST /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
            await until(lambda: len(held[0].bodies) == 1)
            assert held[0].bodies[0].content == b""
            held[0].go.set()
            assert (await client.response()).status == 200


async def test_an_empty_chunked_body_is_whole() -> None:
    held: list[_Held] = []
    async with serve(_held(held)) as port:
        with await port.client() as client:
            await client.send(chunked("/a") + b"0\r\n\r\n")
            await until(lambda: len(held[0].bodies) == 1)
            assert held[0].bodies[0].content == b""


@pytest.mark.parametrize("length", [8 * _MIB + 1, 10**15, 2**64 - 1])
async def test_a_body_that_says_it_is_too_large_is_refused_at_once(length: int) -> None:
    async with serve(limits=_LIMITS) as port:
        with await port.client() as client:
            await client.send(b"POST /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % length)
            response = await client.response()
            assert response.status in {413, 400}  # beyond 18 digits it is no length at all
            assert await client.ending() == "end"


async def test_a_chunked_body_that_is_too_large_and_comes_with_its_head_is_refused() -> None:
    """It is whole before anybody reads it."""
    async with serve(limits=listen_limits(max_body=10_000), replay_max_body=_MIB) as port:
        with await port.client() as client:
            await client.send(chunked("/a") + _chunk(b"x" * 10_001) + b"0\r\n\r\n")
            response = await client.response()
            assert (response.status, response.header("X-Sidecar-Error")) == (413, b"body_too_large")
        assert port.budget.used == 0


async def test_a_chunked_body_that_grows_too_large_is_refused() -> None:
    async with serve(limits=listen_limits(max_body=100_000), replay_max_body=_MIB) as port:
        with await port.client() as client:
            await client.send(chunked("/a") + _chunk(b"x" * 60_000) + _chunk(b"x" * 60_000))
            response = await client.response()
            assert (response.status, response.header("X-Sidecar-Error")) == (413, b"body_too_large")
            assert await client.ending() == "end"
        assert port.budget.used == 0


# --- streaming -------------------------------------------------------------------------------------------------------


def _streamed(body: RequestBody) -> StreamingBody:
    assert isinstance(body.content, StreamingBody)
    return body.content


async def test_a_long_body_with_a_length_streams_and_takes_no_budget() -> None:
    held: list[_Held] = []
    async with serve(_held(held), limits=_LIMITS, replay_max_body=_MIB) as port:
        with await port.client() as client:
            data = bytes(range(256)) * (3 * _MIB // 256)
            sending = asyncio.ensure_future(client.send(post("/a", data)))
            await until(lambda: len(held[0].bodies) == 1)
            body = _streamed(held[0].bodies[0])
            assert (body.content_length, body.chunked, body.started, body.received) == (3 * _MIB, False, False, 0)
            assert port.budget.used == 0
            assert b"".join([piece async for piece in body]) == data
            assert (body.started, body.received) == (True, 3 * _MIB)
            await sending
            held[0].go.set()
            assert (await client.response()).status == 200


async def test_a_chunked_body_that_outgrows_the_replay_limit_streams_on() -> None:
    held: list[_Held] = []
    async with serve(_held(held), limits=_LIMITS, replay_max_body=_MIB) as port:
        with await port.client() as client:
            data = bytes(range(256)) * (3 * _MIB // 256)
            wire = b"".join(_chunk(data[start : start + 50_000]) for start in range(0, len(data), 50_000))
            sending = asyncio.ensure_future(client.send(chunked("/a") + wire + b"0\r\n\r\n"))
            await until(lambda: len(held[0].bodies) == 1)
            body = _streamed(held[0].bodies[0])
            assert (body.content_length, body.chunked) == (None, True)
            assert 0 < port.budget.used <= _MIB
            assert b"".join([piece async for piece in body]) == data
            assert port.budget.used == 0  # what was kept is given back as it is handed on
            await sending


async def test_a_stream_that_grows_too_large_breaks_off_as_unknown() -> None:
    held: list[_Held] = []
    async with serve(_held(held), limits=_LIMITS, replay_max_body=_MIB) as port:
        with await port.client() as client:
            sending = asyncio.ensure_future(client.send_all(chunked("/a") + _chunk(b"x" * 9 * _MIB)))
            await until(lambda: len(held[0].bodies) == 1)
            with pytest.raises(SidecarError) as caught:
                async for _ in _streamed(held[0].bodies[0]):
                    pass
            assert (caught.value.code, caught.value.outcome) == (ErrorCode.BODY_TOO_LARGE, Outcome.UNKNOWN)
            held[0].go.set()
            await sending


async def test_a_pause_within_a_stream_ends_it() -> None:
    held: list[_Held] = []
    async with serve(_held(held), limits=_LIMITS, replay_max_body=1000) as port:
        with await port.client() as client:
            await client.send(post("/a", b"x" * 3000)[:-1])
            await until(lambda: len(held[0].bodies) == 1)
            body = _streamed(held[0].bodies[0])
            reading = asyncio.ensure_future(_drain(body))
            await until(lambda: body.received == 2999)
            await port.clock.advance(30.0 + 2 * TICK)
            with pytest.raises(SidecarError) as caught:
                await reading
            assert (caught.value.code, caught.value.outcome) == (ErrorCode.REQUEST_TIMEOUT, Outcome.UNKNOWN)


async def _drain(body: StreamingBody) -> None:
    async for _ in body:
        pass


async def test_a_caller_that_leaves_ends_its_stream() -> None:
    held: list[_Held] = []
    async with serve(_held(held), limits=_LIMITS, replay_max_body=1000) as port:
        with await port.client() as client:
            await client.send(post("/a", b"x" * 3000)[:-1])
            await until(lambda: len(held[0].bodies) == 1)
            body = _streamed(held[0].bodies[0])
            reading = asyncio.ensure_future(_drain(body))
            await until(lambda: body.received == 2999)
        with pytest.raises(CallerGoneError):
            await reading


async def test_a_stream_holds_little_in_memory_while_nobody_reads_it() -> None:
    """The caller is stopped instead."""
    held: list[_Held] = []
    async with serve(_held(held), limits=_LIMITS, replay_max_body=1000) as port:
        with await port.client() as client:
            await client.send(b"POST /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8000000\r\n\r\n")
            await until(lambda: len(held[0].bodies) == 1)
            idle = 0
            while idle < 50:
                idle = 0 if client.fill(b"x" * 100_000) else idle + 1
                await asyncio.sleep(0.002)
            content = port.connection._reader._current
            assert content is not None
            assert content.total_bytes < 1_000_000


# --- a budget that is used up ----------------------------------------------------------------------------------------


async def test_with_the_budget_used_up_a_body_with_a_length_streams() -> None:
    held: list[_Held] = []
    async with serve(_held(held), limits=_LIMITS, budget=10_000) as port:
        with await port.client() as first, await port.client() as second:
            await first.send(post("/1", b"x" * 9_000))
            await until(lambda: len(held[0].bodies) == 1)
            await second.send(post("/2", b"y" * 2_000))
            await until(lambda: len(held[0].bodies) == 2)
            body = _streamed(held[0].bodies[1])
            assert b"".join([piece async for piece in body]) == b"y" * 2_000
            assert port.budget.used == 9_000


async def test_with_the_budget_used_up_a_chunked_body_waits_for_it() -> None:
    held: list[_Held] = []
    async with serve(_held(held), limits=_LIMITS, budget=10_000) as port:
        with await port.client() as first, await port.client() as second:
            await first.send(post("/1", b"x" * 9_000))
            await until(lambda: len(held[0].bodies) == 1)
            await second.send(chunked("/2") + _chunk(b"y" * 2_000) + b"0\r\n\r\n")
            await until(lambda: len(port.seen) == 2)
            await port.clock.advance(29.0)
            assert len(held[0].bodies) == 1
            held[0].bodies[0].release()
            await until(lambda: len(held[0].bodies) == 2)
            assert held[0].bodies[1].content == b"y" * 2_000
            assert port.budget.used == 2_000


async def test_a_chunked_body_that_waited_in_vain_gets_503() -> None:
    held: list[_Held] = []
    async with serve(_held(held), limits=_LIMITS, budget=10_000) as port:
        with await port.client() as first, await port.client() as second:
            await first.send(post("/1", b"x" * 9_000))
            await until(lambda: len(held[0].bodies) == 1)
            await second.send(chunked("/2") + _chunk(b"y" * 2_000) + b"0\r\n\r\n")
            await until(lambda: any(c._budget_wait is not None for c in port.server.busy))
            await port.clock.advance(30.0 + 2 * TICK)
            response = await second.response()
            assert (response.status, response.header("X-Sidecar-Error")) == (503, b"overloaded")
            assert (response.header("Retry-After"), response.header("X-Sidecar-Outcome")) == (b"1", b"not-sent")
            assert port.budget.used == 9_000
            held[0].bodies[0].release()
            assert port.budget.used == 0


async def test_a_chunked_body_larger_than_the_whole_budget_gets_503_at_once() -> None:
    async with serve(limits=_LIMITS, budget=1_000) as port:
        with await port.client() as client:
            await client.send(chunked("/2") + _chunk(b"y" * 2_000) + b"0\r\n\r\n")
            assert (await client.response()).status == 503


async def test_a_caller_that_leaves_while_it_waits_for_budget_leaves_the_line() -> None:
    held: list[_Held] = []
    async with serve(_held(held), limits=_LIMITS, budget=10_000) as port:
        with await port.client() as first:
            await first.send(post("/1", b"x" * 9_000))
            await until(lambda: len(held[0].bodies) == 1)
            with await port.client() as second:
                await second.send(chunked("/2") + _chunk(b"y" * 2_000) + b"0\r\n\r\n")
                await until(lambda: any(c._budget_wait is not None for c in port.server.busy))
            await until(lambda: bool(held[0].errors))
            assert isinstance(held[0].errors[0], CallerGoneError)
            assert port.budget.take(1_000)
            port.budget.give_back(1_000)


# --- Expect ----------------------------------------------------------------------------------------------------------

_EXPECT = "Expect: 100-continue"


async def test_100_continue_is_sent_once_the_body_is_wanted() -> None:
    async with serve() as port:
        with await port.client() as client:
            request = post("/a", b"abc", _EXPECT)
            await client.send(request[:-3])
            response = await client.response()
            assert response.raw == b"HTTP/1.1 100 Continue\r\n\r\n"
            await client.send(request[-3:-2])
            await client.send(request[-2:])
            assert (await client.response()).body == b"POST /a abc"
            await client.send(GET)
            assert (await client.response()).status == 200


async def test_100_continue_is_sent_before_a_streamed_body_too() -> None:
    async with serve(replay_max_body=10) as port:
        with await port.client() as client:
            request = post("/a", b"x" * 100, _EXPECT)
            await client.send(request[:-100])
            assert (await client.response()).status == 100
            await client.send(request[-100:])
            assert (await client.response()).body == b"POST /a " + b"x" * 100


async def test_100_continue_is_not_sent_to_a_caller_that_did_not_wait() -> None:
    async with serve() as port:
        with await port.client() as client:
            await client.send(post("/a", b"abc", _EXPECT))
            assert (await client.response()).body == b"POST /a abc"


async def test_100_continue_is_not_sent_for_a_body_that_is_refused() -> None:
    async with serve(limits=listen_limits(max_body=10)) as port:
        with await port.client() as client:
            await client.send(post("/a", b"x" * 100, _EXPECT)[:-100])
            assert (await client.response()).status == 413
            assert await client.ending() == "end"


async def test_100_continue_is_sent_once_and_never_behind_a_response() -> None:
    async def handler(request: CallerRequest) -> CallerResponse:
        writer = request.connection.writer
        writer.send_continue()
        writer.send_continue()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.send_continue()
        return AlreadySent(keep_alive=False)

    async with serve(lambda _: handler) as port:
        with await port.client() as client:
            await client.send(post("/a", b"abc", _EXPECT)[:-3])
            assert (await client.response()).status == 100
            assert (await client.response()).status == 200
            assert await client.ending() == "end"


async def test_another_expectation_gets_417() -> None:
    async with serve() as port:
        with await port.client() as client:
            await client.send(post("/a", b"abc", "Expect: a-miracle"))
            assert (await client.response()).status == 417
            assert await client.ending() == "end"
