"""Bodies up and down: byte-identical, at the pace of the slower side, in bounded memory, never ended by mistake."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING, Any, cast

import pytest

from sidecar.core.resend import AttemptFailure, FailureKind, Sent
from sidecar.upstream.errors import UpstreamError
from sidecar.upstream.response import HIGH_WATER
from sidecar.upstream.sending import ONE_WRITE_LIMIT
from tests.support.upstreams import OK, Peer, Source, answering, client_of, read_all, serve

if TYPE_CHECKING:
    from sidecar.upstream.byte_protocol import ByteProtocol
    from sidecar.upstream.connection import Connection

pytestmark = pytest.mark.any_loop

#: A KYC page as large as Mangopay takes them, in base64.
LARGE = bytes(range(256)) * (14_000_000 // 256)

#: What one look at a socket may bring on top of what is allowed to wait (asyncio and uvloop read at most this).
ONE_READ = 262_144


def paused(link: ByteProtocol) -> bool:
    return link._reading_paused


# --- request bodies --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
@pytest.mark.parametrize(
    "body",
    [None, b"", b"{}", b"x" * (ONE_WRITE_LIMIT - 1), b"y" * ONE_WRITE_LIMIT, b"z" * (ONE_WRITE_LIMIT + 1), LARGE],
)
async def test_a_body_in_hand_arrives_byte_identical(method: str, body: bytes | None) -> None:
    async with serve(answering(OK)) as upstream, client_of(upstream) as client:
        for _ in range(2):
            await client.call(method, body=body)
        assert [request.body for request in upstream.requests] == [body or b""] * 2
        assert len(upstream.peers) == 1


class WatchedTransport:
    """A connection's transport, with a list of what was asked of it."""

    def __init__(self, connection: Connection) -> None:
        self._transport: Any = connection._transport
        self.asked: list[str] = []
        connection._transport = cast("asyncio.Transport", self)

    def __getattr__(self, name: str) -> Any:
        self.asked.append(name)
        return getattr(self._transport, name)


async def test_head_and_small_body_go_out_in_one_write() -> None:
    async with serve(answering(OK)) as upstream, client_of(upstream) as client:
        connection = await client.acquire()
        transport = WatchedTransport(connection)
        response = await client.ask("POST", body=b"{}", connection=connection)
        assert await read_all(response) == b'{"Id": "42"}'
        response.release()
    assert transport.asked.count("write") == 1


async def test_a_large_body_is_written_no_faster_than_upstream_takes_it() -> None:
    """Else 14 MB would be encrypted in one callback and lie in memory twice."""

    async def script(peer: Peer) -> None:
        peer.stop_reading()
        await peer.gone()

    async with serve(script) as upstream, client_of(upstream) as client:
        connection = await client.acquire()
        call = asyncio.create_task(client.ask("POST", body=LARGE, connection=connection))
        await upstream.until(lambda: len(upstream.peers) == 1)
        await client.clock.settle()
        assert connection.sent is Sent.PART
        transport = connection._transport
        assert transport is not None
        assert transport.get_write_buffer_size() <= 4 * ONE_WRITE_LIMIT
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call


@pytest.mark.parametrize("pieces", [(), (b"one",), (b"one", b"two", b"x" * 100_000)])
async def test_a_stream_with_a_length_arrives_as_it_is(pieces: tuple[bytes, ...]) -> None:
    async with serve(answering(OK)) as upstream, client_of(upstream) as client:
        for _ in range(2):
            await client.call("POST", body=Source(*pieces))
        assert [request.body for request in upstream.requests] == [b"".join(pieces)] * 2
        assert len(upstream.peers) == 1


async def test_a_chunked_stream_is_framed_piece_by_piece() -> None:
    async with serve(answering(OK)) as upstream, client_of(upstream) as client:
        await client.call("POST", body=Source(b"one", b"", b"x" * 16, chunked=True))
        assert upstream.peers[0].received.endswith(b"\r\n\r\n3\r\none\r\n10\r\n" + b"x" * 16 + b"\r\n0\r\n\r\n")


async def test_an_empty_chunked_stream_is_an_empty_body() -> None:
    async with serve(answering(OK)) as upstream, client_of(upstream) as client:
        await client.call("POST", body=Source(chunked=True))
        assert upstream.peers[0].received.endswith(b"\r\n\r\n0\r\n\r\n")


