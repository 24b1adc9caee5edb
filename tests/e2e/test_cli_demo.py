"""``demo``: works as printed, on a machine with nothing set up, whatever the environment says."""

from __future__ import annotations

import re
import shlex
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.port_holder import in_use
from tests.support.ports import free_port
from tests.support.sidecar import Command
from tests.support.wrapping import taken

if TYPE_CHECKING:
    from collections.abc import Iterator

FREE = ("--port", "0", "--admin-port", "0")
READY = r"^ready proxy=(\S+) admin=(\S+) environment=emulator client_id=acme$"


@pytest.fixture
def demo() -> Iterator[Command]:
    with Command("demo", *FREE) as command:
        command.wait_for(r"^To end:")
        yield command


def printed_curl_lines(demo: Command) -> list[str]:
    return re.findall(r"^ +(curl .*)$", demo.stdout, re.MULTILINE)


def curl(line: str) -> str:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    return subprocess.run(shlex.split(line), capture_output=True, check=True, timeout=30).stdout.decode()


def test_the_printed_lines_work_and_show_the_mend(demo: Command) -> None:
    call, revoke = printed_curl_lines(demo)
    assert curl(call).startswith("HTTP/1.1 200 ")
    assert '"revoked":1' in curl(revoke).replace(" ", "")
    mended = curl(call)
    assert mended.startswith("HTTP/1.1 200 ")
    assert "\nX-Sidecar-Recovered: token\r\n" in mended
    assert "X-Sidecar-Recovered" not in curl(call)


def test_the_printed_sdk_line_works(demo: Command) -> None:
    """With this Python, if it has the SDK."""
    pytest.importorskip("mangopay", reason="needs the SDK, which make setup installs")
    call, _ = printed_curl_lines(demo)
    curl(call)
    (line,) = re.findall(r"^ +(python3 -c .*)$", demo.stdout, re.MULTILINE)
    done = subprocess.run(
        [sys.executable, *shlex.split(line)[1:]], capture_output=True, text=True, timeout=30, check=True
    )
    assert "ada@example.com" in done.stdout


@pytest.mark.parametrize("client_id", ["demo", "another-client", "_", "ACME"])
def test_any_client_id_is_served(demo: Command, client_id: str) -> None:
    proxy = demo.wait_for(READY)[1]
    assert curl(f"curl -i {proxy}/v2.01/{client_id}/users").startswith("HTTP/1.1 200 ")
    assert curl(f"curl -i {proxy}/v2.01/countries/authorizations").startswith("HTTP/1.1 200 ")


def test_the_printed_status_command_works(demo: Command) -> None:
    (line,) = re.findall(r"mangopay-sidecar (status .*)$", demo.stdout, re.MULTILINE)
    with Command(*line.split()) as status:
        assert status.wait() == 0
        assert "account    acme in emulator" in status.stdout


def test_the_ready_line_comes_first(demo: Command) -> None:
    assert re.match(READY, demo.stdout, re.MULTILINE)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_0(demo: Command, number: signal.Signals) -> None:
    assert demo.stop(number) == 0
    assert demo.complaints == []


def test_the_environment_is_ignored() -> None:
    """A developer's real settings must not get near a demo."""
    ambient = {
        "SIDECAR_CONFIG": "/nowhere.toml",
        "SIDECAR_MANGOPAY_ENVIRONMENT": "production",
        "SIDECAR_MANGOPAY_CLIENT_ID": "real",
        "SIDECAR_LISTEN_PROT": "1",
        "MANGOPAY_CLIENT_ID": "real",
    }
    with Command("demo", *FREE, environ=ambient) as command:
        command.wait_for(READY)
        assert command.stop() == 0


def test_the_usual_ports_are_taken_or_free_ones_if_those_are_in_use() -> None:
    with taken(18080, 19090), Command("demo") as command:
        proxy, admin = command.wait_for(READY).groups()
        assert {proxy.rpartition(":")[2], admin.rpartition(":")[2]}.isdisjoint({"18080", "19090", "0"})
        command.wait_for(re.escape(f"{in_use(18080)}: a free one is taken"), stream="stderr")
        command.wait_for(re.escape(f"{in_use(19090)}: a free one is taken"), stream="stderr")
        assert "config.emulator" not in command.stderr, "nobody is warned of the demo's own emulator"
        assert command.stop() == 0


def test_a_port_that_is_asked_for_is_not_given_up() -> None:
    with taken(18080), Command("demo", "--port", "18080", "--admin-port", "0") as command:
        assert command.wait() == 1
        assert command.stderr.splitlines()[-1] == f"{in_use(18080)}: give another --port"


def test_ports_can_be_set() -> None:
    proxy, admin = str(free_port()), str(free_port())
    with Command("demo", "--port", proxy, "--admin-port", admin) as command:
        assert command.wait_for(READY).groups() == (f"http://127.0.0.1:{proxy}", f"http://127.0.0.1:{admin}")
        command.stop()


def test_two_ports_that_are_the_same_are_status_2_and_one_line() -> None:
    with Command("demo", "--port", "18080", "--admin-port", "18080") as command:
        assert command.wait() == 2
        (line,) = [line for line in command.stderr.splitlines() if not line.startswith("{")]
        assert line.endswith("set another --port or --admin-port")
