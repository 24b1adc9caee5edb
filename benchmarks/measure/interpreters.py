"""Which Python was measured with, and how it was built.

A build with profile-guided optimisation (PGO) needs a seventh less CPU a call than one
without, which is more than most changes of ours bring. So no figure is told without this.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

#: The oldest Python that the sidecar runs on.
_OLDEST: Final = (3, 11)
#: Where distributions have theirs; and the one that this machine's users get.
_SYSTEM: Final = Path("/usr/bin/python3")
_COMMAND: Final = "python3"

_ASKED: Final = """
import json, os, platform, sys, sysconfig
names = ("CONFIG_ARGS", "PY_CFLAGS", "PY_CFLAGS_NODIST", "PY_LDFLAGS_NODIST")
print(json.dumps({
    "version": platform.python_version(),
    "program": os.path.realpath(getattr(sys, "_base_executable", sys.executable)),
    "flags": " ".join(filter(None, map(sysconfig.get_config_var, names))),
}))
"""


class NoInterpreterError(Exception):
    """There is no Python that runs at a path."""


@dataclass(frozen=True)
class Interpreter:
    """A Python."""

    version: str
    #: The file that is executed, whatever environments lead to it.
    program: Path
    #: What it was configured and compiled with.
    flags: str
    #: The Debian package that it is of.
    package: str | None

    @property
    def pgo(self) -> bool:
        """Whether it was built with PGO.

        Debian's and Ubuntu's packages are, by their rules (``debian/rules``, ``profile-opt``), and their
        ``CONFIG_ARGS`` do not say so.
        """
        said = ("--enable-optimizations", "-fprofile-use", "-fprofile-instr-use")
        return self.package is not None or any(flag in self.flags for flag in said)

    @property
    def short(self) -> str:
        """Version and kind of build, to tell two of them apart."""
        return f"{self.version}{' PGO' if self.pgo else ''}"

    def __str__(self) -> str:
        """Say which one it is."""
        built = "with" if self.pgo else "without"
        whose = "" if self.package is None else f" (package {self.package})"
        return f"{self.version} built {built} PGO{whose}"


def ask(python: Path) -> Interpreter:
    """Return what a Python says of itself. Raises NoInterpreterError."""
    try:
        done = subprocess.run([python, "-c", _ASKED], capture_output=True, text=True, check=True, timeout=60)
        said = json.loads(done.stdout)
        program = Path(said["program"])
        return Interpreter(said["version"], program, said["flags"], _package(program))
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise NoInterpreterError(f"{python} is no Python that runs: {error}") from None


def this() -> Interpreter:
    """Return the one that runs this."""
    return ask(Path(sys.executable))


def another() -> Path | None:
    """Return a Python of this machine that the sidecar runs on, of another version or build than this one, if any."""
    found = shutil.which(_COMMAND)
    return pick(this(), [_SYSTEM, *([] if found is None else [Path(found)])])


def pick(present: Interpreter, candidates: list[Path]) -> Path | None:
    """Return the first of ``candidates`` that differs from ``present`` in what counts, and is not too old."""
    for python in candidates:
        try:
            found = ask(python)
        except NoInterpreterError:
            continue
        new_enough = tuple(map(int, found.version.split(".")[:2])) >= _OLDEST
        if new_enough and found.short != present.short:
            return python
    return None


def _package(program: Path) -> str | None:
    """Return which Debian package a file is of."""
    dpkg = shutil.which("dpkg-query")
    if dpkg is None:
        return None
    done = subprocess.run([dpkg, "--search", program], capture_output=True, text=True, check=False)
    return None if done.returncode else done.stdout.partition(":")[0]
