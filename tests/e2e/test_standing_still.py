"""A process that is stopped and goes on (docker pause, a frozen instance): what came in time counts.

A stop of some tenths of a second over a deadline shows it as well as one of minutes.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import pytest

from tests.support.canary import CANARY_API_KEY
from tests.support.sidecar import ABSENT, Command

if TYPE_CHECKING:
    from collections.abc import Iterator

_BODY: Final = b'{"FirstName":"A","LastName":"B","Email":"a@b.co"}'
_HEAD: Final = (
    b"POST /v2.01/acme/users/natural HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n" % len(_BODY)
)
#: Each deadline of the sidecar, in seconds.
_DEADLINE: Final = 2.0
#: Seconds.
_STOPPED: Final = _DEADLINE + 1.2


class _Sidecar:
    def __init__(self, command: Command, port: int) -> None:
        self._command = command
        self.port = port

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Stop the process for longer than any of its deadlines."""
        os.kill(self._command.pid, signal.SIGSTOP)
        try:
            yield
            time.sleep(_STOPPED)
        finally:
            os.kill(self._command.pid, signal.SIGCONT)

    @contextmanager
    def connection(self) -> Iterator[socket.socket]:
        with socket.create_connection(("127.0.0.1", self.port), 20) as sock:
            yield sock


@pytest.fixture(scope="module", params=ABSENT)
def sidecar(request: pytest.FixtureRequest) -> Iterator[_Sidecar]:
    with Command("emulator", "--port", "0", "--fault", "pass answer_delay=0.6 POST api") as emulator:
        url = emulator.wait_for(r"http://\S+:\d+")[0]
        environ = {
            "SIDECAR_MANGOPAY_ENVIRONMENT": "emulator",
            "SIDECAR_MANGOPAY_BASE_URL": url,
            "SIDECAR_MANGOPAY_CLIENT_ID": "acme",
            "SIDECAR_MANGOPAY_API_KEY": CANARY_API_KEY,
            "SIDECAR_LISTEN_PORT": "0",
            "SIDECAR_ADMIN_PORT": "off",
            "SIDECAR_UPSTREAM_RESPONSE_TIMEOUT": f"{_DEADLINE}s",
            "SIDECAR_LISTEN_KEEPALIVE_TIMEOUT": f"{_DEADLINE}s",
            "SIDECAR_LISTEN_HEADER_TIMEOUT": f"{_DEADLINE}s",
            "SIDECAR_LISTEN_BODY_TIMEOUT": f"{_DEADLINE}s",
        }
        with Command("run", environ=environ, loop=request.param) as command:
            port = int(command.wait_for(r"^ready proxy=http://[^:]+:(\d+)")[1])
            yield _Sidecar(command, port)


def _status(sock: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = sock.recv(65_536)
        assert piece, "closed without a response"
        data += piece
    return data.split()[1]


def test_a_request_on_an_idle_connection(sidecar: _Sidecar) -> None:
    with sidecar.connection() as sock:
        sock.sendall(_HEAD + _BODY)
        assert _status(sock) == b"200"
        with sidecar.stopped():
            sock.sendall(_HEAD + _BODY)
        assert _status(sock) == b"200"


@pytest.mark.parametrize("cut", [20, len(_HEAD) + 10], ids=["head", "body"])
def test_the_rest_of_a_request(sidecar: _Sidecar, cut: int) -> None:
    request = _HEAD + _BODY
    with sidecar.connection() as sock:
        sock.sendall(request[:cut])
        time.sleep(0.3)
        with sidecar.stopped():
            sock.sendall(request[cut:])
        assert _status(sock) == b"200"


def test_a_response_of_upstream(sidecar: _Sidecar) -> None:
    with sidecar.connection() as sock:
        sock.sendall(_HEAD + _BODY)
        time.sleep(0.2)
        with sidecar.stopped():
            pass
        assert _status(sock) == b"200"
