"""compose.yaml: valid, hardened, and its services started for real as it says."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
import yaml

from sidecar.config.model import Shutdown
from sidecar.config.values import duration
from tests.deploy import example_app
from tests.deploy.example_app import until, works
from tests.deploy.mangopay import Mangopay
from tests.support.canary import CANARY_API_KEY
from tests.support.ports import free_port
from tests.support.sidecar import Command

if TYPE_CHECKING:
    from collections.abc import Mapping

PROJECT: Final = Path(__file__).parents[2]
FILE: Final = PROJECT / "deploy" / "compose.yaml"
HEALTH_CHECK: Final = PROJECT / "deploy" / "container" / "healthcheck.py"


def interpolated(value: Any, environ: Mapping[str, str]) -> Any:
    """Do what Compose does with ``${NAME:-default}`` (unset or empty) and ``${NAME-default}`` (unset)."""
    if isinstance(value, dict):
        return {key: interpolated(each, environ) for key, each in value.items()}
    if isinstance(value, list):
        return [interpolated(each, environ) for each in value]
    if not isinstance(value, str):
        return value

    def replace(found: re.Match[str]) -> str:
        name, colon, default = found.groups()
        given = environ.get(name)
        return default if given is None or (colon and not given) else given

    return re.sub(r"\$\{(\w+)(:?)-([^}]*)\}", replace, value)


def read(file: Path = FILE, /, **environ: str) -> dict[str, Any]:
    """The file as Compose reads it where the environment is this."""
    document: dict[str, Any] = interpolated(yaml.safe_load(file.read_text()), environ)
    assert "$" not in json.dumps(document)
    return document


def seconds(text: str) -> float:
    return float(duration(0).parse(text))


# --- what the file says ----------------------------------------------------------------------------------------------


def validated(file: Path) -> subprocess.CompletedProcess[str]:
    command: list[str | Path] = [
        Path(sys.executable).with_name("check-jsonschema"),
        "--builtin-schema",
        "vendor.compose-spec",
        file,
    ]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_it_fits_the_schema_of_the_compose_specification(tmp_path: Path) -> None:
    assert validated(FILE).returncode == 0, validated(FILE).stdout
    wrong = tmp_path / "compose.yaml"
    wrong.write_text(FILE.read_text().replace("stop_grace_period", "stop_grace_perod"))
    assert validated(wrong).returncode == 1


def test_everything_that_it_needs_is_in_a_clean_clone() -> None:
    document = read()
    tracked = subprocess.run(["git", "ls-files"], cwd=PROJECT, capture_output=True, text=True, check=True)
    files = set(tracked.stdout.splitlines())
    needed = [document["secrets"]["mangopay_api_key"]["file"]]
    needed += [mount.split(":")[0] for each in document["services"].values() for mount in each.get("volumes", ())]
    contexts = {each["build"]["context"] for each in document["services"].values() if "build" in each}
    needed += [f"{context}/Dockerfile" for context in contexts]
    assert [path for path in needed if str((FILE.parent / path).resolve().relative_to(PROJECT)) not in files] == []


def test_the_sidecar_shares_the_app_s_network_and_nothing_of_it_is_published() -> None:
    services = read()["services"]
    assert services["sidecar"]["network_mode"] == "service:app"
    assert services["app"]["environment"]["MANGOPAY_BASE_URL"] == "http://127.0.0.1:18080"
    assert {name for name, service in services.items() if "ports" in service} == {"app"}
    assert all(port.startswith("127.0.0.1:3000:") for port in services["app"]["ports"])
    # The defaults: loopback, 18080 and 19090.
    assert not [
        name for name in services["sidecar"]["environment"] if name.startswith(("SIDECAR_LISTEN", "SIDECAR_ADMIN"))
    ]


def test_no_container_may_do_what_it_need_not() -> None:
    for service in read()["services"].values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
    assert read()["services"]["app"]["user"] != read()["services"]["sidecar"]["user"]


def test_the_key_is_a_file_and_the_sidecar_s_alone() -> None:
    document = read()
    with_secret = {name for name, service in document["services"].items() if "secrets" in service}
    assert with_secret == {"sidecar"}
    environ = document["services"]["sidecar"]["environment"]
    assert environ["SIDECAR_MANGOPAY_API_KEY_FILE"] == "/run/secrets/mangopay_api_key"
    assert "SIDECAR_MANGOPAY_API_KEY" not in environ


def test_the_period_of_grace_holds_the_drain() -> None:
    sidecar = read()["services"]["sidecar"]
    assert not [name for name in sidecar["environment"] if name.startswith("SIDECAR_SHUTDOWN")]
    assert seconds(sidecar["stop_grace_period"]) >= Shutdown().delay + Shutdown().drain + 5


def test_the_app_s_image_is_the_one_that_ours_is_made_of() -> None:
    wanted = (PROJECT / "Dockerfile").read_text().partition("ARG BASE_IMAGE=")[2].split()[0]
    assert read()["services"]["app"]["image"] == wanted


# --- started for real ------------------------------------------------------------------------------------------------


class Project:
    """The services on this machine. Their ports are free ones; service names and mounts lead where things are here."""

    def __init__(self, **environ: str) -> None:
        document = read(**environ)
        self._services: Final = document["services"]
        self._secret: Final = FILE.parent / document["secrets"]["mangopay_api_key"]["file"]
        self.proxy: Final = str(free_port())
        self.admin: Final = str(free_port())

    def command(self, service: str) -> list[str]:
        return [str(word) for word in self._services[service]["command"]]

    def sidecar(self, **overrides: str) -> Command:
        environ = dict(self._services["sidecar"]["environment"])
        environ["SIDECAR_MANGOPAY_API_KEY_FILE"] = str(self._secret)
        ports = {"SIDECAR_LISTEN_PORT": self.proxy, "SIDECAR_ADMIN_PORT": self.admin}
        return Command("run", environ={**environ, **ports, **overrides})

    @property
    def app(self) -> dict[str, str]:
        environ = dict(self._services["app"]["environment"])
        environ["MANGOPAY_BASE_URL"] = environ["MANGOPAY_BASE_URL"].replace(":18080", f":{self.proxy}")
        return environ

    @property
    def program(self) -> Path:
        (mount,) = self._services["app"]["volumes"]
        source, target, _ = mount.split(":")
        assert self.command("app")[-1] == target
        return FILE.parent / str(source)

    def is_healthy(self) -> bool:
        """What the image's health check says."""
        environ = {"SIDECAR_ADMIN_PORT": self.admin}
        command: list[str | Path] = [sys.executable, "-I", "-S", HEALTH_CHECK]
        return subprocess.run(command, env=environ, stderr=subprocess.DEVNULL, check=False).returncode == 0

    def grace(self) -> float:
        return seconds(self._services["sidecar"]["stop_grace_period"])


