"""The byte level of a connection: is it alive, may more be written, should more be read."""

from __future__ import annotations

import asyncio
import select
from typing import TYPE_CHECKING, Final, cast

from sidecar.upstream.tls_transport import TlsLayer

if TYPE_CHECKING:
    import socket


def wake(waiter: asyncio.Future[None] | None) -> None:
    """Let the task that waits go on, if there is one and nobody woke it before."""
    if waiter is not None and not waiter.done():
        waiter.set_result(None)


class ByteProtocol(asyncio.Protocol):
    """An open transport with flow control in both directions.

    It must not be used before the event loop has called :meth:`connection_made`.
    """

    __slots__ = ("_drained", "_layer", "_poll", "_reading_paused", "_transport", "_writing_paused", "loop")

    def __init__(self) -> None:
        self.loop: Final = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._layer: TlsLayer | None = None
        self._poll: select.poll | None = None
        self._drained: asyncio.Future[None] | None = None
        self._writing_paused = False
        self._reading_paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take over the open transport (TLS handshake done)."""
        self._transport = cast("asyncio.Transport", transport)
        below: object = transport
        self._layer = below if isinstance(below, TlsLayer) else None

    def connection_lost(self, exc: Exception | None) -> None:
        """Learn that the transport is gone."""
        self._transport = None

    def watch(self, raw: socket.socket) -> None:
        """Ask this socket, which the transport reads from, whenever :meth:`is_quiet` is asked."""
        descriptor = raw.fileno()
        if descriptor >= 0:  # else the transport has closed it already
            self._poll = select.poll()
            self._poll.register(descriptor, select.POLLIN)

    def is_quiet(self) -> bool:
        """Whether the transport is open and there is nothing to read: no bytes, no end of stream."""
        if self._transport is None or self._transport.is_closing():
            return False
        # The event loop may not have looked at the socket since upstream closed it: ask the system.
        return self._poll is None or not self._poll.poll(0)

    def has_undelivered(self) -> bool:
        """Whether TLS holds anything that was read and not handed on; never without TLS."""
        return self._layer is not None and self._layer.has_undelivered

    def write(self, data: bytes) -> None:
        """Hand bytes to the transport; nothing happens once it is gone."""
        if self._transport is not None:
            self._transport.write(data)

    def abort_transport(self) -> None:
        """Close at once, dropping what was not yet written."""
        if self._transport is not None:
            self._transport.abort()
        wake(self._drained)

    # --- flow control ------------------------------------------------------------------------------------------------

    def pause_writing(self) -> None:
        """Note that the transport holds enough: the other side reads more slowly than we write."""
        self._writing_paused = True

    def resume_writing(self) -> None:
        """Let the writer go on."""
        self._writing_paused = False
        wake(self._drained)

    @property
    def writing_paused(self) -> bool:
        """Whether the transport asks to wait before more is written."""
        return self._writing_paused

    async def drain(self) -> None:
        """Wait until writing may go on, or something else happened (:meth:`abort_transport`): look again afterwards."""
        self._drained = self.loop.create_future()
        try:
            await self._drained
        finally:
            self._drained = None

    def pause_reading(self) -> None:
        """Stop reading; the other side will notice once the system's buffers are full."""
        if not self._reading_paused and self._transport is not None:
            self._reading_paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on."""
        if self._reading_paused and self._transport is not None and not self._transport.is_closing():
            self._reading_paused = False
            self._transport.resume_reading()
