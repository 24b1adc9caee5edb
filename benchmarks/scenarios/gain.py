"""What the user gains: an app that opens a new connection a call, directly to Mangopay and through the sidecar."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.children import Child, Launch, free_port, neutral_environment
from benchmarks.load.errors import LoadError
from benchmarks.measure.cores import pinned
from benchmarks.measure.statistics import percentile
from benchmarks.upstream import TOKEN, USER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.bench import Bench
    from benchmarks.peers.site import Peer

#: As what the app without a proxy appears in the results.
DIRECT: Final = "direct"
#: Milliseconds.
ROUND_TRIPS: Final = (0, 50)
_ROOT: Final = Path(__file__).parents[2]


def name(round_trip: int) -> str:
    """Return the scenario's name."""
    return f"gain-{round_trip}"


@contextmanager
def distance(bench: Bench, round_trip: int) -> Iterator[int]:
    """Put upstream at a distance; give the port on which it is found."""
    if not round_trip:
        yield bench.upstream.port
        return
    port = free_port()
    command = (sys.executable, "-m", "benchmarks.relay", str(port), str(bench.upstream.port), str(round_trip))
    launch = Launch(command, {"PYTHONPATH": str(_ROOT)})
    with Child(f"relay-{port}", launch, core=bench.cores.upstream, directory=bench.directory) as child:
        child.wait_for_line("ready")
        yield port


def direct(bench: Bench, port: int, calls: int) -> dict[str, float]:
    """Let the app call upstream itself. Raises LoadError."""
    return _app(bench, f"https://127.0.0.1:{port}{USER}", calls, str(bench.upstream.ca_file))


def through(bench: Bench, peer: Peer, port: int, calls: int) -> dict[str, float]:
    """Let the app call a proxy. Raises LoadError or ChildError."""
    with bench.running(peer, upstream_port=port) as running:
        return _app(bench, f"http://127.0.0.1:{running.port}{USER}", calls)


def _app(bench: Bench, url: str, calls: int, ca_file: str | None = None) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.app", url, str(calls)]
    environ = {**neutral_environment(), "PYTHONPATH": str(_ROOT)}
    if ca_file is not None:
        command.append(ca_file)
        environ["BENCH_TOKEN"] = TOKEN
    with pinned(bench.cores.callers):
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        raise LoadError(f"the app failed: {done.stderr.strip().rpartition(chr(10))[2]}")
    said = json.loads(done.stdout)
    took = sorted(said["took_us"])
    return {
        "p50_us": percentile(took, 0.5),
        "p99_us": percentile(took, 0.99),
        "app_cpu_us": said["cpu_us"],
    }
