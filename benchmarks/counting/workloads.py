"""What is counted: calls of a kind, made one after another, so that nothing depends on who is quicker."""

from __future__ import annotations

import itertools
import socket
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from types import TracebackType

#: Kept connections, which take turns.
_CONNECTIONS: Final = 4
#: Seconds that a response may take; callgrind makes a program some fifty times slower.
_PATIENCE: Final = 60.0
_USER: Final = "user_m_01HQK25M6KVHKDV0S36JY9NRKR"
_WALLET: Final = "wlt_m_01HQK25M6KVHKDV0S36JY9NRKR"


@dataclass(frozen=True)
class Workload:
    """One kind of call."""

    name: str
    title: str
    method: str
    target: str
    body: bytes = b""

    def request(self, number: int) -> bytes:
        """Return the bytes of a call; each POST has an Idempotency-Key of its own."""
        lines = [
            f"{self.method} {self.target} HTTP/1.1",
            "Host: 127.0.0.1:18080",
            "User-Agent: app/1.0",
            "Accept: application/json",
        ]
        if self.body:
            lines += [
                "Content-Type: application/json",
                f"Content-Length: {len(self.body)}",
                f"Idempotency-Key: 0b0f3c5e-7a51-4d3c-9a55-{number:012}",
            ]
        return "\r\n".join([*lines, "", ""]).encode() + self.body


WORKLOADS: Final = (
    Workload("get", "small GET", "GET", f"/v2.01/_/wallets/{_WALLET}"),
    Workload(
        "post",
        "1 KB POST with Idempotency-Key",
        "POST",
        "/v2.01/_/payins/card/direct",
        b'{"AuthorId":"%b","Tag":"%b"}' % (_USER.encode(), b"t" * 967),
    ),
)


class CallFailedError(Exception):
    """A response was not the right one; the message has its first line."""


class Caller:
    """An app with a few kept connections. A context manager: at its end they are closed."""

    def __init__(self, port: int) -> None:
        self._port: Final = port
        self._numbers: Final = itertools.count(1)
        self._stack: Final = ExitStack()
        self._connections: Final = [self.connect() for _ in range(_CONNECTIONS)]

    def connect(self) -> socket.socket:
        """Open one more connection."""
        return self._stack.enter_context(socket.create_connection(("127.0.0.1", self._port), _PATIENCE))

    def make(self, workload: Workload, calls: int) -> None:
        """Make so many calls. Raises CallFailedError."""
        for _, connection in zip(range(calls), itertools.cycle(self._connections), strict=False):
            self.call(connection, workload)

    def call(self, connection: socket.socket, workload: Workload) -> None:
        """Make one call. Raises CallFailedError."""
        connection.sendall(workload.request(next(self._numbers)))
        seen = b""
        while not _is_whole(seen):
            data = connection.recv(65536)
            if not data:
                raise CallFailedError(f"the connection was closed in an answer: {seen[:200]!r}")
            seen += data
        if not seen.startswith(b"HTTP/1.1 200 "):
            first, *_ = seen.split(b"\r\n")
            raise CallFailedError(f"{workload.title} was answered with {first!r}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()


def _is_whole(response: bytes) -> bool:
    head, end, body = response.partition(b"\r\n\r\n")
    if not end:
        return False
    _, found, rest = head.lower().partition(b"\r\ncontent-length:")
    return len(body) >= (int(rest.split(b"\r\n")[0]) if found else 0)
