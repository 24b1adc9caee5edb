"""From start to the ready line, beside a Python that only imports what the sidecar is built on."""

from __future__ import annotations

import subprocess
import time
from typing import TYPE_CHECKING, Final

from benchmarks.children import ChildError, Launch, neutral_environment
from benchmarks.measure.cores import pinned
from benchmarks.measure.processes import cpu_ns, memory, tree

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.bench import Bench
    from benchmarks.peers.site import Peer

NAME: Final = "start"
#: As what the bare import appears in the results; see :func:`bare`.
IMPORT: Final = "import aiohttp.web"
_BASE: Final = "import aiohttp.web, sys; print('ready', flush=True); sys.stdin.read()"
#: Seconds after the ready line at which memory is read.
_SETTLE: Final = 1.0


def bare(sidecar: str, sidecars: Sequence[str]) -> str:
    """Return as what the bare import by a sidecar's own Python appears: the first one's has the plain name."""
    return IMPORT if sidecar == sidecars[0] else f"{IMPORT} ({sidecar})"


def start(bench: Bench, sidecar: Peer) -> dict[str, float]:
    """Start a sidecar. Raises ChildError if no ready line comes."""
    return _ready(sidecar.launch(bench.site(sidecar.name)), bench.cores.peer)


def bare_import(bench: Bench, python: Path) -> dict[str, float]:
    """Start a Python that imports aiohttp's server and waits."""
    return _ready(Launch((python, "-c", _BASE)), bench.cores.peer)


def _ready(launch: Launch, core: int) -> dict[str, float]:
    begun = time.perf_counter()
    with pinned(core):
        process = subprocess.Popen(
            launch.command,
            env={**neutral_environment(), **launch.environ},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    with process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            taken = time.perf_counter() - begun
            used = cpu_ns(tree(process.pid))
            if not line.startswith(b"ready"):
                raise ChildError(f"no ready line, but {line.decode('utf-8', 'replace')!r}")
            time.sleep(_SETTLE)
            resident = memory(tree(process.pid)).resident
        finally:
            process.terminate()
    return {"ready_ms": taken * 1000, "ready_cpu_ms": used / 1e6, "idle_rss_mib": resident / 1024**2}
