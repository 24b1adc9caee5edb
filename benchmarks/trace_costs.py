"""What traces cost: instructions of a small GET without them, with none of them recorded, and with all.

``python -m benchmarks.trace_costs`` runs ``mangopay-sidecar run`` under valgrind's callgrind, as
``make instructions`` does, with a collector that takes everything. "All" has the whole cost in it, that of
OpenTelemetry's thread too, which makes, encodes and sends the spans while no call waits for it.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.counting.callgrind import Callgrind, CountingError
from benchmarks.counting.workloads import WORKLOADS, Caller, CallFailedError
from benchmarks.page_cost_processes import NotStartedError, in_front_of_upstream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT: Final = Path(__file__).parents[1]
#: What the event loop calls when a connection comes in: opening one separates two stretches.
_MARK: Final = "accept*"
#: Calls before any is counted; calls that are: some batches of spans, so that their cost is a mean.
_WARM_UP, _CALLS = 300, 1024
#: Seconds without calls in which is counted what goes on all the time, by the clock.
_IDLE: Final = 4.0


class _Collector(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def _collector() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Collector)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="collector", daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def count(environ: dict[str, str]) -> float:
    """Return the instructions of a call with these variables. Raises CountingError."""
    with tempfile.TemporaryDirectory(prefix="trace-costs-") as name:
        callgrind = Callgrind(Path(name), _MARK)
        command = [*callgrind.prefix, sys.executable, "-m", "sidecar", "run"]
        with (
            in_front_of_upstream(command, tls=True, environ=environ, cwd=ROOT) as sidecar,
            Caller(sidecar.port) as caller,
        ):

            def stretch(what: Callable[[], None]) -> tuple[int, float]:
                return callgrind.stretch(lambda: _mark(caller), what)

            caller.make(WORKLOADS[0], _WARM_UP)
            counted, seconds = stretch(lambda: caller.make(WORKLOADS[0], _CALLS))
            idle, idle_seconds = stretch(lambda: time.sleep(_IDLE))
            return (counted - idle * seconds / idle_seconds) / _CALLS


def _mark(caller: Caller) -> None:
    with caller.connect() as connection:
        caller.call(connection, WORKLOADS[0])


def _tell(title: str, cost: float, least: float) -> None:
    print(f"{title:36} {cost:>9,.0f} instructions a call ({cost / least - 1:+.1%})", flush=True)


def main() -> int:
    """Count and print; return the exit status."""
    try:
        with _collector() as url:
            endpoint = {"SIDECAR_TRACING_OTLP_ENDPOINT": url}
            least = count({})
            _tell("without traces", least, least)
            _tell("none recorded (tracing.sample 0%)", count({**endpoint, "SIDECAR_TRACING_SAMPLE": "0%"}), least)
            _tell("all recorded", count(endpoint), least)
    except (CountingError, CallFailedError, NotStartedError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
