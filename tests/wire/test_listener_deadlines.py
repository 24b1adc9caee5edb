"""Nobody holds a connection for longer than its limits say: slow heads, slow bodies, slow readers, idle ones."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from sidecar.downstream.connection import LINGER, ConnectionPhase
from sidecar.downstream.errors import CallerGoneError
from sidecar.downstream.response import AlreadySent, RawResponse, ResponseStream
from sidecar.downstream.server import TICK
from sidecar.proxy.body import next_piece
from tests.support.proxy_port import GET, Handler, Port, chunked, get, listen_limits, ok, post, serve, until

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


async def _drip(port: Port, client: RawClient, piece: bytes, seconds: float) -> None:
    """Send a piece ``seconds`` after the one before was read."""
    await until(lambda: bool(port.seen) and port.connection.body_deadline < 1e9)
    seen = port.connection._reader.body_bytes
    await port.clock.advance(seconds)
    if await client.send_all(piece):
        await until(lambda: not port.server.busy or port.connection._reader.body_bytes != seen)


async def test_a_body_that_goes_on_at_the_least_rate_may_take_its_time() -> None:
    async with serve(limits=_LIMITS) as port:
        with await port.client() as client:
            body = b"x" * 29 * 1024
            request = post("/a", body * 8)
            await client.send(request[: -len(body) * 8])
            for _ in range(8):
                await _drip(port, client, body, 29.0)
            assert (await client.response()).body == b"POST /a " + body * 8


@pytest.mark.parametrize("head", [post("/a", b"x" * 1000)[:-1000], chunked("/a")], ids=["length", "chunks"])
async def test_a_body_that_drips_in_gets_408_in_the_end(head: bytes) -> None:
    """Each pause is short, and the whole would take a quarter of an hour."""
    piece = b"1\r\nx\r\n" if head == chunked("/a") else b"x"
    async with serve(limits=_LIMITS) as port:
        with await port.client() as client:
            await client.send(head)
            for _ in range(30):
                await _drip(port, client, piece, 1.0)
            assert port.connection.phase is ConnectionPhase.BUSY, "the first 30 s are free"
            for _ in range(3):
                if port.server.busy:
                    await port.clock.advance(_SLACK)
            response = await client.response()
            assert (response.status, response.header("X-Sidecar-Outcome")) == (408, b"not-sent")


async def test_a_short_body_timeout_makes_the_free_time_short() -> None:
    async with serve(limits=listen_limits(body_timeout=2.0)) as port:
        with await port.client() as client:
            await client.send(post("/a", b"x" * 1000)[:-1000])
            for _ in range(2):
                await _drip(port, client, b"x", 1.0)
            await port.clock.advance(2 * _SLACK)
            assert (await client.response()).status == 408


async def test_time_in_which_nobody_read_the_body_does_not_count() -> None:
    """Upstream takes it slowly: the caller could not have sent more."""
    go = asyncio.Event()

    def handler(port: Port) -> Handler:
        async def serve_later(request: CallerRequest) -> CallerResponse:
            await next_piece(request, expects_continue=False)
            await go.wait()
            return await port.echo(request)

        return serve_later

    async with serve(handler, limits=_LIMITS) as port:
        with await port.client() as client:
            request = post("/a", b"x" * 100)
            await client.send(request[:-90])
            await until(lambda: bool(port.seen))
            await port.clock.advance(3600.0)
            go.set()
            await until(lambda: port.connection.body_deadline < 1e9)
            await client.send(request[-90:])
            assert (await client.response()).status == 200


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


async def test_a_response_that_ends_with_the_connection_is_reset_if_its_end_is_not_taken() -> None:
    """HTTP/1.0 has no other end: a close would make a part of it look whole."""

    async def handler(request: CallerRequest) -> CallerResponse:
        writer = request.connection.writer
        writer._transport.set_write_buffer_limits(high=50_000_000)
        stream = ResponseStream(writer, chunked=False)
        stream.start(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", b"x" * 20_000_000)
        stream.finish()
        return AlreadySent(keep_alive=False)

    async with serve(lambda _: handler, limits=_LIMITS) as port:
        with await port.client(receive_buffer=4096) as client:
            await client.send(b"GET /a HTTP/1.0\r\nHost: localhost\r\n\r\n")
            await port.phase(ConnectionPhase.CLOSING)
            await port.clock.advance(30.0 + _SLACK)
            assert await client.ending() == "reset"


async def test_a_caller_that_half_closes_and_takes_nothing_does_not_stay_for_ever() -> None:
    go_on = asyncio.Event()

    async def handler(request: CallerRequest) -> CallerResponse:
        if request.raw_path == "/b":
            await go_on.wait()
            return ok()
        request.connection.writer._transport.set_write_buffer_limits(high=50_000_000)
        return ok(b"x" * 20_000_000)

    async with serve(lambda _: handler, limits=_LIMITS) as port:
        with await port.client(receive_buffer=4096) as client:
            await client.send(get("/a"))
            await port.phase(ConnectionPhase.IDLE)
            await client.send(get("/b"))
            await port.phase(ConnectionPhase.BUSY)
            client.half_close()
            transport = port.connection._transport
            assert transport is not None
            await until(transport.is_closing)
            go_on.set()
            await until(lambda: not port.server.busy)
            assert len(port.server.connections) == 1
            await port.clock.advance(30.0 + _SLACK)
            await until(lambda: not port.server.connections)


# --- a process that stood still --------------------------------------------------------------------------------------


async def _frozen(port: Port, client: RawClient, data: bytes, seconds: float) -> None:
    """Have bytes come while the process stands still: they lie in the socket when time has passed."""
    assert client.fill(data) == len(data)
    port.clock.stand_still(seconds)
    await port.clock.settle()


@pytest.mark.parametrize("seconds", [0.6, 4.0, 3600.0])
async def test_a_request_that_came_in_time_on_an_idle_connection_is_answered(seconds: float) -> None:
    async with serve(limits=listen_limits(keepalive_timeout=10.0)) as port:
        with await port.client() as client:
            await client.send(GET)
            await client.response()
            await port.phase(ConnectionPhase.IDLE)
            await port.clock.advance(9.9)
            await _frozen(port, client, GET, seconds)
            assert (await client.response()).status == 200


@pytest.mark.parametrize("seconds", [0.6, 4.0, 3600.0])
async def test_a_head_that_came_in_time_is_answered(seconds: float) -> None:
    async with serve(limits=_LIMITS) as port:
        with await port.client() as client:
            await client.send(GET[:9])
            await port.phase(ConnectionPhase.HEAD)
            await port.clock.advance(9.9)
            await _frozen(port, client, GET[9:], seconds)
            assert (await client.response()).status == 200


@pytest.mark.parametrize("seconds", [0.6, 4.0, 3600.0])
async def test_a_body_that_came_in_time_is_read(seconds: float) -> None:
    async with serve(limits=_LIMITS) as port:
        with await port.client() as client:
            request = post("/a", b"abc")
            await client.send(request[:-3])
            await until(lambda: bool(port.seen) and port.connection.body_deadline < 1e9)
            await port.clock.advance(29.9)
            await _frozen(port, client, request[-3:], seconds)
            assert (await client.response()).body == b"POST /a abc"


async def test_a_caller_has_the_time_that_it_had_before_the_standstill() -> None:
    """It may have been frozen with us: a whole machine often is."""
    async with serve(limits=_LIMITS) as port:
        with await port.client() as client:
            request = post("/a", b"abc")
            await client.send(request[:-3])
            await until(lambda: bool(port.seen) and port.connection.body_deadline < 1e9)
            await port.clock.advance(20.0)
            port.clock.stand_still(3600.0)
            await port.clock.advance(9.0)
            assert port.connection.phase is ConnectionPhase.BUSY
            await port.clock.advance(2 * _SLACK)
            assert (await client.response()).status == 408


async def test_a_response_that_was_taken_in_time_is_gone_on_with() -> None:
    stream = _Stream()
    async with serve(lambda _: stream, limits=_LIMITS) as port:
        with await port.client(receive_buffer=4096) as client:
            await client.send(GET)
            await _stuck(port)
            await port.clock.advance(29.9)
            await _read_until_felt(port, client)
            port.clock.stand_still(60.0)
            await port.clock.settle()
            assert not stream.ends


async def test_a_drain_that_ends_while_the_process_stands_still_lets_finish_what_came_in_time() -> None:
    """Whoever asked it to end does not wait any longer, but the sockets are looked at first."""
    async with serve(limits=_LIMITS) as port:
        with await port.client() as client:
            request = post("/a", b"abc")
            await client.send(request[:-3])
            await until(lambda: bool(port.seen) and port.connection.body_deadline < 1e9)
            port.server.begin_drain()
            drained = asyncio.create_task(port.server.drained(port.clock.now() + 10.0))
            await port.clock.advance(9.0)
            await _frozen(port, client, request[-3:], 60.0)
            assert await drained
            assert (await client.response()).body == b"POST /a abc"


# --- many requests at once -------------------------------------------------------------------------------------------


async def test_pipelined_requests_let_others_have_their_turn() -> None:
    """However many are sent at once, no pass of the loop answers two of one connection."""
    passes = 0
    at: list[int] = []

    def count() -> None:
        nonlocal passes
        passes += 1
        if len(at) < 200:
            asyncio.get_running_loop().call_soon(count)

    async def handler(request: CallerRequest) -> CallerResponse:
        at.append(passes)
        return ok()

    count()
    async with serve(lambda _: handler, limits=_LIMITS) as port:
        with await port.client() as client:
            await client.send(GET * 200)
            for _ in range(200):
                assert (await client.response()).status == 200
    assert len(at) == len(set(at)) == 200


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
