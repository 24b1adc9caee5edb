"""Prometheus' own checker, where the machine has it (Debian's package ``prometheus``)."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


def run_promtool(*arguments: str | Path, stdin: bytes = b"", cwd: Path | None = None) -> str:
    """Run ``promtool`` and return what it printed; fail if it finds fault.

    Skips the test where there is no promtool, but fails it in CI.
    """
    command = shutil.which("promtool")
    if command is None:
        message = "no promtool on this machine: install Debian's package prometheus"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    done = subprocess.run([command, *arguments], input=stdin, cwd=cwd, capture_output=True, check=False)
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, said
    return said
