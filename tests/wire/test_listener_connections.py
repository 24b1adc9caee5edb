"""How connections come and go: the cap, callers that leave, answers cut off, handlers that break, the drain."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

import pytest
import structlog

from sidecar.core.errors import ErrorCode, Outcome, SidecarError
from sidecar.downstream.connection import ConnectionPhase
from sidecar.downstream.errors import CallerGoneError
from sidecar.downstream.response import AlreadySent, RawResponse, ResponseStream
from sidecar.downstream.server import TICK
from tests.support.proxy_port import GET, Handler, Port, chunked, get, listen_limits, ok, post, serve, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.downstream.request import CallerRequest
    from sidecar.downstream.response import CallerResponse

pytestmark = pytest.mark.any_loop

_CHUNKED_HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class _Gate:
    """A handler that waits until it is let go, and remembers how the wait ended."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.gone = 0
        self.cancelled = 0

    async def __call__(self, request: CallerRequest) -> CallerResponse:
        request.connection.on_caller_gone = self.caller_gone
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return ok()

    def caller_gone(self) -> None:
        self.gone += 1


# --- the cap ---------------------------------------------------------------------------------------------------------

_CAP = listen_limits(max_connections=3)


async def test_at_the_cap_the_oldest_connection_without_a_head_gives_way() -> None:
    async with serve(limits=_CAP) as port:
        with await port.client() as silent, await port.client() as slow, await port.client() as third:
            await slow.send(GET[:5])
            await until(lambda: len(port.server.connections) == 3)
            with await port.client() as new:
                await new.send(GET)
                assert (await new.response()).status == 200
                assert await silent.ending() in {"end", "reset"}
                with await port.client() as newer:
                    await newer.send(GET)
                    assert (await newer.response()).status == 200
                    assert await slow.ending() in {"end", "reset"}
                    await third.send(GET)
                    assert (await third.response()).status == 200
        assert port.reported == []


async def test_at_the_cap_an_idle_connection_gives_way_to_a_new_one() -> None:
    async with serve(limits=listen_limits(max_connections=1)) as port:
        with await port.client() as idle:
            await idle.send(GET)
            await idle.response()
            await port.phase(ConnectionPhase.IDLE)
            with await port.client() as new:
                await new.send(GET)
                assert (await new.response()).status == 200
                assert await idle.ending() in {"end", "reset"}


async def test_a_connection_that_waited_less_long_outlives_an_older_one() -> None:
    """What counts is since when a connection has had no complete head, not when it was opened."""
    async with serve(limits=listen_limits(max_connections=2)) as port:
        with await port.client() as first, await port.client() as second:
            await until(lambda: len(port.server.waiting) == 2)
            await first.send(GET)
            await first.response()
            await until(lambda: len(port.server.waiting) == 2)
            with await port.client() as new:
                await new.send(GET)
                assert (await new.response()).status == 200
            assert await second.ending() in {"end", "reset"}
            await first.send(GET)
            assert (await first.response()).status == 200


async def test_with_every_connection_busy_a_new_one_gets_503() -> None:
    gate = _Gate()
    async with serve(lambda _: gate, limits=listen_limits(max_connections=1)) as port:
        with await port.client() as busy:
            await busy.send(GET)
            await until(lambda: len(port.server.busy) == 1)
            with await port.client() as new:
                await new.send(post("/pay", b"{}"))
                response = await new.response()
                assert (response.status, response.header("X-Sidecar-Error")) == (503, b"overloaded")
                assert (response.header("Retry-After"), response.header("X-Sidecar-Outcome")) == (b"1", b"not-sent")
                assert await new.ending() == "end"
            assert port.seen == ["GET /a"]
            gate.go.set()
            assert (await busy.response()).status == 200


