"""Which modules are compiled, and whether they are to be: the table ``[tool.sidecar.compiled]`` of pyproject.toml."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT: Final = Path(__file__).parents[1]
#: ``1`` asks for native code, ``0`` or nothing for none.
VARIABLE: Final = "SIDECAR_COMPILE"
_REQUIREMENTS: Final = ROOT / "requirements" / "compile.txt"


def is_asked_for(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether the build shall compile. Raises ValueError if the variable says neither yes nor no."""
    value = environ.get(VARIABLE, "")
    if value not in {"", "0", "1"}:
        raise ValueError(f"{VARIABLE} is {value!r}: set it to 1 for a compiled build, to 0 or nothing for a pure one")
    return value == "1"


def groups() -> dict[str, tuple[str, ...]]:
    """Return the compiled modules, by group."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return {name: tuple(modules) for name, modules in project["tool"]["sidecar"]["compiled"].items()}


def compiled_modules() -> tuple[str, ...]:
    """Return the names of all compiled modules."""
    return tuple(module for group in groups().values() for module in group)


def path_of(module: str) -> Path:
    """Return where a module's source is."""
    return ROOT / (module.replace(".", "/") + ".py")


def compiler() -> str:
    """Return the requirement that names the compiler, in the version that requirements/compile.txt pins by its hash."""
    found = re.search(r"^mypy==\S+", _REQUIREMENTS.read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        raise ValueError(f"{_REQUIREMENTS.name} pins no mypy: `make lock` writes it")
    return found[0]
