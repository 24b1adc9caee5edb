"""What aiohttp's own low-level server does, where the proxy port does otherwise, and what the port leans on.

A test of the first part that fails means that aiohttp has mended a fault: then
our own guard against it may go. One of the second part means that ours broke.
Both are why the minor version is pinned.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpRequestParser
from aiohttp.http_exceptions import BadHttpMessage, BadHttpMethod, HttpProcessingError, LineTooLong
from aiohttp.streams import EMPTY_PAYLOAD

from tests.support.proxy_port import GET, chunked, get, post, until
from tests.support.raw_client import RawClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from aiohttp.web_protocol import RequestHandler
    from aiohttp.web_request import BaseRequest

_GARBAGE = b"\x00garbage\r\n\r\n"


@dataclass
class Plain:
    """aiohttp's ``web.Server`` as it comes, and what its handler saw."""

    server: web.Server
    port: int
    requests: list[BaseRequest] = field(default_factory=list)

    async def client(self) -> RawClient:
        return await RawClient.connect(("127.0.0.1", self.port))

    @property
    def connection(self) -> RequestHandler:
        (connection,) = self.server.connections
        return connection

    @property
    def seen(self) -> list[str]:
        return [f"{request.method} {request.raw_path}" for request in self.requests]


async def _read_and_answer(request: BaseRequest) -> web.StreamResponse:
    return web.Response(body=await request.content.read())


@contextlib.asynccontextmanager
async def plain(
    handler: Callable[[BaseRequest], Awaitable[web.StreamResponse]] = _read_and_answer, **options: Any
) -> AsyncIterator[Plain]:
    async def handle(request: BaseRequest) -> web.StreamResponse:
        served.requests.append(request)
        return await handler(request)

    server = web.Server(handle, **options)
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    served = Plain(server, listener.sockets[0].getsockname()[1])
    try:
        yield served
    finally:
        listener.close()
        await server.shutdown(0.01)
        await asyncio.sleep(0)


# --- faults ----------------------------------------------------------------------------------------------------------


async def test_a_trailer_becomes_a_header_of_the_next_request() -> None:
    async with plain() as served:
        with await served.client() as client:
            await client.send(chunked("/a") + b"2\r\nab\r\n0\r\nX-Injected: 1\r\n\r\n" + get("/b"))
            await client.answer()
            await client.answer()
        assert served.requests[1].headers["X-Injected"] == "1"


async def test_a_bad_chunk_in_the_middle_of_a_body_leaves_its_reader_waiting() -> None:
    async with plain() as served:
        with await served.client() as client:
            await client.send(chunked("/a") + b"2\r\nab\r\n")
            await until(lambda: len(served.requests) == 1)
            await client.send(b"zz\r\n")
            await until(lambda: len(served.connection._messages) == 1)  # the error waits for its turn
            content = served.requests[0].content
            assert content.exception() is None
            assert not content.is_eof()


async def test_garbage_behind_a_running_request_is_kept_piece_by_piece() -> None:
    go = asyncio.Event()

    async def handler(request: BaseRequest) -> web.StreamResponse:
        await go.wait()
        return web.Response()

    async with plain(handler) as served:
        with await served.client() as client:
            await client.send(GET)
            await until(lambda: len(served.requests) == 1)
            for count in range(1, 20):
                await client.send(_GARBAGE * 100)
                await until(lambda count=count: len(served.connection._messages) >= count)  # type: ignore[misc]
            go.set()


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /a\r\n\r\n",
        b"GET /a HTTP/2.0\r\nHost: localhost\r\n\r\n",
        b"POST /a RTSP/1.0\r\nHost: localhost\r\n\r\n",
        b"GET  /a HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\n\nGET /a HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST /a HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        chunked("/a") + b"2;" + b"e" * 65_536 + b"\r\nab\r\n0\r\n\r\n",
        get("/a", *(f"X-{number:02}: {'a' * 8000}" for number in range(20))),
    ],
    ids=[
        "HTTP/0.9",
        "HTTP/2.0",
        "RTSP",
        "two spaces",
        "bare LF in front",
        "chunked HTTP/1.0",
        "gzip, chunked",
        "64 KiB chunk extension",
        "160 KiB head",
    ],
)
async def test_odd_requests_reach_the_handler(request_bytes: bytes) -> None:
    async with plain() as served:
        with await served.client() as client:
            await client.send(request_bytes)
            await until(lambda: len(served.requests) == 1)