@pytest.mark.parametrize("chunked", [True, False])
async def test_a_stream_that_fails_is_cut_and_never_ended(chunked: bool) -> None:
    """The caller hung up: upstream must not take the part that it got for the whole."""
    error = ConnectionResetError("the caller is gone")
    source = Source(b"one", b"two", chunked=chunked, length=100, error=error)
    async with serve(answering(OK)) as upstream, client_of(upstream) as client:
        connection = await client.acquire()
        with pytest.raises(ConnectionResetError) as caught:
            await client.ask("POST", body=source, connection=connection)
        assert caught.value is error
        assert connection.sent is Sent.PART
        assert client.pool.open == 0
        await upstream.peers[0].ended.wait()
        assert b"two" in upstream.peers[0].received
        assert not upstream.peers[0].received.endswith(b"\n0\r\n\r\n")
        assert upstream.requests == []


async def test_a_stream_is_read_no_faster_than_upstream_takes_it() -> None:
    async def script(peer: Peer) -> None:
        peer.stop_reading()
        await peer.gone()

    source = Source(*[b"x" * 65_536] * 1000)
    async with serve(script) as upstream, client_of(upstream) as client:
        call = asyncio.create_task(client.ask("POST", body=source))
        await upstream.until(lambda: len(upstream.peers) == 1)
        stuck = -1
        while source.taken != stuck:  # until nothing moves any more
            stuck = source.taken
            await client.clock.settle(200)
        assert stuck < 500
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call


@pytest.mark.parametrize("chunked", [True, False])
async def test_an_early_response_ends_the_upload_and_the_connection(chunked: bool) -> None:
    received = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 7\r\n\r\ntoo big"

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(received)
        await peer.gone()

    never = asyncio.Event()
    source = Source(b"one", b"two", chunked=chunked, gate=never)
    async with serve(script) as upstream, client_of(upstream) as client:
        connection = await client.acquire()
        response = await client.ask("POST", body=source, connection=connection)
        assert response.status == 413
        assert not source.is_waited_for()  # nobody reads the caller's body any more
        assert connection.sent is Sent.PART
        assert await read_all(response) == b"too big"
        response.release()
        assert client.pool.open == 0
        await upstream.peers[0].ended.wait()
        assert b"two" not in upstream.peers[0].received


async def test_nothing_is_written_once_the_response_has_begun() -> None:
    """The caller's next piece and the response come in the same moment."""
    gate = asyncio.Event()

    class Announced:
        """Tells of what comes just before the connection has it."""

        def __init__(self, connection: Connection) -> None:
            self._connection = connection
            cast("Any", connection._transport).set_protocol(self)

        def data_received(self, data: bytes) -> None:
            gate.set()
            self._connection.data_received(data)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._connection, name)

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.take(3)
        await peer.send(OK)
        await peer.gone()

    async with serve(script) as upstream, client_of(upstream) as client:
        connection = await client.acquire()
        Announced(connection)
        response = await client.ask("POST", body=Source(b"one", b"two", gate=gate), connection=connection)
        assert gate.is_set()
        assert connection.sent is Sent.PART
        response.release()
        await upstream.peers[0].ended.wait()
        assert upstream.peers[0].received.endswith(b"one")


