"""Who runs where: the peer under test has a core to itself, callers and upstream have the others."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator


@dataclass(frozen=True)
class Cores:
    """One core for the peer; one for upstream and one for callers, the same one on a machine of two."""

    peer: int
    upstream: int
    callers: int

    @property
    def used(self) -> tuple[int, ...]:
        """Each core once, the peer's first."""
        return tuple(dict.fromkeys((self.peer, self.upstream, self.callers)))

    @classmethod
    def of_this_machine(cls) -> Self:
        """Choose among the cores that this process may use. Raises SystemExit if there is only one."""
        usable = sorted(os.sched_getaffinity(0))
        if len(usable) < 2:
            raise SystemExit("at least 2 cores are needed: the peer under test must not share one with its callers")
        return cls(peer=usable[0], upstream=usable[1], callers=usable[min(2, len(usable) - 1)])


@contextmanager
def pinned(core: int) -> Iterator[None]:
    """Keep this thread, and the processes that it starts meanwhile, on one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def busy_seconds(cores: Collection[int]) -> tuple[float, float]:
    """Return for how long these cores have been busy, and how much of that the host took away (steal), since boot."""
    names = {f"cpu{core}" for core in cores}
    busy = stolen = 0
    for line in Path("/proc/stat").read_text().splitlines():
        name, *ticks = line.split()
        if name in names:
            user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, ticks[:8])
            busy += user + nice + system + irq + softirq + steal
            stolen += steal
    second = os.sysconf("SC_CLK_TCK")
    return busy / second, stolen / second
