"""The suite with the other Pythons that the sidecar is for: ``make pythons``.

Each version of VERSIONS but this one is looked for on the PATH, then among pyenv's. One that is not there comes from
Debian's packages, in a root file system of its own that debootstrap makes (as root, on Debian or Ubuntu). Run are the
tests of rules, flows and the wire; with a version that lies between two others, those of rules and flows. Others, such
as tests/e2e, are run if they are named. Those of deployment, of the page and of the SDKs look at files and at other
programs, which no version of Python changes. A version that cannot be had is told; where CI is set, it is an error.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

PROJECT: Final = Path(__file__).parents[2]
VERSIONS: Final = ("3.11", "3.12", "3.13", "3.14")
_PLACE: Final = PROJECT / "build" / "pythons"
#: Debian's release that has a version as its ``python3``.
_RELEASES: Final = {"3.11": "bookworm", "3.13": "trixie", "3.14": "sid"}
#: What the tests start besides Python, where it is there.
_PACKAGES: Final = "python3,python3-venv,ca-certificates,curl,e2fsprogs,git,openssl,procps,redis-server"
_LAYER: Final = ("run", "build", "test")
_TESTS: Final = ("tests/unit", "tests/flow", "tests/wire")
#: With a version between two that run them all.
_TESTS_BETWEEN: Final = {"3.12": ("tests/unit", "tests/flow")}
_TRUST: Final = Path("etc/ssl/certs/ca-certificates.crt")
#: Run in a mount namespace of its own: $1 is the root, $2 this checkout, which may lie in /tmp, the rest a command.
_ENTER: Final = """\
set -e
root=$1 checkout=$2; shift 2
mount -t tmpfs tmpfs "$root/tmp"
mkdir -p "$root$checkout"
mount --bind "$checkout" "$root$checkout"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount --rbind /sys "$root/sys"
for file in /etc/resolv.conf /etc/hosts /etc/pip.conf; do
  if [ -e "$file" ]; then touch "$root$file"; mount --bind "$file" "$root$file"; fi
done
exec chroot "$root" /bin/sh -c 'cd "$0" && exec "$@"' "$checkout" "$@"
"""


class NotToBeHadError(Exception):
    """This version of Python is not on the machine, and could not be fetched."""


class Interpreter:
    """A Python with an environment of the test layer: the machine's own, or one within a root file system."""

    def __init__(self, version: str, program: str, root: Path | None) -> None:
        self._version: Final = version
        self._program: Final = program
        self._root: Final = root
        self._python: Final = _PLACE / version / "bin" / "python"

    def run(self, *command: str | Path, quiet: bool = False) -> int:
        """Run a command from the checkout's top; return its exit status."""
        words = [str(word) for word in command]
        if self._root is not None:
            enter = ["unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", _ENTER, "enter"]
            words = [*enter, str(self._root), str(PROJECT), *words]
        # CI is not set: what this layer leaves out is left out on purpose.
        environ = {name: value for name, value in os.environ.items() if name != "CI"}
        output = subprocess.DEVNULL if quiet else None
        return subprocess.run(words, cwd=PROJECT, env=environ, stdout=output, check=False).returncode

    def prepare(self) -> None:
        """Make the environment. Raises NotToBeHadError if the packages cannot be installed."""
        shutil.rmtree(_PLACE / self._version, ignore_errors=True)
        pip = (self._python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        pinned = [word for name in _LAYER for word in ("-r", f"requirements/{name}.txt")]
        commands: tuple[tuple[str | Path, ...], ...] = (
            (self._program, "-m", "venv", _PLACE / self._version),
            (*pip, "--require-hashes", *pinned),
            (*pip, "--no-deps", "--no-build-isolation", "--editable", "."),
        )
        for command in commands:
            if self.run(*command):
                raise NotToBeHadError(f"{' '.join(map(str, command))} failed")

    def test(self, arguments: Sequence[str]) -> bool:
        """Run the suite; return whether it passed."""
        suite = ("-m", "pytest", "--quiet", "-p", "no:cacheprovider", "--numprocesses", "auto", "--dist", "worksteal")
        return self.run(self._python, *suite, *(arguments or _TESTS_BETWEEN.get(self._version, _TESTS))) == 0


def find(version: str) -> Interpreter:
    """Return that Python. Raises NotToBeHadError."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for program in (f"python{version}", *map(str, sorted(pyenv.glob(f"{version}.*/bin/python")))):
        if _says(program) == version:
            return Interpreter(version, program, None)
    return Interpreter(version, "python3", _debian(version))


def _says(program: str) -> str | None:
    """Return the version that a program says it is, such as ``3.13``; None if it is no Python with venv."""
    code = "import ensurepip, venv, sys; print('%d.%d' % sys.version_info[:2])"
    try:
        return subprocess.run([program, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _debian(version: str) -> Path:
    """Return the root of a Debian with that Python, made if it is not there. Raises NotToBeHadError."""
    release = _RELEASES.get(version)
    if release is None or shutil.which("debootstrap") is None or os.geteuid() != 0:
        raise NotToBeHadError(
            "it is neither on the PATH nor in pyenv; as root, with debootstrap, Debian's would be tried"
        )
    root = _PLACE / f"debian-{release}"
    if not (root / "complete").exists():
        shutil.rmtree(root, ignore_errors=True)
        command = ["debootstrap", "--variant=minbase", f"--include={_PACKAGES}", release, str(root)]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode:
            raise NotToBeHadError(f"debootstrap failed:\n{done.stdout[-1500:]}")
        shutil.copyfile("/" / _TRUST, root / _TRUST)  # the machine's trust: its registries may have a CA of their own
        (root / "complete").touch()
    found = subprocess.run(["chroot", root, "python3", "--version"], capture_output=True, text=True, check=True).stdout
    if re.match(rf"Python {re.escape(version)}\.", found) is None:
        raise NotToBeHadError(f"Debian's {release} has {found.strip()} by now")
    return root


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.deploy.pythons", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument("--version", action="append", choices=VERSIONS, help="only this one; may be repeated")
    parser.add_argument("arguments", nargs="*", metavar="TEST", help=f"for pytest (default: {' '.join(_TESTS)})")
    options = parser.parse_args()
    own = "{}.{}".format(*sys.version_info)
    passed: list[str] = []
    failed: list[str] = []
    missing: list[str] = []
    for version in options.version or [each for each in VERSIONS if each != own]:
        print(f"--- Python {version}", flush=True)
        try:
            interpreter = find(version)
            interpreter.prepare()
        except NotToBeHadError as error:
            print(f"Python {version} cannot be had: {error}")
            missing.append(version)
            continue
        (passed if interpreter.test(options.arguments) else failed).append(version)
    for word, versions in (("passed", passed), ("failed", failed), ("not to be had", missing)):
        if versions:
            print(f"{word}: {', '.join(versions)}")
    return 1 if failed or (missing and os.environ.get("CI")) else 0


if __name__ == "__main__":
    sys.exit(main())
