"""Another package called ``sidecar``: on the path, in place of ours, or imported before the command."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import mangopay_sidecar
import sidecar
from sidecar.version import __version__
from tests.support.sidecar import COMMAND

VERSION = f"mangopay-sidecar {__version__}\n"
#: As the one on PyPI: it needs what is not installed.
FOREIGN = "import a_package_of_notebooks_that_is_not_there\n"


def run(*command: str | Path, directory: Path, **environ: str) -> tuple[int, str, str]:
    environ |= {"PATH": os.environ["PATH"]}
    ended = subprocess.run(command, cwd=directory, env=environ, capture_output=True, text=True, timeout=50, check=False)
    return ended.returncode, ended.stdout, ended.stderr


def foreign(directory: Path, source: str = FOREIGN) -> Path:
    package = directory / "sidecar"
    package.mkdir()
    (package / "__init__.py").write_text(source)
    return package


def test_one_that_comes_first_on_the_path_is_passed_over(tmp_path: Path) -> None:
    foreign(tmp_path)
    assert run(COMMAND, "--version", directory=tmp_path, PYTHONPATH=str(tmp_path)) == (0, VERSION, "")


def test_and_so_is_one_in_the_working_directory(tmp_path: Path) -> None:
    foreign(tmp_path)
    command = (sys.executable, "-m", "mangopay_sidecar", "--version")
    assert run(*command, directory=tmp_path) == (0, VERSION, "")


@pytest.mark.parametrize("source", [FOREIGN, "", "raise SystemError('of its own')\n"])
@pytest.mark.parametrize("mixed", [False, True])
def test_one_that_lies_in_our_place_is_told_in_one_line(tmp_path: Path, source: str, mixed: bool) -> None:
    """As after ``pip install sidecar`` in the same environment, which overwrites what has the same name."""
    package = foreign(tmp_path, source)
    shutil.copy(mangopay_sidecar.__file__, tmp_path)
    if mixed:
        for entry in Path(sidecar.__file__).parent.iterdir():
            if entry.name not in {"__init__.py", "__pycache__"}:
                (package / entry.name).symlink_to(entry)
    command = (sys.executable, tmp_path / "mangopay_sidecar.py", "--version")
    status, stdout, stderr = run(*command, directory=tmp_path)
    assert (status, stdout, stderr.count("\n")) == (1, "", 1)
    assert "another package of that name is installed in its place" in stderr
    assert "pipx install mangopay-sidecar" in stderr
    if source != FOREIGN or mixed:
        assert str(package / "__init__.py") in stderr


def test_one_that_was_imported_before_is_told_too(tmp_path: Path) -> None:
    foreign(tmp_path, "")
    code = "import sys; sys.path.insert(0, '.'); import sidecar, mangopay_sidecar; mangopay_sidecar.main()"
    status, _, stderr = run(sys.executable, "-c", code, directory=tmp_path)
    assert status == 1
    assert "sidecar/__init__.py: another package" in stderr


def test_a_failure_of_our_own_is_told_as_it_is(tmp_path: Path) -> None:
    shutil.copy(mangopay_sidecar.__file__, tmp_path)
    package = foreign(tmp_path, Path(sidecar.__file__).read_text())
    (package / "cli.py").write_text("import a_dependency_that_is_not_there\n")
    status, _, stderr = run(sys.executable, tmp_path / "mangopay_sidecar.py", "--version", directory=tmp_path)
    assert status == 1
    assert "No module named 'a_dependency_that_is_not_there'" in stderr
