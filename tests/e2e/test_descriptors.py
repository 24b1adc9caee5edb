"""The limit of open files is raised to what the configuration may need, or its shortage told."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from collections import Counter
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.canary import CANARY_API_KEY
from tests.support.sidecar import ABSENT, COMMAND, Command, command_on

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the limits of a process are read from /proc")

#: listen.max_connections, upstream.pool_size and what is spared, by default.
WANTED = 1000 + 100 + 256


@pytest.fixture
def environ() -> dict[str, str]:
    return {
        "SIDECAR_MANGOPAY_ENVIRONMENT": "emulator",
        "SIDECAR_MANGOPAY_BASE_URL": "http://127.0.0.1:9",
        "SIDECAR_MANGOPAY_CLIENT_ID": "acme",
        "SIDECAR_MANGOPAY_API_KEY": CANARY_API_KEY,
        "SIDECAR_LISTEN_PORT": "0",
        "SIDECAR_ADMIN_PORT": "0",
        "SIDECAR_LOG_FORMAT": "json",
    }


def limits_and_log(environ: dict[str, str], soft: int, hard: int) -> tuple[tuple[int, int], str]:
    """Run the command under these limits; return those that it has once it is ready, and its log."""
    process = subprocess.Popen(
        ["sh", "-c", f"ulimit -Sn {soft} && ulimit -Hn {hard} && exec '{COMMAND}' run"],
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("ready ")
        found = re.search(
            r"^Max open files +(\d+) +(\d+)", Path(f"/proc/{process.pid}/limits").read_text(), re.MULTILINE
        )
        assert found is not None
    finally:
        process.terminate()
        _, log = process.communicate(timeout=30)
    return (int(found[1]), int(found[2])), log


@pytest.mark.parametrize(
    ("given", "then", "scarce"),
    [
        ((256, 4096), (WANTED, 4096), False),
        ((3000, 4096), (3000, 4096), False),
        ((256, 512), (512, 512), True),
    ],
)
def test_the_soft_limit_is_raised_as_far_as_needed_and_allowed(
    environ: dict[str, str], given: tuple[int, int], then: tuple[int, int], scarce: bool
) -> None:
    limits, log = limits_and_log(environ, *given)
    assert limits == then
    assert ("descriptors.scarce" in log) is scarce
    if scarce:
        assert "ulimit -n" in log


# --- more callers than descriptors ------------------------------------------------------------------------------------


@contextmanager
def scarce(environ: dict[str, str], loop: str) -> Iterator[tuple[int, int, list[str]]]:
    """Run a sidecar that may have 256 descriptors in front of an emulator; give its ports, and its log at the end."""
    log: list[str] = []
    with Command("emulator", "--port", "0") as emulator:
        environ = environ | {"SIDECAR_MANGOPAY_BASE_URL": emulator.wait_for(r"^ready emulator=(\S+)$")[1]}
        process = subprocess.Popen(
            ["sh", "-c", 'ulimit -Sn 256 && ulimit -Hn 256 && exec "$0" "$@"', *command_on(loop, "run")],
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stdout is not None
            ports = re.findall(r"http://127\.0\.0\.1:(\d+)", process.stdout.readline())
            yield int(ports[0]), int(ports[1]), log
        finally:
            process.terminate()
            _, text = process.communicate(timeout=30)
            log += text.splitlines()


def status(port: int, target: str) -> bytes:
    """Make a call on a connection of its own."""
    with socket.create_connection(("127.0.0.1", port), 30) as sock:
        sock.sendall(b"GET %b HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" % target.encode())
        data = b""
        while piece := sock.recv(65_536):
            data += piece
    return data[9:12]


def end_of(sock: socket.socket) -> str:
    """Say how a connection on which nothing was answered has ended, if it has."""
    sock.setblocking(False)
    try:
        return "answered" if sock.recv(1) else "closed"
    except BlockingIOError:
        return "open"
    except OSError as error:
        return type(error).__name__


@pytest.mark.parametrize("loop", ABSENT)
@pytest.mark.parametrize("said", [b"", b"GET /v2.01/acme/users HTTP/1.1\r\nHo"], ids=["nothing", "half a head"])
def test_with_a_hard_limit_of_256_four_hundred_silent_connections_keep_nobody_out(
    environ: dict[str, str], loop: str, said: bytes
) -> None:
    """The oldest of them is closed in an orderly way for each new one; whoever asks is answered."""
    with scarce(environ, loop) as (port, admin, log), ExitStack() as open_ones:
        silent = []
        for number in range(400):
            sock = open_ones.enter_context(socket.create_connection(("127.0.0.1", port), 30))
            sock.sendall(said)
            silent.append(sock)
            if not number % 10:  # on the admin port too
                open_ones.enter_context(socket.create_connection(("127.0.0.1", admin), 30))
        assert {status(port, "/v2.01/acme/clients") for _ in range(20)} == {b"200"}
        assert status(admin, "/healthz") == b"200"
        ends = Counter(map(end_of, silent))
        assert set(ends) == {"open", "closed"}
        assert ends["open"] > 50
    assert not [line for line in log if '"level":"error"' in line]
    assert [line for line in log if "descriptors.scarce" in line and '"connections":92' in line]
