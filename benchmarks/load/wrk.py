"""wrk for calls so small that the cost of the load generator would show in the result.

wrk counts what it was answered, but not at the moments at which CPU time is read.
So calls are counted by upstream: both its counter and the process clocks are read
twice in the middle of the run, when every caller has been busy for a while; what is
in flight then cancels out. Latencies are those of the whole run.
"""

from __future__ import annotations

import json
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from benchmarks.load.errors import LoadError
from benchmarks.load.exchange import Tally, Work
from benchmarks.measure.cores import busy_seconds, pinned
from benchmarks.measure.processes import cpu_ns

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

#: Seconds after wrk's start, and before its end, in which nothing is read.
_MARGIN: Final = 0.2

_DONE: Final = """
function done(summary, latency, requests)
    local e = summary.errors
    io.write(string.format('\\n{"answered": %d, "p50": %f, "p99": %f, ',
        summary.requests, latency:percentile(50), latency:percentile(99)))
    io.write(string.format('"connect": %d, "read": %d, "write": %d, "status": %d, "timeout": %d}\\n',
        e.connect, e.read, e.write, e.status, e.timeout))
end
"""


class _Moment(NamedTuple):
    at: float
    calls: int
    peer: int
    upstream: int
    callers: int
    busy: float
    stolen: float


def script(work: Work) -> str:
    """Return the Lua script that makes wrk do ``work``."""
    lines = [f"wrk.method = {json.dumps(work.method)}"]
    lines += [f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}" for name, value in work.headers.items()]
    if work.body:
        lines.append('wrk.headers["Content-Type"] = "application/json"')
        lines.append(f'wrk.body = string.rep("x", {work.body})')
    return "\n".join(lines) + _DONE


def make_calls(work: Work, *, core: int, wrk: Path, directory: Path, calls: Callable[[], int]) -> Tally:
    """Do ``work``; ``calls`` tells how many calls upstream has met so far. Raises LoadError if any call went wrong."""
    path = directory / "wrk.lua"
    path.write_text(script(work))
    if work.warm_up:
        # A run of its own, so that the latencies are not those of connections that are being opened.
        _Run(work, core, wrk, path, work.warm_up).end()
    run = _Run(work, core, wrk, path, work.seconds + 2 * _MARGIN)
    try:
        time.sleep(_MARGIN)
        before = run.moment(calls)
        time.sleep(work.seconds)
        after = run.moment(calls)
    except BaseException:
        run.kill()
        raise
    said = run.end()
    if after.calls == before.calls:
        raise LoadError("no call was answered")
    return Tally(
        answered=after.calls - before.calls,
        seconds=after.at - before.at,
        cpu_ns=after.peer - before.peer,
        upstream_cpu_ns=after.upstream - before.upstream,
        callers_cpu_ns=after.callers - before.callers,
        p50=said["p50"],
        p99=said["p99"],
        connections=work.callers,
        failures={},
        cores_busy=after.busy - before.busy,
        cores_stolen=after.stolen - before.stolen,
    )


class _Run:
    """One run of wrk, in the background."""

    def __init__(self, work: Work, core: int, wrk: Path, path: Path, seconds: float) -> None:
        self._work = work
        scheme = "http" if work.ca_file is None else "https"
        url = f"{scheme}://127.0.0.1:{work.port}{work.target}"
        # wrk knows whole seconds only; it is ended in time, by its own id, and reports what it has by then.
        command: list[str | Path] = [wrk, "-t1", f"-c{work.callers}", "-d60", "--timeout", "20", "-s", path, url]
        self._end = time.monotonic() + seconds
        with pinned(core):
            self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def moment(self, calls: Callable[[], int]) -> _Moment:
        """Read every counter."""
        work = self._work
        return _Moment(
            time.perf_counter(),
            calls(),
            cpu_ns(work.pids),
            cpu_ns(work.upstream_pids),
            cpu_ns([self._process.pid]),
            *busy_seconds(work.cores),
        )

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()

    def end(self) -> dict[str, float]:
        """End it in time; return what it says. Raises LoadError."""
        try:
            time.sleep(max(0.0, self._end - time.monotonic()))
            self._process.send_signal(signal.SIGINT)
            out, errors = self._process.communicate(timeout=30)
        except BaseException:
            self.kill()
            raise
        line = out.strip().rpartition("\n")[2]
        if self._process.returncode or not line.startswith("{"):
            raise LoadError(f"wrk ended with {self._process.returncode}: {errors.strip() or line}")
        said: dict[str, float] = json.loads(line)
        failures = {name: said[name] for name in ("connect", "read", "write", "status", "timeout") if said[name]}
        if failures:
            what = ", ".join(f"{name} errors ({count:.0f})" for name, count in failures.items())
            raise LoadError(f"{what}; {said['answered']:.0f} calls were answered")
        return said
