"""What the status page costs: CPU a request while it is open, instructions a request while it is not, and memory.

``python -m benchmarks.page_cost [cpu] [instructions] [memory]``; without a word all
three. The sidecar runs as users run it (uvloop, JSON log to a file, metrics), in
front of an upstream that only answers, under load from another process (16
connections). Plain HTTP on both sides: TLS would only make the page's share smaller.

``cpu``: runs in pairs, page closed and open in turn; the median of the pairs' ratios.
``instructions``: counted by valgrind's callgrind, so that no other load on the machine
matters: with the list of calls, without its observer, and without timelines as well.
``memory``: of 200 calls as they are kept, usual ones and the largest there can be.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sidecar.core.errors import ErrorCode, Outcome, SidecarError
from sidecar.runtime import SystemClock
from sidecar.telemetry.history import History
from sidecar.telemetry.metrics import Metrics
from sidecar.telemetry.recent import CALLS, RecentCalls
from sidecar.telemetry.record import Attempt, CallRecorder, RequestIds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CONNECTIONS: Final = 16
ROUNDS: Final = 15
SECONDS: Final = 3.0
#: Calls of the two runs whose difference is counted.
FEW, MANY = 300, 1300

_BODY: Final = b'{"Id":"user_m_00001001","Tag":"' + b"x" * 540 + b'"}'
_LIMITS: Final = (
    b"X-RateLimit: 12,12,12,12\r\nX-RateLimit-Remaining: 2288,4488,8788,105588\r\nX-RateLimit-Reset: %s\r\n"
)
_TOKEN: Final = b'{"access_token":"benchmark","token_type":"Bearer","expires_in":1200}'
_CALL: Final = b"GET /v2.01/_/users/user_m_%d HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n\r\n"
_HEAD: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%b\r\n"


# --- the other processes ---------------------------------------------------------------------------------------------


class _Upstream(asyncio.Protocol):
    """Answers each request at once; requests come one at a time."""

    limits = _LIMITS % b",".join([str(int(time.time()) + 900).encode()] * 4)
    answer = _HEAD % (len(_BODY), limits) + _BODY
    token = _HEAD % (len(_TOKEN), b"") + _TOKEN

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._seen = b""

    def data_received(self, data: bytes) -> None:
        self._seen += data
        head, end, body = self._seen.partition(b"\r\n\r\n")
        if not end:
            return
        if head.startswith(b"POST") and b"grant_type" not in body:
            return
        self._seen = b""
        self._transport.write(self.token if head.startswith(b"POST") else self.answer)


async def _upstream() -> None:
    server = await asyncio.get_running_loop().create_server(_Upstream, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


class _Caller(asyncio.Protocol):
    """Makes one call after another, and counts the answers."""

    def __init__(self, take: Callable[[], int | None]) -> None:
        self._take = take
        self._seen = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._next()

    def data_received(self, data: bytes) -> None:
        self._seen += len(data)
        if data.endswith(_BODY[-8:]):
            self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or EOFError("the sidecar closed a connection"))

    def _next(self) -> None:
        number = self._take()
        if number is None:
            self._transport.close()
            if not self.done.done():
                self.done.set_result(None)
        else:
            self._transport.write(_CALL % number)


async def _load(port: int, seconds: float, calls: int) -> None:
    """Call for ``seconds``, or so many times if that is not 0; print how many calls there were."""
    made = 0
    end = time.monotonic() + seconds

    def take() -> int | None:
        nonlocal made
        if made >= calls if calls else time.monotonic() >= end:
            return None
        made += 1
        return made

    loop = asyncio.get_running_loop()
    callers = [await loop.create_connection(lambda: _Caller(take), "127.0.0.1", port) for _ in range(CONNECTIONS)]
    await asyncio.gather(*(caller.done for _, caller in callers))
    print(made, flush=True)


def _sidecar(without: str) -> None:
    """Run ``mangopay-sidecar run`` as it is, or without a part of it, which no setting can turn off."""
    from sidecar.cli import main
    from sidecar.proxy.exchange import Waiting

    if without != "nothing":
        init = CallRecorder.__init__

        def without_the_list(self: CallRecorder, ids: Any, clock: Any, observers: Any) -> None:
            kept = [each for each in observers if not isinstance(getattr(each, "__self__", None), RecentCalls)]
            init(self, ids, clock, kept)

        CallRecorder.__init__ = without_the_list  # type: ignore[method-assign]
    if without == "timelines":

        def note(self: Waiting, record: Any, result: Any, **_: Any) -> None:
            record.token_wait_seconds = self.token_seconds

        Waiting.note = note  # type: ignore[method-assign]
    sys.argv = ["mangopay-sidecar", "run"]
    main()


# --- what drives them ------------------------------------------------------------------------------------------------


def _this(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "benchmarks.page_cost", *map(str, arguments)]


@contextlib.contextmanager
def _child(command: list[str], **options: Any) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


class Running:
    """A sidecar in front of an upstream."""

    def __init__(self, sidecar: subprocess.Popen[str]) -> None:
        ready = re.search(r"proxy=http://127.0.0.1:(\d+) admin=http://127.0.0.1:(\d+)", _line(sidecar))
        assert ready is not None, "the sidecar did not start"
        self.pid = sidecar.pid
        self.port, self.admin_port = map(int, ready.groups())

    def load(self, seconds: float = 0.0, calls: int = 0) -> int:
        """Have calls made; return how many there were."""
        done = subprocess.run(_this("load", self.port, seconds, calls), capture_output=True, text=True, check=True)
        return int(done.stdout)

    def cpu(self) -> float:
        """Seconds of CPU used so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def _running(prefix: list[str], without: str = "nothing") -> Iterator[Running]:
    with tempfile.TemporaryDirectory() as directory, _child(_this("upstream")) as upstream:
        environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("SIDECAR_")},
            "PYTHONHASHSEED": "0",
            "SIDECAR_MANGOPAY_ENVIRONMENT": "emulator",
            "SIDECAR_MANGOPAY_BASE_URL": f"http://127.0.0.1:{int(_line(upstream))}",
            "SIDECAR_MANGOPAY_CLIENT_ID": "acme",
            "SIDECAR_MANGOPAY_API_KEY": "a-key-for-a-benchmark",
            "SIDECAR_LISTEN_PORT": "0",
            "SIDECAR_LISTEN_HOST": "127.0.0.1",
            "SIDECAR_ADMIN_PORT": "0",
            "SIDECAR_ADMIN_HOST": "127.0.0.1",
            "SIDECAR_LOG_FORMAT": "json",
        }
        with (
            Path(directory, "log").open("wb") as log,
            _child([*prefix, *_this("sidecar", without)], stderr=log, env=environ) as sidecar,
        ):
            yield Running(sidecar)


