"""Sockets from a service manager: used for the addresses that they have, never removed, never more open than asked."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import pytest

from sidecar.cli.serving import notify_ready
from sidecar.downstream.addresses import ListenError
from sidecar.downstream.inherited import Inherited
from sidecar.downstream.listener import Listeners
from tests.support.sidecar import COMMAND

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Becomes the command argv[2:], with the descriptor argv[1] as number 3, which is where a manager puts the first.
AS_MANAGER: Final = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.argv[2], sys.argv[2:])
"""


@pytest.fixture
def path() -> Iterator[Path]:
    """Short enough for a Unix socket's address."""
    with tempfile.TemporaryDirectory(prefix="in-", dir="/tmp") as directory:
        yield Path(directory, "s")


def tcp() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


def unix(path: Path, mode: int = 0o600) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(path))
    path.chmod(mode)
    sock.listen()
    return sock


# --- which socket is used --------------------------------------------------------------------------------------------


def test_a_tcp_socket_is_given_for_its_own_address_and_once() -> None:
    with tcp() as sock:
        port = sock.getsockname()[1]
        inherited = Inherited([sock])
        assert inherited.tcp(socket.AF_INET, "127.0.0.2", port) is None
        assert inherited.tcp(socket.AF_INET6, "127.0.0.1", port) is None
        assert inherited.tcp(socket.AF_INET, "127.0.0.1", port + 1) is None
        assert inherited.tcp(socket.AF_INET, "127.0.0.1", 0) is None
        assert inherited.tcp(socket.AF_INET, "127.0.0.1", port) is sock
        assert inherited.tcp(socket.AF_INET, "127.0.0.1", port) is None
        inherited.refuse_rest()


@pytest.mark.parametrize("both", [False, True])
def test_every_address_of_ipv6_is_not_taken_with_those_of_ipv4(both: bool) -> None:
    """systemd's default for ``ListenStream=18080`` is one socket for both."""
    sock = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=both)
    port = sock.getsockname()[1]
    if both:
        with pytest.raises(ListenError, match=r"http://\[::\]:[0-9]+ was handed over with IPv4 .*BindIPv6Only"):
            Inherited([sock]).tcp(socket.AF_INET6, "::", port)
        assert sock.fileno() == -1
    else:
        with sock:
            assert Inherited([sock]).tcp(socket.AF_INET6, "::", port) is sock


@pytest.mark.parametrize(("actual", "allowed"), [(0o600, 0o600), (0o600, 0o660), (0o660, 0o660), (0o000, 0o600)])
def test_a_unix_socket_may_be_narrower_than_configured(path: Path, actual: int, allowed: int) -> None:
    with unix(path, actual) as sock:
        inherited = Inherited([sock])
        assert inherited.unix(path.with_name("other"), allowed) is None
        assert inherited.unix(path, allowed) is sock


@pytest.mark.parametrize(("actual", "allowed"), [(0o666, 0o660), (0o660, 0o600), (0o602, 0o600)])
def test_a_unix_socket_that_lets_more_users_in_is_refused(path: Path, actual: int, allowed: int) -> None:
    with pytest.raises(
        ListenError, match=f"mode {actual:04o}, which lets more users in than {allowed:04o}.*SocketMode"
    ):
        Inherited([unix(path, actual)]).unix(path, allowed)


def test_a_unix_socket_whose_file_is_gone_is_refused(path: Path) -> None:
    sock = unix(path)
    path.unlink()
    with pytest.raises(ListenError, match="is not there any more"):
        Inherited([sock]).unix(path, 0o600)


def test_a_socket_that_nobody_asked_for_is_an_error_that_names_it(path: Path) -> None:
    with pytest.raises(ListenError, match=f"^unix:{path} was handed over, and is not where the configuration listens"):
        Inherited([unix(path)]).refuse_rest()


# --- what a manager announces ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "environ", [{}, {"LISTEN_FDS": "1"}, {"LISTEN_FDS": "1", "LISTEN_PID": "1"}, {"LISTEN_PID": str(os.getpid())}]
)
def test_what_is_meant_for_another_process_is_left_alone(environ: dict[str, str]) -> None:
    Inherited.of_this_process(environ).refuse_rest()


