"""The recipes for CI: valid for their schemas, and their services started for real as they say."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from sidecar.testing import MangopayEmulator
from sidecar.testing.control import send
from tests.support.sidecar import Command

PROJECT: Final = Path(__file__).parents[2]
GITHUB: Final = PROJECT / "deploy" / "ci" / "github-actions.yml"
GITLAB: Final = PROJECT / "deploy" / "ci" / "gitlab-ci.yml"


def valid(file: Path, schema: str) -> bool:
    command: list[str | Path] = [Path(sys.executable).with_name("check-jsonschema"), "--builtin-schema", schema, file]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize(
    ("file", "schema"), [(GITHUB, "vendor.github-workflows"), (GITLAB, "vendor.gitlab-ci")], ids=["github", "gitlab"]
)
def test_it_fits_the_schema_that_is_published(file: Path, schema: str, tmp_path: Path) -> None:
    assert valid(file, schema)
    wrong = tmp_path / file.name
    wrong.write_text(file.read_text().replace("    services:", "    services: 7\n    other:", 1).replace(
        "  services:\n", "  services: 7\n  other:\n", 1
    ))  # fmt: skip
    assert not valid(wrong, schema)


def test_the_gate_that_checks_workflows_checks_this_one_too() -> None:
    command = ["make", "--dry-run", "workflows"]
    told = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    assert "actionlint deploy/ci/github-actions.yml" in told


def test_the_actions_are_those_of_the_project_s_own_workflows() -> None:
    ours = {use for file in (PROJECT / ".github" / "workflows").glob("*.yml") for use in uses(file)}
    assert uses(GITHUB)
    assert uses(GITHUB) <= ours


def uses(file: Path) -> set[str]:
    return set(re.findall(r"uses: (.*)", file.read_text()))


def services(file: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """What is started, by name, and the variables of the job."""
    document = yaml.safe_load(file.read_text())
    if file == GITHUB:
        job = document["jobs"]["tests"]
        found = {name: (shlex.split(each["command"]), each.get("env", {})) for name, each in job["services"].items()}
        return found, job["env"]
    job = document["tests"]
    return {each["alias"]: (each["command"], each.get("variables", {})) for each in job["services"]}, job["variables"]


@pytest.mark.parametrize("file", [GITHUB, GITLAB], ids=["github", "gitlab"])
def test_its_services_work_together_as_they_are_configured(file: Path) -> None:
    """As processes, on free ports of this machine; a name of the job's network is that of this machine."""
    started, job = services(file)
    (emulated, _), (proxied, environ) = started["emulator"], started["mangopay"]
    assert environ["SIDECAR_MANGOPAY_BASE_URL"] == "http://emulator:18090"
    name = job["MANGOPAY_BASE_URL"].removeprefix("http://").removesuffix(":18080")
    assert job["HOOKS_HOST"] in emulated
    with Command(*emulated, "--port", "0") as emulator:
        url = emulator.wait_for(r"^ready emulator=http://0\.0\.0\.0:(\d+)$")[1]
        here = {"SIDECAR_MANGOPAY_BASE_URL": f"http://127.0.0.1:{url}", "SIDECAR_LISTEN_PORT": "0"}
        with Command(*proxied, environ={**environ, **here, "SIDECAR_ADMIN_PORT": "0"}) as sidecar:
            port = sidecar.wait_for(r"^ready proxy=http://\S+:(\d+) ")[1]
            host = {"Host": f"{name}:{port}"}
            assert send(f"http://127.0.0.1:{port}", "GET", "/v2.01/_/clients", headers=host).status == 200
            assert MangopayEmulator(f"http://127.0.0.1:{url}").stats["token_requests"] == 1
            assert sidecar.stop() == 0
