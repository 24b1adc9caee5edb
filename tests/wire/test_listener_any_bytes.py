"""Whatever bytes come, in whatever pieces: nothing breaks, nothing is echoed, nothing is left behind."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.core.http.framing import check_request
from sidecar.downstream.server import ProxyServer
from sidecar.proxy.body import BodyLimits, BodyReader
from sidecar.proxy.budget import ReplayBudget
from tests.support.clock import FakeClock
from tests.support.proxy_port import GET, chunked, get, listen_limits, ok, post

if TYPE_CHECKING:
    from sidecar.core.errors import SidecarError
    from sidecar.downstream.request import CallerRequest
    from sidecar.downstream.response import CallerResponse

_CANARY = b"cAnArY"

_whole = st.sampled_from(
    [
        GET,
        post("/a", b"abcde"),
        chunked("/a") + b"2\r\nab\r\n0\r\nX: 1\r\n\r\n",
        get("/a", "Connection: Upgrade", "Upgrade: websocket"),
        post("/a", b"abc", "Expect: 100-continue", "Content-Encoding: gzip"),
        b"CONNECT a:1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"OPTIONS * HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        _CANARY,
    ]
)
_FIELDS = [b"Host: a", b"Content-Length: 3", b"Transfer-Encoding: chunked", b"Upgrade: h2c", b"Sec-WebSocket-Key1: a"]
_BITS = [b"\r\n", b"\r", b"\n", b"\0", b" ", b":", b"//", b"[", b"HTTP/1.1", b"CONNECT ", b"0\r\n\r\n", b"2\r\n"]
_part = st.sampled_from([*_BITS, *(field + b"\r\n" for field in _FIELDS)])
_pieces = st.lists(st.one_of(_whole, _whole, _part, st.binary(max_size=5)), min_size=1, max_size=8)


class _Transport(asyncio.Transport):
    """Takes what is written and knows whether it is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False

    def write(self, data: Any) -> None:
        assert not self.closed
        self.written += data

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close

    def write_eof(self) -> None:
        """End the responses."""

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Take any."""

    def pause_reading(self) -> None:
        """Stop."""

    def resume_reading(self) -> None:
        """Go on."""


async def _feed(pieces: list[bytes], pauses: list[bool]) -> None:
    budget = ReplayBudget(5000)
    bodies = BodyReader(BodyLimits(1000, 500), budget)

    async def handler(request: CallerRequest) -> CallerResponse:
        framing = check_request(request.method, request.version, request.raw_headers)
        body = await bodies.read(request, framing)
        body.release()
        return ok(keep_alive=framing.keep_alive and not request.connection.last_request)

    def report(error: SidecarError) -> str:
        return "id"

    server = ProxyServer(handler, limits=listen_limits(), clock=FakeClock(), report=report)
    connection = server()
    transport = _Transport()
    with structlog.testing.capture_logs() as logs:
        connection.connection_made(transport)
        await asyncio.sleep(0)
        for piece, pause in zip(pieces, pauses, strict=False):
            if not transport.closed:
                connection.data_received(piece)
            for _ in range(4 if pause else 0):
                await asyncio.sleep(0)
        for _ in range(50):
            await asyncio.sleep(0)
        connection.connection_lost(None)
        for _ in range(4):
            await asyncio.sleep(0)
    assert logs == []
    assert _CANARY not in transport.written
    assert transport.written == b"" or transport.written.startswith(b"HTTP/1.1 ")
    assert (server.busy, server.waiting, server.open_connections, budget.used) == (set(), {}, 0, 0)


@settings(max_examples=300, deadline=None)
@given(_pieces, st.lists(st.booleans(), min_size=8, max_size=8))
def test_nothing_breaks_and_nothing_is_left(pieces: list[bytes], pauses: list[bool]) -> None:
    asyncio.run(_feed(pieces, pauses))


@settings(max_examples=150, deadline=None)
@given(_pieces, st.integers(1, 12))
def test_nothing_breaks_however_the_bytes_are_cut(pieces: list[bytes], size: int) -> None:
    data = b"".join(pieces)
    cut = [data[start : start + size] for start in range(0, len(data), size)]
    asyncio.run(_feed(cut, [True] * len(cut)))
