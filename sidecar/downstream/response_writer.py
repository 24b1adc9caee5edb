"""Bytes to a caller: exact ones, at its pace, and never a clean end for what is not whole.

**One response after another**::

    begin ──► send_continue, at most once ──► write: started ──► whole
                                                └─ a stream: unfinished ──► finished, or cut

**Pace.** While the transport holds enough, the writer is ``paused``, and :meth:`ResponseWriter.drain` waits. Only then
its ``deadline`` runs. Once that has passed, the server's sweeper calls :meth:`ResponseWriter.overdue`: whoever took
something gets time again (:mod:`sidecar.core.pace`), all others are cut off.
"""

from __future__ import annotations

import asyncio
import math
import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from sidecar.core.pace import patience
from sidecar.downstream.errors import CallerGoneError

if TYPE_CHECKING:
    from sidecar.downstream.limits import Deadlines

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
#: SO_LINGER on, for no time: closing discards what is unsent and resets the connection (socket(7)).
_RESET: Final = struct.pack("ii", 1, 0)


class ResponseWriter:
    """The writing end of one connection, for one response after another; :meth:`begin` separates them."""

    __slots__ = (
        "_begun",
        "_continued",
        "_deadlines",
        "_drained",
        "_lost",
        "_taken",
        "_transport",
        "_unsent",
        "_waited",
        "deadline",
        "on_unix_socket",
        "paused",
        "proven",
        "started",
        "unfinished",
    )

    def __init__(self, transport: asyncio.Transport, deadlines: Deadlines, *, on_unix_socket: bool) -> None:
        self._transport: Final = transport
        self._deadlines: Final = deadlines
        #: Whether this is the Unix socket, which no browser reaches; :meth:`cut` cannot reset it.
        self.on_unix_socket: Final = on_unix_socket
        #: The caller has shown that it may use this port, by the key that it needs.
        self.proven = False
        #: The transport holds enough: whoever writes more should :meth:`drain` first. Set by the connection.
        self.paused = False
        #: Whether a byte of the current request's final response has been written.
        self.started = False
        #: Whether that response is a stream that was started and not finished.
        self.unfinished = False
        #: When a caller that takes nothing is cut off (``Clock.now``); see :meth:`overdue`.
        self.deadline = math.inf
        # Bytes that the caller had yet to take when it was looked at last, and when that was.
        self._unsent = 0
        self._begun = 0.0
        # For how long the caller was waited for within this response (seconds), and the bytes that it took meanwhile.
        self._waited = 0.0
        self._taken = 0
        self._continued = False
        self._drained: asyncio.Future[None] | None = None
        self._lost = False

    # --- a response --------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Be ready for the response to the next request."""
        self.started = self.unfinished = self._continued = False
        self._waited = 0.0
        self._taken = 0

    def send_continue(self) -> None:
        """Write ``100 Continue``, once, unless the final response has begun to go."""
        if not self._continued and not self.started:
            self._continued = True
            if not self._transport.is_closing():
                self._transport.write(_CONTINUE)

    def write(self, data: bytes) -> None:
        """Write bytes of the final response. Raises CallerGoneError."""
        transport = self._transport
        if transport.is_closing():
            raise CallerGoneError
        self.started = True
        transport.write(data)

    async def drain(self) -> None:
        """Wait until the caller has taken most of what was written.

        Raises CallerGoneError if it left, or if it took nothing for
        ``listen.body_timeout`` or too little on average: then it has been cut off.
        """
        if self.paused and not self._lost:
            self._begun = self._deadlines.next_deadline_base
            self._unsent = self._transport.get_write_buffer_size()
            self._give_time()
            self._deadlines.memory.hold_unsent(self, self._unsent, proven=self.proven)
            self._drained = asyncio.get_running_loop().create_future()
            try:
                await self._drained
            finally:
                self._drained = None
                self.deadline = math.inf
                self._count()
                self._deadlines.memory.release_unsent(self)
        if self._lost:
            raise CallerGoneError

    def cut(self) -> None:
        """End the connection so that the caller cannot take a part of a response for the whole.

        TCP callers see a reset. On a Unix socket there is none: there, only a
        response with a length or in chunks is seen to be cut, so one that ends
        with the connection (HTTP/1.0) must not be started before it is whole.
        """
        if self._lost:
            return
        if not self.on_unix_socket:
            with suppress(OSError):
                self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._transport.abort()

    # --- what the connection says ------------------------------------------------------------------------------------

    def resume(self) -> None:
        """Note that most of what was written has left."""
        self.paused = False
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def lost(self) -> None:
        """Note that the connection is gone."""
        self._lost = True
        self.resume()

    def overdue(self) -> None:
        """Give a caller that took anything since :attr:`deadline` was set time again, unless it is too slow on average.

        One that took nothing is cut off, and one that is too slow as well.
        """
        if not self._count() or not self._give_time():
            self.cut()

    def _count(self) -> int:
        """Count the time since the last look, and return how many bytes the caller took meanwhile."""
        base, unsent = self._deadlines.next_deadline_base, self._transport.get_write_buffer_size()
        taken = max(0, self._unsent - unsent)
        self._waited += base - self._begun
        self._taken += taken
        self._begun, self._unsent = base, unsent
        return taken

    def _give_time(self) -> float:
        """Set :attr:`deadline`; return how long (seconds) the caller may still take."""
        left = patience(self._deadlines.limits.body_timeout, self._waited, self._taken)
        self.deadline = self._deadlines.next_deadline_base + left
        return left
