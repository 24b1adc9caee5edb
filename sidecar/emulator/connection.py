"""The listening side of the emulator on aiohttp's low-level server."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from typing import TYPE_CHECKING, Final, cast

from aiohttp import StreamReader, web
from aiohttp.web_protocol import RequestHandler

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

#: Parser errors of clients are no news of ours.
_QUIET: Final = logging.getLogger("sidecar.emulator.http")
_QUIET.addHandler(logging.NullHandler())
_QUIET.propagate = False

#: Large enough for tests of long headers; aiohttp's own limit is 8,190 bytes.
_LONGEST_LINE: Final = 65_536
_MOST_HEADERS: Final = 512


class Connection(RequestHandler):
    """One client connection: it has a number, and knows when it was lost."""

    __slots__ = ("_wire", "body", "lost", "serial")

    lost: asyncio.Future[None]
    serial: int
    #: That of the request which came last.
    body: StreamReader | None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, unless a fault says otherwise."""
        self.lost = asyncio.get_running_loop().create_future()
        self.body = None
        # aiohttp forgets the transport that it closes, though it may be open until what is left has been read.
        self._wire = cast("asyncio.Transport", transport)
        super().connection_made(transport)
        server = self._manager
        assert isinstance(server, Listener)  # noqa: S101 - Listener alone makes connections
        self.serial = server.accepted(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Wake whoever hangs on this connection."""
        super().connection_lost(exc)
        if self.body is not None and not self.body.is_eof():
            # aiohttp would wait for its rest for ten seconds more, though nobody can send it.
            self.body.set_exception(ConnectionResetError())
        if not self.lost.done():
            self.lost.set_result(None)

    async def gone(self) -> None:
        """Wait until the connection is lost."""
        await asyncio.shield(self.lost)

    def end(self, *, reset: bool) -> None:
        """Close after what is still to be sent; or ``reset`` at once (TCP RST), dropping it."""
        transport = self._wire
        if self.lost.done():
            return
        if not reset:
            transport.close()
            return
        raw = transport.get_extra_info("socket")
        if raw is not None and raw.family in (socket.AF_INET, socket.AF_INET6):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()


class Listener(web.Server):
    """Makes :class:`Connection` objects, and tells ``accepted`` of each."""

    def __init__(
        self,
        handler: Callable[[web.BaseRequest], Awaitable[Finished]],
        accepted: Callable[[Connection], int],
        keepalive_timeout: float,
    ) -> None:
        super().__init__(handler)  # type: ignore[arg-type]  # a handler may return anything that can write itself
        self.accepted: Final = accepted
        self._keepalive_timeout: Final = keepalive_timeout

    def __call__(self) -> Connection:
        """Return the protocol of a new connection."""
        return Connection(
            self,
            loop=self._loop,
            keepalive_timeout=self._keepalive_timeout,
            logger=_QUIET,
            access_log=None,  # type: ignore[arg-type]  # aiohttp takes None for "no log"
            max_line_size=_LONGEST_LINE,
            max_field_size=_LONGEST_LINE,
            max_headers=_MOST_HEADERS,
            auto_decompress=False,
        )


class Finished:
    """What a handler returns once it has written the response itself."""

    __slots__ = ("keep_alive",)

    def __init__(self, *, keep_alive: bool) -> None:
        self.keep_alive = keep_alive

    async def prepare(self, request: web.BaseRequest) -> None:
        """Do nothing: the head is out."""

    async def write_eof(self) -> None:
        """Do nothing: the body is out."""
