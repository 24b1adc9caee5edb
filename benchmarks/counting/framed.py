"""``mangopay-sidecar run`` that tells callgrind which part of a call's way it is in (:mod:`benchmarks.counting.parts`).

``python -m benchmarks.counting.framed MODULE BEFORE COUNTED``, under callgrind;
``MODULE`` is ``frames.c``, compiled by :func:`compiled`.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from benchmarks.counting.callgrind import CountingError
from benchmarks.counting.parts import CLOCK, LOOP, part_of


def compiled(directory: Path) -> Path:
    """Compile ``frames.c``. Raises CountingError if it cannot be."""
    if shutil.which("cc") is None:
        raise CountingError("there is no C compiler (Debian: apt-get install gcc)")
    source, module = Path(__file__).with_name("frames.c"), directory / "frames.so"
    include = sysconfig.get_path("include")
    command = ["cc", "-O2", "-shared", "-fPIC", f"-I{include}", str(source), "-o", str(module)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CountingError(
            f"frames.c cannot be compiled, for which Python's and valgrind's headers are needed:\n{done.stderr}"
        )
    return module


def place_of(filename: str, name: str) -> tuple[str | None, bool]:
    """Return a function's part, and whether a call begins with it."""
    part = part_of(filename, name)
    return None if part is None else sys.intern(part), name == "CallRecorder.open"


def main(module: str, before: str, counted: str) -> None:
    """Run the sidecar."""
    spec = importlib.util.spec_from_file_location("frames", module)
    assert spec is not None
    assert spec.loader is not None
    frames = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(frames)
    frames.install(place_of, sys.intern(LOOP), sys.intern(CLOCK), int(before), int(counted))
    from sidecar.cli import main as run

    sys.argv = ["mangopay-sidecar", "run"]
    run()


if __name__ == "__main__":
    main(*sys.argv[1:])
