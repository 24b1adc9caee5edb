"""A forward proxy on loopback: opens tunnels (CONNECT), and remembers who asked it for what."""

from __future__ import annotations

import asyncio
import base64
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

UNKNOWN = b'HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm="x"\r\nContent-Length: 0\r\n\r\n'
OPENED = b"HTTP/1.1 200 Connection established\r\n\r\n"


@dataclass
class ForwardProxy:
    """Tunnels to wherever it is told, unless it is told to do otherwise."""

    #: ``user:password`` that it demands.
    credentials: str | None = None
    #: Sent instead of opening a tunnel; then the connection is closed, or held open.
    response: bytes | None = None
    hold: bool = False
    #: Written right behind the response that opens a tunnel.
    extra: bytes = b""
    #: Cut the response into pieces of this many bytes.
    piece: int | None = None
    port: int = 0
    #: The head of every request.
    heads: list[bytes] = field(default_factory=list)
    #: What clients sent through tunnels, as bytes on the wire.
    carried: bytearray = field(default_factory=bytearray)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def destinations(self) -> list[str]:
        """What CONNECT was asked for, in order."""
        return [head.split(b" ")[1].decode() for head in self.heads]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._serve(reader, writer)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        if self.response is not None:
            await self._send(writer, self.response)
        elif self.credentials is not None and not self._is_known(head):
            await self._send(writer, UNKNOWN)
        elif not self.hold:
            await self._tunnel(head, reader, writer)
            return
        if self.hold:
            await reader.read()

    def _is_known(self, head: bytes) -> bool:
        assert self.credentials is not None
        wanted = b"Basic " + base64.b64encode(self.credentials.encode())
        return any(line == b"Proxy-Authorization: " + wanted for line in head.split(b"\r\n"))

    async def _tunnel(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        method, authority, _ = head.split(b" ", 2)
        assert method == b"CONNECT", head
        host, _, port = authority.decode().rpartition(":")
        try:
            far_reader, far_writer = await asyncio.open_connection(host.strip("[]"), int(port))
        except OSError:
            await self._send(writer, b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
            return
        try:
            await self._send(writer, OPENED + self.extra)
            await asyncio.gather(self._pump(reader, far_writer, self.carried), self._pump(far_reader, writer, None))
        finally:
            far_writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, copy: bytearray | None) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                if copy is not None:
                    copy += data
                writer.write(data)
                await writer.drain()
        writer.close()

    async def _send(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        step = self.piece or len(data)
        for start in range(0, len(data), step):
            writer.write(data[start : start + step])
            await writer.drain()
            await asyncio.sleep(0)

    async def stop(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def forward_proxy(proxy: ForwardProxy | None = None) -> AsyncIterator[ForwardProxy]:
    """Run a forward proxy."""
    proxy = proxy or ForwardProxy()
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        await proxy.stop()
        await server.wait_closed()
