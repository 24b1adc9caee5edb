"""Which build the tests run against: the source as it is, or an installed package with native code."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Final

from compiling.modules import compiled_modules
from sidecar.native import is_native

#: Set by ``make compiled``.
_VARIABLE: Final = "EXPECT_COMPILED"
EXPECT_COMPILED: Final = os.environ.get(_VARIABLE) == "1"


def why_not_compiled() -> str | None:
    """Say why the tests, or the commands that they start, would not run against native code; None if they would."""
    if pure := [module for module in compiled_modules() if not is_native(module)]:
        return f"{_VARIABLE} is set, and {', '.join(pure)} is not native: run `make compiled`"
    command = [sys.executable, "-m", "sidecar", "--version"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return None if "compiled" in told else f"{_VARIABLE} is set, and a command says {told!r}: run `make compiled`"