@contextlib.contextmanager
def _page(port: int) -> Iterator[list[int]]:
    """Listen to the events as an open page does; give the bytes received so far, in a list of one."""
    received = [0]
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")

        def read() -> None:
            with contextlib.suppress(OSError):
                while data := sock.recv(65536):
                    received[0] += len(data)

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        try:
            yield received
        finally:
            sock.shutdown(socket.SHUT_RDWR)
            thread.join()


# --- what is measured ------------------------------------------------------------------------------------------------


def measure_cpu() -> None:
    """Compare CPU a request, page closed and page open."""
    closed: list[float] = []
    opened: list[float] = []

    def run(running: Running) -> tuple[float, int]:
        before = running.cpu()
        calls = running.load(SECONDS)
        return (running.cpu() - before) / calls * 1e6, calls

    with _running([]) as running:
        running.load(2.0)
        rate = size = 0.0
        for number in range(ROUNDS):
            for page in (False, True) if number % 2 else (True, False):
                if not page:
                    closed.append(run(running)[0])
                    continue
                with _page(running.admin_port) as received:
                    cost, calls = run(running)
                    opened.append(cost)
                    rate, size = calls / SECONDS, received[0] / SECONDS
        idle = running.cpu()
        time.sleep(10)
        idle = running.cpu() - idle
        with _page(running.admin_port):
            watched = running.cpu()
            time.sleep(10)
            watched = running.cpu() - watched
    ratios = [after / before for before, after in zip(closed, opened, strict=True)]
    print(f"pairs                            {ROUNDS}, {SECONDS:g} s each, c={CONNECTIONS}, {rate:.0f} calls/s")
    print(f"CPU a request, page closed       {statistics.median(closed):.1f} µs")
    print(f"CPU a request, page open         {statistics.median(opened):.1f} µs, {size / 1024:.0f} KiB/s of events")
    print(f"more with the page open, median  {(statistics.median(ratios) - 1) * 100:+.1f}% (at most +10%)")
    print(f"  of each pair                   {', '.join(f'{(ratio - 1) * 100:+.1f}%' for ratio in sorted(ratios))}")
    print(f"CPU without calls                {idle * 100:.1f} ms/s, with the page open {watched * 100:.1f} ms/s")


