"""Asking through the running sidecar's proxy port, as any caller does: by TCP or by its Unix socket."""

from __future__ import annotations

import base64
import http.client
import socket
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from sidecar.core.endpoint import from_here
from sidecar.core.text import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from sidecar.core.secret import Secret

#: Seconds for a response: longer than a sidecar with the usual timeouts waits for a token, a connection and Mangopay.
TIMEOUT: Final = 90.0
#: Bytes of a response that are read at most.
_LARGEST: Final = 2 * 1024 * 1024

#: A host and a port, or the path of a Unix socket.
Address: TypeAlias = "tuple[str, int] | Path"


class Response(NamedTuple):
    """A response of the proxy port's."""

    #: 0 if it was cut short, as upstream's was most likely, or did not come in time.
    status: int
    #: By lower-case name; of repeated ones the values joined by commas.
    headers: Mapping[str, str]
    body: bytes


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path: Final = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class Proxy:
    """One connection to the proxy port, opened anew where it has ended."""

    def __init__(self, addresses: Sequence[Address], caller_key: Secret | None, timeout: float = TIMEOUT) -> None:
        """``addresses`` are tried in order; ``caller_key`` is that of ``listen.caller_key``; ``timeout`` in seconds."""
        self._addresses: Final = tuple(addresses)
        self._caller_key: Final = caller_key
        self._timeout: Final = timeout
        self._connection: http.client.HTTPConnection | None = None

    @property
    def shown(self) -> str:
        """Where it is asked, for people."""
        places = [f"{each[0]}:{each[1]}" if isinstance(each, tuple) else f"unix:{each}" for each in self._addresses]
        return printable(" and ".join(places))

    def get(self, target: str) -> Response | None:
        """Return the response to a GET; None if nobody answers there. A GET may be sent twice.

        Of a sidecar that does not answer in time no other address is asked: it is the same one.
        """
        if self._connection is not None and (reply := self._exchange(self._connection, target)) is not None:
            return reply
        for address in self._addresses:
            self.close()
            self._connection = _connection_to(address, self._timeout)
            if (reply := self._exchange(self._connection, target)) is not None:
                return reply
        self.close()
        return None

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _exchange(self, connection: http.client.HTTPConnection, target: str) -> Response | None:
        try:
            if connection.sock is None:
                connection.connect()
        except OSError:
            return None
        try:
            connection.request("GET", target, headers=self._headers())
            response = connection.getresponse()
            headers: dict[str, str] = {}
            for name, value in response.getheaders():
                key = name.lower()
                headers[key] = f"{headers[key]}, {value}" if key in headers else value
            body = response.read(_LARGEST)
            # It does not raise for a body that is shorter than it was said to be.
            is_cut = bool(response.length) and len(body) < _LARGEST
            return Response(0 if is_cut else response.status, headers, body)
        except (http.client.IncompleteRead, TimeoutError):
            connection.close()
            return Response(0, {}, b"")
        except (OSError, http.client.HTTPException):
            return None

    def _headers(self) -> dict[str, str]:
        # A name that is always accepted, whatever address is listened on. Batch: calls of apps go first.
        headers = {"Host": "localhost", "Accept": "application/json", "X-Sidecar-Lane": "batch"}
        if self._caller_key is not None:
            pair = f"reconcile:{self._caller_key.reveal()}".encode()
            headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        return headers


def _connection_to(address: Address, timeout: float) -> http.client.HTTPConnection:
    if isinstance(address, tuple):
        host, port = address
        return http.client.HTTPConnection(from_here(host), port, timeout=timeout)
    return _UnixConnection(address, timeout)
