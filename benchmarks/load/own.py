"""Our own load generator, run as a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.load.errors import LoadError
from benchmarks.load.exchange import Tally
from benchmarks.measure.cores import pinned

if TYPE_CHECKING:
    from benchmarks.load.exchange import Work

#: Where ``python -m benchmarks…`` works.
_ROOT: Final = Path(__file__).parents[2]


def make_calls(work: Work, *, core: int) -> Tally:
    """Do ``work`` on ``core``. Raises LoadError if any call went wrong."""
    command = [sys.executable, "-m", "benchmarks.load.generator"]
    with pinned(core):
        process = subprocess.Popen(
            command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
    with process:
        try:
            out, errors = process.communicate(work.to_json(), timeout=60 + 2 * (work.seconds + work.warm_up))
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise LoadError(f"the load generator ended with {process.returncode}: {errors.strip().splitlines()[-1:]}")
    tally = Tally.from_json(out)
    if tally.failures or not tally.answered:
        said = ", ".join(f"{what} ({count})" for what, count in tally.failures.items()) or "no call was answered"
        raise LoadError(f"{said}; {tally.answered} calls were answered")
    return tally
