"""The source of a module, compiled or not: a wheel has it beside the native code."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType


def source_of(module: ModuleType) -> str:
    """Return a module's source."""
    assert module.__file__ is not None
    return (Path(module.__file__).parent / f"{module.__name__.rpartition('.')[2]}.py").read_text(encoding="utf-8")
