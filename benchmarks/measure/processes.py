"""What Linux says of a process and its descendants: CPU time and memory.

CPU time is the process clock that the kernel keeps for a whole thread group
(``clock_getcpuclockid``, nanoseconds; threads that have ended included), so it
is the time that ``utime`` and ``stime`` of ``/proc/PID/stat`` give in ticks of 10 ms.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of a process tree: resident (shared pages count in each process), and each shared page divided."""

    resident: int
    proportional: int


def tree(pid: int) -> list[int]:
    """Return ``pid`` and its living descendants, parents first."""
    found = [pid]
    for parent in found:
        for listing in Path(f"/proc/{parent}/task").glob("*/children"):
            found += map(int, listing.read_text().split())
    return found


def cpu_ns(pids: Iterable[int]) -> int:
    """Return the CPU time that these processes have used so far, in nanoseconds. Raises OSError if one is gone."""
    # How Linux encodes "the scheduler's clock of process N" in a clock id (include/linux/posix-timers.h).
    return sum(time.clock_gettime_ns(~pid << 3 | 2) for pid in pids)


def memory(pids: Iterable[int]) -> Memory:
    """Return the memory of these processes together. Raises OSError if one is gone."""
    resident = proportional = 0
    for pid in pids:
        # Exact, unlike VmRSS, which may lag behind by some pages for each thread.
        fields = dict(re.findall(r"^(\w+):\s+(\d+) kB$", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE))
        resident += int(fields["Rss"]) * 1024
        proportional += int(fields["Pss"]) * 1024
    return Memory(resident, proportional)


def reset_peak(pids: Iterable[int]) -> None:
    """Let :func:`peak` count from what is resident now."""
    for pid in pids:
        Path(f"/proc/{pid}/clear_refs").write_text("5")


def peak(pids: Iterable[int]) -> int:
    """Return the most bytes that each of these processes has had resident, added up."""
    most = 0
    for pid in pids:
        found = re.search(r"^VmHWM:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
        assert found is not None
        most += int(found[1]) * 1024
    return most