async def test_a_parser_error_is_answered_as_http_1_0_with_bytes_of_the_request() -> None:
    async with plain() as served:
        with await served.client() as client:
            await client.send(b"GET /secret HTTP/1.1\r\nHost: localhost\r\nsecret : 1\r\n\r\n")
            answer = await client.answer()
            assert answer.version == b"HTTP/1.0"
            assert b"secret" in answer.body


async def test_a_packet_behind_an_upgrade_is_lost_and_the_next_one_is_read_as_a_request() -> None:
    """So the body of a request that was lost becomes a request: smuggling."""
    async with plain() as served:
        with await served.client() as client:
            lost = post("/lost", get("/smuggled"))
            body = get("/smuggled")
            await client.send(get("/a", "Connection: Upgrade", "Upgrade: h2c") + lost[: -len(body)])
            await client.answer()
            await client.send(body)
            await client.answer()
        assert served.seen == ["GET /a", "GET /smuggled"]


async def test_there_is_no_100_continue() -> None:
    async with plain() as served:
        with await served.client() as client:
            request = post("/a", b"abc", "Expect: 100-continue")
            await client.send(request[:-3])
            await until(lambda: len(served.requests) == 1)
            await client.send(request[-3:])
            assert (await client.answer()).status == 200


async def test_there_is_no_answer_to_a_slow_head_and_its_only_limit_is_that_of_idle_connections() -> None:
    async with plain(keepalive_timeout=0.05) as served:
        with await served.client() as client:
            await client.send(GET[:9])
            assert await client.ending() == "end"


async def test_a_response_gets_headers_that_nobody_asked_for() -> None:
    async def handler(request: BaseRequest) -> web.StreamResponse:
        return web.Response(status=304, headers={"Content-Length": "5"})

    async with plain(handler) as served:
        with await served.client() as client:
            await client.send(GET)
            answer = await client.answer()
            assert answer.header("Server") is not None
            assert answer.header("Date") is not None
            assert answer.header("Content-Length") is None


