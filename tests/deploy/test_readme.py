"""The README's SDK examples run against the demo as they are printed, in every language that the machine has."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.deploy.conftest import not_to_be_had
from tests.deploy.network import isolated
from tests.deploy.readme import examples, languages
from tests.e2e.sdk.app import NODE_PROJECT
from tests.support import node

PROJECT: Final = Path(__file__).parents[2]
LANGUAGES: Final = languages()
#: A user sees what is not run. CI has the SDKs of Python and Node only, and skips nothing.
NOT_HERE: Final = [] if os.environ.get("CI") else sorted({"php", "ruby"} - LANGUAGES.keys())
SESSION: Final = """
set -eu
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
mangopay-sidecar demo >demo.out 2>demo.err &
mangopay-sidecar wait --timeout 30
curl --fail --silent http://127.0.0.1:18080/v2.01/any-client/sca/users/natural -H 'Content-Type: application/json' \
  -d '{"FirstName": "Ada", "LastName": "Lovelace", "Email": "ada@example.com", "UserCategory": "PAYER",
       "TermsAndConditionsAccepted": true}' >user.json
"""


@pytest.fixture
def installed(request: pytest.FixtureRequest) -> None:
    """Have the SDK here: Node's comes from npm, once."""
    if request.node.callspec.params["name"] == "node":
        try:
            node.install(NODE_PROJECT)
        except node.RegistryOutOfReachError as error:
            not_to_be_had(f"the Node SDK is not here: {error}")


def environment(home: Path) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    coverage = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
    return {**coverage, "PATH": path, "HOME": str(home), "PYTHONPATH": str(PROJECT)}


@pytest.mark.sdk
@pytest.mark.usefixtures("installed", "curl")
@pytest.mark.parametrize(
    "name",
    [*LANGUAGES, *(pytest.param(name, marks=pytest.mark.skip(reason=f"no {name} SDK here")) for name in NOT_HERE)],
)
def test_an_example_runs_as_it_is_printed(name: str, tmp_path: Path) -> None:
    language = LANGUAGES[name]
    environ = {**environment(tmp_path), **language.environ}
    can = subprocess.run(isolated("true"), env=environ, capture_output=True, text=True, check=False)
    if can.returncode:
        not_to_be_had(f"no network of one's own to be had: {can.stderr.strip()}")
    program = tmp_path / f"example{language.suffix}"
    program.write_text(examples()[language.fence], encoding="utf-8")
    if language.vendor is not None:
        (tmp_path / "vendor").symlink_to(language.vendor)
    done = subprocess.run(
        isolated("bash", "-c", SESSION + shlex.join([*language.command, str(program)])),
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert (done.returncode, "ada@example.com" in done.stdout) == (0, True), done.stdout + done.stderr


def test_there_is_an_example_for_each_official_sdk_and_all_say_the_same() -> None:
    found = examples()
    assert found.keys() == {"python", "js", "php", "java", "ruby", "csharp"}
    for text in found.values():
        assert re.findall(r"127\.0\.0\.1:\d+", text) == ["127.0.0.1:18080"]
        assert re.search(r"""["']acme["']""", text)
