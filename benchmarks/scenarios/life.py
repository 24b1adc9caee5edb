"""A process's life: from its start to its first response, and its memory at rest, after load, and with idle callers."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

from benchmarks.load.errors import LoadError
from benchmarks.measure.processes import cpu_ns, memory
from benchmarks.scenarios.calls import Calls
from benchmarks.upstream import USER

if TYPE_CHECKING:
    from benchmarks.bench import Bench, Running
    from benchmarks.peers.site import Peer

NAME: Final = "life"
#: Seconds after which memory is read, when what a start or a load leaves to do has been done.
_SETTLE: Final = 1.0
_MIB: Final = 1024 * 1024
#: The sidecar's default cap on connections.
IDLE_CALLERS: Final = 1000
_LOAD: Final = Calls("get-128", "", callers=128, wrk=False)


def live(bench: Bench, peer: Peer, seconds: float) -> dict[str, float]:
    """Start a peer, look at it, load it, look again. Raises ChildError or LoadError."""
    with bench.running(peer) as running:
        found = {"first_answer_ms": running.first_response * 1000}
        time.sleep(_SETTLE)
        found |= _memory(running, "idle")
        bench.call(running, _LOAD, seconds=seconds, warm_up=0)
        time.sleep(_SETTLE)
        found |= _memory(running, "loaded")
    with bench.running(peer) as running, ExitStack() as stack:
        time.sleep(_SETTLE)
        before = memory(running.child.pids()).resident
        for _ in range(IDLE_CALLERS):
            stack.enter_context(idle_caller(running.port))
        time.sleep(_SETTLE)
        found |= _memory(running, "crowded")
        found["caller_kib"] = (memory(running.child.pids()).resident - before) / 1024 / IDLE_CALLERS
        used, begun = cpu_ns(running.child.pids()), time.perf_counter()
        time.sleep(2 * _SETTLE)
        found["crowded_cpu_ms_per_s"] = (cpu_ns(running.child.pids()) - used) / 1e6 / (time.perf_counter() - begun)
    return found


def _memory(running: Running, when: str) -> dict[str, float]:
    found = memory(running.child.pids())
    return {f"{when}_rss_mib": found.resident / _MIB, f"{when}_pss_mib": found.proportional / _MIB}


def idle_caller(port: int) -> socket.socket:
    """Make one call, and stay connected."""
    connection = socket.create_connection(("127.0.0.1", port), 20)
    connection.sendall(f"GET {USER} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
    head, _, body = connection.recv(65536).partition(b"\r\n\r\n")
    while head.startswith(b"HTTP/1.1 200 ") and len(body) < 600:
        piece = connection.recv(65536)
        if not piece:
            break
        body += piece
    if len(body) != 600:
        connection.close()
        raise LoadError(f"an idle caller's call was answered {head[:32]!r}")
    return connection
