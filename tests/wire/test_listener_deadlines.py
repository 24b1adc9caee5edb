"""Nobody holds a connection for longer than its limits say: slow heads, slow bodies, slow readers, idle ones."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from sidecar.downstream.connection import LINGER, ConnectionPhase
from sidecar.downstream.errors import CallerGoneError
from sidecar.downstream.response import RawResponse, ResponseStream
from sidecar.downstream.server import TICK
from tests.support.proxy_port import GET, Handler, Port, chunked, get, listen_limits, post, serve, until

if TYPE_CHECKING:
    from sidecar.downstream.request import CallerRequest
    from sidecar.downstream.response import CallerResponse
    from tests.support.raw_client import RawClient

pytestmark = pytest.mark.any_loop

_LIMITS = listen_limits(header_timeout=10.0, body_timeout=30.0, keepalive_timeout=75.0)
#: A deadline counts from up to a tick ahead, and is looked at every tick.
_SLACK = 2 * TICK


async def test_a_connection_that_sends_nothing_closes_silently() -> None:
    async with serve(limits=_LIMITS) as port:
        with await port.client() as client:
            await port.phase(ConnectionPhase.FRESH)
            await port.clock.advance(10.0)
            assert port.connection.phase is ConnectionPhase.FRESH
            await port.clock.advance(_SLACK)
            assert await client.ending() == "end"
        assert port.reported == []


async def test_a_slow_head_gets_408() -> None:
    async with serve(limits=_LIMITS) as port:
        with await port.client() as client:
            await client.send(GET[:9])
            await port.phase(ConnectionPhase.HEAD)
            await port.clock.advance(10.0)
            assert port.connection.phase is ConnectionPhase.HEAD
            await port.clock.advance(_SLACK)
            response = await client.response()
            assert (response.status, response.header("X-Sidecar-Error")) == (408, b"request_timeout")
            assert response.header("Connection") == b"close"
            assert await client.ending() == "end"
        assert port.reported == ["request_timeout"]


async def test_bytes_that_drip_in_do_not_extend_the_time_for_a_head() -> None:
    async with serve(limits=_LIMITS) as port:
        with await port.client() as client:
            for byte in GET[:11]:
                await client.send(bytes([byte]))
                await port.phase(ConnectionPhase.HEAD)
                await port.clock.advance(1.0)
            assert (await client.response()).status == 408


async def test_empty_lines_do_not_extend_the_time_of_a_connection() -> None:
    async with serve(limits=_LIMITS) as port:
        with await port.client() as client:
            for _ in range(11):
                await client.send_all(b"\r\n")
                await port.clock.advance(1.0)
            assert await client.ending() in {"end", "reset"}


async def test_a_slow_second_head_gets_408_too() -> None:
    async with serve(limits=_LIMITS) as port:
        with await port.client() as client:
            await client.send(GET)
            await client.response()
            await port.phase(ConnectionPhase.IDLE)
            await port.clock.advance(60.0)
            await client.send(GET[:9])
            await port.phase(ConnectionPhase.HEAD)
            await port.clock.advance(10.0 + _SLACK)
            assert (await client.response()).status == 408


async def test_an_idle_connection_closes_silently() -> None:
    async with serve(limits=_LIMITS) as port:
        with await port.client() as client:
            await client.send(GET)
            await client.response()
            await port.phase(ConnectionPhase.IDLE)
            await port.clock.advance(75.0)
            assert port.connection.phase is ConnectionPhase.IDLE
            await port.clock.advance(_SLACK)
            assert await client.ending() == "end"
        assert port.reported == []


async def test_a_running_request_has_all_the_time_that_its_handler_takes() -> None:
    go = asyncio.Event()

    def handler(port: Port) -> Handler:
        async def serve_later(request: CallerRequest) -> CallerResponse:
            await go.wait()
            return await port.echo(request)

        return serve_later

    async with serve(handler, limits=_LIMITS) as port:
        with await port.client() as client:
            await client.send(GET)
            await until(lambda: port.seen == ["GET /a"])
            await port.clock.advance(3600.0)
            go.set()
            assert (await client.response()).status == 200


@pytest.mark.parametrize("start", [post("/a", b"x" * 100)[:-50], chunked("/a") + b"10\r\nabc", chunked("/a")])
async def test_a_pause_within_a_body_gets_408(start: bytes) -> None:
    async with serve(limits=_LIMITS) as port:
        with await port.client() as client:
            await client.send(start)
            await until(lambda: port.seen == ["POST /a"])
            await until(lambda: port.connection.body_deadline < 1e9)
            await port.clock.advance(30.0)
            assert port.connection.phase is ConnectionPhase.BUSY
            await port.clock.advance(_SLACK)
            response = await client.response()
            assert (response.status, response.header("X-Sidecar-Outcome")) == (408, b"not-sent")
            assert await client.ending() == "end"


async def test_a_body_that_goes_on_may_take_its_time() -> None:
    async with serve(limits=_LIMITS) as port:
        with await port.client() as client:
            request = post("/a", b"abcdefgh")
            await client.send(request[:-8])
            for byte in request[-8:]:
                await until(lambda: bool(port.seen) and port.connection.body_deadline < 1e9)
                before = port.connection.body_deadline
                await port.clock.advance(29.0)
                await client.send(bytes([byte]))
                await until(lambda before=before: port.connection.body_deadline != before)  # type: ignore[misc]
            assert (await client.response()).body == b"POST /a abcdefgh"


async def test_chunk_extensions_that_drip_in_do_not_extend_the_time_for_a_body() -> None:
    async with serve(limits=_LIMITS) as port:
        with await port.client() as client:
            await client.send(chunked("/a") + b"2;")
            await until(lambda: bool(port.seen) and port.connection.body_deadline < 1e9)
            for _ in range(4):
                wire = port.connection._reader._wire_body
                await client.send_all(b"e")
                await until(lambda wire=wire: port.connection._reader._wire_body > wire or not port.server.busy)  # type: ignore[misc]
                await port.clock.advance(10.0)
            assert (await client.response()).status == 408


# --- callers that do not read ----------------------------------------------------------------------------------------


class _Stream:
    """Streams without end; remembers how that ended."""

    def __init__(self) -> None:
        self.ends: list[type[BaseException]] = []

    async def __call__(self, request: CallerRequest) -> CallerResponse:
        writer = ResponseStream(request.connection.writer, chunked=True)
        writer.start(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while True:
                await writer.write(b"x" * 65_536)
        except BaseException as error:
            self.ends.append(type(error))
            raise


async def _stuck(port: Port) -> None:
    await until(lambda: bool(port.server.connections) and port.connection.writer.deadline < 1e9)


async def test_a_caller_that_stops_reading_is_cut_off() -> None:
    stream = _Stream()
    async with serve(lambda _: stream, limits=_LIMITS) as port:
        with await port.client(receive_buffer=4096) as client:
            await client.send(GET)
            await _stuck(port)
            await port.clock.advance(30.0)
            assert port.connection.writer.paused
            assert not stream.ends
            await port.clock.advance(_SLACK)
            await until(lambda: stream.ends == [CallerGoneError])
            assert await client.ending() == "reset"
        await until(lambda: not port.server.connections)


async def test_a_caller_that_reads_slowly_is_served() -> None:
    stream = _Stream()
    async with serve(lambda _: stream, limits=_LIMITS) as port:
        with await port.client(receive_buffer=4096) as client:
            await client.send(GET)
            for _ in range(10):
                await _stuck(port)
                await port.clock.advance(12.0)
                await _read_until_felt(port, client)
                assert not stream.ends


async def _read_until_felt(port: Port, client: RawClient) -> None:
    """Read until the server has been able to send more than when it last looked."""
    connection = port.connection
    seen = connection.writer._unsent
    while connection.writer._unsent == seen:
        assert connection._transport is not None
        if connection._transport.get_write_buffer_size() < seen:
            return
        await client.receive()


async def test_a_whole_response_that_is_not_read_is_cut_off_too() -> None:
    async def handler(request: CallerRequest) -> CallerResponse:
        body = b"x" * 20_000_000
        return RawResponse(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body), body, True)

    async with serve(lambda _: handler, limits=_LIMITS) as port:
        with await port.client(receive_buffer=4096) as client:
            await client.send(GET)
            await _stuck(port)
            await port.clock.advance(30.0 + _SLACK)
            await until(lambda: not port.server.connections)
            with pytest.raises((EOFError, ConnectionResetError)):
                await client.response()


async def test_a_closed_connection_with_unread_bytes_does_not_stay_for_ever() -> None:
    """The response fits into the buffers, the connection is closing, and nobody reads."""

    async def handler(request: CallerRequest) -> CallerResponse:
        request.connection.writer._transport.set_write_buffer_limits(high=50_000_000)
        body = b"x" * 20_000_000
        return RawResponse(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body), body, False)

    async with serve(lambda _: handler, limits=_LIMITS) as port:
        with await port.client(receive_buffer=4096) as client:
            await client.send(get("/a"))
            await port.phase(ConnectionPhase.CLOSING)
            await port.clock.advance(30.0)
            assert len(port.server.connections) == 1
            await port.clock.advance(_SLACK)
            await until(lambda: not port.server.connections)


# --- lingering -------------------------------------------------------------------------------------------------------


async def test_a_refused_caller_that_stays_is_closed_after_a_moment() -> None:
    async with serve(limits=_LIMITS) as port:
        with await port.client() as client:
            await client.send(b"nonsense\r\n\r\n")
            assert (await client.response()).status == 400
            assert await client.ending() == "end"  # half-closed: it could still send
            await client.send(b"more")
            await port.phase(ConnectionPhase.LINGERING)
            await port.clock.advance(LINGER + _SLACK)
            await until(lambda: not port.server.connections)


async def test_an_early_response_reaches_a_caller_that_goes_on_sending() -> None:
    """The rest of the upload is thrown away: to close now would reset the connection and lose the response."""

    def handler(port: Port) -> Handler:
        async def refuse(request: CallerRequest) -> CallerResponse:
            return RawResponse(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\n", b"no", True)

        return refuse

    async with serve(handler, limits=_LIMITS) as port:
        with await port.client() as client:
            await client.send(post("/a", b"x" * 14_000_000))
            assert (await client.response()).body == b"no"
            assert await client.ending() == "end"


async def test_an_upload_without_end_behind_an_early_response_is_cut_off() -> None:
    async def refuse(request: CallerRequest) -> CallerResponse:
        return RawResponse(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\n", b"no", True)

    async with serve(lambda _: refuse, limits=listen_limits(max_body=1_000_000)) as port:
        with await port.client() as client:
            await client.send(b"POST /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000000000\r\n\r\n")
            while await client.send_all(b"x" * 100_000):
                pass
        await until(lambda: not port.server.connections)
