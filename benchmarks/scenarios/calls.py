"""Calls under load: what is sent, by how many callers at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from benchmarks.load.exchange import Work
from benchmarks.upstream import BYTES, PAYINS, SMALL, USER

if TYPE_CHECKING:
    from benchmarks.load.exchange import Tally

MIB: Final = 1024 * 1024


@dataclass(frozen=True)
class Calls:
    """A scenario of calls in a closed loop."""

    name: str
    title: str
    target: str = USER
    response: int = SMALL
    method: str = "GET"
    body: int = 0
    callers: int = 1
    new_connections: bool = False
    #: Whether wrk does it. Ours takes more time for a call, but waits for the calls in flight at the end: with many
    #: callers wrk leaves the proxy with many broken calls, whose connections the next measurement would find closed.
    wrk: bool = True

    def work(self, port: int, seconds: float, warm_up: float) -> Work:
        """Return what a load generator has to do."""
        return Work(
            port=port,
            target=self.target,
            response=self.response,
            method=self.method,
            body=self.body,
            callers=self.callers,
            new_connections=self.new_connections,
            seconds=seconds,
            warm_up=warm_up,
        )


ALL: Final = (
    Calls("get-1", "small GET, 1 caller"),
    Calls("get-4", "small GET, 4 callers", callers=4),
    Calls("get-16", "small GET, 16 callers", callers=16),
    Calls("get-128", "small GET, 128 callers", callers=128, wrk=False),
    Calls("post-1k", "1 KB POST, 16 callers", target=PAYINS, method="POST", body=1024, callers=16),
    Calls("answer-1m", "1 MB response, 4 callers", target=f"{BYTES}{MIB}", response=MIB, callers=4, wrk=False),
    Calls("upload-7m", "7 MB upload, 4 callers", target=PAYINS, method="POST", body=7 * MIB, callers=4, wrk=False),
    Calls(
        "new-connections", "small GET, a new connection a call, 16 callers", callers=16, new_connections=True, wrk=False
    ),
)


def figures(tally: Tally) -> dict[str, float]:
    """Return what a run of calls says about the peer, and whether it was disturbed."""
    return {
        "cpu_us": tally.cpu_ns / tally.answered / 1000,
        "calls_per_s": tally.answered / tally.seconds,
        "p50_us": tally.p50,
        "p99_us": tally.p99,
        # In cores: the peer, upstream and callers together, everybody else, and the host.
        "peer_busy": tally.cpu_ns / 1e9 / tally.seconds,
        "load_busy": (tally.upstream_cpu_ns + tally.callers_cpu_ns) / 1e9 / tally.seconds,
        "others_busy": tally.others / tally.seconds,
        "stolen": tally.cores_stolen / tally.seconds,
        "calls": float(tally.answered),
    }
