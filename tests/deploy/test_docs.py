"""docs/deploy.md: what test_sessions.py cannot run of it is held to what it talks about."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
import trustme
import yaml

from sidecar.config import load
from sidecar.version import __version__
from tests.deploy.conftest import BUILDERS, helm, kubectl
from tests.deploy.documents import DEPLOY, PROJECT, blocks, commands, tried
from tests.deploy.kubernetes_tools import HELMS, NEWEST, PACKAGED
from tests.support.configuration import ENVIRON

if TYPE_CHECKING:
    from tests.deploy.conftest import Builder

PAGE: Final = PROJECT / DEPLOY


def test_every_session_is_one_that_a_test_knows() -> None:
    assert {block.session for block in blocks(DEPLOY)} - {None} == {
        "demo", "account", "ci", "compose", "compose-shared", "kustomization", "helm", "drop-in",
    }  # fmt: skip


# --- what cannot be run here -----------------------------------------------------------------------------------------


def test_what_docker_is_told_to_set_is_a_configuration(tmp_path: Path) -> None:
    runs = [words for block in blocks(DEPLOY) for words in commands(block) if words[:2] == ["docker", "run"]]
    with_settings = [words for words in runs if "--env" in words]
    assert len(with_settings) == 2
    for words in with_settings:
        given = [following for word, following in pairwise(words) if word == "--env"]
        environ = dict(setting.split("=", 1) for setting in given)
        for name, file in environ.items():
            if name.endswith("_FILE"):
                mounted = tmp_path / Path(file).name
                mounted.write_text("a-key-of-more-than-16")
                environ[name] = str(mounted)
        config = load(None, environ)
        assert config.listen.caller_key is not None or config.listen.host == ("127.0.0.1", "::1")
        assert "--read-only" in words
        assert int(words[words.index("--stop-timeout") + 1]) >= config.shutdown.delay + config.shutdown.drain + 5


def test_what_the_readme_tells_docker_and_kubectl_is_what_this_page_tells_them() -> None:
    readme, page = ([words for block in blocks(name) for words in commands(block)] for name in ("README.md", DEPLOY))
    told_there = [words for words in readme if words[0] in {"docker", "kubectl"}]
    assert len(told_there) >= 3
    assert [words for words in told_there if words not in page] == []


def test_the_variables_for_compose_are_those_that_its_file_asks_for() -> None:
    given = set()
    for session, file in (("compose", "compose.yaml"), ("compose-shared", "compose.shared.yaml")):
        (block,) = tried(DEPLOY, session)
        given |= {line.partition("=")[0] for line in block.text.splitlines()}
        assert given == set(re.findall(r"\$\{(\w+)", (PROJECT / "deploy" / file).read_text()))


@pytest.mark.parametrize("name", BUILDERS)
def test_the_kustomization_for_an_app_of_one_s_own_can_be_built(builder: Builder, name: str, tmp_path: Path) -> None:
    (block,) = tried(DEPLOY, "kustomization")
    (tmp_path / "kustomization.yaml").write_text(block.text)
    (tmp_path / "mangopay-sidecar").symlink_to(PROJECT)
    deployment = yaml.safe_load((PROJECT / "deploy" / "kubernetes" / "base" / "deployment.yaml").read_text())
    (tmp_path / "deployment.yaml").write_text(yaml.safe_dump(deployment))
    built = subprocess.run([*builder(name), tmp_path], capture_output=True, text=True, check=True).stdout
    documents = {document["kind"]: document for document in yaml.safe_load_all(built)}
    spec = documents["Deployment"]["spec"]["template"]["spec"]
    (sidecar,) = spec["initContainers"]
    assert sidecar["image"] == f"registry.example.com/mangopay-sidecar:{__version__}"
    assert sidecar["envFrom"] == [{"configMapRef": {"name": documents["ConfigMap"]["metadata"]["name"]}}]
    config = load(None, {**documents["ConfigMap"]["data"], "SIDECAR_MANGOPAY_API_KEY": "dummy"})
    assert (config.mangopay.client_id, config.mangopay.environment) == ("acme", "production")


def told(program: str, *beginning: str) -> list[list[str]]:
    """The commands of the page that begin like this."""
    found = [words for block in blocks(DEPLOY) for words in commands(block) if words[0] == program]
    return [words[1:] for words in found if tuple(words[1 : 1 + len(beginning)]) == beginning]


@pytest.mark.parametrize("version", [PACKAGED[0], NEWEST])
def test_kubectl_does_what_it_is_told_as_far_as_that_needs_no_cluster(version: str, tmp_path: Path) -> None:
    program = kubectl(version)
    certificate = trustme.CA().issue_cert("acme")
    for name in ("api-key", "caller-key", "url", "ca.crt"):
        (tmp_path / name).write_text("a-key-of-more-than-16")
    (tmp_path / "client.pem").write_bytes(certificate.cert_chain_pems[0].bytes())
    (tmp_path / "client.key").write_bytes(certificate.private_key_pem.bytes())

    def run(*arguments: str | Path, cwd: Path) -> list[dict[str, Any]]:
        words: list[str | Path] = [program, *arguments]
        environ = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
        done = subprocess.run(words, cwd=cwd, env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (arguments, done.stderr)
        return list(yaml.safe_load_all(done.stdout))

    made = told("kubectl", "create")
    names = {run(*words, "--dry-run=client", "--output=yaml", cwd=tmp_path)[0]["metadata"]["name"] for words in made}
    applied = [words[-1] for words in told("kubectl", "apply", "--kustomize")]
    assert len(applied) >= 5
    for directory in applied:
        for document in run("kustomize", directory, cwd=PROJECT):
            if document["kind"] in ("Deployment", "Job"):
                volumes = document["spec"]["template"]["spec"]["volumes"]
                # Every Secret that is mounted is one that the page makes.
                assert {each["secret"]["secretName"] for each in volumes if "secret" in each} <= names


@pytest.mark.parametrize("version", HELMS)
def test_helm_does_what_it_is_told_as_far_as_that_needs_no_cluster(version: str, tmp_path: Path) -> None:
    program = helm(version)
    shutil.copytree(PROJECT / "deploy" / "helm", tmp_path / "deploy" / "helm", ignore=shutil.ignore_patterns("charts"))
    (tmp_path / "home").mkdir()
    update, install = told("helm", "dependency"), told("helm", "install")
    assert len(update) == len(install) == 1
    install[0][0] = "template"
    output = ""
    for arguments in (*update, [*install[0], "--kube-version", "1.31.0"]):
        words: list[str | Path] = [program, *arguments]
        environ = {"HOME": str(tmp_path / "home"), "PATH": os.environ["PATH"]}
        done = subprocess.run(words, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (arguments, done.stderr)
        output = done.stdout
    assert 'SIDECAR_MANGOPAY_CLIENT_ID: "acme"' in output


def test_the_lines_for_a_chart_of_one_s_own_are_those_of_the_example() -> None:
    (block,) = tried(DEPLOY, "helm")
    templates = "".join(file.read_text() for file in (PROJECT / "deploy" / "helm" / "example" / "templates").iterdir())
    includes = re.findall(r"\{\{.*include.*\}\}", block.text)
    assert len(includes) == 3
    assert [line for line in includes if line not in templates] == []


def test_what_systemd_is_told_besides_is_a_configuration(tmp_path: Path) -> None:
    (block,) = tried(DEPLOY, "drop-in")
    (tmp_path / "caller-key").write_text("a-key-of-more-than-16")
    given = [line.partition("Environment=")[2] for line in block.text.splitlines() if line.startswith("Environment=")]
    environ = dict(line.replace("%d", str(tmp_path)).split("=", 1) for line in given)
    config = load(None, {**ENVIRON, **environ})
    assert config.listen.port == 18080
    assert config.listen.caller_key is not None


def test_every_file_that_is_spoken_of_is_there() -> None:
    text = PAGE.read_text()
    linked = {target.partition("#")[0] for target in re.findall(r"\]\(([^)]+)\)", text)} - {""}
    assert [target for target in linked if not (PAGE.parent / target).exists()] == []
    named = set(re.findall(r"(?<![\w/.])(?:deploy|requirements)/[\w./-]+", text)) - {"deploy/.env", "deploy/shop"}
    assert [path for path in named if not (PROJECT / path.rstrip(".")).exists()] == []


def test_every_heading_that_is_linked_is_there() -> None:
    text = PAGE.read_text()
    headings = [
        re.sub(r"[^\w\- ]", "", line.lstrip("# ")).lower().replace(" ", "-")
        for line in text.splitlines()
        if line.startswith("#")
    ]
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= set(headings)
