"""The library chart and the example that uses it: linted, rendered, and the same as the components make."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import kubernetes_validate
import pytest
import yaml

from sidecar.config import load
from sidecar.version import __version__
from tests.deploy.conftest import FAST, helm
from tests.deploy.every_field import pod_spec
from tests.deploy.kubernetes_tools import HELMS
from tests.deploy.test_kubernetes import VERSIONS
from tests.deploy.test_kubernetes_components import SIDECAR, build, kustomization

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    #: Runs helm with these arguments.
    Run: TypeAlias = Callable[..., subprocess.CompletedProcess[str]]

PROJECT: Final = Path(__file__).parents[2]
CHARTS: Final = PROJECT / "deploy" / "helm"
#: What a value turns on, and the component that does the same.
OPTIONS: Final = {
    "mtls": ["mtls.secretName=mangopay-sidecar-mtls"],
    "redis": ["redis.secretName=mangopay-sidecar-redis"],
    "caller-key": ["callerKey.secretName=mangopay-sidecar-caller-key"],
    "unix-socket": ["unixSocket.enabled=true", "unixSocket.allowedUids={10001,1000660000}"],
}


@pytest.fixture(params=HELMS)
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Run:
    """A helm with a home of its own, in a copy of the charts, the example's dependency built."""
    program = helm(request.param)
    charts = tmp_path / "helm"
    shutil.copytree(CHARTS, charts, ignore=shutil.ignore_patterns("charts", "Chart.lock"))
    environ = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}

    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        words = [str(program), *arguments]
        return subprocess.run(words, cwd=charts, env=environ, capture_output=True, text=True, check=False)

    built = command("dependency", "update", "example")
    assert built.returncode == 0, built.stderr
    return command


def rendered(run: Run, *values: str) -> list[dict[str, Any]]:
    settings = [word for value in values for word in ("--set", f"{SIDECAR}.{value}")]
    done = run("template", "shop", "example", "--kube-version", "1.31.0", *settings)
    assert done.returncode == 0, done.stderr
    return [each for each in yaml.load_all(done.stdout, FAST) if each]


def deployment(objects: list[dict[str, Any]]) -> dict[str, Any]:
    (found,) = [each for each in objects if each["kind"] == "Deployment"]
    return found


def by_name(entries: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in entries}


def comparable(container: dict[str, Any]) -> dict[str, Any]:
    """The container, its lists without an order, and the ConfigMap's name without its hash."""
    (source,) = container["envFrom"]
    return {
        **container,
        "env": by_name(container["env"]),
        "volumeMounts": by_name(container["volumeMounts"]),
        "envFrom": source["configMapRef"]["name"].rpartition("-")[0],
    }


@pytest.mark.parametrize("option", [None, *OPTIONS, "all"])
def test_the_chart_makes_what_the_components_make(run: Run, kustomize: str, option: str | None, tmp_path: Path) -> None:
    chosen = list(OPTIONS) if option == "all" else [option] if option else []
    ours = deployment(rendered(run, *(value for name in chosen for value in OPTIONS[name])))
    app = yaml.safe_load((PROJECT / "deploy" / "kubernetes" / "base" / "deployment.yaml").read_text())
    directory = kustomization(tmp_path / "shop", [app], ["sidecar", *chosen], own_image=False)
    theirs = deployment(build([kustomize, "build"], directory))
    (container,), (expected,) = (pod_spec(each)["initContainers"] for each in (ours, theirs))
    made, wanted = comparable(container), comparable(expected)
    if "unix-socket" in chosen:  # for the components that is the user's ConfigMap's to say
        assert made["env"].pop("SIDECAR_LISTEN_ALLOWED_UIDS")["value"] == "10001,1000660000,65532"
    assert made == wanted
    volumes = [by_name(pod_spec(each)["volumes"]) for each in (ours, theirs)]
    assert volumes[0] == volumes[1]


def test_both_charts_pass_helm_s_linter(run: Run) -> None:
    done = run("lint", "--strict", "example", "mangopay-sidecar")
    assert done.returncode == 0, done.stdout
    assert "2 chart(s) linted, 0 chart(s) failed" in done.stdout
    assert "WARNING" not in done.stdout


@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_fits_the_schemas_of_kubernetes(run: Run, version: str) -> None:
    for each in rendered(run, *(value for values in OPTIONS.values() for value in values)):
        kubernetes_validate.validate(each, version, strict=True)


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ("mtls.secretName=No_Name", "mtls"),
        ("config.SIDECAR_MANGOPAY_API_KEY=secret", "SIDECAR_MANGOPAY_API_KEY"),
        ("config.mangopay=x", "mangopay"),
        ("unixSocket.enabled=true", "allowedUids"),
        ("unixsocket.enabled=true", "unixsocket"),
        ("config.SIDECAR_MANGOPAY_CLIENT_ID=null", "SIDECAR_MANGOPAY_CLIENT_ID"),
    ],
)
def test_a_wrong_value_is_refused(run: Run, value: str, complaint: str) -> None:
    done = run("template", "shop", "example", "--kube-version", "1.31.0", "--set", f"{SIDECAR}.{value}")
    assert done.returncode != 0
    assert complaint in done.stderr


def test_the_configuration_is_one_and_its_name_changes_with_it(
    run: Run,
) -> None:
    names = set()
    for client in ("acme", "other"):
        objects = rendered(run, f"config.SIDECAR_MANGOPAY_CLIENT_ID={client}")
        (config_map,) = [each for each in objects if each["kind"] == "ConfigMap"]
        (source,) = pod_spec(deployment(objects))["initContainers"][0]["envFrom"]
        assert source["configMapRef"]["name"] == config_map["metadata"]["name"]
        names.add(config_map["metadata"]["name"])
        config = load(None, {**config_map["data"], "SIDECAR_MANGOPAY_API_KEY": "dummy"})
        assert config.mangopay.client_id == client
    assert len(names) == 2


def test_before_native_sidecars_it_does_not_install(run: Run) -> None:
    done = run("template", "shop", "example", "--kube-version", "1.28.0")
    assert done.returncode != 0
    assert "incompatible" in done.stderr


def test_the_charts_are_of_this_version() -> None:
    chart = yaml.safe_load((CHARTS / "mangopay-sidecar" / "Chart.yaml").read_text())
    assert (chart["type"], chart["version"], chart["appVersion"]) == ("library", __version__, __version__)
    (dependency,) = yaml.safe_load((CHARTS / "example" / "Chart.yaml").read_text())["dependencies"]
    assert (dependency["name"], dependency["version"]) == (chart["name"], __version__)
