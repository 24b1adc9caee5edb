"""Bytes to a caller: exact ones, at its pace, and never a clean end for what is not whole."""

from __future__ import annotations

import math
import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from sidecar.proxy.intake import Intake

if TYPE_CHECKING:
    from sidecar.proxy.server import ProxyServer

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
#: SO_LINGER on, for no time: closing discards what is unsent and resets the connection (socket(7)).
_RESET: Final = struct.pack("ii", 1, 0)


class CallerGoneError(ConnectionError):
    """The caller closed its connection, or was cut off, before it had its answer."""


class Outflow(Intake):
    """The writing half of a connection."""

    __slots__ = (
        "_continued",
        "_server",
        "_unsent",
        "_write_deadline",
        "answer_open",
        "answered",
        "on_unix_socket",
    )

    def __init__(self, server: ProxyServer, *, on_unix_socket: bool) -> None:
        super().__init__(server, server.loop)
        self._server: Final = server
        #: Whether this is the Unix socket, which no browser reaches; :meth:`cut` cannot reset it.
        self.on_unix_socket: Final = on_unix_socket
        #: Whether a byte of the current request's final response has been written.
        self.answered = False
        #: Whether that response was started and not finished.
        self.answer_open = False
        self._continued = False
        # When a caller that takes nothing is cut off (``Clock.now``), and how much it had to take before.
        self._write_deadline = math.inf
        self._unsent = 0

    def write(self, data: bytes) -> None:
        """Write bytes of the final response. Raises CallerGoneError."""
        transport = self.transport
        if transport is None or transport.is_closing():
            raise CallerGoneError
        self.answered = True
        transport.write(data)

    async def drain(self) -> None:
        """Wait until the caller has taken most of what was written.

        Raises CallerGoneError if it left, or if it took nothing for
        ``listen.body_timeout``: then it has been cut off.
        """
        transport = self.transport
        if transport is not None and self._paused:
            self._unsent = transport.get_write_buffer_size()
            self._write_deadline = self._server.soon + self._server.limits.body_timeout
            try:
                await self._drain_helper()
            except ConnectionError:
                raise CallerGoneError from None
            finally:
                self._write_deadline = math.inf
        if self.transport is None:
            raise CallerGoneError

    def send_continue(self) -> None:
        """Write ``100 Continue``, once, unless the body has begun to come or the answer has begun to go."""
        request = self.request
        if request is None or self._continued or self.answered or request.content.total_bytes:
            return
        self._continued = True
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(_CONTINUE)

    def cut(self) -> None:
        """End the connection so that the caller cannot take a part of a response for the whole.

        TCP callers see a reset. On a Unix socket there is none: there, only a
        response with a length or in chunks is seen to be cut, so one that ends
        with the connection (HTTP/1.0) must not be started before it is whole.
        """
        transport = self.transport
        if transport is None:
            return
        if not self.on_unix_socket:
            with suppress(OSError):
                transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        transport.abort()

    def _reader_overdue(self) -> None:
        assert self.transport is not None  # noqa: S101 - the deadline ends with the connection
        unsent = self.transport.get_write_buffer_size()
        if unsent < self._unsent:
            self._unsent = unsent
            self._write_deadline = self._server.soon + self._server.limits.body_timeout
        else:
            self.cut()
