"""The systemd units: valid, hardened, in agreement with each other, and started as systemd would start them."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from sidecar.config.model import Shutdown
from tests.deploy.conftest import not_to_be_had
from tests.deploy.mangopay import Mangopay
from tests.support import canary
from tests.support.canary import CANARY_API_KEY
from tests.support.ports import free_port
from tests.support.sidecar import COMMAND

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

UNITS: Final = Path(__file__).parents[2] / "deploy" / "systemd"
SERVICE, SOCKET = UNITS / "mangopay-sidecar.service", UNITS / "mangopay-sidecar.socket"
INSTALLED: Final = "/opt/mangopay-sidecar/bin/mangopay-sidecar"
#: Tenths: what systemd-analyze calls the exposure level; 2.0 and less is its best class but one.
MOST_EXPOSURE: Final = 15
#: What the page of documentation writes into the environment file, but for the base URL.
ENVIRONMENT: Final = "SIDECAR_MANGOPAY_CLIENT_ID=acme\nSIDECAR_MANGOPAY_ENVIRONMENT=sandbox\n"

#: Becomes argv[2:] as systemd's child would: the socket argv[1] as descriptor 3, and, where Linux can, no memory that
#: is writable becomes executable (PR_SET_MDWE, which newer systemd uses for MemoryDenyWriteExecute).
EXECUTE: Final = """
import ctypes, os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ["LISTEN_PID"] = str(os.getpid())
ctypes.CDLL(None).prctl(65, 1, 0, 0, 0)
os.execv(sys.argv[2], sys.argv[2:])
"""


def settings(unit: Path) -> dict[str, list[str]]:
    """A unit's settings, each with all its values in order."""
    found: dict[str, list[str]] = {}
    for line in unit.read_text().splitlines():
        if match := re.fullmatch(r"(\w+)=(.*)", line):
            found.setdefault(match[1], []).append(match[2])
    return found


def seconds(text: str) -> float:
    assert text.isdecimal(), text
    return float(text)


# --- what the units say ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def systemd_analyze() -> str:
    return shutil.which("systemd-analyze") or not_to_be_had("no systemd-analyze on the PATH")


@pytest.fixture
def installed(tmp_path: Path) -> list[Path]:
    """The units as they would be installed here, where the command is elsewhere."""
    copies = []
    for unit in (SERVICE, SOCKET):
        copies.append(tmp_path / unit.name)
        copies[-1].write_text(unit.read_text().replace(INSTALLED, str(COMMAND)))
    return copies


