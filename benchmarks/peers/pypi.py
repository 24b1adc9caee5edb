"""Programs of PyPI, each in a virtual environment of its own, from hash-pinned requirements."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from enum import Enum
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from benchmarks.peers.site import NotInstallableError
from compiling.modules import VARIABLE

if TYPE_CHECKING:
    from collections.abc import Mapping

_CHECKOUT: Final = Path(__file__).parents[2]
_REQUIREMENTS: Final = _CHECKOUT / "requirements"


class Ours(Enum):
    """How this checkout's sidecar gets into an environment."""

    AS_IT_IS = "its source is used where it lies"
    COMPILED = "its hot modules are compiled, anew whenever the source has changed"


def environment(name: str, cache: Path) -> Path:
    """Return the Python of a virtual environment with what ``requirements/bench-NAME.txt`` pins.

    Raises NotInstallableError.
    """
    return installed(cache / name, [f"bench-{name}"])


def installed(place: Path, names: list[str], base: Path = Path(sys.executable), *, ours: Ours | None = None) -> Path:
    """Return the Python of the virtual environment at ``place``, made of the Python ``base`` if it is not there.

    It has what ``requirements/NAME.txt`` pins for each of ``names``, and this checkout's sidecar as ``ours`` says.
    Raises NotInstallableError.
    """
    files = [_REQUIREMENTS / f"{name}.txt" for name in names]
    if ours is Ours.COMPILED:
        # pyproject.toml has the table of what is compiled.
        files += [_CHECKOUT / "pyproject.toml", _CHECKOUT / "setup.py"]
        files += sorted(path for top in ("sidecar", "compiling") for path in (_CHECKOUT / top).rglob("*.py"))
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
    pinned = [word for name in names for word in ("-r", _REQUIREMENTS / f"{name}.txt")]
    _run([*pip, "--require-hashes", *pinned])
    if ours is not None:
        of_source = ["--editable"] if ours is Ours.AS_IT_IS else []
        environ = {VARIABLE: "1"} if ours is Ours.COMPILED else {}
        _run([*pip, "--no-deps", "--no-build-isolation", *of_source, _CHECKOUT], environ)
    stamp.write_text(wanted)
    return python


def _run(command: list[str | Path], environ: Mapping[str, str] = MappingProxyType({})) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **environ})
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
        raise NotInstallableError(f"{' '.join(map(str, command[1:4]))} failed: {' '.join(errors[-2:])}")
    return done.stdout
