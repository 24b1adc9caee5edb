"""What a load run is told and what it found out: plain values that travel as JSON between two processes."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Self


@dataclass(frozen=True)
class Work:
    """Calls to make: closed loop, each caller makes its next call when it has the response to the last."""

    port: int
    target: str
    #: Bytes of body that each response must have.
    response: int
    method: str = "GET"
    #: Bytes of body to send.
    body: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    callers: int = 1
    #: Measured seconds, and seconds of the same load before that.
    seconds: float = 2.0
    warm_up: float = 0.5
    #: A new connection for each call, closed after it.
    new_connections: bool = False
    #: Speak TLS, and trust this CA alone; for calls without a proxy.
    ca_file: str | None = None
    #: Processes whose CPU time is read at the beginning and the end of the measured seconds.
    pids: tuple[int, ...] = ()
    #: The same for upstream's processes, to see that it is not the bottleneck.
    upstream_pids: tuple[int, ...] = ()
    #: The cores in use, the peer's first, to see who else was on them.
    cores: tuple[int, ...] = ()

    def to_json(self) -> str:
        """Write it for the other process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what :meth:`to_json` wrote."""
        values = json.loads(text)
        for name in ("pids", "upstream_pids", "cores"):
            values[name] = tuple(values[name])
        return cls(**values)


@dataclass(frozen=True)
class Tally:
    """What came of it, in the measured seconds alone."""

    #: Calls whose response came whole and was right.
    answered: int
    #: From the first call sent to the last response received.
    seconds: float
    #: Nanoseconds of CPU: of the peer, of upstream, of the load generator.
    cpu_ns: int
    upstream_cpu_ns: int
    callers_cpu_ns: int
    #: Microseconds; zero if nothing was answered.
    p50: float
    p99: float
    #: Connections that were opened.
    connections: int
    #: Calls that went wrong, by what.
    failures: dict[str, int]
    #: Seconds for which the cores in use were busy, all together, and how much of that the host took away.
    cores_busy: float = 0.0
    cores_stolen: float = 0.0

    @property
    def others(self) -> float:
        """Seconds of CPU on these cores that none of ours used: how disturbed the measurement was."""
        ours = (self.cpu_ns + self.upstream_cpu_ns + self.callers_cpu_ns) / 1e9
        return max(0.0, self.cores_busy - ours)

    def to_json(self) -> str:
        """Write it for the other process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what :meth:`to_json` wrote."""
        return cls(**json.loads(text))
