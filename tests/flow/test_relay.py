"""A response on its way to the caller: what a reader that is not ours makes of it, and what becomes of the connection.

No socket: a caller's bytes go in, a Mangopay that follows a script is behind. The reader is ``http.client``.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from http.client import HTTPResponse, IncompleteRead
from typing import Any, Final

import pytest

from tests.support.in_memory import Fate, MemoryCaller, MemoryProxy, in_memory, respond

TARGET: Final = "/v2.01/acme/users"
PIECE: Final = bytes(range(256)) * 256  # 64 KiB
#: Bytes beyond which a response without a length does not go to HTTP/1.0 over a Unix socket.
WHOLE_LIMIT: Final = 1024 * 1024


@dataclass(frozen=True)
class Caller:
    """What a caller says of its connection."""

    version: str
    connection: str | None = None

    @property
    def http10(self) -> bool:
        return self.version == "1.0"

    @property
    def may_stay(self) -> bool:
        """RFC 9112 section 9.3."""
        return self.connection == "keep-alive" or (self.connection is None and not self.http10)

    def request(self, method: str = "GET", *headers: str, body: bytes = b"") -> bytes:
        lines = [f"{method} {TARGET} HTTP/{self.version}", "Host: localhost", *headers]
        if self.connection:
            lines.append(f"Connection: {self.connection}")
        return "\r\n".join([*lines, "", ""]).encode() + body

    def __str__(self) -> str:
        return f"HTTP/{self.version} {self.connection or ''}".strip()


CALLERS: Final = [Caller("1.1"), Caller("1.1", "close"), Caller("1.0"), Caller("1.0", "keep-alive")]
HTTP11, _, _, HTTP10 = CALLERS


@dataclass(frozen=True)
class Upstream:
    """A response of Mangopay's, in the pieces in which it comes."""

    name: str
    pieces: tuple[bytes, ...]
    body: bytes = b""
    method: str = "GET"
    #: It tells where it ends: by a length, or because there is no body.
    delimited: bool = True
    #: All of it comes with its head.
    whole: bool = False

    def __str__(self) -> str:
        return self.name


