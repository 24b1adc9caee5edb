"""Where the command listens: a Unix socket with its own guards, TCP on both families, and a word about exposure."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.app import request_bytes
from tests.support.canary import CANARY_API_KEY, CANARY_CALLER_KEY
from tests.support.port_holder import held_by
from tests.support.raw_client import RawClient, ReceivedResponse
from tests.support.sidecar import Command, Sidecar

if TYPE_CHECKING:
    from collections.abc import Iterator

USERS = "/v2.01/acme/users"
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
#: Somebody else.
OTHER = 65532
#: Makes a call from user id argv[2] to the socket argv[1], and prints the status or why it could not.
CALL_AS = """
import os, socket, sys
os.seteuid(int(sys.argv[2]))
caller = socket.socket(socket.AF_UNIX)
try:
    caller.connect(sys.argv[1])
    caller.sendall(b"GET /v2.01/acme/users HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n")
    answer = b""
    while piece := caller.recv(4096):
        answer += piece
    print(answer.split()[1].decode(), answer.partition(b"X-Sidecar-Error: ")[2].partition(b"\\r\\n")[0].decode())
except OSError as error:
    print(error.strerror)
"""


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    with Command("emulator", "--port", "0") as emulator:
        yield emulator.wait_for(r"^ready emulator=(\S+)$")[1]


@pytest.fixture
def path() -> Iterator[Path]:
    """Where a socket can be: short enough for an address, and in a directory that everybody may enter."""
    with tempfile.TemporaryDirectory(prefix="sc-", dir="/tmp") as directory:
        Path(directory).chmod(0o755)
        yield Path(directory, "s")


async def call(
    address: tuple[str, int] | Path, target: str = USERS, *, host: str = "localhost", headers: str = ""
) -> ReceivedResponse:
    with await RawClient.connect(address) as client:
        await client.send(f"GET {target} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n".encode())
        return await client.response()


def called_as(uid: int, path: Path) -> str:
    run = subprocess.run([sys.executable, "-c", CALL_AS, path, str(uid)], capture_output=True, check=True)
    return run.stdout.decode().strip()


def environ(upstream: str, path: Path) -> dict[str, str]:
    return {
        "SIDECAR_MANGOPAY_ENVIRONMENT": "emulator",
        "SIDECAR_MANGOPAY_BASE_URL": upstream,
        "SIDECAR_MANGOPAY_CLIENT_ID": "acme",
        "SIDECAR_MANGOPAY_API_KEY": CANARY_API_KEY,
        "SIDECAR_LISTEN_PORT": "off",
        "SIDECAR_LISTEN_UNIX_SOCKET": str(path),
        "SIDECAR_ADMIN_PORT": "off",
        "SIDECAR_LOG_LEVEL": "error",
    }


# --- the Unix socket -------------------------------------------------------------------------------------------------


async def test_the_socket_is_served_besides_tcp(upstream: str, path: Path) -> None:
    with Sidecar(upstream, listen={"unix_socket": str(path)}) as sidecar:
        assert (await call(path)).status == 200
        assert (await call(("127.0.0.1", sidecar.port))).status == 200


async def test_the_socket_can_be_the_only_way_in(upstream: str, path: Path) -> None:
    with Sidecar(upstream, listen={"unix_socket": str(path), "port": "off"}) as sidecar:
        assert sidecar.url == f"unix:{path}"
        assert (await call(path)).status == 200


def test_a_port_that_is_off_without_a_socket_is_status_2(upstream: str, path: Path) -> None:
    with Command("run", environ={**environ(upstream, path), "SIDECAR_LISTEN_UNIX_SOCKET": ""}) as command:
        assert command.wait() == 2
        assert command.stderr.startswith('listen.port is "off" without listen.unix_socket: ')


async def test_no_host_is_asked_for_but_browsers_are_refused_as_ever(upstream: str, path: Path) -> None:
    with Sidecar(upstream, listen={"unix_socket": str(path), "port": "off"}):
        assert (await call(path, host="any.name.at.all")).status == 200
        refused = await call(path, headers="Origin: http://localhost\r\n")
        assert (refused.status, refused.header("X-Sidecar-Error")) == (403, b"browser_not_allowed")


@pytest.mark.parametrize(("mode", "bits"), [(None, 0o600), ("0660", 0o660), ("0666", 0o666)])
def test_the_socket_has_the_mode_that_is_set(upstream: str, path: Path, mode: str | None, bits: int) -> None:
    section = {"unix_socket": str(path), **({} if mode is None else {"unix_socket_mode": mode})}
    with Sidecar(upstream, listen=section):
        assert stat.S_ISSOCK(path.lstat().st_mode)
        assert stat.S_IMODE(path.lstat().st_mode) == bits


def test_the_socket_is_removed_at_the_end(upstream: str, path: Path) -> None:
    with Sidecar(upstream, listen={"unix_socket": str(path)}) as sidecar:
        assert sidecar.stop() == 0
        assert not path.exists()


async def test_a_socket_that_a_crash_left_behind_is_replaced(upstream: str, path: Path) -> None:
    with Sidecar(upstream, listen={"unix_socket": str(path)}) as sidecar:
        os.kill(sidecar.pid, 9)
        sidecar.wait()
        assert path.exists()
    with Sidecar(upstream, listen={"unix_socket": str(path)}):
        assert (await call(path)).status == 200


async def test_a_socket_that_is_served_is_refused_and_left_alone(upstream: str, path: Path) -> None:
    with Sidecar(upstream, listen={"unix_socket": str(path)}) as first:
        with Command("run", environ=environ(upstream, path)) as second:
            assert second.wait() == 1
            who = held_by(first.pid) or "by a running process"
            expected = f"{path} is served {who}: stop that, or set SIDECAR_LISTEN_UNIX_SOCKET\n"
            assert (second.stdout, second.stderr) == ("", expected)
        assert (await call(path)).status == 200


def test_a_file_that_is_no_socket_is_refused_and_left_alone(upstream: str, path: Path) -> None:
    path.write_text("precious")
    with Command("run", environ=environ(upstream, path)) as command:
        assert command.wait() == 1
        assert command.stderr == f"{path} is there and is not a socket: set SIDECAR_LISTEN_UNIX_SOCKET\n"
    assert path.read_text() == "precious"


# --- who may use it --------------------------------------------------------------------------------------------------


async def test_a_user_on_the_list_may_call(upstream: str, path: Path) -> None:
    with Sidecar(
        upstream, environ={"SIDECAR_LISTEN_ALLOWED_UIDS": f"{OTHER},{os.geteuid()}"}, listen={"unix_socket": str(path)}
    ):
        assert (await call(path)).status == 200


async def test_a_user_not_on_the_list_is_refused_with_the_mend(upstream: str, path: Path) -> None:
    with Sidecar(
        upstream, environ={"SIDECAR_LISTEN_ALLOWED_UIDS": str(os.geteuid() + 1)}, listen={"unix_socket": str(path)}
    ) as sidecar:
        response = await call(path)
        assert (response.status, response.header("X-Sidecar-Error")) == (403, b"caller_not_allowed")
        assert response.header("Connection") == b"close"
        assert "SIDECAR_LISTEN_ALLOWED_UIDS" in response.json["Message"]
        # The list is about the socket.
        assert (await call(("127.0.0.1", sidecar.port))).status == 200


@as_root
@pytest.mark.parametrize(
    ("mode", "allowed", "uid", "outcome"),
    [
        ("0666", f"{OTHER}", OTHER, "200"),
        ("0666", "0", OTHER, "403 caller_not_allowed"),
        ("0666", "0", 0, "200"),
        ("0600", "", OTHER, "Permission denied"),
        ("0666", "", OTHER, "200"),
        # Whoever has no number in this user namespace has this one.
        ("0666", "65534", 65534, "403 caller_not_allowed"),
    ],
)
def test_the_mode_and_the_list_decide_by_the_peer_s_own_user(
    upstream: str, path: Path, mode: str, allowed: str, uid: int, outcome: str
) -> None:
    more = {"SIDECAR_LISTEN_UNIX_SOCKET_MODE": mode, "SIDECAR_LISTEN_ALLOWED_UIDS": allowed}
    with Sidecar(upstream, environ=more, listen={"unix_socket": str(path)}):
        assert called_as(uid, path) == outcome


# --- TCP -------------------------------------------------------------------------------------------------------------


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
@pytest.mark.parametrize("hosts", [["127.0.0.1", "::1"], ["0.0.0.0", "::"]])
async def test_both_families_are_served_on_the_same_port(upstream: str, hosts: list[str]) -> None:
    with Sidecar(upstream, listen={"host": hosts}) as sidecar:
        assert (await call(("127.0.0.1", sidecar.port))).status == 200
        with socket.create_connection(("::1", sidecar.port)) as caller:
            caller.sendall(request_bytes("GET", USERS, headers=(("Connection", "close"),)))
            assert caller.recv(4096).startswith(b"HTTP/1.1 200 ")


def exposures(sidecar: Sidecar) -> list[dict[str, object]]:
    return [line for line in sidecar.log if line["event"] == "listener.exposed"]


def test_a_listener_that_others_reach_is_warned_of_with_risk_and_mend(upstream: str) -> None:
    with Sidecar(upstream, listen={"host": ["0.0.0.0"]}) as sidecar:
        sidecar.wait_for("listener.exposed", stream="stderr")
        (warning,) = exposures(sidecar)
        assert (warning["level"], warning["address"]) == ("warning", f"http://0.0.0.0:{sidecar.port}")
        assert "can move money" in str(warning["message"])
        assert "SIDECAR_LISTEN_CALLER_KEY" in str(warning["message"])


@pytest.mark.parametrize(("host", "caller_key"), [("127.0.0.1", ""), ("127.0.0.2", ""), ("0.0.0.0", CANARY_CALLER_KEY)])
def test_loopback_and_callers_with_a_key_are_no_exposure(upstream: str, host: str, caller_key: str) -> None:
    more = {"SIDECAR_LISTEN_HOST": host, "SIDECAR_LISTEN_CALLER_KEY": caller_key}
    with Sidecar(upstream, environ=more) as sidecar:
        assert exposures(sidecar) == []


def test_a_unix_socket_is_no_exposure(upstream: str, path: Path) -> None:
    with Sidecar(upstream, listen={"unix_socket": str(path), "unix_socket_mode": "0666"}) as sidecar:
        assert exposures(sidecar) == []