async def test_a_refused_connection_that_sends_nothing_is_closed() -> None:
    gate = _Gate()
    async with serve(lambda _: gate, limits=listen_limits(max_connections=1)) as port:
        with await port.client() as busy:
            await busy.send(GET)
            await until(lambda: len(port.server.busy) == 1)
            with await port.client() as new:
                await until(lambda: port.server.open_connections == 2)
                await port.clock.advance(3.0)
                assert await new.ending() == "end"


async def test_refused_connections_do_not_pile_up() -> None:
    gate = _Gate()
    async with serve(lambda _: gate, limits=listen_limits(max_connections=1)) as port:
        with await port.client() as busy:
            await busy.send(GET)
            await until(lambda: len(port.server.busy) == 1)
            clients = [await port.client() for _ in range(200)]
            try:
                await clients[-1].send(GET)
                assert (await clients[-1].response()).status == 503
                await until(lambda: port.server.open_connections <= 66)
            finally:
                for client in clients:
                    client.close()


async def test_slow_connections_at_the_cap_keep_nobody_out() -> None:
    async with serve(limits=listen_limits(max_connections=50)) as port:
        slow = [await port.client() for _ in range(50)]
        try:
            for client in slow:
                await client.send(GET[:7])
            await until(lambda: len(port.server.connections) == 50)
            for _ in range(20):
                with await port.client() as client:
                    await client.send(GET)
                    assert (await client.response()).status == 200
            await port.clock.advance(10.0 + 2 * TICK)
            await port.clock.advance(2.0 + 2 * TICK)
            await until(lambda: not port.server.connections)
        finally:
            for client in slow:
                client.close()


# --- callers that leave ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["close", "reset", "half_close"])
async def test_a_caller_that_leaves_is_noticed_while_its_request_runs(how: str) -> None:
    gate = _Gate()
    async with serve(lambda _: gate) as port:
        with await port.client() as client:
            await client.send(GET)
            await until(lambda: len(port.server.busy) == 1)
            getattr(client, how)()
            await until(lambda: gate.gone == 1)
            assert gate.cancelled == 0
            assert len(port.server.busy) == 1  # the handler decides what becomes of the call
            gate.go.set()
            await until(lambda: not port.server.busy)
        assert gate.gone == 1


async def test_a_caller_that_leaves_costs_no_log_line(caplog: pytest.LogCaptureFixture) -> None:
    gate = _Gate()
    with structlog.testing.capture_logs() as logs:
        async with serve(lambda _: gate) as port:
            with await port.client() as client:
                await client.send(GET)
                await until(lambda: len(port.server.busy) == 1)
                client.reset()
                await until(lambda: gate.gone == 1)
                gate.go.set()
                await until(lambda: not port.server.busy)
    assert (logs, caplog.records, port.reported) == ([], [], [])


async def test_a_caller_that_leaves_before_its_request_was_looked_at_gets_nothing_executed() -> None:
    gate = _Gate()
    async with serve(lambda _: gate) as port:
        with await port.client() as client:
            await client.send(GET + post("/pay", b"{}"))
            await until(lambda: len(port.server.busy) == 1)
            client.reset()
            # Reading is paused behind the second request, so it is the write that finds out.
            gate.go.set()
            await until(lambda: not port.server.busy)
        assert port.seen == ["GET /a"]


async def test_writing_to_a_caller_that_left_raises() -> None:
    ended: list[BaseException] = []

    async def handler(request: CallerRequest) -> CallerResponse:
        writer = ResponseStream(request.connection.writer, chunked=True)
        writer.start(_CHUNKED_HEAD)
        try:
            while True:
                await writer.write(b"x" * 10_000)
                await asyncio.sleep(0)
        except CallerGoneError as error:
            ended.append(error)
            raise

    async with serve(lambda _: handler) as port:
        with await port.client() as client:
            await client.send(GET)
            await client.receive()
        await until(lambda: bool(ended))
        await until(lambda: not port.server.busy)
        assert port.reported == []


# --- answers ---------------------------------------------------------------------------------------------------------


