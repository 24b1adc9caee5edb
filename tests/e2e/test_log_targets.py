"""Whatever stderr is, and whoever does not read it: calls are served, the health check too, and the end comes."""

from __future__ import annotations

import http.client
import os
import pty
import signal
import socket
import subprocess
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Final

import pytest

from tests.e2e.test_cli_run import settings
from tests.support.ports import free_port
from tests.support.sidecar import ABSENT, COMMAND, Command, command_on

if TYPE_CHECKING:
    from collections.abc import Iterator

#: More lines than a pipe, a socket or a terminal takes.
_CALLS: Final = 1000


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    with Command("emulator", "--port", "0") as emulator:
        yield emulator.wait_for(r"^ready emulator=(\S+)$")[1]


def descriptor(kind: str, stack: ExitStack) -> int:
    """Return a descriptor of that kind which nobody reads."""
    if kind == "socket":
        ours, theirs = socket.socketpair()
        stack.enter_context(ours)
        stack.enter_context(theirs)
        return theirs.fileno()
    reader, writer = os.pipe() if kind == "pipe" else pty.openpty()
    stack.callback(os.close, reader)
    stack.callback(os.close, writer)
    return writer


@pytest.mark.parametrize("loop", ABSENT)
@pytest.mark.parametrize("kind", ["pipe", "socket", "terminal"])
def test_a_log_that_nobody_reads_stops_nothing(kind: str, loop: str, upstream: str) -> None:
    with ExitStack() as stack:
        environ = settings(upstream, SIDECAR_LOG_FORMAT="json", PATH=os.environ["PATH"])
        stderr = descriptor(kind, stack)
        process = subprocess.Popen(command_on(loop, "run"), env=environ, stdout=subprocess.PIPE, stderr=stderr)
        stack.enter_context(process)
        stack.callback(process.kill)
        assert process.stdout is not None
        ready = dict(word.split("=") for word in process.stdout.readline().decode().split()[1:])
        proxy, admin = (stack.enter_context(connection(ready[name])) for name in ("proxy", "admin"))
        for _ in range(_CALLS):
            proxy.request("GET", "/v2.01/_/clients")
            with proxy.getresponse() as response:
                assert (response.status, len(response.read()) > 0) == (200, True)
        admin.request("GET", "/healthz")
        assert admin.getresponse().status == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


@pytest.mark.parametrize("command", ["run", "demo", "emulator"])
def test_a_terminal_that_is_stopped_from_the_start_stops_nothing(command: str, upstream: str) -> None:
    """Ctrl-S before the ready line: stdout and stderr are one terminal, and no room is left in it."""
    with ExitStack() as stack:
        terminal = descriptor("terminal", stack)
        fill(terminal)
        port = free_port()
        environ = settings(upstream, PATH=os.environ["PATH"], SIDECAR_LISTEN_PORT=str(port))
        options = [] if command == "run" else ["--port", str(port)]
        if command == "demo":
            options += ["--admin-port", "0"]  # the usual one may be held by a test of it
        process = subprocess.Popen([COMMAND, command, *options], env=environ, stdout=terminal, stderr=terminal)
        stack.enter_context(process)
        stack.callback(process.kill)
        with connected(port, process) as caller:
            caller.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert caller.recv(12).startswith(b"HTTP/1.1 ")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def fill(fd: int) -> None:
    os.set_blocking(fd, False)
    with suppress(BlockingIOError):
        while True:
            os.write(fd, b"#" * 4096)
    os.set_blocking(fd, True)


def connected(port: int, process: subprocess.Popen[bytes]) -> socket.socket:
    while process.poll() is None:
        with suppress(ConnectionRefusedError):
            return socket.create_connection(("127.0.0.1", port), timeout=20)
        time.sleep(0.01)
    raise AssertionError(f"ended with {process.returncode}")


class connection(http.client.HTTPConnection):  # noqa: N801 - used as a function
    """A connection to a URL, as a context manager."""

    def __init__(self, url: str) -> None:
        super().__init__(url.removeprefix("http://"), timeout=20)

    def __enter__(self) -> connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
