"""The distribution as a user has it: its wheel in an environment with what it needs, pytest, and nothing else."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import venv
from importlib.metadata import PathDistribution, distribution
from pathlib import Path
from typing import TYPE_CHECKING, Final
from zipfile import ZipFile

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from collections.abc import Iterable

_PROJECT: Final = Path(__file__).parents[2]
#: What a wheel is made of.
_SOURCES: Final = (
    "LICENSE",
    "README.md",
    "pyproject.toml",
    "mangopay_sidecar.py",
    "mangopay_sidecar_pytest.py",
    "sidecar",
)
_BUILD: Final = "from setuptools import build_meta; print(build_meta.build_wheel('.'))"


def build_wheel(directory: Path) -> Path:
    """Build the wheel from a copy of the sources, in ``directory``."""
    for name in _SOURCES:
        source = _PROJECT / name
        if source.is_dir():
            shutil.copytree(source, directory / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, directory / name)
    command = [sys.executable, "-c", _BUILD]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=True)
    return directory / done.stdout.splitlines()[-1]


def install(wheel: Path, directory: Path, *besides: str) -> Path:
    """Make an environment in ``directory`` with the wheel, what it requires, and ``besides``; return its ``bin``.

    What is required is that of the running environment, by links: it takes no time, and asks no registry.
    """
    venv.create(directory, symlinks=True, with_pip=False)
    variables = {"base": str(directory), "platbase": str(directory)}
    site = Path(sysconfig.get_path("purelib", "venv", vars=variables))
    with ZipFile(wheel) as archive:
        archive.extractall(site)
    (metadata,) = site.glob("*.dist-info")
    ours = PathDistribution(metadata)
    for name in _closure([*_names(ours.requires or ()), *besides]):
        _link(name, site)
    bin_ = directory / "bin"
    for each in (ours, *map(distribution, besides)):
        for script in each.entry_points.select(group="console_scripts"):
            program = bin_ / script.name
            code = f"import sys, {script.module}\nsys.exit({script.module}.{script.attr}())\n"
            program.write_text(f"#!{bin_}/python\n{code}")
            program.chmod(0o755)
    return bin_


def _names(requirements: Iterable[str]) -> list[str]:
    """Return what is required here, extras apart."""
    parsed = [Requirement(each) for each in requirements]
    return [each.name for each in parsed if each.marker is None or each.marker.evaluate({"extra": ""})]


def _closure(names: Iterable[str]) -> set[str]:
    found, left = set[str](), list(names)
    while left:
        name = canonicalize_name(left.pop())
        if name not in found:
            found.add(name)
            left += _names(distribution(name).requires or ())
    return found


def _link(name: str, site: Path) -> None:
    """Put a distribution's files there, each folder by one link."""
    installed = distribution(name)
    tops = {file.parts[0] for file in installed.files or ()} - {"..", "__pycache__"}
    for top in tops:
        (site / top).symlink_to(Path(str(installed.locate_file(top))))
