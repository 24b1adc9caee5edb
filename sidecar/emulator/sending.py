"""Puts responses on a connection, at the pace and up to the point that a plan says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from sidecar.emulator import wire
from sidecar.emulator.connection import Connection, Finished
from sidecar.emulator.messages import DateCache, EmulatedResponse, Request

if TYPE_CHECKING:
    from aiohttp import web

    from sidecar.core.clock import Clock
    from sidecar.emulator.fault_rules import Rule
    from sidecar.emulator.ledger import Entry

_PIECE: Final = 64 * 1024


class Exchange(msgspec.Struct):
    """One request on its way through the server."""

    web_request: web.BaseRequest
    connection: Connection
    request: Request
    rule: Rule | None
    keep_alive: bool
    entry: Entry | None = None
    #: The status that was sent, or was about to be; 0: none.
    status: int = 0


class Sender:
    """Writes responses."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._dates = DateCache()

    async def pause(self, seconds: float) -> None:
        """Wait for this many seconds of the emulator's clock."""
        if seconds > 0:
            await self._clock.sleep_until(self._clock.now() + seconds)

    def form(self, exchange: Exchange, response: EmulatedResponse) -> wire.Form:
        """Return a response that is about to be sent in its parts; a 401 goes into the ledger."""
        exchange.status = response.status
        if exchange.entry is not None and response.status == 401:
            exchange.entry.unauthorized += 1
        date = self._dates.format(self._clock.wall())
        head_only = exchange.request.method == "HEAD"
        return wire.form(response, date, head_only=head_only, keep_alive=exchange.keep_alive)

    async def send(self, exchange: Exchange, response: EmulatedResponse) -> Finished:
        """Send a response undamaged."""
        parts = self.form(exchange, response)
        if response.generated is not None:
            return await self._generate(exchange, parts, response.generated, chunked=response.chunked)
        return await self.write(exchange, wire.whole(parts))

    async def write(self, exchange: Exchange, plan: wire.Plan, *, hang: bool = False) -> Finished:
        """Carry out a plan; ``hang``: then wait until the client goes away.

        Raises ConnectionResetError if it has gone before the end.
        """
        for index, piece in enumerate(plan.pieces):
            if index:
                await self.pause(plan.pause)
            await self._put(exchange, piece)
        if hang:
            await exchange.connection.gone()
        if plan.end is not wire.End.KEEP:
            exchange.connection.end(reset=plan.end is wire.End.RESET)
            return Finished(keep_alive=False)
        return Finished(keep_alive=exchange.keep_alive)

    async def _generate(self, exchange: Exchange, parts: wire.Form, size: int, *, chunked: bool) -> Finished:
        """Send ``size`` bytes of :func:`pattern`, never more than a piece of them in memory."""
        framing = (b"Transfer-Encoding", b"chunked") if chunked else (b"Content-Length", b"%d" % size)
        await self._put(exchange, parts.head(framing))
        if not parts.head_only:
            whole, rest = divmod(size, _PIECE)
            piece = pattern(_PIECE)
            framed = wire.chunk(piece) if chunked else piece
            for _ in range(whole):
                await self._put(exchange, framed)
            last = wire.chunk(piece[:rest]) if chunked and rest else piece[:rest]
            await self._put(exchange, last + b"0\r\n\r\n" if chunked else last)
        return Finished(keep_alive=exchange.keep_alive)

    async def _put(self, exchange: Exchange, data: bytes) -> None:
        transport = exchange.connection.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError
        if data:
            transport.write(data)
            await exchange.web_request.writer.drain()


def pattern(size: int) -> bytes:
    """Return what ``/__emulator__/bytes`` sends: the numbers 0 to 255 over and over."""
    return (bytes(range(256)) * (size // 256 + 1))[:size]