async def test_a_caller_that_leaves_within_a_response_costs_a_traceback(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(request: BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 100_000)

    async with plain(handler) as served:
        with await served.client() as client:
            await client.send(GET)
            await client.receive()
            client.reset()
        await until(lambda: any(record.exc_info for record in caplog.records))


async def test_a_caller_that_leaves_stops_nothing_and_nobody_is_told() -> None:
    go = asyncio.Event()
    ended: list[str] = []

    async def handler(request: BaseRequest) -> web.StreamResponse:
        await go.wait()
        ended.append("normally")
        return web.Response()

    async with plain(handler) as served:
        with await served.client() as client:
            await client.send(GET)
            await until(lambda: len(served.requests) == 1)
        await until(lambda: not served.requests[0].protocol.connected)
        go.set()
        await until(lambda: ended == ["normally"])


async def test_an_early_answer_lingers_for_ten_seconds() -> None:
    async def handler(request: BaseRequest) -> web.StreamResponse:
        return web.Response(status=403)

    async with plain(handler) as served:
        with await served.client() as client:
            await client.send(post("/a", b"abc")[:-1])
            assert (await client.answer()).status == 403
            connection = served.connection
            assert connection._lingering_time == 10.0
            assert connection._task_handler is not None
            connection._task_handler.cancel()


async def test_a_body_over_a_mebibyte_cannot_be_read_whole() -> None:
    async def handler(request: BaseRequest) -> web.StreamResponse:
        return web.Response(body=await request.read())

    async with plain(handler, lingering_time=0) as served:
        with await served.client() as client:
            await client.send_all(post("/a", b"x" * (2 * 1024 * 1024)))
            assert (await client.receive()).startswith(b"HTTP/1.1 413 ")


# --- what the port leans on ------------------------------------------------------------------------------------------


class _Protocol(BaseProtocol):
    def data_received(self, data: bytes) -> None:
        """Take nothing: the tests feed the parser themselves."""


def _parser() -> Any:
    protocol = _Protocol(asyncio.get_running_loop())
    parser = HttpRequestParser(
        protocol, asyncio.get_running_loop(), 2**16, max_line_size=8190, max_field_size=8190, auto_decompress=False
    )
    protocol._parser = parser
    return parser


async def test_the_parser_is_the_one_in_c() -> None:
    assert HttpRequestParser.__module__ == "aiohttp._http_parser"


async def test_messages_tell_what_seals_a_connection() -> None:
    for request, expected in [
        (GET, (False, False, False)),
        (get("/a", "Connection: close"), (False, False, True)),
        (get("/a", "Connection: Upgrade", "Upgrade: h2c"), (False, True, False)),
        (chunked("/a"), (True, False, False)),
        (b"GET /a HTTP/1.0\r\n\r\n", (False, False, True)),
    ]:
        ((message, _),), _, _ = _parser().feed_data(request)
        assert (bool(message.chunked), message.upgrade, message.should_close) == expected


async def test_a_request_without_a_body_shares_one_empty_one() -> None:
    for request in (GET, post("/a", b"")):
        ((_, content),), _, _ = _parser().feed_data(request)
        assert content is EMPTY_PAYLOAD
        assert (content.is_eof(), content.total_bytes, content.read_nowait()) == (True, 0, b"")


async def test_the_target_and_the_method_come_as_they_were_sent() -> None:
    """The heads' own count leans on their lengths."""
    ((message, _),), _, _ = _parser().feed_data(b"M-SEARCH /a%zz//;x?&#f HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (message.method, message.path) == ("M-SEARCH", "/a%zz//;x?&#f")


async def test_a_length_always_comes_as_one_header_of_digits() -> None:
    ((message, _),), _, _ = _parser().feed_data(post("/a", b"abc"))
    assert message.headers["content-length"] == "3"
    for value in (b"+3", b"3, 3", b"0x3", b"", b"3 3", b"3_0"):
        with pytest.raises(HttpProcessingError):
            _parser().feed_data(b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: " + value + b"\r\n\r\nabc")


async def test_too_many_headers_are_told_in_these_words() -> None:
    with pytest.raises(BadHttpMessage) as caught:
        _parser().feed_data(get("/a", *(f"X-{number}: 1" for number in range(128))))
    assert caught.value.message == "Too many headers received"


@pytest.mark.parametrize("request_bytes", [get("/" + "a" * 8190), get("/a", "X: " + "a" * 8191)])
async def test_a_line_over_the_limit_has_an_error_of_its_own(request_bytes: bytes) -> None:
    with pytest.raises(LineTooLong):
        _parser().feed_data(request_bytes)


async def test_tls_has_an_error_of_its_own() -> None:
    with pytest.raises(BadHttpMethod):
        _parser().feed_data(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")


async def test_a_target_that_is_not_ascii_is_an_error() -> None:
    with pytest.raises(HttpProcessingError):
        _parser().feed_data(b"GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n")


async def test_a_parser_that_failed_goes_on_failing() -> None:
    parser = _parser()
    for _ in range(3):
        with pytest.raises(HttpProcessingError):
            parser.feed_data(_GARBAGE)


async def test_a_request_in_front_of_garbage_in_one_piece_is_forgotten() -> None:
    parser = _parser()
    with pytest.raises(HttpProcessingError):
        parser.feed_data(GET + _GARBAGE)
    with pytest.raises(HttpProcessingError):
        parser.feed_data(b"")


async def test_a_content_given_an_exception_raises_it_from_a_read_that_waits() -> None:
    ((_, content),), _, _ = _parser().feed_data(post("/a", b"abc")[:-3])
    content._protocol.transport = object()  # a reader waits only on a connection
    reading = asyncio.ensure_future(content.readany())
    await asyncio.sleep(0)
    content.set_exception(KeyError("told"))
    with pytest.raises(KeyError):
        await reading