async def test_a_streamed_response_arrives_piece_by_piece() -> None:
    go = asyncio.Event()

    async def handler(request: CallerRequest) -> CallerResponse:
        writer = ResponseStream(request.connection.writer, chunked=True)
        writer.start(_CHUNKED_HEAD, b"first")
        await writer.write(b"")
        await go.wait()
        await writer.write(b"second")
        writer.finish()
        return AlreadySent(keep_alive=True)

    async with serve(lambda _: handler) as port:
        with await port.client() as client:
            await client.send(GET)
            assert await client.receive() == _CHUNKED_HEAD + b"5\r\nfirst\r\n"
            go.set()
            assert await client.receive() == b"6\r\nsecond\r\n0\r\n\r\n"
            await client.send(GET)
            assert (await client.response()).body == b"firstsecond"


async def test_a_streamed_answer_with_a_length_is_not_framed() -> None:
    async def handler(request: CallerRequest) -> CallerResponse:
        writer = ResponseStream(request.connection.writer, chunked=False)
        writer.start(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n", b"abc")
        await writer.write(b"def")
        writer.finish()
        return AlreadySent(keep_alive=True)

    async with serve(lambda _: handler) as port:
        with await port.client() as client:
            await client.send(GET)
            assert (await client.response()).body == b"abcdef"


async def test_a_large_whole_answer_arrives_whole() -> None:
    body = bytes(range(256)) * 20_000

    async def handler(request: CallerRequest) -> CallerResponse:
        return RawResponse(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body), body, True)

    async with serve(lambda _: handler) as port:
        with await port.client() as client:
            for _ in range(2):
                await client.send(GET)
                assert (await client.response()).body == body


async def test_a_response_that_was_started_and_not_finished_never_ends_cleanly() -> None:
    async def handler(request: CallerRequest) -> CallerResponse:
        writer = ResponseStream(request.connection.writer, chunked=True)
        writer.start(_CHUNKED_HEAD, b"part")
        return AlreadySent(keep_alive=True)

    async with serve(lambda _: handler) as port:
        with await port.client() as client:
            await client.send(GET)
            with pytest.raises((EOFError, ConnectionResetError)):
                await client.response()