def analysed(command: str, *arguments: str | Path) -> tuple[int, str]:
    done = subprocess.run([command, *arguments], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_systemd_has_nothing_to_say_of_the_units(systemd_analyze: str, installed: list[Path]) -> None:
    code, said = analysed(systemd_analyze, "verify", *installed)
    ours = [line for line in said.splitlines() if "mangopay" in line]
    assert (code, ours) == (0, [])


def test_it_would_say_something_of_a_misspelt_setting(systemd_analyze: str, installed: list[Path]) -> None:
    service = installed[0]
    service.write_text(service.read_text().replace("ProtectHome=", "ProtectHom="))
    assert "ProtectHom" in analysed(systemd_analyze, "verify", *installed)[1]


def test_little_is_exposed(systemd_analyze: str, installed: list[Path]) -> None:
    arguments: list[str | Path] = [
        "security",
        "--offline=true",
        "--no-pager",
        f"--threshold={MOST_EXPOSURE}",
        installed[0],
    ]
    code, said = analysed(systemd_analyze, *arguments)
    assert code == 0, said


def test_service_and_socket_mean_the_same_address_and_mode() -> None:
    service, listening = settings(SERVICE), settings(SOCKET)
    environ = dict(line.split("=", 1) for line in service["Environment"])
    assert environ["SIDECAR_LISTEN_PORT"] == "off"
    assert [environ["SIDECAR_LISTEN_UNIX_SOCKET"]] == listening["ListenStream"]
    assert [environ["SIDECAR_LISTEN_UNIX_SOCKET_MODE"]] == listening["SocketMode"] == ["0660"]
    assert service["Requires"] == [SOCKET.name]
    assert f"g {listening['SocketGroup'][0]} -" in (UNITS / "sysusers.conf").read_text()


def test_the_key_is_a_credential_and_no_other_user_s_to_read() -> None:
    service = settings(SERVICE)
    (name, _), *others = [line.split(":", 1) for line in service["LoadCredential"]]
    assert others == []
    assert f"SIDECAR_MANGOPAY_API_KEY_FILE=%d/{name}" in service["Environment"]
    assert service["DynamicUser"] == ["yes"]


def test_the_time_to_stop_holds_the_drain() -> None:
    service = settings(SERVICE)
    assert seconds(service["TimeoutStopSec"][-1]) >= Shutdown().delay + Shutdown().drain + 5


def test_every_descriptor_that_the_defaults_may_need_is_allowed() -> None:
    from sidecar.config.model import Listen, Upstream
    from sidecar.core.descriptors import wanted

    needed = wanted(Listen().max_connections, Upstream().pool_size)
    assert int(settings(SERVICE)["LimitNOFILE"][0]) >= needed


# --- started for real ------------------------------------------------------------------------------------------------


class Manager:
    """Does for the units what systemd does: opens the socket, hands credentials over, starts the service, waits."""

    def __init__(self, directory: Path, mangopay: Mangopay) -> None:
        self._directory: Final = directory
        service, listening = settings(SERVICE), settings(SOCKET)
        self._credentials: Final = directory / "credentials"
        self._credentials.mkdir()
        for line in service["LoadCredential"]:
            file = self._credentials / line.split(":", 1)[0]
            file.write_text(CANARY_API_KEY + "\n")
            file.chmod(0o400)
        (address,) = listening["ListenStream"]
        self.path: Final = directory / Path(address).name
        self.admin_port: Final = free_port()
        self.socket: Final = socket.socket(socket.AF_UNIX)
        self.socket.bind(str(self.path))
        self.path.chmod(int(listening["SocketMode"][0], 8))
        self.socket.listen(int(listening["Backlog"][0]))
        own = [
            line.replace("%d", str(self._credentials)).replace(address, str(self.path))
            for line in service["Environment"]
        ]
        self._environ: Final = dict(line.split("=", 1) for line in [*own, *ENVIRONMENT.splitlines()])
        self._environ.update(mangopay.environ, SIDECAR_ADMIN_PORT=str(self.admin_port))
        (self._start,) = service["ExecStart"]
        self.patience: Final = seconds(service["TimeoutStopSec"][0])

    @contextmanager
    def started(self) -> Iterator[subprocess.Popen[str]]:
        """Start the service; return once it has said that it is ready, as Type=notify means."""
        notify = self._directory / "notify"
        notify.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told, (self._directory / "log").open("w+") as log:
            told.bind(str(notify))
            told.settimeout(0.1)
            process = subprocess.Popen(
                [
                    sys.executable,
                    "-c",
                    EXECUTE,
                    str(self.socket.fileno()),
                    *self._start.replace(INSTALLED, str(COMMAND)).split(),
                ],
                env={**self._environ, **self._of_systemd(notify)},
                pass_fds=(self.socket.fileno(),),
                stdout=log,
                stderr=log,
                text=True,
            )
            try:
                assert _told(told, process) == b"READY=1"
                yield process
                process.send_signal(signal.SIGTERM)
                assert process.wait(self.patience) == 0
            finally:
                process.kill()
                process.wait()
                log.seek(0)
                self.log = log.read()
                canary.record("the service's log", self.log)

    def _of_systemd(self, notify: Path) -> Mapping[str, str]:
        coverage = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
        own = {"LISTEN_FDS": "1", "NOTIFY_SOCKET": str(notify), "CREDENTIALS_DIRECTORY": str(self._credentials)}
        return {**coverage, **own}

    def call(self) -> int:
        """Call through the socket."""
        with socket.socket(socket.AF_UNIX) as caller:
            caller.settimeout(30)
            caller.connect(str(self.path))
            caller.sendall(b"GET /v2.01/_/users?per_page=1 HTTP/1.1\r\nHost: any\r\nConnection: close\r\n\r\n")
            response = http.client.HTTPResponse(caller)
            response.begin()
            with response:
                return response.status


def _told(by: socket.socket, process: subprocess.Popen[str]) -> bytes:
    """Return what the service says of itself first."""
    while True:
        try:
            return by.recv(100)
        except TimeoutError:
            if process.poll() is not None:
                raise AssertionError(f"it ended with status {process.poll()}") from None


@pytest.fixture
def manager() -> Iterator[Manager]:
    with tempfile.TemporaryDirectory(prefix="sd-", dir="/tmp") as directory:
        with Mangopay(Path(directory)) as mangopay:
            made = Manager(Path(directory), mangopay)
            yield made
            made.socket.close()


def test_the_service_serves_on_the_unit_s_socket_and_stops_in_time(manager: Manager) -> None:
    with manager.started() as process:
        assert manager.call() == 200
        health = http.client.HTTPConnection("127.0.0.1", manager.admin_port, timeout=10)
        health.request("GET", "/healthz")
        assert health.getresponse().status == 200
        health.close()
        process.send_signal(signal.SIGHUP)  # ExecReload
        assert manager.call() == 200
    assert f"ready proxy=unix:{manager.path} " in manager.log
    assert '"level":"error"' not in manager.log
    assert '"level":"warning"' not in manager.log


def test_a_call_during_a_restart_waits_and_is_not_refused(manager: Manager) -> None:
    with manager.started():
        assert manager.call() == 200
    answered: list[int] = []
    meanwhile = threading.Thread(target=lambda: answered.append(manager.call()))
    meanwhile.start()
    with manager.started():
        meanwhile.join(30)
        assert answered == [200]


def test_a_socket_unit_that_is_more_open_than_the_service_wants_is_refused(manager: Manager) -> None:
    manager.path.chmod(0o666)
    with pytest.raises(AssertionError, match="it ended with status 1"), manager.started():
        pass
    assert "was handed over with the mode 0666, which lets more users in than 0660" in manager.log
