"""What .github/ says, held to the project; actionlint and zizmor (`make workflows`) check the rest."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from sidecar.version import __version__

PROJECT: Final = Path(__file__).parents[2]
GITHUB: Final = PROJECT / ".github"
PYPROJECT: Final[dict[str, Any]] = tomllib.loads((PROJECT / "pyproject.toml").read_text())
WORKFLOWS: Final = sorted((GITHUB / "workflows").glob("*.yml"))


def workflow(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((GITHUB / "workflows" / name).read_text())
    return found


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_action_is_pinned_by_its_commit_and_says_its_version(path: Path) -> None:
    used = re.findall(r"uses: (.*)", path.read_text())
    assert used
    assert [line for line in used if not re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line)] == []


def test_an_action_has_the_same_commit_everywhere() -> None:
    used = {line for path in WORKFLOWS for line in re.findall(r"uses: (.*)", path.read_text())}
    assert len({line.partition("@")[0] for line in used}) == len(used)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_job_may_do_what_it_needs_and_no_more(path: Path) -> None:
    document = workflow(path.name)
    assert document["permissions"] == {}
    assert all("permissions" in job and "timeout-minutes" in job for job in document["jobs"].values())
    assert "secrets." not in path.read_text()  # there is none to steal


def test_ci_runs_everything_on_every_python_that_is_promised() -> None:
    (job,) = workflow("ci.yml")["jobs"].values()
    assert any(".ci/run" in step.get("run", "") for step in job["steps"])
    promised = re.findall(r"Python :: (3\.\d+)", "\n".join(PYPROJECT["project"]["classifiers"]))
    assert job["strategy"]["matrix"]["python"] == promised
    assert PYPROJECT["project"]["requires-python"] == f">={promised[0]}"
    base = re.search(r"library/python:(3\.\d+)-", (PROJECT / "Dockerfile").read_text())
    assert base is not None
    assert base[1] in promised


def test_the_image_s_labels_come_from_the_makefile_alone() -> None:
    (build,) = [step for step in workflow("release.yml")["jobs"]["image"]["steps"] if step.get("id") == "build"]
    given = re.findall(r"^(\w+)=\$\{\{ steps\.labels\.outputs\.(\w+) \}\}$", build["with"]["build-args"], re.MULTILINE)
    command = ["make", "--silent", "image-arguments"]
    printed = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    values = dict(line.split("=", 1) for line in printed.splitlines())
    assert given == [(name, name) for name in values]
    assert all(values.values())
    assert (values["VERSION"], values["SOURCE"]) == (__version__, PYPROJECT["project"]["urls"]["Source"])
    command = ["make", "--dry-run", "image"]
    told = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    assert re.findall(r"--build-arg (\S+)", told) == printed.splitlines()
    assert set(build["with"]["platforms"].split(",")) == {"linux/amd64", "linux/arm64"}
    assert build["with"]["sbom"] is True


def test_every_address_is_below_the_one_home() -> None:
    urls = PYPROJECT["project"]["urls"]
    assert all(url.startswith(urls["Source"]) for url in urls.values())


def test_dependabot_looks_where_dependencies_are() -> None:
    updates = yaml.safe_load((GITHUB / "dependabot.yml").read_text())["updates"]
    places = {place for update in updates for place in update.get("directories", [update.get("directory")])}
    locks = {f"/{path.parent.relative_to(PROJECT)}" for path in PROJECT.glob("tests/**/package-lock.json")}
    locks = {place for place in locks if "node_modules" not in place}
    assert places == {"/", "/requirements", *locks}


@pytest.mark.parametrize(
    "file", ["components/sidecar/pod-template.yaml", "components/sidecar/cronjob.yaml", "plain/sidecar.yaml"]
)
def test_manifests_name_the_image_of_this_version(file: str) -> None:
    images = re.findall(r"image: mangopay-sidecar:(.*)", (PROJECT / "deploy" / "kubernetes" / file).read_text())
    assert images == [__version__]


def test_one_command_gives_everything_the_next_version(tmp_path: Path) -> None:
    kept = ("Makefile", "pyproject.toml", "CHANGELOG.md", "Dockerfile", "sidecar/version.py", "docs/deploy.md")
    files = [*kept, *(str(path.relative_to(PROJECT)) for path in (PROJECT / "deploy").rglob("*.yaml"))]
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(PROJECT / name, tmp_path / name)
    subprocess.run(["make", "bump", "NEW=98.7.6"], cwd=tmp_path, capture_output=True, check=True)
    versions = {name: (tmp_path / name).read_text() for name in files}
    assert [name for name, text in versions.items() if re.search(rf"\b{re.escape(__version__)}\b", text)] == []
    assert sum("98.7.6" in text for text in versions.values()) >= 9
    assert re.search(r"^## Unreleased\n\n## 98\.7\.6 - \d{4}-\d\d-\d\d\n\n##", versions["CHANGELOG.md"], re.MULTILINE)
