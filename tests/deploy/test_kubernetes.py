"""The Kubernetes manifests: valid, hardened, and right about themselves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import kubernetes_validate
import pytest
import yaml

from sidecar.config.model import Shutdown
from sidecar.version import __version__
from tests.deploy.pod import Pod
from tests.support.canary import CANARY_API_KEY

if TYPE_CHECKING:
    from tests.deploy.conftest import Documents, Render

PROJECT: Final = Path(__file__).parents[2]
EXAMPLES: Final = ("base", "overlays/job", "overlays/redis", "overlays/unix-socket", "overlays/mtls")
SIDECAR: Final = "mangopay-sidecar"
#: The oldest version in which native sidecars are on by default, and the newest that there are schemas for.
VERSIONS: Final = ("1.29", kubernetes_validate.latest_version())


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("example", EXAMPLES)
def test_every_object_fits_the_schemas_of_kubernetes(render: Render, example: str, version: str) -> None:
    documents = render(example)
    assert {"ConfigMap"} < {document["kind"] for document in documents}
    for document in documents:
        kubernetes_validate.validate(document, version, strict=True)


def test_the_schemas_notice_a_misspelt_key(render: Render) -> None:
    (deployment,) = [document for document in render("base") if document["kind"] == "Deployment"]
    deployment["spec"]["template"]["spec"]["initContainers"][0]["livenesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, VERSIONS[-1], strict=True)


def pod_spec(documents: Documents) -> dict[str, Any]:
    (spec,) = [each["spec"]["template"]["spec"] for each in documents if each["kind"] in ("Deployment", "Job")]
    return dict(spec)


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_sidecar_is_the_first_container_and_a_native_one(render: Render, example: str) -> None:
    spec = pod_spec(render(example))
    first = spec["initContainers"][0]
    assert (first["name"], first["restartPolicy"]) == (SIDECAR, "Always")
    assert first["image"] == f"mangopay-sidecar:{__version__}"
    assert {kind: first[kind]["httpGet"]["path"] for kind in ("startupProbe", "readinessProbe", "livenessProbe")} == {
        "startupProbe": "/healthz",
        "readinessProbe": "/healthz",
        "livenessProbe": "/healthz",
    }
    assert "cpu" not in first["resources"]["limits"]


@pytest.mark.parametrize("example", EXAMPLES)
def test_pod_and_containers_may_do_nothing_that_they_need_not(render: Render, example: str) -> None:
    spec = pod_spec(render(example))
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"} & spec.keys()
    for container in (*spec["initContainers"], *spec["containers"]):
        may = container["securityContext"]
        assert may["runAsNonRoot"] is True
        assert may["runAsUser"] > 0
        assert may["readOnlyRootFilesystem"] is True
        assert may["allowPrivilegeEscalation"] is False
        assert may["capabilities"] == {"drop": ["ALL"]}
        assert may["seccompProfile"] == {"type": "RuntimeDefault"}
    users = {each["securityContext"]["runAsUser"] for each in spec["containers"]}
    assert spec["initContainers"][0]["securityContext"]["runAsUser"] not in users


@pytest.mark.parametrize("example", EXAMPLES)
def test_secrets_are_mounted_whole_into_the_sidecar_alone_and_not_for_everybody_to_read(
    render: Render, example: str
) -> None:
    spec = pod_spec(render(example))
    secrets = {volume["name"]: volume["secret"] for volume in spec["volumes"] if "secret" in volume}
    assert secrets
    assert {secret["defaultMode"] for secret in secrets.values()} == {0o440}
    # As the kubelet makes them they belong to root's group; the pod's fsGroup would be the app's to choose.
    assert spec["initContainers"][0]["securityContext"]["runAsGroup"] == 0
    assert "fsGroup" not in spec["securityContext"]
    for container in (*spec["initContainers"], *spec["containers"]):
        for mount in container.get("volumeMounts", ()):
            if mount["name"] in secrets:
                assert container["name"] == SIDECAR
                assert mount["readOnly"] is True
                assert "subPath" not in mount


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_period_of_grace_holds_the_app_s_end_and_the_drain(render: Render, example: str) -> None:
    environ = {entry["name"] for entry in pod_spec(render(example))["initContainers"][0]["env"]}
    assert not [name for name in environ if name.startswith("SIDECAR_SHUTDOWN_")]
    drain = Shutdown().drain + Shutdown().delay
    assert pod_spec(render(example))["terminationGracePeriodSeconds"] >= 2 * drain + 5


def test_the_app_finds_the_sidecar_where_it_listens(render: Render, tmp_path: Path) -> None:
    pod = Pod(render("base"), tmp_path, {SIDECAR: {"api-key": CANARY_API_KEY.encode()}})
    port = pod.environ(SIDECAR)["SIDECAR_LISTEN_PORT"]
    assert pod.environ("app")["MANGOPAY_BASE_URL"] == f"http://127.0.0.1:{port}"
    assert "SIDECAR_LISTEN_HOST" not in pod.environ(SIDECAR)


def test_the_python_that_runs_the_app_is_the_one_that_the_image_is_made_of() -> None:
    wanted = (PROJECT / "Dockerfile").read_text().partition("ARG BASE_IMAGE=")[2].split()[0]
    deployment = yaml.safe_load((PROJECT / "deploy" / "kubernetes" / "base" / "deployment.yaml").read_text())
    assert deployment["spec"]["template"]["spec"]["containers"][0]["image"] == wanted


def test_the_network_policy_is_about_this_pod_and_its_ports(render: Render) -> None:
    documents = {document["kind"]: document for document in render("base")}
    policy, deployment = documents["NetworkPolicy"]["spec"], documents["Deployment"]["spec"]
    labels = deployment["template"]["metadata"]["labels"].items()
    assert policy["podSelector"]["matchLabels"].items() <= labels
    spec = deployment["template"]["spec"]
    # Names of an init container's ports mean nothing to some network plugins: the rule would let nobody in.
    named = {port["name"] for each in spec["containers"] for port in each["ports"]}
    numbers = {port["containerPort"] for each in spec["initContainers"] for port in each["ports"]}
    assert {port["port"] for rule in policy["ingress"] for port in rule["ports"]} == named | numbers
