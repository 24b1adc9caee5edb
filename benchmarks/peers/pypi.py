"""Programs of PyPI, each in a virtual environment of its own, from hash-pinned requirements."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from benchmarks.peers.site import NotInstallableError

_REQUIREMENTS: Final = Path(__file__).parents[2] / "requirements"


def environment(name: str, cache: Path) -> Path:
    """Return the Python of a virtual environment with what ``requirements/bench-NAME.txt`` pins.

    Raises NotInstallableError.
    """
    requirements = _REQUIREMENTS / f"bench-{name}.txt"
    wanted = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()
    place = cache / name
    stamp = place / ".installed"
    python = place / "bin" / "python"
    if stamp.is_file() and stamp.read_text() == wanted:
        return python
    shutil.rmtree(place, ignore_errors=True)
    options = ["--quiet", "--disable-pip-version-check", "--require-hashes"]
    _run([sys.executable, "-m", "venv", place])
    _run([python, "-m", "pip", "install", *options, "-r", requirements])
    stamp.write_text(wanted)
    return python


def _run(command: list[str | Path]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
        raise NotInstallableError(f"{' '.join(map(str, command[1:4]))} failed: {' '.join(errors[-2:])}")
