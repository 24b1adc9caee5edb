"""Each Kubernetes example, started for real: the sidecar's container as the manifest has it, and the app beside it."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import tempfile
import urllib.request
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
import trustme

from tests.deploy import example_app
from tests.deploy.example_app import ask, until, works
from tests.deploy.mangopay import Mangopay
from tests.deploy.pod import Pod
from tests.support.canary import CANARY_API_KEY
from tests.support.certificates import leaf_pem, serial
from tests.support.prometheus import parse
from tests.support.sidecar import Command

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.deploy.conftest import Render
    from tests.deploy.pod import Probe
    from tests.support.prometheus import Family
    from tests.support.redis_server import RedisServer

SIDECAR: Final = "mangopay-sidecar"
KEY: Final = {SIDECAR: {"api-key": CANARY_API_KEY.encode() + b"\n"}}


@contextmanager
def started(
    pod: Pod, mangopay: Mangopay, overrides: Mapping[str, str] | None = None, *, warns_of: tuple[str, ...] = ()
) -> Iterator[Command]:
    """Run the sidecar's container as the kubelet would: until its startup probe succeeds; at the end it must drain."""
    environ = {**pod.environ(SIDECAR), **mangopay.environ, **(overrides or {})}
    arguments = pod.command(SIDECAR) or ["run"]  # what the image's CMD is
    with Command(*arguments, environ=environ) as sidecar:
        sidecar.wait_for("^ready ")  # the kubelet would see it crash
        until(lambda: status(pod.probe(SIDECAR, "startupProbe")) == 200)
        assert {kind: status(pod.probe(SIDECAR, kind)) for kind in ("readinessProbe", "livenessProbe")} == {
            "readinessProbe": 200,
            "livenessProbe": 200,
        }
        yield sidecar
        assert sidecar.stop(timeout=pod.spec["terminationGracePeriodSeconds"]) == 0
        assert sidecar.complaints == []
        assert {line["event"] for line in sidecar.log if line["level"] != "info"} == set(warns_of)


def status(probe: Probe) -> int:
    """Do what the kubelet does; 0 if nobody answers."""
    connection = http.client.HTTPConnection(probe.host, probe.port, timeout=5)
    try:
        connection.request("GET", probe.path)
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


def metrics(pod: Pod) -> dict[str, Family]:
    """Do what Prometheus does."""
    admin = pod.probe(SIDECAR, "startupProbe")
    with urllib.request.urlopen(f"http://{admin.host}:{admin.port}/metrics") as response:
        return parse(response.read().decode())


def running_app(pod: Pod, as_user: int | None = None) -> AbstractContextManager[int]:
    """Run the app's container; give its port."""
    group = pod.containers["app"]["securityContext"]["runAsGroup"]
    return example_app.running(Path(pod.command("app")[-1]), pod.environ("app"), as_user=as_user, group=group)


def test_the_base_works(render: Render, tmp_path: Path) -> None:
    pod = Pod(render("base"), tmp_path, KEY)
    with Mangopay(tmp_path) as mangopay, started(pod, mangopay) as sidecar, running_app(pod) as port:
        works(port)
        assert "client_id=acme" in sidecar.stdout
        assert mangopay.token_requests == 1


def test_at_the_pod_s_address_there_are_metrics_and_no_proxy(render: Render, tmp_path: Path) -> None:
    pod = Pod(render("base"), tmp_path, KEY)
    with Mangopay(tmp_path) as mangopay, started(pod, mangopay):
        assert "mangopay_sidecar_build_info" in metrics(pod)
        proxy = int(pod.environ(SIDECAR)["SIDECAR_LISTEN_PORT"])
        elsewhere = http.client.HTTPConnection(pod.probe(SIDECAR, "startupProbe").host, proxy, timeout=5)
        with pytest.raises(ConnectionRefusedError):
            elsewhere.request("GET", "/v2.01/_/users")


def test_the_job_waits_for_a_token_does_its_work_and_leaves_a_sidecar_that_ends(
    render: Render, tmp_path: Path, curl: str
) -> None:
    pod = Pod(render("overlays/job"), tmp_path, KEY)
    environ = {"PATH": os.environ["PATH"], **pod.environ("report")}
    assert pod.command("report")[0] == Path(curl).name
    # The kubelet starts what comes behind a native sidecar once that has started; and in this order.
    assert list(pod.containers) == [SIDECAR, "wait-for-token", "report"]
    with Mangopay(tmp_path) as mangopay, started(pod, mangopay):
        with Command(*pod.command("wait-for-token")) as waiting:
            assert waiting.wait() == 0
        done = subprocess.run(pod.command("report"), env=environ, capture_output=True, check=True)
        assert json.loads(done.stdout) == []


