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
    return installed(cache / name, [f"bench-{name}"])


def installed(place: Path, names: list[str], base: Path = Path(sys.executable), *, ours: bool = False) -> Path:
    """Return the Python of the virtual environment at ``place``, made of the Python ``base`` if it is not there.

    It has what ``requirements/NAME.txt`` pins for each of ``names``; with ``ours`` this checkout's sidecar besides.
    Raises NotInstallableError.
    """
    files = [_REQUIREMENTS / f"{name}.txt" for name in names]
    version = _run([base, "-VV"])
    wanted = hashlib.sha256(b"".join(file.read_bytes() for file in files) + version.encode()).hexdigest()
    stamp = place / ".installed"
    python = place / "bin" / "python"
    if stamp.is_file() and stamp.read_text() == wanted:
        return python
    shutil.rmtree(place, ignore_errors=True)
    # Debian's Python has no pip to put into it, so ours works on it from the outside.
    _run([base, "-m", "venv", "--without-pip", place])
    pip: list[str | Path] = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ]
    _run([*pip, "--require-hashes", *(argument for file in files for argument in ("-r", file))])
    if ours:
        _run([*pip, "--no-deps", "--no-build-isolation", "--editable", _REQUIREMENTS.parent])
    stamp.write_text(wanted)
    return python


def _run(command: list[str | Path]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
        raise NotInstallableError(f"{' '.join(map(str, command[1:4]))} failed: {' '.join(errors[-2:])}")
    return done.stdout