def measure_instructions() -> None:
    """Count instructions a request, with the list of calls and without."""
    if shutil.which("valgrind") is None:
        print("instructions: valgrind is not installed")
        return
    counts = {without: _instructions(without) for without in ("nothing", "list", "timelines")}
    whole = counts["nothing"]
    print(f"instructions a request           {whole:,.0f}")
    for without, words in (("list", "the list's observer"), ("timelines", "the same and timelines")):
        more = whole - counts[without]
        print(f"  {words:<30} {more:,.0f}, {more / whole * 100:.2f}% (at most 2%)")


def _instructions(without: str) -> float:
    few, many = (_collected(without, calls) for calls in (FEW, MANY))
    return (many - few) / (MANY - FEW)


def _collected(without: str, calls: int) -> int:
    """Return the instructions of a whole run with so many calls."""
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory, "report")
        valgrind = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={directory}/out", f"--log-file={report}"]
        with _running(valgrind, without) as running:
            running.load(calls=calls)
        found = re.search(r"Collected : (\d+)", report.read_text())
        assert found is not None
        return int(found[1])


def measure_memory() -> None:
    """Measure what the list of calls and the history take."""
    usual, worst = (_size_of_list(each) for each in (_usual_call, _worst_call))
    print(f"memory of {CALLS} usual calls        {usual / 1024:.0f} KiB, {usual / CALLS:.0f} bytes each")
    print(f"memory of {CALLS} calls at the worst {worst / 1024:.0f} KiB, {worst / CALLS:.0f} bytes each")
    clock = SystemClock()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    history = History(Metrics(), clock)
    for _ in range(300):
        time.sleep(0.0001)
        history.sample()
    print(f"memory of the history            {(tracemalloc.get_traced_memory()[0] - before) / 1024:.0f} KiB")
    tracemalloc.stop()


def _size_of_list(make: Callable[[CallRecorder, int], None]) -> int:
    recent = RecentCalls()
    recorder = CallRecorder(RequestIds(os.urandom(8)), SystemClock(), [recent.observe])
    make(recorder, 0)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(CALLS * 3):
        make(recorder, number)
    size = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return size


def _usual_call(recorder: CallRecorder, number: int) -> None:
    record = recorder.open("GET", f"/v2.01/acme/users/user_m_{number:08}/wallets?page=1")
    record.status, record.attempts, record.bytes_out = 200, 1, 600 + number
    record.upstream_seconds = number / 7
    record.timeline = (Attempt(number / 3, number / 5, 0.0, number / 7, 200),)
    recorder.close(record)


def _worst_call(recorder: CallRecorder, number: int) -> None:
    """Make a call as large as a caller and Mangopay together can make it."""
    record = recorder.open("POST", f"/v2.01/acme/{number:08170}")
    record.correlate(((b"traceparent", b"%0128d" % number), (b"X-Request-Id", b"%0128d" % (number + 1))))
    record.idempotency_key = f"{number:036}"
    # Two deliveries with a connection that failed in between, and reading back: three tries, each mended once.
    record.timeline = tuple(
        Attempt(number / 3 + each, number / 5 + each, number / 7 + each, number / 9 + each, "dead_before_write")
        for each in range(10)
    )
    record.recovered = ("token", "connection")
    record.bytes_in = record.bytes_out = 10_000_000 + number
    record.failed(SidecarError(ErrorCode.UPSTREAM_TIMEOUT, "late", outcome=Outcome.UNKNOWN, detail=f"{number:0300}"))
    recorder.close(record)


def main(words: list[str]) -> None:
    """Run the command line."""
    match words:
        case ["upstream"]:
            run_with_uvloop(_upstream())
        case ["load", port, seconds, calls]:
            run_with_uvloop(_load(int(port), float(seconds), int(calls)))
        case ["sidecar", without]:
            _sidecar(without)
        case _:
            parts = {"cpu": measure_cpu, "instructions": measure_instructions, "memory": measure_memory}
            for word in words or parts:
                parts[word]()


def run_with_uvloop(coroutine: Any) -> None:
    """Run ``coroutine`` until it ends or a signal comes."""
    from sidecar.cli.process import run_loop

    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    run_loop(coroutine)


if __name__ == "__main__":
    main(sys.argv[1:])
