"""Whether this is the compiled build, whose hot modules are native code (``SIDECAR_COMPILE=1``)."""

from __future__ import annotations

import platform
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import find_spec
from typing import Final

from sidecar.version import __version__

#: One of the modules that are compiled; all are, or none.
_ONE: Final = "sidecar.core.http.headers"


def is_native(module: str) -> bool:
    """Whether a module is native code; it is looked for, not imported. Raises ModuleNotFoundError."""
    spec = find_spec(module)
    if spec is None:
        raise ModuleNotFoundError(f"there is no module {module}")
    return (spec.origin or "").endswith(tuple(EXTENSION_SUFFIXES))


def version() -> str:
    """Return the version, and for what a compiled build was made: ``0.1.0 (compiled, CPython 3.11.7)``."""
    if not is_native(_ONE):
        return __version__
    return f"{__version__} (compiled, {platform.python_implementation()} {platform.python_version()})"
