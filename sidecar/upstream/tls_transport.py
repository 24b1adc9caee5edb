"""TLS between a plain transport and a protocol, on the standard library's memory BIOs (RFC 8446, RFC 5246).

The event loops' own TLS transports would do, and cost more: each copies what
comes and goes once more, and holds 256 KiB for each connection. What the
connections of this package need of TLS is little::

    socket ──► plain transport ──► incoming BIO ─► SSLObject ─► protocol above
    socket ◄── plain transport ◄── outgoing BIO ◄─ SSLObject ◄─ its transport: this layer

A connection is only ever ended by :meth:`TlsLayer.abort`: HTTP's own framing
tells whether a response was whole, so nothing hangs on a close_notify of ours.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Bytes that are decrypted in one go; a record has 16 KiB at most (RFC 8446 section 5.1).
_READ: Final = 16 * 1024
#: Bytes before each record; the last two tell its length (RFC 8446 section 5.1).
_RECORD_HEADER: Final = 5


class TlsLayer(asyncio.Protocol):
    """The protocol of a plain transport, and the transport of the protocol above, once the handshake is done.

    It is an :class:`asyncio.Transport` in all but name: two bases cannot both be native.
    """

    __slots__ = ("_cut_header", "_eof", "_error", "_incoming", "_loop", "_missing", "_object", "_open", "_opened",
                 "_outgoing", "_protocol", "_reading", "_socket_paused", "_transport")  # fmt: skip

    def __init__(self, protocol: asyncio.Protocol, context: ssl.SSLContext, server_hostname: str) -> None:
        """``protocol`` learns of the connection when ``server_hostname`` has been verified, and not before."""
        super().__init__()
        self._loop: Final = asyncio.get_running_loop()
        self._protocol: Final = protocol
        self._incoming: Final = ssl.MemoryBIO()
        self._outgoing: Final = ssl.MemoryBIO()
        self._object: Final = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_hostname)
        self._opened: Final[asyncio.Future[None]] = self._loop.create_future()
        self._transport: asyncio.Transport | None = None
        # Where the socket's bytes end: so many bytes before a record does, or after these of a record's header.
        self._missing = 0
        self._cut_header = b""
        # The handshake is done, and the protocol above knows.
        self._open = False
        # The protocol above takes more.
        self._reading = True
        # The socket is not read: what was kept of it has not been delivered yet.
        self._socket_paused = False
        self._eof = False
        self._error: Exception | None = None

    async def opened(self) -> None:
        """Return when the handshake is done; raise OSError (also ssl.SSLError) if it fails. Cancelling it closes."""
        try:
            await self._opened
        except BaseException:
            self.abort()
            raise

    # --- what the plain transport calls ------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the handshake."""
        self._transport = transport  # type: ignore[assignment]  # a TCP transport is a Transport
        self._shake_hands()

    def data_received(self, data: bytes) -> None:
        """Take bytes from the socket."""
        self._incoming.write(data)
        self._follow_records(data)
        if self._open:
            self._deliver()
        elif not self._opened.done():  # else whoever dialed has given up
            self._shake_hands()

    def eof_received(self) -> bool:
        """Take the end of what the other side sends; what came before it is delivered first."""
        self._eof = True
        if self._open:
            self._deliver()
        else:
            self._fail(ConnectionResetError())
        return True  # what was kept because the protocol above has paused may still have to be delivered

    def connection_lost(self, exc: Exception | None) -> None:
        """Learn that the socket is closed."""
        self._transport = None
        if self._open:
            self._protocol.connection_lost(self._error or exc)
        else:
            self._refuse(exc or ConnectionResetError())

    def pause_writing(self) -> None:
        """Tell the protocol above that the socket takes less than it writes."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """Tell the protocol above that it may write again."""
        self._protocol.resume_writing()

    @property
    def has_undelivered(self) -> bool:
        """Whether anything has come of which the protocol above cannot know yet.

        That is a part of a record, or what was kept while the protocol had paused: it is
        delivered by the event loop, some time after the protocol has asked to read on.
        """
        if self._missing > 0 or self._cut_header:
            return True
        return self._socket_paused and bool(self._incoming.pending or self._object.pending() or self._eof)

    # --- what the protocol above calls -------------------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        """Encrypt ``data`` and send it."""
        try:
            sent = self._object.write(data)
            while sent < len(data):
                data = memoryview(data)[sent:]
                sent = self._object.write(data)
        except ssl.SSLError as error:
            self._fail(error)
        self._flush()

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview[Any]]) -> None:
        """Encrypt all of it and send it."""
        self.write(b"".join(list_of_data))

    def pause_reading(self) -> None:
        """Deliver no more; a transport's read (256 KiB at most) may be kept here meanwhile."""
        self._reading = False
        if self._transport is not None and not self._socket_paused:
            self._socket_paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Deliver again, beginning with what was kept; only then the socket is read again."""
        self._reading = True
        self._loop.call_soon(self._deliver)

    def is_closing(self) -> bool:
        """Whether the connection is closed, or about to be."""
        return self._transport is None or self._transport.is_closing()

    def abort(self) -> None:
        """Close at once; what is unsent is dropped."""
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """Close at once, as :meth:`abort` does."""
        self.abort()

    def get_write_buffer_size(self) -> int:
        """Return how many bytes wait to be sent."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what the transport tells, the ``ssl_object``, or the ``tls_error`` that ended the connection."""
        if name == "ssl_object":
            return self._object
        if name == "tls_error":
            return self._error
        return default if self._transport is None else self._transport.get_extra_info(name, default)

    # --- inside ------------------------------------------------------------------------------------------------------

    def _shake_hands(self) -> None:
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return
        except ssl.SSLError as error:  # a certificate that is not trusted is one too
            self._fail(error)
            return
        self._flush()
        self._open = True
        self._opened.set_result(None)
        self._protocol.connection_made(cast("asyncio.Transport", self))
        self._deliver()

    def _follow_records(self, data: bytes) -> None:
        """Note where ``data`` ends. OpenSSL takes parts of records in, and does not tell that it has any."""
        if self._cut_header:
            data = self._cut_header + data
            self._cut_header = b""
        position, size = self._missing, len(data)
        while position + _RECORD_HEADER <= size:
            position += _RECORD_HEADER + (data[position + 3] << 8 | data[position + 4])
        if position < size:
            self._cut_header = data[position:]
            self._missing = 0
        else:
            self._missing = position - size

    def _deliver(self) -> None:
        """Hand on what can be decrypted, record by record, for as long as the protocol above takes it."""
        incoming, decrypt = self._incoming, self._object
        try:
            while (incoming.pending or decrypt.pending()) and self._reading and not self.is_closing():
                data = decrypt.read(_READ)
                if not data:  # close_notify
                    self._eof = True
                    break
                self._protocol.data_received(data)
        except ssl.SSLWantReadError:
            pass  # a part of a record, or one that was for TLS itself
        except ssl.SSLError as error:
            self._fail(error)
            return
        if self._outgoing.pending:
            self._flush()  # a response to a key update (RFC 8446 section 4.6.3)
        if not self._reading or self._transport is None or self._transport.is_closing():
            return
        if self._eof:
            self._protocol.eof_received()
            self.abort()  # with TLS no side of a connection stays open alone, whatever the protocol above returns
        elif self._socket_paused:
            self._socket_paused = False
            self._transport.resume_reading()

    def _flush(self) -> None:
        if self._transport is not None and self._outgoing.pending:
            self._transport.write(self._outgoing.read())

    def _fail(self, error: Exception) -> None:
        """Close because of ``error``; the alert that tells the other side why goes out first."""
        self._error = error
        self._flush()
        self._refuse(error)
        self.abort()

    def _refuse(self, error: Exception) -> None:
        """Let :meth:`opened` fail, unless it is done."""
        if not self._opened.done():
            self._opened.set_exception(error)
            self._opened.exception()  # whoever dialed may be gone: then nobody needs to know
