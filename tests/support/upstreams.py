"""Upstream servers that do exactly what a script says, byte by byte, and remember every byte that they received.

A script is a coroutine function that gets a :class:`Peer`, the server's end of
one accepted connection. When it returns, the connection is closed::

    async def reset_after_request(peer: Peer) -> None:
        await peer.request()
        peer.reset()

    async with serve(reset_after_request) as upstream:
        ...  # upstream.port, upstream.endpoint
    assert len(upstream.requests) == 1
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

from sidecar.core.endpoint import Endpoint
from sidecar.runtime import Tasks
from sidecar.upstream.dialing import Dialer
from sidecar.upstream.pool import Pool
from tests.support.clock import FakeClock

if TYPE_CHECKING:
    import ssl

    from sidecar.network.resolver import Addresses
    from sidecar.upstream.connection import Connection
    from sidecar.upstream.egress import Egress
    from sidecar.upstream.response import Response

Script = Callable[["Peer"], Awaitable[None]]
Resolve = Callable[[str, int], "Awaitable[Addresses]"]

#: A response like most of those that Mangopay gives.
OK: Final = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\r\n{"Id": "42"}'


@dataclass(frozen=True)
class ReceivedRequest:
    """A request that arrived whole: its head with the blank line, and its body, chunks decoded."""

    head: bytes
    body: bytes
    connection: int

    @property
    def method(self) -> str:
        return self.head.split(b" ", 1)[0].decode()

    @property
    def target(self) -> str:
        return self.head.split(b" ", 2)[1].decode("latin-1")

    def header(self, name: str) -> list[str]:
        """Return the values of a header, in order."""
        lines = (line.partition(b":") for line in self.head.split(b"\r\n")[1:])
        return [value.strip().decode("latin-1") for key, _, value in lines if key.decode().lower() == name.lower()]


class Peer(asyncio.Protocol):
    """The server's end of one connection."""

    def __init__(self, upstream: Upstream) -> None:
        self.upstream: Final = upstream
        #: 0 for the first connection that the server accepted.
        self.number = -1
        #: Every byte that ever arrived, TLS taken off.
        self.received = bytearray()
        #: Set when the client has closed its side, or the connection was lost.
        self.ended = asyncio.Event()
        self.lost = asyncio.Event()
        self._used = 0
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._transport: asyncio.Transport | None = None

    # --- what scripts do ---------------------------------------------------------------------------------------------

    async def head(self) -> bytes:
        """Take a request's head, and nothing after it; raise EOFError if the client goes before its end."""
        return await self._until(b"\r\n\r\n")

    async def request(self) -> ReceivedRequest:
        """Take a whole request and note it in ``upstream.requests``; raise EOFError if it is cut short."""
        head = await self.head()
        request = ReceivedRequest(head, b"", self.number)
        if request.header("Transfer-Encoding"):
            body = await self._chunks()
        else:
            body = await self.take(int((request.header("Content-Length") or ["0"])[0]))
        request = ReceivedRequest(head, body, self.number)
        self.upstream.requests.append(request)
        self.upstream.news.set()
        return request

    async def take(self, count: int) -> bytes:
        """Take this many bytes."""
        while len(self.received) - self._used < count:
            await self._more()
        self._used += count
        return bytes(self.received[self._used - count : self._used])

    async def take_some(self) -> bytes:
        """Take what has arrived, at least one byte."""
        while len(self.received) == self._used:
            await self._more()
        return await self.take(len(self.received) - self._used)

    async def send(self, data: bytes) -> None:
        """Send bytes; return when the system has taken them."""
        if self._transport is not None:
            self._transport.write(data)
            await self._room.wait()

    def finish(self) -> None:
        """Close our side once all is sent, and go on reading."""
        if self._transport is not None:
            self._transport.write_eof()

    def close(self) -> None:
        """Close once all is sent."""
        if self._transport is not None:
            self._transport.close()

    def reset(self) -> None:
        """Close with a TCP reset."""
        if self._transport is not None:
            raw = cast(socket.socket, self._transport.get_extra_info("socket"))
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._transport.abort()

    def stop_reading(self) -> None:
        """Take nothing more off the socket, so that the client's writes stall."""
        assert self._transport is not None
        self._transport.pause_reading()

    async def gone(self) -> None:
        """Hang until the client has gone."""
        await self.ended.wait()

    # --- how it works ------------------------------------------------------------------------------------------------

    async def _until(self, end: bytes) -> bytes:
        while (found := self.received.find(end, self._used)) < 0:
            await self._more()
        return await self.take(found + len(end) - self._used)

    async def _chunks(self) -> bytes:
        body = b""
        while size := int(await self._until(b"\r\n"), 16):
            body += await self.take(size)
            assert await self.take(2) == b"\r\n"
        assert await self.take(2) == b"\r\n"
        return body

    async def _more(self) -> None:
        if self.ended.is_set():
            raise EOFError
        self._news.clear()
        await self._news.wait()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.number = len(self.upstream.peers)
        self.upstream.accepted(self)

    def data_received(self, data: bytes) -> None:
        self.received += data
        self._news.set()
        self.upstream.news.set()

    def eof_received(self) -> bool:
        self._end()
        return self._transport is not None and self._transport.get_extra_info("sslcontext") is None

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._end()
        self.lost.set()

    def _end(self) -> None:
        self.ended.set()
        self._news.set()
        self._room.set()
        self.upstream.news.set()

    def pause_writing(self) -> None:
        self._room.clear()

    def resume_writing(self) -> None:
        self._room.set()

    def drop(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class Upstream:
    """A scripted server and what it has seen."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._tasks: set[asyncio.Task[None]] = set()
        self._errors: list[BaseException] = []
        self.port = 0
        self.server: asyncio.Server | None = None
        self.scheme = "http"
        #: Where clients find it. TLS proves a name; without it an address saves the resolver's thread.
        self.address = "127.0.0.1"
        #: One for each accepted connection, in order.
        self.peers: list[Peer] = []
        #: The requests that arrived whole, in order.
        self.requests: list[ReceivedRequest] = []
        #: Set whenever anything arrives.
        self.news = asyncio.Event()

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(self.scheme, self.address, self.port, "")

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return once ``condition`` holds; it is looked at whenever something arrives here."""
        while not condition():
            self.news.clear()
            await self.news.wait()

    async def has_requests(self, count: int) -> None:
        """Return once this many whole requests have arrived."""
        await self.until(lambda: len(self.requests) >= count)

    def accepted(self, peer: Peer) -> None:
        self.peers.append(peer)
        task = asyncio.ensure_future(self._run(peer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.news.set()

    async def _run(self, peer: Peer) -> None:
        try:
            await self._script(peer)
        except EOFError:
            pass  # the client went away: tests look at what had arrived by then
        except Exception as error:
            self._errors.append(error)
        finally:
            peer.close()

    def stop_listening(self) -> None:
        """Accept no connection any more; those that there are go on."""
        assert self.server is not None
        self.server.close()

    async def stop(self) -> None:
        """End every script and connection."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for peer in self.peers:
            peer.drop()
        for peer in self.peers:
            await peer.lost.wait()
        if self._errors:
            raise self._errors[0]


@contextlib.asynccontextmanager
async def serve(
    script: Script, *, ssl_context: ssl.SSLContext | None = None, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[Upstream]:
    """Serve ``script`` on a free loopback port; an error in a script fails the test."""
    upstream = Upstream(script)
    loop = asyncio.get_running_loop()
    upstream.server = server = await loop.create_server(lambda: Peer(upstream), host, port, ssl=ssl_context)
    upstream.port = server.sockets[0].getsockname()[1]
    if ssl_context is not None:
        upstream.scheme, upstream.address = "https", "localhost"
    try:
        yield upstream
    finally:
        server.close()
        await upstream.stop()
        await server.wait_closed()


def in_turn(*scripts: Script) -> Script:
    """Return a script that plays the first one on the first connection and so on; the last one is repeated."""

    async def script(peer: Peer) -> None:
        await scripts[min(peer.number, len(scripts) - 1)](peer)

    return script


def answering(response: bytes) -> Script:
    """Return a script that answers every request with these bytes."""

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(response)

    return script


async def hang(peer: Peer) -> None:
    """Take requests and never answer."""
    while True:
        await peer.request()


# --- the client's side -----------------------------------------------------------------------------------------------


class Client:
    """A pool for one upstream, on a clock that the test moves."""

    def __init__(self, pool: Pool, clock: FakeClock, tasks: Tasks, dialer: Dialer) -> None:
        self.pool: Final = pool
        self.dialer: Final = dialer
        self.clock: Final = clock
        self.tasks: Final = tasks

    async def acquire(self, *, fresh: bool = False, within: float = 12.0) -> Connection:
        """Take a connection out of the pool, waiting ``within`` seconds at most."""
        return await self.pool.acquire(self.clock.now() + within, fresh)

    async def ask(
        self,
        method: str = "GET",
        target: str = "/",
        body: bytes | Source | None = None,
        *,
        connection: Connection | None = None,
        timeout: float = 60.0,
    ) -> Response:
        """Send a request on a connection of the pool and return the response, body unread."""
        if connection is None:
            connection = await self.acquire()
        else:
            await connection.ensure_alive()
        head = request_head(method, target, body)
        return await connection.exchange(head, body, head_only=method == "HEAD", timeout=timeout)

    async def call(self, method: str = "GET", target: str = "/", body: bytes | Source | None = None) -> bytes:
        """Send a request, read the whole body and give the connection back."""
        response = await self.ask(method, target, body)
        try:
            return await read_all(response)
        finally:
            response.release()


class ScriptedNames:
    """Resolves by a function of the test's, every time; keeps nothing."""

    def __init__(self, resolve: Resolve) -> None:
        self._resolve: Final = resolve
        #: What led to no connection.
        self.doubted: list[Addresses] = []

    async def resolve(self, host: str, port: int) -> Addresses:
        return await self._resolve(host, port)

    def doubt(self, host: str, port: int, addresses: Addresses) -> None:
        self.doubted.append(addresses)


@contextlib.asynccontextmanager
async def client_of(
    upstream: Upstream,
    *,
    size: int = 10,
    connect_timeout: float = 5.0,
    ssl_context: ssl.SSLContext | None = None,
    resolve: Resolve | None = None,
    egress: Egress | None = None,
) -> AsyncIterator[Client]:
    """Open a pool for ``upstream``; at the end it is closed, and nothing of it may be left."""
    clock, tasks = FakeClock(), Tasks()
    dialer = Dialer(
        upstream.endpoint,
        connect_timeout=connect_timeout,
        ssl_context=ssl_context,
        egress=egress,
        names=None if resolve is None else ScriptedNames(resolve),
    )
    pool = Pool(dialer, size=size, clock=clock, tasks=tasks)
    try:
        yield Client(pool, clock, tasks, dialer)
    finally:
        await pool.close()
        left = (pool.open, pool.idle, pool.waiting, len(tasks))
        await tasks.close()
    assert left == (0, 0, 0, 0), f"left in the pool (open, idle, waiting, tasks): {left}"


def request_head(method: str = "GET", target: str = "/", body: bytes | Source | None = None) -> bytes:
    """Return the head of a request that is framed as its body needs."""
    framing = b""
    if isinstance(body, bytes):
        framing = b"Content-Length: %d\r\n" % len(body)
    elif body is not None:
        framing = b"Transfer-Encoding: chunked\r\n" if body.chunked else b"Content-Length: %d\r\n" % body.length
    return b"%b %b HTTP/1.1\r\nHost: mangopay.test\r\n%b\r\n" % (method.encode(), target.encode(), framing)


async def read_all(response: Response) -> bytes:
    """Read a response's body to its clean end."""
    pieces = []
    while piece := await response.read():
        pieces.append(piece)
    return b"".join(pieces)


class Source:
    """A streamed request body. ``gate`` is waited for before the last piece; an exception ends the body with it."""

    def __init__(
        self,
        *pieces: bytes,
        chunked: bool = False,
        length: int | None = None,
        gate: asyncio.Event | None = None,
        error: Exception | None = None,
    ) -> None:
        self._pieces = pieces
        self._gate = gate
        self._error = error
        self.chunked: Final = chunked
        self.length: Final = sum(map(len, pieces)) if length is None else length
        #: How many pieces were asked for.
        self.taken = 0
        self._waited_for = False

    def is_waited_for(self) -> bool:
        """Tell whether somebody waits for the gate to open."""
        return self._waited_for

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for index, piece in enumerate(self._pieces):
            self.taken += 1
            if self._gate is not None and index == len(self._pieces) - 1:
                self._waited_for = True
                try:
                    await self._gate.wait()
                finally:
                    self._waited_for = False
            yield piece
        if self._error is not None:
            raise self._error
