"""The bench on which peers are put: an upstream, cores, and ways to start a peer and to call it."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from benchmarks.children import Child, ChildError, free_port
from benchmarks.load import own, wrk
from benchmarks.peers.site import Site
from benchmarks.scenarios.calls import figures
from benchmarks.upstream import SMALL, TOKEN, USER

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.load.exchange import Tally, Work
    from benchmarks.measure.cores import Cores
    from benchmarks.peers.site import Peer
    from benchmarks.scenarios.calls import Calls
    from benchmarks.upstream import Upstream

#: Seconds that a peer has from its start to its first right answer.
_START: Final = 30.0
#: Logs longer than this are emptied after a measurement.
_LOG: Final = 32 * 1024 * 1024


@dataclass(frozen=True)
class Running:
    """A peer that serves."""

    peer: Peer
    child: Child
    port: int
    #: From its start to its first response, in seconds.
    first_response: float
    directory: Path

    def empty_logs(self) -> None:
        """Keep the disk from filling up; every peer appends."""
        for path in self.directory.iterdir():
            if path.is_file() and path.stat().st_size > _LOG:
                os.truncate(path, 0)


@dataclass
class Bench:
    """Everything that does not change from peer to peer."""

    directory: Path
    cores: Cores
    upstream: Upstream
    wrk: Path | None
    _started: int = 0

    def site(self, name: str, upstream_port: int | None = None) -> Site:
        """Make a directory and a port for a peer."""
        self._started += 1
        directory = self.directory / f"{name}-{self._started}".replace("/", "-")
        directory.mkdir()
        port = self.upstream.port if upstream_port is None else upstream_port
        return Site(free_port(), port, self.upstream.ca_file, TOKEN, directory)

    @contextlib.contextmanager
    def running(
        self, peer: Peer, environ: dict[str, str] | None = None, *, upstream_port: int | None = None
    ) -> Iterator[Running]:
        """Start a peer in a directory of its own. Raises ChildError if no right response comes."""
        site = self.site(peer.name, upstream_port)
        launch = peer.launch(site)
        launch = dataclasses.replace(launch, environ=launch.environ | (environ or {}))
        with Child(peer.name, launch, core=self.cores.peer, directory=site.directory) as child:
            yield Running(peer, child, site.port, _first_response(child, site.port), site.directory)
        shutil.rmtree(site.directory)

    def call_directly(self, calls: Calls, *, seconds: float, warm_up: float) -> dict[str, float]:
        """Put the same load on upstream itself, over TLS; CPU time is left out. Raises LoadError."""
        work = dataclasses.replace(
            calls.work(self.upstream.port, seconds, warm_up),
            ca_file=str(self.upstream.ca_file),
            headers={"Authorization": f"Bearer {TOKEN}"},
            upstream_pids=self.upstream.pids,
            cores=self.cores.used,
        )
        found = figures(self._make(work, calls))
        return {name: value for name, value in found.items() if name not in {"cpu_us", "peer_busy"}}

    def call(self, running: Running, calls: Calls, *, seconds: float, warm_up: float) -> dict[str, float]:
        """Put load on a peer; return its figures. Raises LoadError or ChildError."""
        running.child.check_that_it_runs()
        work = dataclasses.replace(
            calls.work(running.port, seconds, warm_up),
            pids=running.child.pids(),
            upstream_pids=self.upstream.pids,
            cores=self.cores.used,
        )
        tally = self._make(work, calls)
        running.child.check_that_it_runs()
        if running.child.pids() != work.pids:
            raise ChildError(f"{running.peer.name} changed its processes during the load: CPU time is not known")
        running.empty_logs()
        return figures(tally)

    def _make(self, work: Work, calls: Calls) -> Tally:
        core = self.cores.callers
        if self.wrk is None or not calls.wrk:
            return own.make_calls(work, core=core)
        return wrk.make_calls(work, core=core, wrk=self.wrk, directory=self.directory, calls=self.upstream.calls)


def _first_response(child: Child, port: int) -> float:
    request = f"GET {USER} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode()
    end = child.begun + _START
    said = "no connection was accepted"
    while time.perf_counter() < end:
        child.check_that_it_runs()
        try:
            with socket.create_connection(("127.0.0.1", port), 5) as connection:
                connection.sendall(request)
                response = b"".join(iter(lambda: connection.recv(65536), b""))
        except OSError:
            time.sleep(0.001)
            continue
        head, _, body = response.partition(b"\r\n\r\n")
        if head.startswith(b"HTTP/1.1 200") and len(body) == SMALL:
            return time.perf_counter() - child.begun
        if head:
            said = f"the answer was {head.splitlines()[0].decode('latin-1')}"
        time.sleep(0.001)
    raise ChildError(f"{child.name} was not ready within {_START:.0f} s: {said}; {child.last_words()}")
