"""A blocking connection of a caller, byte by byte."""

from __future__ import annotations

import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from types import TracebackType

_PIECE: Final = 256 * 1024


class Caller:
    """A blocking connection to a proxy."""

    def __init__(self, port: int, patience: float) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), patience)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._held = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A reset: the port is free again at once, and nothing waits for us.
        with suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def send(self, data: bytes) -> None:
        """Send what the other end takes: it may refuse and close before it has read all."""
        with suppress(ConnectionError):
            self._socket.sendall(data)

    def half_close(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def exactly(self, size: int) -> bytes:
        """Receive this many bytes, fewer if the connection ends."""
        while len(self._held) < size and (piece := self._socket.recv(_PIECE)):
            self._held += piece
        data, self._held = self._held[:size], self._held[size:]
        return data

    def some(self) -> bytes:
        """Receive what there is, at least a byte, nothing at the end."""
        held, self._held = self._held, b""
        return held or self._socket.recv(_PIECE)

    def peek(self, size: int) -> bytes:
        """Return the next bytes without taking them, fewer if the connection ends."""
        while len(self._held) < size and (piece := self._socket.recv(_PIECE)):
            self._held += piece
        return self._held[:size]

    def head(self) -> bytes:
        """Receive a head with its blank line, less if the connection ends."""
        while b"\r\n\r\n" not in self._held and (piece := self._socket.recv(_PIECE)):
            self._held += piece
        head, end, self._held = self._held.partition(b"\r\n\r\n")
        return head + end

    def rest(self) -> bytes:
        """Receive all that comes until the connection ends. Raises ConnectionResetError."""
        pieces = [self._held]
        self._held = b""
        while piece := self._socket.recv(_PIECE):
            pieces.append(piece)
        return b"".join(pieces)