def test_a_job_that_gets_no_token_fails_with_the_reason_before_it_has_begun(render: Render, tmp_path: Path) -> None:
    pod = Pod(render("overlays/job"), tmp_path, {"mangopay-sidecar": {"api-key": b"wrong"}})
    command = pod.command("wait-for-token")
    command[command.index("--timeout") + 1] = "0.5"
    with Mangopay(tmp_path) as mangopay:
        with Command("run", environ={**pod.environ(SIDECAR), **mangopay.environ}) as sidecar:
            sidecar.wait_for("token.latched", stream="stderr")
            with Command(*command) as waiting:
                assert waiting.wait() == 1
                assert "Mangopay refuses" in waiting.stderr
            assert sidecar.stop() == 0


def test_the_client_certificate_is_shown_and_rotates_by_the_kubelet_s_swap(render: Render, tmp_path: Path) -> None:
    clients = trustme.CA()
    first, second = (clients.issue_cert("acme") for _ in range(2))
    secrets = {**KEY, "mangopay-sidecar-mtls": pair(first)}
    pod = Pod(render("overlays/mtls"), tmp_path, secrets)
    with Mangopay(tmp_path, clients=clients) as mangopay, started(pod, mangopay) as sidecar:
        with running_app(pod) as port:
            works(port)
            assert set(mangopay.shown) == {serial(first)}
            pod.replace_secret("mangopay-sidecar-mtls", pair(second))
            sidecar.wait_for("config.reloaded", stream="stderr")
            works(port)
            assert mangopay.shown[-1] == serial(second)


def test_replicas_share_one_token_through_redis(render: Render, tmp_path: Path, redis: RedisServer) -> None:
    assert redis.tls is not None
    ca = redis.tls.ca.read_bytes()
    with Mangopay(tmp_path) as mangopay, ExitStack() as stack:
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            authority = tmp_path / name / "mangopay-sidecar-redis" / "ca.crt"
            url = f"{redis.url.partition('?')[0]}?ssl_ca_certs={authority}"
            secrets = {**KEY, "mangopay-sidecar-redis": {"url": url.encode(), "ca.crt": ca}}
            pod = Pod(render("overlays/redis"), tmp_path / name, secrets)
            stack.enter_context(started(pod, mangopay))
            works(stack.enter_context(running_app(pod)))
            assert metrics(pod)["mangopay_sidecar_store_up"].value() == 1
        assert mangopay.token_requests == 1


def pair(certificate: trustme.LeafCert) -> Mapping[str, bytes]:
    """The keys of a Secret of the type kubernetes.io/tls."""
    return {"tls.crt": leaf_pem(certificate), "tls.key": certificate.private_key_pem.bytes()}


@pytest.fixture
def short_path() -> Iterator[Path]:
    """Short enough for a Unix socket's address, and where every user may look."""
    with tempfile.TemporaryDirectory(prefix="pod-", dir="/tmp") as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


def test_the_unix_socket_is_for_the_app_s_user_alone(render: Render, short_path: Path) -> None:
    pod = Pod(render("overlays/unix-socket"), short_path, KEY)
    user = pod.containers["app"]["securityContext"]["runAsUser"]
    as_root = os.geteuid() == 0
    # Who is not root cannot be the app's user, and lets in its own.
    overrides = {} if as_root else {"SIDECAR_LISTEN_ALLOWED_UIDS": str(os.geteuid())}
    assert "MANGOPAY_BASE_URL" not in pod.environ("app")
    # The kubelet makes an emptyDir for everybody to write to: the sidecar says so, and the app mounts it readOnly.
    (mount,) = [each for each in pod.containers["app"]["volumeMounts"] if each["name"] == "mangopay-sidecar-socket"]
    assert mount["readOnly"] is True
    warns_of = ("config.warning", *("request",) * as_root)
    with (
        Mangopay(short_path) as mangopay,
        started(pod, mangopay, overrides, warns_of=warns_of) as sidecar,
    ):
        assert " proxy=unix:" in sidecar.stdout
        with running_app(pod, user if as_root else None) as port:
            works(port)
        if as_root:
            with running_app(pod, user + 1) as port:
                code, response = ask(port)
            assert (code, response["Type"]) == (403, "sidecar_caller_not_allowed")
