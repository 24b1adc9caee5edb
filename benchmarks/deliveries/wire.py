"""The server's end of one connection: bytes in and out, and every way to end it."""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

_LENGTH: Final = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)
_CHUNKED: Final = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)


class Wire(asyncio.Protocol):
    """One accepted connection. What is read from it raises EOFError once the other end is gone."""

    def __init__(self, opened: Callable[[Wire], None]) -> None:
        self._opened: Final = opened
        self._transport: asyncio.Transport | None = None
        self._news: Final = asyncio.Event()
        self._room: Final = asyncio.Event()
        self._room.set()
        self._ended = False
        #: What has come and was not taken yet.
        self.held: Final = bytearray()
        self.closed: Final = asyncio.Event()

    async def head(self) -> bytes:
        """Take the head of a request."""
        while (end := self.held.find(b"\r\n\r\n")) < 0:
            await self._more()
        return self._take(end + 4)

    async def body(self, head: bytes) -> AsyncGenerator[bytes, None]:
        """Take the body of the request with this head, piece by piece, chunks undone."""
        if _CHUNKED.search(head):
            while size := int(await self._line(), 16):
                async for piece in self._exactly(size):
                    yield piece
                await self._line()
            await self._line()
        elif length := _LENGTH.search(head):
            async for piece in self._exactly(int(length[1])):
                yield piece

    async def send(self, data: bytes) -> None:
        """Send bytes; returns once there is room for more."""
        if self._transport is not None:
            self._transport.write(data)
            await self._room.wait()

    def close(self) -> None:
        """Close once all is sent."""
        if self._transport is not None:
            self._transport.close()

    def drop(self) -> None:
        """Close without a goodbye: TLS sends no close_notify."""
        if self._transport is not None:
            self._transport.abort()

    def reset(self) -> None:
        """Close by a TCP reset."""
        if self._transport is not None:
            raw = cast("socket.socket | None", self._transport.get_extra_info("socket"))
            if raw is not None:  # TLS forgets it before it tells of the end
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._transport.abort()

    def half_close(self) -> None:
        """Say that nothing more is sent; TLS closes both ways."""
        if self._transport is not None:
            if self._transport.can_write_eof():
                with suppress(OSError):  # the other end has just reset the connection
                    self._transport.write_eof()
            else:
                self._transport.close()

    # --- asyncio.Protocol --------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast(asyncio.Transport, transport)
        self._opened(self)

    def data_received(self, data: bytes) -> None:
        """Take bytes."""
        self.held.extend(data)
        self._news.set()

    def eof_received(self) -> bool:
        """Learn that nothing more comes."""
        self._end()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Learn that the connection is gone."""
        self._transport = None
        self._end()
        self.closed.set()

    def pause_writing(self) -> None:
        """Wait for room."""
        self._room.clear()

    def resume_writing(self) -> None:
        """Go on."""
        self._room.set()

    def _end(self) -> None:
        self._ended = True
        self._news.set()
        self._room.set()

    async def _more(self) -> None:
        if self._ended:
            raise EOFError
        self._news.clear()
        await self._news.wait()

    async def _line(self) -> bytes:
        while (end := self.held.find(b"\r\n")) < 0:
            await self._more()
        return self._take(end + 2)[:-2]

    async def _exactly(self, size: int) -> AsyncGenerator[bytes, None]:
        while size:
            while not self.held:
                await self._more()
            piece = self._take(min(size, len(self.held)))
            size -= len(piece)
            yield piece

    def _take(self, size: int) -> bytes:
        taken = bytes(self.held[:size])
        del self.held[:size]
        return taken
