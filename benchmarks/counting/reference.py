"""What instructions are compared with: a fixed piece of work whose cost depends on the interpreter alone.

``python -m benchmarks.counting.reference DIRECTORY``, under callgrind with the mark
:data:`MARK`. Interpreters of one version differ: one that was built with PGO needs
a fifth less for the same program. The packages are pinned and come as the same
wheels, so what is left to differ between two machines is the interpreter, its OpenSSL and
the C library. The work is of the kinds that a request is made of: calls, attributes,
bytes and dicts, coroutines, and records of TLS over memory BIOs.

Never change it without writing every baseline anew.
"""

from __future__ import annotations

import os
import re
import ssl
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Coroutine, Generator

#: The C function that separates the rounds.
MARK: Final = "getppid"
ROUNDS: Final = 3
_TIMES: Final = 200
_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 600\r\nX-Limit: 12,12,12,12\r\n"
    b"X-Remaining: 2288,4488,8788,105588\r\nConnection: keep-alive\r\nX-Request-Id: 0123456789abcdef\r\n\r\n"
)
_BODY: Final = b"x" * 600
_LINE: Final = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\t\x20-\x7e]*)")


class _Field:
    __slots__ = ("key", "name", "value")

    def __init__(self, name: bytes, value: bytes) -> None:
        self.name = name
        self.value = value
        self.key = name.lower()


class _Head:
    def __init__(self, status: int, fields: list[_Field]) -> None:
        self.status = status
        self.fields = fields
        self.length = 0
        self.persistent = True

    def read(self) -> None:
        for field in self.fields:
            if field.key == b"content-length":
                self.length = int(field.value)
            elif field.key == b"connection":
                self.persistent = field.value != b"close"

    def lines(self) -> list[bytes]:
        return [field.name + b": " + field.value for field in self.fields if field.key not in _DROPPED]


_DROPPED: Final = frozenset((b"connection", b"keep-alive", b"te", b"trailer"))
_KNOWN: Final[dict[bytes, _Field]] = {}


def _parse(data: bytes) -> _Head:
    first, *lines = data[: data.index(b"\r\n\r\n")].split(b"\r\n")
    fields = [_KNOWN.get(line) or _field(line) for line in lines]
    head = _Head(int(first[9:12]), fields)
    head.read()
    return head


def _field(line: bytes) -> _Field:
    match = _LINE.fullmatch(line)
    if match is None:
        raise ValueError("malformed")
    found = _Field(match[1], match[2])
    if b"Limit" not in line:
        _KNOWN[line] = found
    return found


class _Once:
    """What a coroutine waits for, as it does for a future."""

    def __await__(self) -> Generator[None, None, int]:
        yield None
        return 1


async def _wait() -> int:
    return await _Once()


async def _answer(data: bytes, counts: dict[str, int]) -> bytes:
    counts["calls"] = counts.get("calls", 0) + 1
    head = _parse(data)
    try:
        counts["waits"] = counts.get("waits", 0) + await _wait()
        if not head.persistent:
            raise ConnectionError
    finally:
        counts["open"] = max(0, counts.get("open", 0) - 1)
    line = f'{{"status":{head.status},"bytes":{head.length},"number":"{counts["calls"]:06}"}}'
    return b"HTTP/1.1 %d OK\r\n%b\r\n\r\n%b" % (head.status, b"\r\n".join(head.lines()), line.encode())


def _run(coroutine: Coroutine[Any, Any, bytes]) -> bytes:
    try:
        while True:
            coroutine.send(None)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]  # what the coroutine returns


class _Pair:
    """A TLS connection with itself."""

    def __init__(self, directory: Path) -> None:
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(directory / "server.pem", directory / "server.key")
        client = ssl.create_default_context(cafile=str(directory / "ca.pem"))
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.server: Final = server.wrap_bio(to_server, to_client, server_side=True)
        self.client: Final = client.wrap_bio(to_client, to_server, server_hostname="localhost")
        for side in (self.client, self.server, self.client, self.server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue


def _work(pair: _Pair) -> None:
    counts: dict[str, int] = {}
    response = b""
    for _ in range(_TIMES):
        for _ in range(8):
            response = _run(_answer(_HEAD + _BODY, counts))
        pair.client.write(response)
        pair.server.write(pair.server.read(16384) + _BODY)
        pair.client.read(16384)


def main(directory: str) -> None:
    """Do the work a few times."""
    pair = _Pair(Path(directory))
    for _ in range(ROUNDS + 1):
        _work(pair)
        os.getppid()


if __name__ == "__main__":
    main(sys.argv[1])
