"""Where a call's instructions go, part by part: the same run as the count, with frames that callgrind can see."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.counting import framed, parts
from benchmarks.counting.callgrind import Callgrind, CountingError
from benchmarks.counting.workloads import Caller
from benchmarks.page_cost_processes import in_front_of_upstream

if TYPE_CHECKING:
    from benchmarks.counting.workloads import Workload

#: Calls before any is counted, and calls that are: each goes from part to part some forty times, and callgrind writes
#: a dump each time.
_WARM_UP, _CALLS = 200, 10


@dataclass(frozen=True)
class Distribution:
    """What each part costs."""

    found: dict[str, parts.Part]
    #: What a call costs when nobody looks.
    truth: float

    def table(self) -> list[str]:
        """Return it in Markdown, the dearest part first."""
        costs = parts.corrected(self.found, _CALLS, self.truth)
        rows = [
            f"| {name} | {cost:,.0f} | {cost / self.truth:.0%} | {part.frames / _CALLS:.0f} | {_outside(part)} |"
            for name, cost in sorted(costs.items(), key=lambda item: -item[1])
            for part in (self.found[name],)
        ]
        return [
            "| part | instructions a call | share | Python frames | of these outside the interpreter |",
            "| --- | --- | --- | --- | --- |",
            *rows,
            f"| all | {self.truth:,.0f} | 100% | {sum(self.found[name].frames for name in costs) / _CALLS:.0f} | |",
        ]


def _outside(part: parts.Part) -> str:
    """Return what is spent in C outside of the interpreter; what is less than 500 instructions is left out."""
    found = [(library, count / _CALLS) for library, count in part.by_library.most_common()]
    return ", ".join(
        f"{library} {count:,.0f}" for library, count in found if library != parts.INTERPRETER and count >= 500
    )


def measure(workload: Workload, checkout: Path, truth: float) -> Distribution:
    """Measure it. Raises CountingError."""
    with tempfile.TemporaryDirectory(prefix="instructions-") as name:
        directory = Path(name)
        callgrind = Callgrind(directory)
        module = framed.compiled(directory)
        program = [sys.executable, str(Path(framed.__file__)), str(module), str(_WARM_UP), str(_CALLS)]
        environ = {"PYTHONPATH": f"{checkout}:{Path(__file__).parents[2]}"}
        with (
            in_front_of_upstream([*callgrind.prefix, *program], tls=True, environ=environ, cwd=checkout) as sidecar,
            Caller(sidecar.port) as caller,
        ):
            caller.make(workload, _WARM_UP + _CALLS + 1)
        found = parts.read(directory.glob("callgrind.out.*"))
    if not found:
        raise CountingError(f"no part of a call was seen: {callgrind.last_words()}")
    return Distribution(found, truth)
