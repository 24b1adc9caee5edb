"""Asking the admin port of the running sidecar, where some other program may sit."""

from __future__ import annotations

import http.client
import socket
import threading
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import msgspec

from sidecar.core.endpoint import from_here
from sidecar.core.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

T = TypeVar("T")

#: Seconds; the response comes from memory.
TIMEOUT: Final = 5.0
#: Bytes of a response that are read at most.
_LARGEST: Final = 4 * 1024 * 1024


class Response(NamedTuple):
    """What was answered, and by which host."""

    host: str
    status: int
    body: bytes


def ask(hosts: Iterable[str], port: int, path: str, *, timeout: float = TIMEOUT) -> Response | None:
    """Return what the first of ``hosts`` that answers within ``timeout`` seconds says to a GET; None if none does.

    That is the time for all of the response: one that comes byte by byte is none.
    ``hosts`` are addresses as the configuration has them; a wildcard (``0.0.0.0``, ``::``) is asked on loopback.
    """
    for host in map(from_here, hosts):
        try:
            with _connected(host, port, timeout) as (connection, late):
                connection.request("GET", path)
                response = connection.getresponse()
                body = response.read(_LARGEST)
        except (OSError, http.client.HTTPException):
            continue
        if not late.is_set():  # http.client takes a head that was cut off for a whole one
            return Response(host, response.status, body)
    return None


@contextmanager
def _connected(host: str, port: int, timeout: float) -> Iterator[tuple[http.client.HTTPConnection, threading.Event]]:
    """Connect. After ``timeout`` seconds set the event and end the connection, so that a read ends. Raises OSError."""
    late = threading.Event()

    def cut_off(sock: socket.socket) -> None:
        late.set()
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)

    with closing(http.client.HTTPConnection(host, port, timeout=timeout)) as connection:
        connection.connect()
        end = threading.Timer(timeout, cut_off, (connection.sock,))
        end.daemon = True
        end.start()
        try:
            yield connection, late
        finally:
            end.cancel()


def read(document: bytes, kind: type[T]) -> T | None:
    """Return a ``document`` with all its text printable; None if it is no JSON, or does not fit ``kind``."""
    try:
        return msgspec.convert(_printable(msgspec.json.decode(document)), kind)
    except (ValueError, RecursionError):
        return None


def _printable(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, list):
        return [_printable(each) for each in value]
    if isinstance(value, dict):
        return {printable(key): _printable(each) for key, each in value.items()}
    return value
