"""The example app's own tests, from a clean install, offline: what a user of the plugin and of ``wrap`` gets."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.deploy.conftest import not_to_be_had
from tests.deploy.network import isolated
from tests.support import clean_install, node

PROJECT: Final = Path(__file__).parents[2]
EXAMPLE: Final = PROJECT / "deploy" / "example-app"
MANUAL: Final = (PROJECT / "docs" / "testing.md").read_text(encoding="utf-8")


pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the programs of a clean install are."""
    directory = tmp_path_factory.mktemp("clean")
    wheel = clean_install.build_wheel(tmp_path_factory.mktemp("wheel"))
    return clean_install.install(wheel, directory, "pytest")


def offline(command: list[str], directory: Path, programs: Path) -> subprocess.CompletedProcess[str]:
    """Run a command where there is no network but loopback, with what a clean install has."""
    path = f"{programs}:{node.NODE.parent}:{os.environ['PATH']}"
    can = subprocess.run(isolated("true"), cwd=PROJECT, capture_output=True, text=True, check=False)
    if can.returncode:
        not_to_be_had(f"no network of one's own to be had: {can.stderr.strip()}")
    inside = ["env", "--ignore-environment", f"--chdir={directory}", f"PATH={path}", f"HOME={directory}", *command]
    return subprocess.run(isolated(*inside), cwd=PROJECT, capture_output=True, text=True, timeout=90, check=False)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A clone, as far as an app's tests have to do with it."""
    shutil.copytree(EXAMPLE, tmp_path / "deploy" / "example-app", ignore=shutil.ignore_patterns("__pycache__", ".*"))
    return tmp_path


def test_an_app_s_tests_are_green_in_one_command_without_a_network(installed: Path, project: Path) -> None:
    (printed,) = re.findall(r"^\$ uvx --from \. --with pytest (.*)$", MANUAL, re.MULTILINE)
    done = offline(printed.split(), project, installed)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert re.search(r"^=+ 6 passed in ", done.stdout, re.MULTILINE)
    (plugins,) = re.findall(r"^plugins: (.*)$", done.stdout, re.MULTILINE)
    assert plugins.startswith("mangopay-sidecar-")  # by the wheel's entry point, and nothing else is there


def test_without_wrap_the_fixtures_start_what_they_need(installed: Path, project: Path) -> None:
    # A module of the app's own by our package's name is not what is started.
    (project / "sidecar.py").write_text("raise SystemExit('not this one')")
    done = offline(["pytest", "deploy/example-app"], project, installed)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert " 6 passed in " in done.stdout


def test_in_another_language_it_takes_two_variables(installed: Path, project: Path) -> None:
    source = (project / "deploy" / "example-app" / "shop.test.mjs").read_text()
    (printed,) = re.findall(r"^// {3}(mangopay-sidecar .*)$", source, re.MULTILINE)
    done = offline(printed.split(), project, installed)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert re.search(r"^\S+ pass 2$", done.stdout, re.MULTILINE), done.stdout