@pytest.mark.parametrize("kind", ["a file", "not listening", "datagrams"])
def test_what_is_no_listening_stream_socket_is_one_line_and_status_1(kind: str, path: Path) -> None:
    with ExitStack() as stack:
        if kind == "a file":
            descriptor = stack.enter_context(Path("/dev/null").open()).fileno()
        else:
            of_type = socket.SOCK_DGRAM if kind == "datagrams" else socket.SOCK_STREAM
            descriptor = stack.enter_context(socket.socket(socket.AF_INET, of_type)).fileno()
        done = started(descriptor, {"SIDECAR_LISTEN_PORT": "0"})
    assert done.returncode == 1
    assert done.stderr.startswith("descriptor 3 was handed over, and is no")
    assert done.stderr.count("\n") == 1


def test_a_socket_for_an_address_that_is_not_configured_is_one_line_and_status_1(path: Path) -> None:
    with unix(path) as sock:
        done = started(sock.fileno(), {"SIDECAR_LISTEN_PORT": "0", "SIDECAR_LOG_LEVEL": "error"})
    assert done.returncode == 1
    assert done.stderr.startswith(f"unix:{path} was handed over, and is not where the configuration listens: ")
    assert done.stderr.count("\n") == 1


def started(descriptor: int, environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run ``run`` as a manager does that hands over one descriptor; it has to end by itself."""
    command: list[str | Path] = [sys.executable, "-c", AS_MANAGER, str(descriptor), COMMAND, "run"]
    required = {
        "SIDECAR_MANGOPAY_ENVIRONMENT": "emulator",
        "SIDECAR_MANGOPAY_BASE_URL": "http://127.0.0.1:1",
        "SIDECAR_MANGOPAY_CLIENT_ID": "acme",
        "SIDECAR_MANGOPAY_API_KEY": "dummy",
        "SIDECAR_ADMIN_PORT": "off",
        "SIDECAR_TOKEN_PREFETCH": "false",
        "SIDECAR_LOG_LEVEL": "error",
        "LISTEN_FDS": "1",
    }
    return subprocess.run(
        command, env=required | environ, pass_fds=(descriptor,), capture_output=True, text=True, timeout=30, check=False
    )


# --- how listeners use them ------------------------------------------------------------------------------------------


class Greeting(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast("asyncio.WriteTransport", transport).write(b"hello")
        transport.close()


@pytest.mark.any_loop
async def test_listeners_serve_on_them_and_leave_the_unix_socket_s_file_to_the_manager(path: Path) -> None:
    with unix(path, 0o660) as kept, tcp() as other:
        port = other.getsockname()[1]
        copies = [socket.socket(fileno=os.dup(each.fileno())) for each in (kept, other)]
        for copy in copies:
            copy.setblocking(False)
        inherited = Inherited(copies)
        listeners = Listeners("LISTEN", inherited)
        # Somebody calls before anybody listens, and waits.
        _, early = await asyncio.open_unix_connection(str(path))
        early.close()
        await listeners.open_unix(path, 0o660, Greeting)
        await listeners.open_tcp(["127.0.0.1"], port, Greeting)
        inherited.refuse_rest()
        assert [bound.url for bound in listeners.bound] == [f"unix:{path}", f"http://127.0.0.1:{port}"]
        for opening in (asyncio.open_unix_connection(str(path)), asyncio.open_connection("127.0.0.1", port)):
            reader, writer = await opening
            assert await reader.read() == b"hello"
            writer.close()
        listeners.close()
        await asyncio.sleep(0)
        assert path.is_socket()
        # The manager's own descriptor still takes calls in, for the next process.
        with socket.socket(socket.AF_UNIX) as later:
            later.connect(str(path))


# --- sd_notify -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "abstract", [False, pytest.param(True, marks=pytest.mark.skipif(sys.platform != "linux", reason="Linux only"))]
)
def test_the_manager_is_told_that_calls_are_served(abstract: bool, path: Path) -> None:
    name = f"\0{path}" if abstract else str(path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(name)
        notify_ready({"NOTIFY_SOCKET": name.replace("\0", "@")})
        assert manager.recv(100) == b"READY=1"


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "/nowhere"}, {"NOTIFY_SOCKET": "x"}])
def test_no_manager_or_one_that_is_gone_is_no_reason_not_to_serve(environ: dict[str, str]) -> None:
    notify_ready(environ)
