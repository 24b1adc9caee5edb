"""What a call and a process cost as something grows: callers, bodies in both directions, idle connections."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from benchmarks.measure.processes import cpu_ns, memory, peak, reset_peak
from benchmarks.scenarios.calls import Calls
from benchmarks.scenarios.life import idle_caller
from benchmarks.upstream import BYTES, PAYINS, SIZES

if TYPE_CHECKING:
    from benchmarks.bench import Bench
    from benchmarks.peers.site import Peer

#: The sidecar's cap on connections is 1,000 by default.
_RAISED: Final = {"SIDECAR_LISTEN_MAX_CONNECTIONS": "4096"}
_CALLERS: Final = (1, 4, 16, 64, 256, 1024)
_IDLE: Final = (1, 10, 100, 500, 1000, 2000)
_SETTLE: Final = 1.0
_MIB: Final = 1024 * 1024


@dataclass(frozen=True)
class Axis:
    """What grows."""

    name: str
    title: str
    values: tuple[int, ...]


@dataclass(frozen=True)
class Point:
    """One value of one axis."""

    axis: Axis
    value: int

    @property
    def name(self) -> str:
        """The scenario's name."""
        return f"{self.axis.name}-{self.value}"


CALLERS: Final = Axis("callers", "callers at once, small GET", _CALLERS)
ANSWER: Final = Axis("answer", "bytes of a response", SIZES)
UPLOAD: Final = Axis("upload", "bytes of a request body", SIZES)
IDLE: Final = Axis("idle", "idle connections of callers", _IDLE)
AXES: Final = (CALLERS, ANSWER, UPLOAD, IDLE)
POINTS: Final = tuple(Point(axis, value) for axis in AXES for value in axis.values)


def measure(bench: Bench, peer: Peer, point: Point, seconds: float) -> dict[str, float]:
    """Measure one point in a new process. Raises ChildError or LoadError."""
    with bench.running(peer, _RAISED) as running:
        time.sleep(_SETTLE)
        pids = running.child.pids()
        before = memory(pids).resident
        reset_peak(pids)
        if point.axis is IDLE:
            return _hold(running.port, pids, before, point.value)
        found = bench.call(running, _calls(point), seconds=seconds, warm_up=seconds / 3)
        most = peak(pids)
        time.sleep(_SETTLE)
        found["grown_mib"] = (most - before) / _MIB
        found["kept_mib"] = (memory(pids).resident - before) / _MIB
    return found


def _calls(point: Point) -> Calls:
    if point.axis is CALLERS:
        return Calls(point.name, "", callers=point.value, wrk=False)
    if point.axis is ANSWER:
        return Calls(point.name, "", target=f"{BYTES}{point.value}", response=point.value, wrk=False)
    return Calls(point.name, "", target=PAYINS, method="POST", body=point.value, wrk=False)


def _hold(port: int, pids: tuple[int, ...], before: int, count: int) -> dict[str, float]:
    with ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(idle_caller(port))
        time.sleep(_SETTLE)
        grown = (memory(pids).resident - before) / _MIB
        used, begun = cpu_ns(pids), time.perf_counter()
        time.sleep(2 * _SETTLE)
        at_rest = (cpu_ns(pids) - used) / 1e6 / (time.perf_counter() - begun)
    return {"grown_mib": grown, "cpu_ms_per_s": at_rest}
