"""``wait``: ends when the sidecar is ready, or says why it is not."""

from __future__ import annotations

import http.server
import threading
from typing import TYPE_CHECKING

import pytest

from tests.support.canary import CANARY_API_KEY
from tests.support.ports import free_port
from tests.support.sidecar import Command, Sidecar

if TYPE_CHECKING:
    from collections.abc import Iterator

REQUIRED = {"SIDECAR_MANGOPAY_CLIENT_ID": "acme", "SIDECAR_MANGOPAY_API_KEY": CANARY_API_KEY}


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    with Command("emulator", "--port", "0") as emulator:
        yield emulator.wait_for(r"^ready emulator=(\S+)$")[1]


@pytest.fixture(scope="module")
def without_token() -> Iterator[str]:
    """A Mangopay that never answers a token request."""
    with Command("emulator", "--port", "0", "--fault", "hang token") as emulator:
        yield emulator.wait_for(r"^ready emulator=(\S+)$")[1]


class _Quiet(http.server.BaseHTTPRequestHandler):
    """Answers every request with 501."""

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def other_server() -> Iterator[int]:
    """A port of somebody else's, which knows no /readyz."""
    with http.server.HTTPServer(("127.0.0.1", 0), _Quiet) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


class _Hostile(_Quiet):
    """Says in a sidecar's own form what would retitle the terminal and forge a line."""

    def do_GET(self) -> None:
        body = rb'{"ready": false, "reason": "x", "message": "\u001b]0;owned\u0007 no\nready\u202e"}'
        self.send_response(503)
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def hostile_server() -> Iterator[int]:
    with http.server.HTTPServer(("127.0.0.1", 0), _Hostile) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def admin_port(sidecar: Sidecar) -> str:
    return sidecar.admin_url.rpartition(":")[2]


def ended(*arguments: str, **environ: str) -> tuple[int, str, str]:
    with Command("wait", *arguments, environ=environ) as command:
        return command.wait(), command.stdout, command.stderr


@pytest.mark.parametrize("host", ["127.0.0.1", "::1,127.0.0.1", "0.0.0.0"])
def test_it_ends_with_0_and_says_nothing_when_the_configured_sidecar_is_ready(upstream: str, host: str) -> None:
    with Sidecar(upstream) as sidecar:
        environ = {**REQUIRED, "SIDECAR_ADMIN_PORT": admin_port(sidecar), "SIDECAR_ADMIN_HOST": host}
        assert ended(**environ) == (0, "", "")


def test_a_port_on_the_command_line_needs_no_configuration(upstream: str) -> None:
    with Sidecar(upstream) as sidecar:
        assert ended("--port", admin_port(sidecar)) == (0, "", "")


def test_with_no_time_at_all_it_asks_once(upstream: str) -> None:
    with Sidecar(upstream) as sidecar:
        sidecar.wait_until_ready()
        assert ended("--port", admin_port(sidecar), "--timeout", "0") == (0, "", "")


def test_it_may_begin_to_wait_before_the_sidecar_starts(upstream: str) -> None:
    port = free_port()
    with Command("wait", "--port", str(port)) as waiting:
        with Sidecar(upstream, admin={"port": port}):
            assert waiting.wait() == 0


def test_a_sidecar_without_a_token_is_not_ready_and_the_reason_is_told(without_token: str) -> None:
    with Sidecar(without_token) as sidecar:
        code, stdout, stderr = ended("--port", admin_port(sidecar), "--timeout", "0.3")
        assert (code, stdout) == (1, "")
        assert stderr == "not ready within 0.3 s: the first token is being fetched\n"


def test_none_running_is_status_1_and_one_line() -> None:
    code, stdout, stderr = ended("--port", "1", "--timeout", "0.1")
    assert (code, stdout) == (1, "")
    assert stderr.startswith("not ready within 0.1 s: no sidecar answers on admin port 1; ")
    assert stderr.count("\n") == 1


def test_another_program_on_that_port_is_told(other_server: int) -> None:
    code, _, stderr = ended("--port", str(other_server), "--timeout", "0.1")
    assert code == 1
    assert f"port {other_server} answered 501: is it the admin port?" in stderr


def test_who_sits_on_the_port_cannot_steer_the_terminal(hostile_server: int) -> None:
    code, stdout, stderr = ended("--port", str(hostile_server), "--timeout", "0.1")
    assert (code, stdout) == (1, "")
    assert stderr == "not ready within 0.1 s: ?]0;owned? no?ready?\n"


@pytest.mark.parametrize("port", ["off", "0"])
def test_a_port_that_cannot_be_known_is_told_at_once(port: str) -> None:
    code, _, stderr = ended("--timeout", "3600", **REQUIRED, SIDECAR_ADMIN_PORT=port)
    assert code == 1
    assert stderr.startswith(f"admin.port is {port}")
    assert "set SIDECAR_ADMIN_PORT" in stderr


def test_a_bad_configuration_is_status_2() -> None:
    code, _, stderr = ended(**REQUIRED, SIDECAR_ADMIN_PORT="ninety")
    assert code == 2
    assert "SIDECAR_ADMIN_PORT" in stderr


@pytest.mark.parametrize("timeout", ["soon", "-1"])
def test_a_timeout_that_is_none_is_status_2(timeout: str) -> None:
    assert ended("--port", "1", "--timeout", timeout)[0] == 2