def chunks(*parts: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


CHUNKED_HEAD: Final = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
UPSTREAMS: Final = [
    Upstream("length", (respond(200, b"hello"),), b"hello"),
    Upstream("length of 0", (respond(200),)),
    Upstream("length, in pieces", (respond(200, b"he", length=5), b"ll", b"o"), b"hello"),
    Upstream("large, in pieces", (respond(200, PIECE, length=len(PIECE) * 4), PIECE, PIECE, PIECE), PIECE * 4),
    Upstream("chunks", (CHUNKED_HEAD + chunks(b"he", b"llo"),), b"hello", delimited=False, whole=True),
    Upstream("no chunk", (CHUNKED_HEAD + chunks(),), delimited=False, whole=True),
    Upstream("chunks, in pieces", (CHUNKED_HEAD, b"2\r\nhe\r\n", chunks(b"llo")), b"hello", delimited=False),
    Upstream("no chunk, in pieces", (CHUNKED_HEAD, chunks()), delimited=False),
    Upstream("204", (respond(204),)),
    Upstream("304 with a length", (respond(304, length=5),)),
    Upstream("length, to HEAD", (respond(200, length=5),), method="HEAD"),
    Upstream("chunks, to HEAD", (CHUNKED_HEAD,), method="HEAD"),
    Upstream(
        "SCA without a length", (b"HTTP/1.1 401 No\r\nWWW-Authenticate: PendingUserAction\r\n\r\n",),
        delimited=False, whole=True,
    ),
]  # fmt: skip


class _Socket:
    """What http.client reads from."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, mode: str) -> io.BytesIO:
        assert mode == "rb"
        return io.BytesIO(self._data)


def read(caller: MemoryCaller, method: str = "GET") -> HTTPResponse:
    """Have http.client read the head of what came."""
    sock: Any = _Socket(caller.received)
    response = HTTPResponse(sock, method=method)
    response.begin()
    return response


async def send(proxy: MemoryProxy, pieces: tuple[bytes, ...]) -> None:
    """Have Mangopay send the rest of its response."""
    for piece in pieces:
        await proxy.clock.settle()
        proxy.mangopay.deliveries[-1].respond(piece)
    await proxy.clock.settle()


@pytest.mark.parametrize("upstream", UPSTREAMS, ids=str)
@pytest.mark.parametrize("asked", CALLERS, ids=str)
async def test_a_response_is_read_as_it_was_meant(asked: Caller, upstream: Upstream) -> None:
    async with in_memory() as proxy:
        caller = proxy.begin(asked.request(upstream.method), Fate(response=upstream.pieces[0]))
        await send(proxy, upstream.pieces[1:])
        response = read(caller, upstream.method)
        assert response.read() == upstream.body
        # What is in hand gets a length, where there are no chunks.
        measured = asked.http10 and upstream.whole
        stays = asked.may_stay and (upstream.delimited or measured or not asked.http10)
        assert caller.transport.is_closing() is not stays
        assert not caller.transport.cut
        # An HTTP/1.0 caller learns from the head alone that it may go on (RFC 9112 section 9.3).
        assert response.getheader("Connection") == (
            None if stays and not asked.http10 else "keep-alive" if stays else "close"
        )
        chunked = not upstream.delimited and not asked.http10
        assert response.getheader("Transfer-Encoding") == ("chunked" if chunked else None)
        if not upstream.delimited:
            assert response.getheader("Content-Length") == (str(len(upstream.body)) if measured else None)
        record = proxy.record
        assert (record.status, record.bytes_out, record.error) == (response.status, len(upstream.body), None)


@pytest.mark.parametrize("upstream", [UPSTREAMS[0], UPSTREAMS[4], UPSTREAMS[6], UPSTREAMS[8]], ids=str)
async def test_a_connection_that_stays_carries_the_next_request(upstream: Upstream) -> None:
    async with in_memory() as proxy:
        caller = proxy.begin(HTTP11.request(), Fate(response=upstream.pieces[0]))
        await send(proxy, upstream.pieces[1:])
        before = len(caller.received)
        proxy.mangopay.script.append(Fate(response=respond(200, b"second")))
        caller.send(HTTP11.request())
        await proxy.clock.settle()
        assert caller.received[before:].endswith(b"second")
        assert (len(proxy.mangopay.deliveries), proxy.mangopay.dials) == (2, 1)


# --- what is not whole -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", CALLERS, ids=str)
@pytest.mark.parametrize(
    ("head", "code", "breaks"),
    [
        pytest.param(respond(200, b"he", length=5), "upstream_unreachable", True, id="length, cut"),
        pytest.param(CHUNKED_HEAD + b"2\r\nhe\r\n", "upstream_unreachable", True, id="chunks, cut"),
        pytest.param(respond(200, b"he", length=5), "upstream_timeout", False, id="length, silent"),
        pytest.param(CHUNKED_HEAD + b"2\r\nhe\r\n", "upstream_timeout", False, id="chunks, silent"),
        pytest.param(CHUNKED_HEAD + b"2\r\nhe\r\nxyz\r\n", "upstream_unreachable", False, id="chunks, broken"),
    ],
)
async def test_a_response_that_breaks_off_never_ends_cleanly(
    asked: Caller, head: bytes, code: str, breaks: bool
) -> None:
    async with in_memory() as proxy:
        head, _, rest = head.partition(b"he")
        caller = proxy.begin(asked.request(), Fate(response=head))
        await send(proxy, (b"he" + rest,))
        if breaks:
            proxy.mangopay.deliveries[0].transport.end(ConnectionResetError())
        record = await proxy.over() if not proxy.records else proxy.record
        assert caller.transport.cut
        assert (record.status, record.error, record.outcome) == (200, code, "unknown")
        assert record.source == "upstream"
        if not asked.http10:
            with pytest.raises(IncompleteRead):
                read(caller).read()


async def test_a_caller_that_leaves_in_the_middle_of_its_response_ends_upstreams() -> None:
    async with in_memory() as proxy:
        caller = proxy.begin(HTTP11.request(), Fate(response=respond(200, b"he", length=5)))
        await proxy.clock.settle()
        caller.leave()
        await send(proxy, (b"l",))
        assert proxy.mangopay.deliveries[0].transport.cut
        assert (proxy.record.caller, proxy.record.status) == ("gone", 200)


async def test_a_caller_that_reads_slowly_holds_upstream_back() -> None:
    async with in_memory() as proxy:
        size = 64
        caller = proxy.begin(HTTP11.request(), Fate(response=respond(200, PIECE, length=len(PIECE) * size)))
        await proxy.clock.settle()
        caller.stop_reading()
        upstream = proxy.mangopay.deliveries[0]
        sent = 1
        while not upstream.transport.paused:
            assert sent < size, "all of it was taken"
            upstream.respond(PIECE)
            sent += 1
            await proxy.clock.settle()
        held = sent * len(PIECE) - len(caller.body)
        assert 0 < held <= 4 * len(PIECE)
        caller.read_on()
        for _ in range(size - sent):
            await proxy.clock.settle()
            upstream.respond(PIECE)
        await proxy.clock.settle()
        assert read(caller).read() == PIECE * size


# --- HTTP/1.0 over a Unix socket: no reset can say that a response was cut -------------------------------------------


async def test_a_response_without_a_length_is_read_whole_before_http10_gets_any_of_it_over_a_unix_socket() -> None:
    async with in_memory() as proxy:
        caller = proxy.begin(HTTP10.request(), Fate(response=CHUNKED_HEAD), on_unix_socket=True)
        await send(proxy, (b"3\r\nhel\r\n",))
        assert not caller.received
        await send(proxy, (chunks(b"lo"),))
        response = read(caller)
        assert (response.read(), response.getheader("Connection")) == (b"hello", "keep-alive")
        # So that the caller sees it if it is cut off, because it reads too slowly.
        assert response.getheader("Content-Length") == "5"


@pytest.mark.parametrize(("breaks", "code"), [(True, "upstream_unreachable"), (False, "upstream_timeout")])
async def test_one_that_breaks_off_is_an_error_there(breaks: bool, code: str) -> None:
    async with in_memory() as proxy:
        caller = proxy.begin(HTTP10.request(), Fate(response=CHUNKED_HEAD), on_unix_socket=True)
        await send(proxy, (b"3\r\nhel\r\n",))
        if breaks:
            proxy.mangopay.deliveries[0].transport.end(ConnectionResetError())
        await proxy.over()
        assert (caller.header("X-Sidecar-Error"), caller.header("X-Sidecar-Outcome")) == (code, "unknown")


@pytest.mark.parametrize("over", [0, 1])
async def test_one_that_is_too_large_is_refused_there(over: int) -> None:
    async with in_memory() as proxy:
        caller = proxy.begin(HTTP10.request(), Fate(response=CHUNKED_HEAD), on_unix_socket=True)
        size = WHOLE_LIMIT + over
        await send(proxy, (b"%x\r\n" % size,))
        for start in range(0, size, len(PIECE)):
            await send(proxy, (PIECE[: size - start],))
        if not over:
            await send(proxy, (b"\r\n0\r\n\r\n",))
            assert len(caller.body) == WHOLE_LIMIT
            return
        assert (caller.status, caller.header("X-Sidecar-Outcome")) == (502, "unknown")
        assert b"speak HTTP/1.1" in caller.body
        assert proxy.mangopay.deliveries[0].transport.cut


async def test_a_unix_socket_makes_no_difference_to_http11_and_to_a_length() -> None:
    async with in_memory() as proxy:
        for asked, head in ((HTTP11, CHUNKED_HEAD), (HTTP10, respond(200, length=5))):
            caller = proxy.begin(asked.request(), Fate(response=head), on_unix_socket=True)
            await proxy.clock.settle()
            assert caller.status == 200
            caller.leave()
            await proxy.clock.settle()


# --- requests that are not whole when the response comes -------------------------------------------------------------


async def test_a_response_that_comes_before_the_upload_is_over_ends_the_connection() -> None:
    """What is left of the body would be read as the next request (RFC 9112 section 9.6)."""
    async with in_memory() as proxy:
        size = 300_000
        caller = proxy.begin(HTTP11.request("POST", f"Content-Length: {size}", body=bytes(200_000)), Fate())
        await proxy.clock.settle()
        proxy.mangopay.deliveries[0].respond(respond(413, b"{}"))
        await proxy.clock.settle()
        response = read(caller, "POST")
        assert (response.status, response.read(), response.getheader("Connection")) == (413, b"{}", "close")
        assert proxy.mangopay.deliveries[0].transport.cut
        caller.send(bytes(100_000) + HTTP11.request())
        await proxy.clock.settle()
        assert len(proxy.mangopay.deliveries) == 1


@pytest.mark.parametrize("over", [0, 1])
async def test_a_chunked_upload_ends_at_the_largest_body(over: int) -> None:
    """It streams by then, and a part of it is out: what Mangopay makes of that is unknown."""
    async with in_memory() as proxy:
        head = HTTP11.request("POST", "Transfer-Encoding: chunked")
        caller = proxy.begin(head, Fate(response=respond(201)))
        for _ in range(15):
            caller.send(b"10000\r\n%b\r\n" % PIECE)
            await proxy.clock.settle()
        (delivery,) = proxy.mangopay.deliveries
        caller.send(chunks(bytes(len(PIECE) + over)))
        await proxy.over()
        assert caller.status == (413 if over else 201)
        assert caller.header("X-Sidecar-Outcome") == ("unknown" if over else None)
        assert (b"before you repeat a write, find out" in caller.body) is bool(over)
        assert delivery.whole is not bool(over)
        assert delivery.transport.cut is bool(over)