async def test_a_cut_response_ends_in_a_reset() -> None:
    """An HTTP/1.0 response ends with its connection: only a reset tells the caller that it is not whole."""
    go = asyncio.Event()

    async def handler(request: CallerRequest) -> CallerResponse:
        writer = ResponseStream(request.connection.writer, chunked=False)
        writer.start(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", b"part")
        await go.wait()
        request.connection.writer.cut()
        return AlreadySent(keep_alive=False)

    async with serve(lambda _: handler) as port:
        with await port.client() as client:
            await client.send(b"GET /a HTTP/1.0\r\nHost: localhost\r\n\r\n")
            assert (await client.receive()).endswith(b"part")
            go.set()
            assert await client.ending() == "reset"


async def test_a_handler_may_raise_an_error_of_ours() -> None:
    async def handler(request: CallerRequest) -> CallerResponse:
        raise SidecarError(ErrorCode.TOKEN_UNAVAILABLE, "no token", retry_after=2.5)

    async with serve(lambda _: handler) as port:
        with await port.client() as client:
            await client.send(GET)
            response = await client.response()
            assert (response.status, response.header("Retry-After")) == (503, b"3")
            assert response.json["Type"] == "sidecar_token_unavailable"
            assert await client.ending() == "end"
        assert port.reported == ["token_unavailable"]


async def test_a_handler_that_breaks_is_answered_502_and_logged_without_its_words() -> None:
    async def handler(request: CallerRequest) -> CallerResponse:
        raise ValueError("a secret")

    with structlog.testing.capture_logs() as logs:
        async with serve(lambda _: handler) as port:
            with await port.client() as client:
                await client.send(GET)
                response = await client.response()
                assert (response.status, response.header("X-Sidecar-Error")) == (502, b"upstream_unreachable")
                assert response.header("X-Sidecar-Outcome") == b"unknown"
                assert b"secret" not in response.raw
                assert await client.ending() == "end"
    (line,) = logs
    assert (line["event"], line["error"]) == ("request.failed", "ValueError")
    assert line["where"].startswith("test_listener_connections.py:")
    assert "secret" not in str(line)


async def test_a_handler_that_breaks_within_its_response_has_it_cut() -> None:
    async def handler(request: CallerRequest) -> CallerResponse:
        writer = ResponseStream(request.connection.writer, chunked=True)
        writer.start(_CHUNKED_HEAD, b"part")
        raise ValueError("a secret")

    with structlog.testing.capture_logs():
        async with serve(lambda _: handler) as port:
            with await port.client() as client:
                await client.send(GET)
                with pytest.raises((EOFError, ConnectionResetError)):
                    await client.response()


async def test_nothing_is_logged_through_aiohttp(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        async with serve() as port:
            with await port.client() as client:
                await client.send(GET + b"garbage")
                await client.ending()
    assert [record for record in caplog.records if record.name.startswith("aiohttp")] == []


@pytest.mark.parametrize(
    ("request_bytes", "last"),
    [
        (get("/a"), False),
        (get("/a", "Connection: close"), True),
        (chunked("/a") + b"0\r\n\r\n", True),
        (get("/a", "Connection: Upgrade", "Upgrade: h2c"), True),
    ],
)
async def test_the_handler_can_tell_that_the_connection_will_end(request_bytes: bytes, last: bool) -> None:
    told: list[bool] = []

    async def handler(request: CallerRequest) -> CallerResponse:
        told.append(request.connection.last_request)
        return ok()

    async with serve(lambda _: handler) as port:
        with await port.client() as client:
            await client.send(request_bytes)
            await client.response()
    assert told == [last]


async def test_only_the_last_of_pipelined_requests_is_the_last() -> None:
    told: list[bool] = []

    async def handler(request: CallerRequest) -> CallerResponse:
        told.append(request.connection.last_request)
        return ok()

    async with serve(lambda _: handler) as port:
        with await port.client() as client:
            await client.send(get("/1") + chunked("/2") + b"0\r\n\r\n")
            await client.response()
            await client.response()
            assert await client.ending() == "end"
    assert told == [False, True]


# --- the end ---------------------------------------------------------------------------------------------------------


def _refusing(port: Port) -> Handler:
    async def handler(request: CallerRequest) -> CallerResponse:
        if port.server.draining:
            raise SidecarError(ErrorCode.SHUTTING_DOWN, "going", close=True)
        return await port.echo(request)

    return handler


async def test_a_drain_closes_idle_connections() -> None:
    async with serve() as port:
        with await port.client() as client:
            await client.send(GET)
            await client.response()
            await port.phase(ConnectionPhase.IDLE)
            port.server.begin_drain()
            assert await port.server.drained(port.clock.now() + 25.0)
            assert await client.ending() == "end"


async def test_a_request_that_lies_in_the_socket_when_the_drain_begins_is_answered() -> None:
    """To close upon it would reset the connection, and its caller could not know whether it was sent."""
    async with serve(_refusing) as port:
        with await port.client() as client:
            await client.send(GET)
            await client.response()
            await port.phase(ConnectionPhase.IDLE)
            assert client.fill(GET) == len(GET)
            port.server.begin_drain()
            assert await port.server.drained(port.clock.now() + 25.0)
            response = await client.response()
            assert (response.status, response.header("Connection")) == (503, b"close")
            assert await client.ending() == "end"


async def test_within_a_drain_new_connections_are_accepted_and_answered() -> None:
    async with serve(_refusing) as port:
        with await port.client() as fresh:
            await port.phase(ConnectionPhase.FRESH)
            port.server.begin_drain()
            with await port.client() as new:
                for client in (fresh, new):
                    await client.send(GET)
                    response = await client.response()
                    assert (response.status, response.header("Connection")) == (503, b"close")
                    assert await client.ending() == "end"


async def test_a_drain_waits_for_what_is_running() -> None:
    gate = _Gate()
    async with serve(lambda _: gate) as port:
        with await port.client() as client:
            await client.send(GET)
            await until(lambda: len(port.server.busy) == 1)
            port.server.begin_drain()
            drained = asyncio.ensure_future(port.server.drained(port.clock.now() + 25.0))
            await port.clock.advance(20.0)
            assert not drained.done()
            gate.go.set()
            assert await drained
            assert (await client.response()).status == 200
            assert await client.ending() == "end"


async def test_a_drain_without_requests_is_over_at_once() -> None:
    async with serve() as port:
        port.server.begin_drain()
        assert await port.server.drained(port.clock.now() + 25.0)


async def test_a_drain_gives_up_at_its_deadline() -> None:
    gate = _Gate()
    async with serve(lambda _: gate) as port:
        with await port.client() as client:
            await client.send(GET)
            await until(lambda: len(port.server.busy) == 1)
            drained = asyncio.ensure_future(port.server.drained(port.clock.now() + 25.0))
            await port.clock.advance(25.0 + TICK)
            assert not await drained


async def test_closing_answers_what_still_runs() -> None:
    gate = _Gate()
    async with serve(lambda _: gate) as port:
        with await port.client() as client:
            await client.send(GET)
            await until(lambda: len(port.server.busy) == 1)
            await port.server.close()
            response = await client.response()
            assert (response.status, response.header("X-Sidecar-Outcome")) == (502, b"unknown")
            assert await client.ending() == "end"
        assert gate.cancelled == 1
        assert port.server.open_connections == 0


async def test_a_handler_may_say_itself_how_a_cancelled_call_ends() -> None:
    async def handler(request: CallerRequest) -> CallerResponse:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        raise SidecarError(ErrorCode.UPSTREAM_UNREACHABLE, "not sent", outcome=Outcome.NOT_SENT, close=True)

    async with serve(lambda _: handler) as port:
        with await port.client() as client:
            await client.send(GET)
            await until(lambda: len(port.server.busy) == 1)
            await port.server.close()
            assert (await client.response()).header("X-Sidecar-Outcome") == b"not-sent"


async def test_closing_cuts_what_is_half_answered() -> None:
    async def handler(request: CallerRequest) -> CallerResponse:
        ResponseStream(request.connection.writer, chunked=True).start(_CHUNKED_HEAD, b"part")
        await asyncio.Event().wait()
        return ok()

    async with serve(lambda _: handler) as port:
        with await port.client() as client:
            await client.send(GET)
            assert (await client.receive()).endswith(b"part\r\n")
            await port.server.close()
            assert await client.ending() == "reset"


@pytest.mark.parametrize("sent", [b"", GET[:5], GET])
async def test_closing_closes_every_connection(sent: bytes) -> None:
    async with serve() as port:
        with await port.client() as client:
            await client.send(sent)
            if sent == GET:
                await client.response()
            await until(lambda: len(port.server.connections) == 1)
            await port.server.close()
            assert await client.ending() in {"end", "reset"}
        assert not port.server.connections


def _cancelling(how: Callable[[asyncio.Task[None]], object]) -> Callable[[Port], Handler]:
    def make(port: Port) -> Handler:
        async def handler(request: CallerRequest) -> CallerResponse:
            task = request.connection.task
            assert task is not None
            asyncio.get_running_loop().call_soon(how, task)
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                task.uncancel()
            return ok()

        return handler

    return make


async def test_a_handler_that_was_cancelled_and_answers_does_not_end_its_connection() -> None:
    async with serve(_cancelling(lambda task: task.cancel())) as port:
        with await port.client() as client:
            for _ in range(2):
                await client.send(GET)
                assert (await client.response()).status == 200
