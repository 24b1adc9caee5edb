"""The components in somebody else's kustomization: nothing of the app's changes, whoever builds it."""

from __future__ import annotations

import copy
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
import yaml

from sidecar.config import load
from tests.deploy.conftest import BUILDERS, FAST
from tests.deploy.every_field import KINDS, pod_spec, workload
from tests.support.canary import CANARY_API_KEY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.deploy.conftest import Builder, Render

PROJECT: Final = Path(__file__).parents[2]
COMPONENTS: Final = PROJECT / "deploy" / "kubernetes" / "components"
SIDECAR: Final = "mangopay-sidecar"
ADDED: Final = ("mtls", "redis", "unix-socket", "caller-key")
#: The oldest and the newest; between them the order of components changes, and nothing else that matters here.
ENDS: Final = (BUILDERS[0], BUILDERS[1], BUILDERS[-1])
EXAMPLES: Final = ("base", *(f"overlays/{name}" for name in ("job", "mtls", "redis", "unix-socket")))


def build(builder: list[str], directory: Path) -> list[dict[str, Any]]:
    done = subprocess.run([*builder, directory], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(yaml.load_all(done.stdout, FAST))


def kustomization(
    directory: Path, objects: Sequence[dict[str, Any]], components: Sequence[str], *, own_image: bool = True
) -> Path:
    """A user's kustomization, with objects, components, a configuration and perhaps an image of their own."""
    directory.mkdir()
    (directory / "components").symlink_to(COMPONENTS)
    (directory / "objects.yaml").write_text(yaml.dump_all(objects, Dumper=yaml.CSafeDumper))
    content: dict[str, Any] = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": ["objects.yaml"],
        "components": [f"components/{name}" for name in components],
        "configMapGenerator": [{"name": SIDECAR, "literals": ["SIDECAR_MANGOPAY_CLIENT_ID=acme"]}],
    }
    if own_image:
        content["images"] = [{"name": SIDECAR, "newName": "registry.example.com/mangopay-sidecar", "newTag": "9.9.9"}]
    (directory / "kustomization.yaml").write_text(yaml.safe_dump(content))
    return directory


