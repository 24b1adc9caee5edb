"""An upstream that writes down every byte that reaches it, and answers what it is told to.

It reads requests as literally as it can, well-formed or not: what a proxy in
front of it forwards is the evidence. Requests of the token endpoint are
answered with a token and not written down, since they are the proxy's own.
"""

from __future__ import annotations

import asyncio
import base64
import re
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, cast

from tests.support.canary import CANARY_EMBEDDED_KEY, CANARY_TOKEN

if TYPE_CHECKING:
    from collections.abc import Sequence

#: The access tokens that the token endpoint gives out, by whose key asked.
API_TOKEN: Final = f"{CANARY_TOKEN}-api".encode()
EMBEDDED_TOKEN: Final = f"{CANARY_TOKEN}-embedded".encode()

#: A target with this in it is a question whether all is well, not a part of a case.
PROBE: Final = b"/probe/"

_TOKEN_REQUEST: Final = re.compile(rb"POST /[^ ?]*/oauth/token HTTP/1\.1\r\n")
_LENGTH: Final = re.compile(rb"\r\ncontent-length:([^\r\n]*)", re.IGNORECASE)
_CHUNKED: Final = re.compile(rb"\r\ntransfer-encoding:[^\r\n]*chunked", re.IGNORECASE)
_CHUNK: Final = re.compile(rb"([0-9A-Fa-f]+)[^\r\n]*\r\n")


@dataclass(frozen=True, slots=True)
class Received:
    """What one request was made of. ``whole`` is false for bytes that never became one."""

    head: bytes
    body: bytes = b""
    whole: bool = True
    #: 0 for the first connection that was ever accepted.
    connection: int = -1

    @property
    def target(self) -> bytes:
        return (self.head.split(b" ", 2)[1:2] or [b""])[0]


@dataclass(frozen=True, slots=True)
class Reply:
    """What to answer, and whether to close afterwards."""

    data: bytes
    close: bool = False


def echo(received: Received) -> bytes:
    """Return the response that says which request it belongs to."""
    method, target = (*received.head.split(b" ", 2), b"")[:2]
    content = b"%b %b, %d bytes of body" % (method, target, len(received.body))
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % len(content)
    return head if method == b"HEAD" else head + content


def token_answer(value: bytes) -> bytes:
    """Return the token endpoint's response."""
    content = b'{"access_token": "%b", "token_type": "bearer", "expires_in": 86400}' % value
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
        len(content),
        content,
    )


class RecordingUpstream:
    """A listening server and what it was sent. Every method is for the thread of its event loop, but where said."""

    def __init__(self) -> None:
        self.port = 0
        #: How many connections were ever accepted.
        self.accepted = 0
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()
        #: The connection on which the last probe came.
        self.probed = -1
        self._received: list[Received] = []
        self._replies: deque[Reply] = deque()

    async def start(self) -> None:
        """Listen on a free loopback port."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close everything."""
        assert self._server is not None
        self._server.close()
        for connection in list(self._connections):
            connection.abort()
        await self._server.wait_closed()

    def expect(self, replies: Sequence[Reply]) -> None:
        """Forget what was received, and answer the next requests with ``replies`` before echoes again. Any thread."""
        self._received = []
        self._replies = deque(replies)

    def take(self) -> list[Received]:
        """Return what was received since :meth:`expect`, without probes, with bytes that are no request. Any thread."""
        strays = [Received(bytes(each.held), b"", False, each.number) for each in list(self._connections) if each.held]
        return [each for each in self._received if PROBE not in each.head] + strays

    def inject(self, data: bytes) -> None:
        """Send bytes that nobody asked for on every open connection."""
        for connection in self._connections:
            connection.write(data)

    # --- called by connections ---------------------------------------------------------------------------------------

    def opened(self, connection: _Connection) -> None:
        connection.number = self.accepted
        self.accepted += 1
        self._connections.add(connection)

    def closed(self, connection: _Connection) -> None:
        self._connections.discard(connection)

    def response(self, request: Received) -> Reply:
        """Write a request down and return what to say."""
        if _TOKEN_REQUEST.match(request.head) and b"\r\nauthorization: basic " in request.head.lower():
            credentials = base64.b64decode(re.split(rb"(?i)authorization: basic ", request.head)[1].split(b"\r\n")[0])
            embedded = credentials.endswith(b":" + CANARY_EMBEDDED_KEY.encode())
            return Reply(token_answer(EMBEDDED_TOKEN if embedded else API_TOKEN))
        self._received.append(request)
        if PROBE in request.head:
            self.probed = request.connection
        if self._replies and PROBE not in request.head:
            return self._replies.popleft()
        return Reply(echo(request))


class _Connection(asyncio.Protocol):
    def __init__(self, upstream: RecordingUpstream) -> None:
        self._upstream = upstream
        self._transport: asyncio.Transport | None = None
        self.number = -1
        #: Bytes that have not become a request yet.
        self.held = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._upstream.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._upstream.closed(self)

    def data_received(self, data: bytes) -> None:
        self.held += data
        while self._transport is not None and (found := _read(self.held)) is not None:
            request, size = found
            del self.held[:size]
            reply = self._upstream.response(replace(request, connection=self.number))
            self.write(reply.data)
            if reply.close:
                self._transport.close()
                self._transport = None

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def _read(held: bytearray) -> tuple[Received, int] | None:
    """Return the first request and how many bytes it took, or None while it is not whole."""
    end = held.find(b"\r\n\r\n") + 4
    if end < 4:
        return None
    head = bytes(held[:end])
    if _CHUNKED.search(head):
        return _read_chunks(head, held, end)
    lengths = _LENGTH.findall(head)
    if not lengths:
        return Received(head), end
    try:
        size = int(lengths[0])
    except ValueError:
        return None
    if len(held) < end + size:
        return None
    return Received(head, bytes(held[end : end + size])), end + size


def _read_chunks(head: bytes, held: bytearray, at: int) -> tuple[Received, int] | None:
    chunks: list[tuple[int, int]] = []
    while match := _CHUNK.match(held, at):
        size = int(match[1], 16)
        at = match.end() + size + 2
        if len(held) < at:
            return None
        chunks.append((match.end(), match.end() + size))
        if not size:
            return Received(head, b"".join(bytes(held[start:end]) for start, end in chunks)), at
    return None
