"""``run``: its ready line, its exit statuses, its log, and its composure when its descriptors are gone."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import urllib.request
from typing import TYPE_CHECKING

import pytest

from tests.support.canary import CANARY_API_KEY
from tests.support.port_holder import in_use
from tests.support.ports import free_port
from tests.support.sidecar import COMMAND, Command, Sidecar

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    with Command("emulator", "--port", "0") as emulator:
        yield emulator.wait_for(r"^ready emulator=(\S+)$")[1]


def settings(upstream: str, **more: str) -> dict[str, str]:
    return {
        "SIDECAR_MANGOPAY_ENVIRONMENT": "emulator",
        "SIDECAR_MANGOPAY_BASE_URL": upstream,
        "SIDECAR_MANGOPAY_CLIENT_ID": "acme",
        "SIDECAR_MANGOPAY_API_KEY": CANARY_API_KEY,
        "SIDECAR_LISTEN_PORT": "0",
        "SIDECAR_ADMIN_PORT": "0",
        **more,
    }


def test_the_ready_line_is_all_of_stdout_and_true(upstream: str) -> None:
    with Sidecar(upstream) as sidecar:
        assert re.fullmatch(
            r"ready proxy=http://127\.0\.0\.1:\d+ admin=http://127\.0\.0\.1:\d+ environment=emulator client_id=acme\n",
            sidecar.stdout,
        )
        with urllib.request.urlopen(f"{sidecar.url}/v2.01/_/users") as response:
            assert response.status == 200
        with urllib.request.urlopen(f"{sidecar.admin_url}/healthz") as response:
            assert response.status == 200
        assert sidecar.stop() == 0
        assert sidecar.stdout.count("\n") == 1
        assert sidecar.complaints == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_0_and_is_logged(upstream: str, number: signal.Signals) -> None:
    with Sidecar(upstream) as sidecar:
        assert sidecar.stop(number) == 0
        events = [line["event"] for line in sidecar.log]
        assert "listener.ready" in events
        assert events.index("shutdown.started") < events.index("shutdown.drained")


def test_an_admin_port_that_is_off_is_said(upstream: str) -> None:
    with Command("run", environ=settings(upstream, SIDECAR_ADMIN_PORT="off")) as command:
        assert command.wait_for(r"^ready .* admin=(\S+) ")[1] == "off"
        assert command.stop() == 0


def test_every_line_of_a_json_log_is_json_with_timestamp_level_and_event_first(upstream: str) -> None:
    with Sidecar(upstream) as sidecar:
        with urllib.request.urlopen(f"{sidecar.url}/v2.01/_/users?Page=1"):
            pass
        sidecar.stop()
        assert len(sidecar.log) == sidecar.stderr.count("\n")
        assert all(list(line)[:3] == ["timestamp", "level", "event"] for line in sidecar.log)
        (request,) = [line for line in sidecar.log if line["event"] == "request"]
        assert (request["path"], request["status"]) == ("/v2.01/{client}/users", 200)


def test_a_port_in_use_is_status_1_and_one_line_at_the_end(upstream: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        more = {"SIDECAR_LISTEN_PORT": str(port), "SIDECAR_LISTEN_HOST": "127.0.0.1", "SIDECAR_LOG_LEVEL": "error"}
        with Command("run", environ=settings(upstream, **more)) as command:
            assert command.wait() == 1
            assert command.stderr == f"{in_use(port)}: set SIDECAR_LISTEN_PORT\n"
            assert command.stdout == ""


def test_a_port_that_an_option_named_is_changed_by_that_option(upstream: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        environ = settings(upstream, SIDECAR_LISTEN_HOST="127.0.0.1", SIDECAR_LOG_LEVEL="error")
        with Command("run", "--port", str(port), environ=environ) as command:
            assert command.wait() == 1
            assert command.stderr == f"{in_use(port)}: give another --port\n"


def test_an_option_that_collides_is_named_as_an_option(upstream: str) -> None:
    with Command("run", "--port", "7", environ=settings(upstream, SIDECAR_ADMIN_PORT="7")) as command:
        assert command.wait() == 2
        assert command.stderr.endswith(": set another --port or SIDECAR_ADMIN_PORT\n")


def test_a_bad_configuration_is_status_2_and_one_line(upstream: str) -> None:
    with Command("run", environ=settings(upstream, SIDECAR_LISTEN_PROT="1")) as command:
        assert command.wait() == 2
        assert command.stderr.count("\n") == 1
        assert "SIDECAR_LISTEN_PORT" in command.stderr


def test_a_second_signal_ends_a_drain_with_1(upstream: str) -> None:
    with Command("emulator", "--port", "0", "--fault", "hang api") as hanging:
        with Sidecar(hanging.wait_for(r"^ready emulator=(\S+)$")[1]) as sidecar:
            with socket.create_connection(("127.0.0.1", sidecar.port)) as caller:
                caller.sendall(b"GET /v2.01/_/users HTTP/1.1\r\nHost: localhost\r\n\r\n")
                sidecar.wait_for(r"token\.refreshed", stream="stderr")
                _wait_for_call(sidecar)
                subprocess.run(["kill", "-TERM", str(sidecar.pid)], check=True)
                sidecar.wait_for(r"shutdown\.started", stream="stderr")
                assert sidecar.stop(signal.SIGTERM) == 1


def _wait_for_call(sidecar: Sidecar) -> None:
    """Return once a call is in flight."""
    while True:
        with urllib.request.urlopen(f"{sidecar.admin_url}/metrics") as response:
            if b"mangopay_sidecar_requests_in_flight 1\n" in response.read():
                return


def _serves(upstream: str, redirection: str, tmp_path: Path) -> int:
    """Run with the shell's ``redirection``, make one call, stop it; return the status."""
    port = free_port()
    environ = settings(upstream, SIDECAR_LISTEN_PORT=str(port), SIDECAR_LISTEN_HOST="127.0.0.1", PATH="/usr/bin:/bin")
    process = subprocess.Popen(
        f"exec '{COMMAND}' run {redirection}", shell=True, env=environ, cwd=tmp_path, stdin=subprocess.DEVNULL
    )
    try:
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2.01/_/users") as response:
                    assert response.status == 200
                break
            except OSError:
                assert process.poll() is None
        process.terminate()
        return process.wait(30)
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("redirection", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-", ">/dev/full 2>/dev/full"])
def test_it_serves_with_its_descriptors_closed_or_full(upstream: str, redirection: str, tmp_path: Path) -> None:
    assert _serves(upstream, redirection, tmp_path) == 0


def test_it_serves_when_whoever_read_its_output_has_left(upstream: str) -> None:
    process = subprocess.Popen(
        [COMMAND, "run"],
        env=settings(upstream, SIDECAR_LOG_FORMAT="json"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        ready = process.stdout.readline().decode()
        process.stdout.close()
        process.stderr.close()
        url = ready.split("proxy=")[1].split()[0]
        for _ in range(3):
            with urllib.request.urlopen(f"{url}/v2.01/_/users") as response:
                assert response.status == 200
        process.terminate()
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()


def test_no_core_file_would_be_written(upstream: str) -> None:
    """It would hold the key and the tokens."""
    with Sidecar(upstream) as sidecar:
        limits = subprocess.run(["cat", f"/proc/{sidecar.pid}/limits"], capture_output=True, check=True).stdout.decode()
    assert re.search(r"^Max core file size\s+0 ", limits, re.MULTILINE)
