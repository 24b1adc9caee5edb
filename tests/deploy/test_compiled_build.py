"""``SIDECAR_COMPILE=1``: a wheel of the checkout has native code and its source; the checkout has none."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final
from zipfile import ZipFile

import pytest

from compiling.modules import VARIABLE, compiled_modules, path_of

if TYPE_CHECKING:
    from collections.abc import Sequence

PROJECT: Final = Path(__file__).parents[2]
#: The only one that is compiled here: what takes long is the rest.
ONE: Final = "sidecar.core.http.field"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout of what is tracked or new in this one, with a table of one module."""
    listed = [
        "git",
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
        "sidecar",
        "compiling",
        "requirements",
        "*.*",
    ]
    names = subprocess.run(listed, cwd=PROJECT, capture_output=True, text=True, check=True).stdout.split("\0")
    root = tmp_path / "checkout"
    for name in names:
        if name and (PROJECT / name).is_file() and not name.startswith(("tests/", "benchmarks/", "docs/", "deploy/")):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(PROJECT / name, root / name)
    table = root / "pyproject.toml"
    text, found = re.subn(
        r"(\[tool\.sidecar\.compiled\]\n).*?(?=\n\[)", rf'\1core = ["{ONE}"]\n', table.read_text(), flags=re.DOTALL
    )
    assert found == 1
    table.write_text(text)
    (root / ".gitignore").write_text((PROJECT / ".gitignore").read_text())
    run(["git", "init", "--quiet"], root)
    return root


def run(command: Sequence[str | Path], cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    whole = {**os.environ, **environ}
    return subprocess.run(command, cwd=cwd, env=whole, capture_output=True, text=True, check=False)


def pip(*arguments: str | Path, cwd: Path, compiled: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    return run(command, cwd, **{VARIABLE: compiled})


def wheel(checkout: Path, into: Path, *, compiled: str) -> ZipFile:
    done = pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", into, ".", cwd=checkout, compiled=compiled)
    assert done.returncode == 0, done.stderr
    (made,) = into.iterdir()
    return ZipFile(made)


def native(names: Sequence[str]) -> list[str]:
    return [name for name in names if re.search(r"\.(so|pyd|c|h|o)$", name)]


@pytest.mark.skipif(
    (shutil.which("gcc") or shutil.which("cc")) is None and "CI" not in os.environ, reason="needs a C compiler"
)
@pytest.mark.timeout(300)
def test_a_compiled_wheel_has_native_code_beside_source_and_the_checkout_has_none(
    checkout: Path, tmp_path: Path
) -> None:
    made = wheel(checkout, tmp_path / "made", compiled="1")
    path = ONE.replace(".", "/")
    names = made.namelist()
    assert {name.partition(".")[0] for name in native(names)} == {path, "mangopay_sidecar__mypyc"}
    assert f"{path}.py" in names  # tracebacks show its lines
    assert not [name for name in names if name.startswith(("compiling", "setup"))]
    assert made.filename is not None
    assert "-none-any" not in made.filename
    ignored = run(["git", "status", "--short", "--ignored", "--untracked-files=all"], checkout).stdout
    assert native(ignored.splitlines()) == []
    assert not (checkout / "build").exists()


def test_without_the_variable_a_wheel_is_pure(checkout: Path, tmp_path: Path) -> None:
    made = wheel(checkout, tmp_path / "made", compiled="0")
    assert native(made.namelist()) == []
    assert str(made.filename).endswith("-py3-none-any.whl")


def test_an_editable_install_is_not_compiled(checkout: Path, tmp_path: Path) -> None:
    target = ("--no-deps", "--no-build-isolation", "--target", tmp_path / "installed")
    done = pip("install", *target, "--editable", ".", cwd=checkout, compiled="1")
    assert done.returncode != 0
    assert f"unset {VARIABLE}, or install without --editable" in done.stderr
    assert "Traceback" not in done.stderr


def test_nothing_is_compiled_in_place(checkout: Path) -> None:
    done = run([sys.executable, "setup.py", "build_ext", "--inplace"], checkout, **{VARIABLE: "1"})
    assert done.returncode != 0
    assert f"Native code does not go beside its source: unset {VARIABLE}" in done.stderr


def test_the_source_archive_has_what_compiling_needs(checkout: Path, tmp_path: Path) -> None:
    code = "import sys; from compiling import backend; print(backend.build_sdist(sys.argv[1]))"
    done = run([sys.executable, "-c", code, tmp_path], checkout, **{VARIABLE: "1"})
    assert done.returncode == 0, done.stderr
    listed = run(["tar", "tzf", tmp_path / done.stdout.split()[-1]], tmp_path).stdout.splitlines()
    names = {name.partition("/")[2] for name in listed}
    assert {"setup.py", "compiling/backend.py", "compiling/mypy.ini", "requirements/compile.txt"} <= names
    assert {str(path_of(module).relative_to(PROJECT)) for module in compiled_modules()} <= names