def without_sidecar(objects: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What is the app's own."""
    left = copy.deepcopy([each for each in objects if each["kind"] != "ConfigMap"])
    for each in left:
        spec = pod_spec(each)
        spec["initContainers"] = [one for one in spec.get("initContainers", ()) if one["name"] != SIDECAR]
        spec["volumes"] = [one for one in spec.get("volumes", ()) if not one["name"].startswith(SIDECAR)]
        for field in ("initContainers", "volumes"):
            if not spec[field]:
                del spec[field]
    return sorted(left, key=lambda each: str(each["kind"]))


@pytest.mark.parametrize(
    ("name", "components"),
    [*((name, ["sidecar", *ADDED]) for name in BUILDERS), *((name, ["sidecar"]) for name in ENDS)],
)
def test_of_an_app_with_every_field_set_nothing_changes(
    builder: Builder, name: str, components: list[str], tmp_path: Path
) -> None:
    apps = [workload(kind, "app") for kind in KINDS]
    built = build(builder(name), kustomization(tmp_path / "shop", apps, components))
    assert without_sidecar(built) == sorted(apps, key=lambda each: str(each["kind"]))
    for app in built:
        if app["kind"] == "ConfigMap":
            continue
        first, *others = pod_spec(app)["initContainers"]
        # It must have started before any other that might call.
        assert (first["name"], first["restartPolicy"]) == (SIDECAR, "Always")
        assert [other["name"] for other in others] == ["its-name"]
        assert first["image"] == "registry.example.com/mangopay-sidecar:9.9.9"
        (config_map,) = [each for each in built if each["kind"] == "ConfigMap"]
        assert first["envFrom"] == [{"configMapRef": {"name": config_map["metadata"]["name"]}}]
        assert config_map["metadata"]["name"] != SIDECAR  # it changes with its content, so that a change rolls the pods


def bare(kind: str) -> dict[str, Any]:
    """An app with hardly a field."""
    app = workload(kind, "bare")
    spec = pod_spec(app)
    spec.clear()
    spec["containers"] = [{"name": "app", "image": "app"}]
    return app


def unlabelled(kind: str) -> dict[str, Any]:
    """An app that does not ask for the sidecar."""
    app = workload(kind, "unlabelled")
    del app["metadata"]["labels"]
    return app


def test_an_app_with_hardly_a_field_gets_the_same_sidecar_and_one_without_the_label_none(
    kustomize: str, tmp_path: Path
) -> None:
    apps = [app for kind in KINDS for app in (workload(kind, "full"), bare(kind), unlabelled(kind))]
    built = build([kustomize, "build"], kustomization(tmp_path / "shop", apps, ["sidecar", *ADDED]))
    made = {(each["kind"], each["metadata"]["name"]): each for each in built}
    for kind in KINDS:
        full, small = made[kind, "full"], made[kind, "bare"]
        assert pod_spec(small)["initContainers"] == pod_spec(full)["initContainers"][:1]
        assert without_sidecar([small]) == [bare(kind)]
        assert made[kind, "unlabelled"] == unlabelled(kind)


@pytest.mark.parametrize("example", EXAMPLES)
@pytest.mark.parametrize("name", ENDS[1:])
def test_the_examples_are_the_same_whoever_builds_them(
    builder: Builder, render: Render, name: str, example: str
) -> None:
    def by_name(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return sorted(objects, key=lambda each: (each["kind"], each["metadata"]["name"]))

    built = build(builder(name), PROJECT / "deploy" / "kubernetes" / example)
    assert by_name(built) == by_name(render(example))


# --- what stands twice -----------------------------------------------------------------------------------------------


def patch(component: str, file: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((COMPONENTS / component / file).read_text())
    return found


@pytest.mark.parametrize("component", ["sidecar", *ADDED])
def test_a_cron_job_gets_what_the_others_get(component: str) -> None:
    assert pod_spec(patch(component, "cronjob.yaml")) == pod_spec(patch(component, "pod-template.yaml"))
    assert set(pod_spec(patch(component, "cronjob.yaml"))) == {"initContainers", "volumes"}


def test_the_yaml_to_paste_is_what_the_component_adds() -> None:
    pasted = yaml.safe_load((PROJECT / "deploy" / "kubernetes" / "plain" / "sidecar.yaml").read_text())
    assert pasted == pod_spec(patch("sidecar", "pod-template.yaml"))


# --- what the sidecar gets -------------------------------------------------------------------------------------------


def test_a_component_adds_to_the_sidecar_and_to_volumes_that_are_named_after_it() -> None:
    for component in ("sidecar", *ADDED):
        spec = pod_spec(patch(component, "pod-template.yaml"))
        assert [each["name"] for each in spec["initContainers"]] == [SIDECAR]
        for volume in spec["volumes"]:
            assert volume["name"].startswith(SIDECAR)
            assert volume.get("secret", {}).get("defaultMode", 0o440) == 0o440
            # On disk it would keep the cluster autoscaler from moving the pod.
            assert volume.get("emptyDir", {"medium": "Memory"})["medium"] == "Memory"


def test_the_sidecar_sees_no_token_of_the_pod_s_service_account() -> None:
    (container,) = pod_spec(patch("sidecar", "pod-template.yaml"))["initContainers"]
    # The path that the admission controller ServiceAccount would mount the token at, and leaves alone if it is taken.
    assert "/var/run/secrets/kubernetes.io/serviceaccount" in {each["mountPath"] for each in container["volumeMounts"]}


def test_all_components_together_are_one_configuration(kustomize: str, tmp_path: Path) -> None:
    app = {**workload("Deployment", "app")}
    built = build([kustomize, "build"], kustomization(tmp_path / "shop", [app], ["sidecar", *ADDED]))
    (deployment,) = [each for each in built if each["kind"] == "Deployment"]
    container = pod_spec(deployment)["initContainers"][0]
    mounts = {each["mountPath"] for each in container["volumeMounts"]}
    environ = {"SIDECAR_MANGOPAY_CLIENT_ID": "acme"}
    for entry in container["env"]:
        name, value = entry["name"], entry.get("value", "127.0.0.1")
        if name.startswith("SIDECAR_"):
            environ[name] = value.replace("$(POD_IP)", "127.0.0.1")
            if name.endswith("_FILE"):
                assert str(Path(value).parent) in mounts
    for name in ("API_KEY", "CALLER_KEY", "STORE"):
        file = tmp_path / name
        file.touch(mode=0o600)
        file.write_text("redis://redis:6379" if name == "STORE" else CANARY_API_KEY)
    environ["SIDECAR_MANGOPAY_API_KEY_FILE"] = str(tmp_path / "API_KEY")
    environ["SIDECAR_LISTEN_CALLER_KEY_FILE"] = str(tmp_path / "CALLER_KEY")
    environ["SIDECAR_TOKEN_STORE_FILE"] = str(tmp_path / "STORE")
    config = load(None, environ)
    assert config.listen.port is None
    assert config.listen.caller_key is not None
    assert config.tls.client_cert_file == Path("/run/secrets/mangopay-sidecar-mtls/tls.crt")
    assert config.token.store.kind == "redis"
