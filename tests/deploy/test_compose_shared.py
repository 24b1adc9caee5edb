"""compose.shared.yaml: one sidecar for several containers, by its name and with a caller key, and started for real."""

from __future__ import annotations

import http.client
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from sidecar.config import load
from sidecar.config.model import Shutdown
from tests.deploy import example_app
from tests.deploy.example_app import ask, until, works
from tests.deploy.test_compose import PROJECT, read, seconds, validated
from tests.support.ports import free_port
from tests.support.sidecar import Command

FILE: Final = PROJECT / "deploy" / "compose.shared.yaml"
CALLERS: Final = ("web", "worker", "cron")
NAME: Final = "mangopay-sidecar"


def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = read(FILE)["services"]
    return found


# --- what the file says ----------------------------------------------------------------------------------------------


def test_it_fits_the_schema_of_the_compose_specification() -> None:
    assert validated(FILE).returncode == 0, validated(FILE).stdout


def test_everything_that_it_needs_is_in_a_clean_clone() -> None:
    document = read(FILE)
    tracked = subprocess.run(["git", "ls-files"], cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    needed = [secret["file"] for secret in document["secrets"].values()]
    needed += [mount.split(":")[0] for each in services().values() for mount in each.get("volumes", ())]
    files = [str((FILE.parent / path).resolve().relative_to(PROJECT)) for path in needed]
    assert [path for path in files if path not in tracked.splitlines()] == []


def test_callers_find_the_sidecar_by_a_name_that_it_answers_to_and_show_the_key() -> None:
    sidecar = services()["sidecar"]
    assert sidecar["environment"]["SIDECAR_LISTEN_ALLOWED_HOSTS"] == NAME
    assert sidecar["networks"]["mangopay"]["aliases"] == [NAME]
    for name in CALLERS:
        service = services()[name]
        assert service["environment"]["MANGOPAY_BASE_URL"] == f"http://{NAME}:18080"
        assert service["environment"]["MANGOPAY_API_KEY_FILE"] == "/run/secrets/caller_key"
        assert service["secrets"] == ["caller_key"]
        assert service["depends_on"]["sidecar"]["condition"] == "service_healthy"
    assert sidecar["environment"]["SIDECAR_LISTEN_CALLER_KEY_FILE"] == "/run/secrets/caller_key"
    assert "mangopay_api_key" in sidecar["secrets"]


def test_the_way_to_mangopay_leads_through_the_sidecar_alone() -> None:
    document = read(FILE)
    assert document["networks"]["mangopay"]["internal"] is True
    on_it = {name for name, each in services().items() if "mangopay" in each["networks"]}
    assert on_it == {*CALLERS, "sidecar"}
    assert {name for name, each in services().items() if "outside" in each["networks"]} == {"sidecar", "emulator"}
    assert {name for name, each in services().items() if "ports" in each} == {"web"}
    assert all(port.startswith("127.0.0.1:3000:") for port in services()["web"]["ports"])


def test_no_container_may_do_what_it_need_not() -> None:
    for service in services().values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
    users = {services()[name]["user"] for name in CALLERS}
    assert services()["sidecar"]["user"] not in users
    assert services()["sidecar"]["mem_limit"] == "256m"
    assert seconds(services()["sidecar"]["stop_grace_period"]) >= Shutdown().delay + Shutdown().drain + 5


def test_without_the_caller_key_the_sidecar_would_not_start() -> None:
    environ = {**services()["sidecar"]["environment"], "SIDECAR_MANGOPAY_API_KEY": "dummy"}
    del environ["SIDECAR_LISTEN_CALLER_KEY_FILE"], environ["SIDECAR_MANGOPAY_API_KEY_FILE"]
    environ |= {"SIDECAR_MANGOPAY_ENVIRONMENT": "sandbox", "SIDECAR_MANGOPAY_BASE_URL": ""}
    with pytest.raises(Exception, match="caller_key"):
        load(None, environ)


# --- started for real ------------------------------------------------------------------------------------------------


class Project:
    """The services as processes: names and mounts lead where things are here, ports are free ones."""

    def __init__(self) -> None:
        secrets = {f"/run/secrets/{name}": FILE.parent / each["file"] for name, each in read(FILE)["secrets"].items()}
        self._secrets: Final = {path: str(file) for path, file in secrets.items()}
        self.proxy: Final = free_port()
        self.admin: Final = free_port()

    def environ(self, name: str) -> dict[str, str]:
        found = {key: self._secrets.get(value, value) for key, value in services()[name]["environment"].items()}
        if "MANGOPAY_BASE_URL" in found:  # there is no name of that kind on this machine
            found["MANGOPAY_BASE_URL"] = f"http://127.0.0.1:{self.proxy}"
        return found

    def sidecar(self, upstream: str) -> Command:
        ports = {"SIDECAR_LISTEN_PORT": str(self.proxy), "SIDECAR_ADMIN_PORT": str(self.admin)}
        here = {**ports, "SIDECAR_LISTEN_HOST": "127.0.0.1", "SIDECAR_MANGOPAY_BASE_URL": upstream}
        return Command("run", environ={**self.environ("sidecar"), **here})

    def work(self, name: str) -> subprocess.CompletedProcess[str]:
        """Run a service that ends."""
        arguments = services()[name]["command"][3:]
        command: list[str | Path] = [sys.executable, "-I", program(name), *arguments]
        return subprocess.run(command, env=self.environ(name), capture_output=True, text=True, check=False)

    def status(self, **headers: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.proxy, timeout=10)
        try:
            connection.request("GET", "/v2.01/_/users", headers=headers)
            return connection.getresponse().status
        finally:
            connection.close()


def program(name: str) -> Path:
    (mount,) = services()[name]["volumes"]
    source, target, _ = mount.split(":")
    assert services()[name]["command"][:3] == ["python3", "-I", target]
    return FILE.parent / str(source)


def test_web_and_cron_use_one_sidecar_and_nobody_without_the_key_does() -> None:
    project = Project()
    with Command("emulator", "--host", "127.0.0.1", "--port", "0") as emulator:
        upstream = emulator.wait_for(r"^ready emulator=(\S+)$")[1]
        with project.sidecar(upstream) as sidecar:
            sidecar.wait_for("^ready ")
            with example_app.running(program("web"), project.environ("web")) as port:
                works(port)
            done = project.work("cron")
            assert (done.returncode, done.stdout) == (0, "200 1 users\n"), done.stderr
            without = {name: value for name, value in project.environ("web").items() if "KEY" not in name}
            with example_app.running(program("web"), without) as port:
                code, response = ask(port)
            assert (code, response["Type"]) == (403, "sidecar_caller_not_allowed")
            assert project.status(Host=NAME) == 403  # by its name, and without the key
            assert project.status(Host="elsewhere.example") == 403
            assert sidecar.stop(timeout=seconds(services()["sidecar"]["stop_grace_period"])) == 0
            assert sidecar.complaints == []


def test_by_its_name_and_with_the_key_it_answers() -> None:
    project = Project()
    pair = f"any:{Path(project.environ('web')['MANGOPAY_API_KEY_FILE']).read_text().strip()}"
    basic = subprocess.run(["base64", "-w0"], input=pair, capture_output=True, text=True, check=True).stdout
    with Command("emulator", "--host", "127.0.0.1", "--port", "0") as emulator:
        with project.sidecar(emulator.wait_for(r"^ready emulator=(\S+)$")[1]) as sidecar:
            sidecar.wait_for("^ready ")
            until(lambda: project.status(Host=f"{NAME}:18080", Authorization=f"Basic {basic}") == 200)
            assert sidecar.stop() == 0


def test_a_worker_goes_on_until_it_is_stopped() -> None:
    project = Project()
    with Command("emulator", "--host", "127.0.0.1", "--port", "0") as emulator:
        with project.sidecar(emulator.wait_for(r"^ready emulator=(\S+)$")[1]) as sidecar:
            sidecar.wait_for("^ready ")
            command: list[str | Path] = [sys.executable, "-I", program("worker"), "list", "0.05"]
            assert services()["worker"]["command"][3] == "list"
            environ = project.environ("worker")
            with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as worker:
                assert worker.stdout is not None
                assert [worker.stdout.readline() for _ in range(3)] == ["200 0 users\n"] * 3
                worker.terminate()
                assert worker.wait(10) == 0
            assert sidecar.stop() == 0
