"""An HTTP client that sends exactly the bytes it is given, and tells exactly what came back."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from types import TracebackType

#: Seconds until a test that waits for bytes has failed; generous, since test machines are busy.
PATIENCE: Final = 20.0
_PIECE: Final = 64 * 1024


@dataclass(frozen=True)
class ReceivedResponse:
    """One response, its body free of chunk framing. ``raw`` is every byte of it as it came."""

    version: bytes
    status: int
    reason: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    raw: bytes

    def header(self, name: str) -> bytes | None:
        """Return a header's only value, or None; fails if it was sent twice."""
        values = [value for key, value in self.headers if key.lower() == name.lower().encode()]
        assert len(values) <= 1, f"{name} sent {len(values)} times"
        return values[0] if values else None

    @property
    def json(self) -> dict[str, Any]:
        """The body as an object."""
        value = json.loads(self.body)
        assert isinstance(value, dict)
        return value


class RawClient:
    """One connection. A context manager: it is closed at the end."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._loop = asyncio.get_running_loop()
        self._held = b""

    @classmethod
    async def connect(cls, address: tuple[str, int] | Path, *, receive_buffer: int | None = None) -> Self:
        """Connect over TCP or to a Unix socket; a small ``receive_buffer`` (bytes) makes a slow reader."""
        family, target = _target(address)
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setblocking(False)
        if family != socket.AF_UNIX:  # a body that is sent after its head goes at once
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        try:
            async with asyncio.timeout(PATIENCE):
                await asyncio.get_running_loop().sock_connect(sock, target)
        except BaseException:
            sock.close()
            raise
        return cls(sock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    async def send(self, data: bytes) -> None:
        """Send bytes; raises ConnectionError if the other end is gone."""
        async with asyncio.timeout(PATIENCE):
            await self._loop.sock_sendall(self._socket, data)

    async def send_all(self, data: bytes) -> bool:
        """Send bytes; return whether the other end took them all before it was gone."""
        try:
            await self.send(data)
        except ConnectionError:
            return False
        return True

    def fill(self, data: bytes) -> int:
        """Send what the kernel takes right now; return how many bytes that were."""
        try:
            return self._socket.send(data)
        except BlockingIOError:
            return 0

    async def response(self, *, head_only: bool = False) -> ReceivedResponse:
        """Receive one response. ``head_only`` is for a response to HEAD. Raises EOFError if the connection ends."""
        start = await self._until(b"\r\n\r\n")
        status_line, *lines = start[:-4].split(b"\r\n")
        version, status, reason = status_line.split(b" ", 2)
        headers = tuple((name, value.strip()) for name, _, value in (line.partition(b":") for line in lines))
        fields = {name.lower(): value for name, value in headers}
        raw_body = body = b""
        if head_only or status in {b"204", b"304"} or status.startswith(b"1"):
            pass
        elif fields.get(b"transfer-encoding") == b"chunked":
            body, raw_body = await self._chunks()
        elif b"content-length" in fields:
            body = raw_body = await self._exactly(int(fields[b"content-length"]))
        else:
            body = raw_body = await self.rest()
        return ReceivedResponse(version, int(status), reason, headers, body, start + raw_body)

    async def rest(self) -> bytes:
        """Receive everything until the other end closes. Raises ConnectionResetError if it resets."""
        pieces = [self._held]
        self._held = b""
        while piece := await self._receive():
            pieces.append(piece)
        return b"".join(pieces)

    async def ending(self) -> str:
        """Receive until the connection ends; return ``"end"``, ``"reset"``, or the bytes that came instead."""
        try:
            rest = await self.rest()
        except ConnectionResetError:
            return "reset"
        return f"bytes {rest[:80]!r}" if rest else "end"

    async def receive(self) -> bytes:
        """Receive some bytes, ``b""`` at the end."""
        if self._held:
            held, self._held = self._held, b""
            return held
        return await self._receive()

    def half_close(self) -> None:
        """Say that nothing more is sent."""
        self._socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Close by a TCP reset."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        """Close the connection. May be repeated."""
        self._socket.close()

    async def _receive(self) -> bytes:
        async with asyncio.timeout(PATIENCE):
            return await self._loop.sock_recv(self._socket, _PIECE)

    async def _until(self, end: bytes) -> bytes:
        while end not in self._held:
            piece = await self._receive()
            if not piece:
                raise EOFError(f"the connection ended after {self._held[:80]!r}")
            self._held += piece
        found, _, self._held = self._held.partition(end)
        return found + end

    async def _exactly(self, size: int) -> bytes:
        pieces = [self._held]
        have = len(self._held)
        while have < size:
            piece = await self._receive()
            if not piece:
                raise EOFError(f"the connection ended {size - have} bytes too early")
            pieces.append(piece)
            have += len(piece)
        data = b"".join(pieces)
        self._held = data[size:]
        return data[:size]

    async def _chunks(self) -> tuple[bytes, bytes]:
        body, raw = b"", b""
        while True:
            line = await self._until(b"\r\n")
            chunk = await self._exactly(int(line, 16))
            end = await self._exactly(2)
            assert end == b"\r\n"
            raw += line + chunk + end
            body += chunk
            if not chunk:
                return body, raw


def _target(address: tuple[str, int] | Path) -> tuple[socket.AddressFamily, str | tuple[str, int]]:
    if isinstance(address, Path):
        return socket.AF_UNIX, str(address)
    return socket.AF_INET6 if ":" in address[0] else socket.AF_INET, address
