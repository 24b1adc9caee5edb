"""``wrap`` as a container's entry point, ``wait`` in a start order: what an orchestrator and an app see of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from tests.deploy.example_app import works
from tests.support.ports import free_port
from tests.support.sidecar import COMMAND, Command
from tests.support.wrapping import settings, wrap

if TYPE_CHECKING:
    from collections.abc import Iterator

APP: Final = Path(__file__).parents[2] / "deploy" / "example-app" / "app.py"
#: Told to stop, it makes one more call, as apps do that finish what they are at; its status tells how that went.
#: The call is not made in the handler: told twice, that would begin it again within itself.
#: Told again while it ends, Python would die of it: its end puts back the default of every signal but an ignored one.
LAST_CALL: Final = """
import os, signal, sys, time, urllib.request

told = []
signal.signal(signal.SIGTERM, lambda number, frame: told.append(number))
print("serving", flush=True)
while not told:
    time.sleep(0.05)  # a signal just before a longer pause would be noticed at its end only
with urllib.request.urlopen(os.environ["MANGOPAY_BASE_URL"] + "/v2.01/_/users?per_page=1") as answer:
    status = 0 if answer.status == 200 else 1
signal.signal(signal.SIGTERM, signal.SIG_IGN)
sys.exit(status)
"""


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    with Command("emulator", "--port", "0") as emulator:
        yield emulator.wait_for(r"^ready emulator=(\S+)$")[1]


def events(command: Command) -> list[object]:
    return [line["event"] for line in command.log]


def test_an_app_that_is_wrapped_works_and_ends_by_the_orchestrator_s_signal(upstream: str) -> None:
    port = free_port()
    environ = settings(upstream, HOST="127.0.0.1", PORT=str(port))
    with wrap("--", sys.executable, APP, environ=environ) as command:
        command.wait_for(f"^app at port {port}$")
        works(port)
        assert command.stop() == 0
        assert events(command)[-2:] == ["shutdown.started", "shutdown.drained"]
        assert command.complaints == []


def test_an_app_that_is_told_to_stop_can_still_call(upstream: str) -> None:
    """The sidecar is stopped by the app's end, not by the signal: nothing to be ordered, no delay to be guessed."""
    with wrap("--", sys.executable, "-c", LAST_CALL, environ=settings(upstream)) as command:
        command.wait_for("^serving$")
        assert command.stop() == 0
        seen = events(command)
        assert seen.index("request") < seen.index("shutdown.started")


def test_a_process_group_that_is_told_to_stop_ends_once(upstream: str) -> None:
    """As an init system that signals every process of a container does."""
    with wrap("--", sys.executable, "-c", LAST_CALL, environ=settings(upstream)) as command:
        command.wait_for("^serving$")
        os.killpg(command.pid, signal.SIGTERM)
        assert command.wait() == 0


def test_an_app_behind_wait_starts_when_the_sidecar_has_a_token_and_not_before(upstream: str, tmp_path: Path) -> None:
    """A start script for an app without native sidecars: ``wait`` first, then exec."""
    proxy, admin, app = free_port(), free_port(), free_port()
    environ = {
        "PATH": os.environ["PATH"],
        "MANGOPAY_BASE_URL": f"http://127.0.0.1:{proxy}",
        "HOST": "127.0.0.1",
        "PORT": str(app),
    }
    script = f"'{COMMAND}' wait --port {admin} --timeout 30 && exec '{sys.executable}' '{APP}'"
    with subprocess.Popen(["sh", "-c", script], env=environ, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        ports = {"SIDECAR_LISTEN_PORT": str(proxy), "SIDECAR_ADMIN_PORT": str(admin)}
        # No token yet: the sidecar serves, and is not ready.
        faults(upstream, "POST", {"rule": "status=503 token"})
        with Command("run", environ=settings(upstream, **ports)) as sidecar:
            sidecar.wait_for("^ready ")
            sidecar.wait_for("token.fetch_failed", stream="stderr")
            assert process.stdout.read() is None
            faults(upstream, "DELETE", {})
            sidecar.wait_for("token.refreshed", stream="stderr")
            os.set_blocking(process.stdout.fileno(), True)
            assert process.stdout.readline() == f"app at port {app}\n".encode()
            works(app)
            process.terminate()
            assert process.wait(10) == 0
            assert sidecar.stop() == 0


def faults(upstream: str, method: str, body: object) -> None:
    address, data = f"{upstream}/__emulator__/faults", json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(address, data, method=method)) as response:
        assert response.status == 200


def test_an_app_behind_wait_is_not_started_without_a_sidecar() -> None:
    script = f"'{COMMAND}' wait --port {free_port()} --timeout 0.2 && echo started"
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("not ready within 0.2 s: no sidecar answers")
