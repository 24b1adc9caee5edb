"""Everything that somebody can do who has the ports, to make the process hold as much as it will."""

from __future__ import annotations

import selectors
import socket
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

MIB: Final = 1024 * 1024
#: As many as the sidecar allows by default.
CONNECTIONS: Final = 1000
#: Bytes of a request head that is just below the limit of 64 KiB: 126 headers of 508 bytes.
_LINES: Final = b"".join(b"X-%03d: %b\r\n" % (number, b"a" * 508) for number in range(120))


def request(method: str, path: str, *lines: bytes) -> bytes:
    """Return a request head."""
    start = f"{method} /v2.01/_/{path} HTTP/1.1\r\nHost: localhost\r\n".encode()
    return start + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


def large_head(method: str, path: str, *lines: bytes) -> bytes:
    """Return a request head of nearly 64 KiB."""
    return request(method, path, *lines)[:-2] + _LINES + b"\r\n"


@dataclass
class Attacker:
    """Opens connections, sends what it can, reads nothing, and keeps them open."""

    port: int
    admin_port: int
    sockets: list[socket.socket] = field(default_factory=list)

    def open(self, data: bytes, *, admin: bool = False, window: int = 0) -> None:
        """Connect and send as much of ``data`` as is taken within some seconds."""
        sock = socket.socket()
        if window:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        self.sockets.append(sock)
        with suppress(OSError):
            sock.settimeout(10)
            sock.connect(("127.0.0.1", self.admin_port if admin else self.port))
            sock.setblocking(False)
            self._pending.append((sock, memoryview(data)))

    _pending: list[tuple[socket.socket, memoryview]] = field(default_factory=list)

    def push(self, seconds: float) -> None:
        """Send what is left for so long, or until nothing is."""
        end = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            for sock, rest in self._pending:
                with suppress(ValueError, OSError):
                    selector.register(sock, selectors.EVENT_WRITE, [rest])
            self._pending.clear()
            while selector.get_map() and time.monotonic() < end:
                for key, _ in selector.select(0.1):
                    try:
                        key.data[0] = key.data[0][key.fileobj.send(key.data[0][:262_144]) :]  # type: ignore[union-attr]
                    except BlockingIOError:
                        continue
                    except OSError:
                        key.data[0] = b""
                    if not key.data[0]:
                        selector.unregister(key.fileobj)

    def close(self) -> None:
        """Close all connections."""
        for sock in self.sockets:
            sock.close()
        self.sockets.clear()


def _many(data: bytes, count: int = CONNECTIONS, *, window: int = 0) -> Callable[[Attacker], None]:
    def attack(attacker: Attacker) -> None:
        for _ in range(count):
            attacker.open(data, window=window)
        attacker.push(4)

    return attack


def _bodies(attacker: Attacker) -> None:
    for _ in range(4):
        attacker.open(request("POST", "x", b"Content-Length: %d" % (16 * MIB)) + b"x" * (16 * MIB - 1))
    attacker.push(4)
    waiting = request("POST", "x", b"Transfer-Encoding: chunked") + (b"3e8\r\n" + b"y" * 1000 + b"\r\n") * 600
    for _ in range(CONNECTIONS - 20):
        attacker.open(waiting)
    attacker.push(4)


def _admin(attacker: Attacker) -> None:
    asked = b"Host: localhost\r\n\r\n"
    for _ in range(8):
        attacker.open(b"GET /events HTTP/1.1\r\n" + asked, admin=True, window=2048)
    for _ in range(20):
        attacker.open((b"GET /status HTTP/1.1\r\n" + asked) * 2000, admin=True, window=2048)
    head = b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"".join(b"X-%03d: %b\r\n" % (n, b"a" * 8000) for n in range(126))
    for _ in range(60):
        attacker.open(head, admin=True)
        attacker.open(b"GET /status HTTP/1.1\r\nContent-Length: 9999999\r\n" + asked + b"x" * MIB, admin=True)
    attacker.push(4)


def _names(attacker: Attacker) -> None:
    calls = b"".join(
        f"M{number:X} /v2.01/_/{number:x}{'/y' * 40} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n"
        f"X-Request-Id: {number:0100x}\r\n\r\n".encode()
        for number in range(3000)
    )
    for _ in range(4):
        attacker.open(calls)
    attacker.push(4)


_HUGE: Final = request("PUT", "deaf", b"Content-Length: %d" % (60 * MIB)) + b"x" * (4 * MIB)

#: By name. Each leaves its connections open.
ATTACKS: Final[dict[str, Callable[[Attacker], None]]] = {
    "heads without an end": _many(large_head("GET", "silent")[:-2]),
    "whole heads that wait": _many(large_head("GET", "silent")),
    "heads behind heads": _many(request("GET", "silent") + large_head("GET", "silent") * 8),
    "tiny requests behind a request": _many(request("GET", "silent") + request("GET", "silent") * 4000),
    "bodies that wait for memory": _bodies,
    "bodies in one write": _many(request("PUT", "deaf", b"Content-Length: 64000") + b"x" * 64_000),
    "bodies too large to keep": _many(_HUGE),
    "bodies nobody asked for": _many(request("GET", "silent") + b"z" * MIB),
    "responses nobody reads, 60 KB": _many(request("GET", "body60000"), window=2048),
    "responses nobody reads, 600 KB": _many(request("GET", "body600000") * 20, window=2048),
    "responses nobody reads, pipelined": _many(request("GET", "body60000") * 200, window=2048),
    "heads of responses nobody reads": _many(request("GET", "head") * 30, window=2048),
    "endless responses": _many(request("GET", "endless"), window=2048),
    "half a response head": _many(request("GET", "half-a-head")),
    "half a response to a keyed call": _many(
        request("POST", "half-a-body", b"Idempotency-Key: 0123456789abcdef", b"Content-Length: 2") + b"{}"
    ),
    "names": _names,
    "the admin port": _admin,
}


def all_at_once(attacker: Attacker) -> None:
    """Try every attack, one on top of the other; the newest connections push the oldest out."""
    for name in (
        "names",
        "the admin port",
        "bodies that wait for memory",
        "responses nobody reads, 600 KB",
        "heads of responses nobody reads",
        "endless responses",
        "half a response to a keyed call",
        "whole heads that wait",
        "heads behind heads",
        "bodies in one write",
        "bodies too large to keep",
        "heads without an end",
    ):
        ATTACKS[name](attacker)
