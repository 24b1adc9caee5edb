"""Slowloris: as many slow connections as there may be, and ordinary calls are answered all the same.

In the suite the attack lasts seconds, with a short header timeout. The whole
of it, 30 seconds against the default timeout, is run with::

    SLOW_CONNECTIONS_SECONDS=30 pytest -s tests/wire/threats/test_slow_connections.py
"""

from __future__ import annotations

import os
import resource
import selectors
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from tests.support.prometheus import parse
from tests.support.sidecar import ABSENT, Sidecar
from tests.wire.threats.caller import Caller
from tests.wire.threats.case import get

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.sidecar import Section
    from tests.wire.threats.stage import Harness

#: Connections, of the attack and of the cap: the default of listen.max_connections.
CONNECTIONS: Final = 1000
#: Seconds that the attack lasts.
HELD: Final = float(os.environ.get("SLOW_CONNECTIONS_SECONDS", "3"))
#: How long a head may take: the default if there is time for it.
HEADER_TIMEOUT: Final = "10s" if HELD >= 20 else "2s"
#: Bytes by which the process may grow.
GROWTH: Final = 25 * 1024 * 1024
#: Descriptors that the attack and the sidecar need, each for itself.
DESCRIPTORS: Final = 2 * CONNECTIONS + 200

#: What the connections send at once; those that have begun a head go on with a byte a second.
BEGINNINGS: Final = (b"", b"GET /v2.01/acme/us", get()[:-2])

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc"),
    pytest.mark.timeout(60 + 2 * HELD),
]


@pytest.fixture
def descriptors() -> Iterator[None]:
    """Allow as many open files as are needed, here and in the child."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < DESCRIPTORS:
        pytest.skip(f"only {hard} open files are allowed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, DESCRIPTORS), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Attack:
    """Keeps slow connections open; one that is closed is opened again."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._selector = selectors.DefaultSelector()
        self._dripping: dict[socket.socket, float] = {}
        self._made = 0
        self.closed = 0

    @property
    def open(self) -> int:
        return len(self._selector.get_map())

    def fill(self) -> None:
        """Open what is missing."""
        while self.open < CONNECTIONS:
            sock = socket.create_connection(("127.0.0.1", self._port), 10)
            sock.setblocking(False)
            self._selector.register(sock, selectors.EVENT_READ)
            beginning = BEGINNINGS[self._made % len(BEGINNINGS)]
            self._made += 1
            if beginning:
                with suppress(OSError):
                    sock.send(beginning)
                self._dripping[sock] = time.monotonic()

    def look(self, seconds: float) -> None:
        """Notice the connections that were closed."""
        for key, _ in self._selector.select(seconds):
            sock = key.fileobj
            assert isinstance(sock, socket.socket)
            try:
                gone = not sock.recv(4096)
            except BlockingIOError:
                gone = False
            except OSError:
                gone = True
            if gone:
                self._drop(sock)
                self.closed += 1

    def drip(self) -> None:
        """Send one more byte where it is time."""
        now = time.monotonic()
        for sock, last in list(self._dripping.items()):
            if now - last >= 1.0:
                self._dripping[sock] = now
                with suppress(OSError):
                    sock.send(b"x")

    def end(self) -> None:
        for key in list(self._selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            self._drop(key.fileobj)
        self._selector.close()

    def _drop(self, sock: socket.socket) -> None:
        self._selector.unregister(sock)
        self._dripping.pop(sock, None)
        sock.close()


def _memory(pid: int) -> int:
    """Return the resident set in bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _call(port: int) -> bool:
    """Make an ordinary call on a connection of its own; return whether it was answered."""
    with Caller(port, 10) as caller:
        caller.send(get(b"/v2.01/acme/users"))
        return caller.head().startswith(b"HTTP/1.1 200 OK\r\n")


def _connections(sidecar: Sidecar) -> float:
    return parse(sidecar.admin("/metrics")[1])["mangopay_sidecar_connections"].value()


@pytest.mark.parametrize("loop", ABSENT)
def test_slow_connections_keep_nobody_out(stage: Harness, descriptors: None, loop: str) -> None:
    listen: dict[str, str | int] = {"header_timeout": HEADER_TIMEOUT, "max_connections": CONNECTIONS}
    upstream = f"http://127.0.0.1:{stage.upstream.port}"
    settings: Section = {"port": 0, **listen}
    with Sidecar(upstream, measured=True, loop=loop, listen=settings, log={"level": "error"}) as sidecar:
        sidecar.wait_until_ready()
        assert all(_call(sidecar.port) for _ in range(50))
        before = most = _memory(sidecar.pid)
        attack = Attack(sidecar.port)
        try:
            answered = unanswered = 0
            crowd = 0.0
            end = time.monotonic() + HELD
            while time.monotonic() < end:
                attack.fill()
                attack.drip()
                if _call(sidecar.port):
                    answered += 1
                else:
                    unanswered += 1
                most = max(most, _memory(sidecar.pid))
                crowd = max(crowd, _connections(sidecar))
                attack.look(0.02)
            while attack.open:  # pytest's timeout ends this
                attack.look(0.1)
            while _connections(sidecar) > 0:
                time.sleep(0.05)
        finally:
            attack.end()
        print(
            f"\n{crowd:g} slow connections for {HELD:g} s (header_timeout {HEADER_TIMEOUT}): "
            f"{answered} calls answered, {unanswered} not; {attack.closed} slow connections closed; "
            f"memory {before / 2**20:.1f} MiB, at most {most / 2**20:.1f} MiB"
        )
        assert unanswered == 0
        assert answered >= 3
        assert crowd >= CONNECTIONS * 0.95
        assert attack.closed >= CONNECTIONS
        assert most - before < GROWTH
        assert sidecar.complaints == []