async def test_an_early_response_to_a_large_body_in_hand_is_read() -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        peer.stop_reading()
        await peer.send(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\n{}")
        await peer.gone()

    async with serve(script) as upstream, client_of(upstream) as client:
        response = await client.ask("POST", body=LARGE)
        assert response.status == 401
        assert await read_all(response) == b"{}"
        response.release()
        assert client.pool.open == 0


async def test_an_interim_response_does_not_end_the_upload() -> None:
    gate = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        gate.set()
        assert await peer.take(6) == b"onetwo"
        await peer.send(OK)
        await peer.gone()

    async with serve(script) as upstream, client_of(upstream) as client:
        await client.call("POST", body=Source(b"one", b"two", gate=gate))
        assert client.pool.idle == 1


async def test_a_connection_that_breaks_while_the_caller_is_waited_for_ends_the_exchange() -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.take(3)
        peer.reset()

    source = Source(b"one", b"two", gate=asyncio.Event())
    async with serve(script) as upstream, client_of(upstream) as client:
        with pytest.raises(UpstreamError) as caught:
            await client.ask("POST", body=source)
        assert caught.value.failure == AttemptFailure(FailureKind.LOST, Sent.PART, reused=False, response_started=False)
        assert not source.is_waited_for()


async def test_the_end_of_the_pools_tasks_ends_an_upload() -> None:
    """At shutdown the sending task is cancelled from outside: its exchange must not wait for ever."""
    source = Source(b"one", b"two", gate=asyncio.Event())
    async with serve(answering(OK)) as upstream, client_of(upstream) as client:
        call = asyncio.create_task(client.ask("POST", body=source))
        await upstream.until(lambda: any(peer.received.endswith(b"one") for peer in upstream.peers))
        await client.tasks.close()
        with pytest.raises(UpstreamError):
            await call


# --- response bodies -------------------------------------------------------------------------------------------------

FIFTY_MB = 50_000_000
BLOCK = bytes(range(256)) * 256  # 64 KiB


@pytest.mark.parametrize("chunked", [True, False])
async def test_fifty_megabytes_stream_in_bounded_memory(chunked: bool) -> None:
    """The reader is slower than upstream: reading pauses, and what waits stays small."""

    async def script(peer: Peer) -> None:
        await peer.request()
        framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % FIFTY_MB
        await peer.send(b"HTTP/1.1 200 OK\r\n%b\r\n\r\n" % framing)
        left = FIFTY_MB
        while left:
            block = BLOCK[:left]
            left -= len(block)
            await peer.send(b"%x\r\n%b\r\n" % (len(block), block) if chunked else block)
        if chunked:
            await peer.send(b"0\r\n\r\n")
        await peer.gone()

    async with serve(script) as upstream, client_of(upstream) as client:
        connection = await client.acquire()
        transport = WatchedTransport(connection)
        response = await client.ask(connection=connection)
        digest, count, largest = hashlib.sha256(), 0, 0
        while piece := await response.read():
            digest.update(piece)
            count += len(piece)
            largest = max(largest, len(piece))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        response.release()
        assert client.pool.idle == 1
    assert count == FIFTY_MB
    expected = hashlib.sha256(BLOCK * (FIFTY_MB // len(BLOCK)) + BLOCK[: FIFTY_MB % len(BLOCK)])
    assert digest.digest() == expected.digest()
    assert transport.asked.count("pause_reading") > 10
    assert largest <= HIGH_WATER + ONE_READ


@pytest.mark.parametrize("segment", [1, 65_536])
async def test_an_unread_response_stops_upstream(segment: int) -> None:
    """Whether it comes in large pieces or byte by byte (each byte would cost forty in memory)."""
    sent = 0

    async def script(peer: Peer) -> None:
        nonlocal sent
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % FIFTY_MB)
        while not peer.ended.is_set():
            await peer.send(bytes(segment))
            sent += segment
            await asyncio.sleep(0)

    async with serve(script) as upstream, client_of(upstream) as client:
        connection = await client.acquire()
        response = await client.ask(connection=connection)
        while not paused(connection):
            await asyncio.sleep(0)
        await client.clock.settle()
        piece = await response.read()
        assert len(piece) <= HIGH_WATER + ONE_READ
        assert segment > 1 or len(piece) < 20_000
        assert await response.read()  # and it goes on
        response.release()
        assert client.pool.open == 0
        await upstream.peers[0].ended.wait()


async def test_a_paused_connection_reads_on_once_its_response_is_complete() -> None:
    """Else the end of an idle connection would go unnoticed."""
    size = HIGH_WATER + 2

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + bytes(HIGH_WATER + 1))
        await end.wait()

    end = asyncio.Event()
    async with serve(script) as upstream, client_of(upstream) as client:
        connection = await client.acquire()
        response = await client.ask(connection=connection)
        while not paused(connection):
            await asyncio.sleep(0)
        connection.data_received(b"x")  # as TLS does when it had more bytes in hand
        assert response.complete
        response.release()
        assert client.pool.idle == 1
        end.set()
        await upstream.peers[0].lost.wait()
        while client.pool.idle:
            await asyncio.sleep(0)
        assert client.pool.open == 0
