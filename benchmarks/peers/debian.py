"""Programs of the Debian archive: found on the PATH, installed by apt-get if root."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from benchmarks.peers.site import NotInstallableError

#: Where Debian puts servers, which may not be on a user's PATH.
_PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"))


def program(name: str, package: str) -> Path:
    """Return the path of a program. Raises NotInstallableError."""
    found = shutil.which(name, path=_PATH)
    if found is None and os.geteuid() == 0 and shutil.which("apt-get") is not None:
        _install(package)
        found = shutil.which(name, path=_PATH)
    if found is None:
        raise NotInstallableError(f"{name} is not on the PATH: install the package {package}")
    return Path(found)


def version(command: list[str | Path], pattern: str) -> str:
    """Return what ``pattern`` finds in a program's words about itself."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(pattern, done.stdout + done.stderr)
    return "unknown version" if found is None else found[1]


def _install(package: str) -> None:
    options = ["--quiet=2", "--yes"]
    install = ["apt-get", "install", *options, "--no-install-recommends", package]
    # The lists of packages may be there and good, or not.
    done = _run(install)
    if done.returncode:
        _run(["apt-get", "update", *options])
        done = _run(install)
    if done.returncode:
        raise NotInstallableError(f"apt-get could not install {package}: {' '.join(done.stderr.splitlines()[-1:])}")


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