def test_it_works_with_the_emulator_as_it_is() -> None:
    project = Project()
    command = project.command("emulator")
    assert command[:2] == ["emulator", "--host"]
    with Command("emulator", "--host", "127.0.0.1", "--port", "0") as emulator:
        upstream = emulator.wait_for(r"^ready emulator=(\S+)$")[1]
        with project.sidecar(SIDECAR_MANGOPAY_BASE_URL=upstream) as sidecar:
            until(project.is_healthy)
            with example_app.running(project.program, project.app) as port:
                works(port)
            assert sidecar.stop(timeout=project.grace()) == 0
            assert sidecar.complaints == []


@pytest.fixture
def key(tmp_path: Path) -> Path:
    file = tmp_path / "api-key"
    file.touch(mode=0o600)
    file.write_text(CANARY_API_KEY)
    return file


def test_it_works_with_an_account_by_four_variables(tmp_path: Path, key: Path) -> None:
    project = Project(
        SIDECAR_MANGOPAY_ENVIRONMENT="sandbox",
        SIDECAR_MANGOPAY_BASE_URL="",
        SIDECAR_MANGOPAY_CLIENT_ID="acme",
        MANGOPAY_API_KEY_FILE=str(key),
    )
    with Mangopay(tmp_path) as mangopay, project.sidecar(**mangopay.environ) as sidecar:
        until(project.is_healthy)
        with example_app.running(project.program, project.app) as port:
            works(port)
        assert " environment=sandbox client_id=acme" in sidecar.stdout
        assert sidecar.stop(timeout=project.grace()) == 0
        assert [line for line in sidecar.log if line["level"] != "info"] == []
