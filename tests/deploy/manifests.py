"""Builds every example of deploy/kubernetes and the chart of deploy/helm into files, for checkers to read.

``python -m tests.deploy.manifests DIRECTORY``; DIRECTORY is made anew.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.deploy import kubernetes_tools

DEPLOY: Final = Path(__file__).parents[2] / "deploy"
EXAMPLES: Final = ("base", *(f"overlays/{name}" for name in ("job", "mtls", "redis", "unix-socket")))
SIDECAR: Final = "mangopay-sidecar"


def write(directory: Path) -> None:
    """Write one file for each example and for the chart."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    kubectl = kubernetes_tools.kubectl(kubernetes_tools.NEWEST)
    for example in EXAMPLES:
        built = subprocess.run([kubectl, "kustomize", DEPLOY / "kubernetes" / example], capture_output=True, check=True)
        (directory / f"{example.replace('/', '-')}.yaml").write_bytes(built.stdout)
    (directory / "chart.yaml").write_bytes(_chart())


def _chart() -> bytes:
    helm = kubernetes_tools.helm(kubernetes_tools.HELMS[-1])
    with tempfile.TemporaryDirectory() as scratch:
        charts = Path(scratch) / "helm"
        shutil.copytree(DEPLOY / "helm", charts, ignore=shutil.ignore_patterns("charts", "Chart.lock"))
        environ = {"HOME": scratch, "PATH": "/usr/bin:/bin"}
        update: list[str | Path] = [helm, "dependency", "update", charts / "example"]
        subprocess.run(update, env=environ, stdout=subprocess.DEVNULL, check=True)
        template: list[str | Path] = [helm, "template", "shop", charts / "example", "--kube-version", "1.31.0"]
        return subprocess.run(template, env=environ, capture_output=True, check=True).stdout


if __name__ == "__main__":
    write(Path(sys.argv[1]))
