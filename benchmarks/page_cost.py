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
import logging
import os
import statistics
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog

from benchmarks.counting.callgrind import Callgrind, CountingError
from benchmarks.page_cost_processes import CONNECTIONS, Running, page, running
from sidecar.admin.events import Feed
from sidecar.core.error_report import ErrorReport
from sidecar.core.errors import ErrorCode, Outcome, SidecarError
from sidecar.lifecycle import Lifecycle
from sidecar.runtime import SystemClock
from sidecar.telemetry.attempt import Attempt
from sidecar.telemetry.history import History
from sidecar.telemetry.metrics import Metrics
from sidecar.telemetry.recent import CALLS, RecentCalls
from sidecar.telemetry.recorder import CallRecorder
from sidecar.telemetry.request_ids import RequestIds

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS: Final = 15
SECONDS: Final = 3.0
#: Calls of the two runs whose difference is counted.
FEW, MANY = 300, 1300

# --- what is measured ------------------------------------------------------------------------------------------------


def measure_cpu() -> None:
    """Compare CPU a request, page closed and page open."""
    pairs = []
    with running([]) as sidecar:
        sidecar.load(2.0)
        for number in range(ROUNDS):
            # Whatever else the machine does comes first and second alike.
            first = _cost(sidecar, opened=bool(number % 2))
            second = _cost(sidecar, opened=not number % 2)
            pairs.append((second, first) if number % 2 else (first, second))
        idle, watched = _idle(sidecar), _idle(sidecar, opened=True)
    closed, opened = zip(*pairs, strict=True)
    ratios = sorted(after / before - 1 for before, after in pairs)
    tick, told = asyncio.run(_tick())
    print(f"pairs                            {ROUNDS}, {SECONDS:g} s each, c={CONNECTIONS}")
    print(f"CPU a request, page closed       {statistics.median(closed):.1f} µs")
    print(f"CPU a request, page open         {statistics.median(opened):.1f} µs")
    print(f"more with the page open, median  {statistics.median(ratios) * 100:+.1f}% (at most +10%)")
    print(f"  of each pair                   {', '.join(f'{ratio * 100:+.1f}%' for ratio in ratios)}")
    print(f"CPU of a tick with {CALLS} new calls  {tick * 1000:.1f} ms for {told / 1024:.0f} KiB, once a second")
    print(f"CPU without calls                {idle * 1000:.1f} ms/s, with the page open {watched * 1000:.1f} ms/s")


def _cost(sidecar: Running, *, opened: bool) -> float:
    """Return the microseconds of CPU that a call takes under load."""
    with page(sidecar.admin_port) if opened else contextlib.nullcontext():
        before = sidecar.cpu()
        calls = sidecar.load(SECONDS)
        return (sidecar.cpu() - before) / calls * 1e6


def _idle(sidecar: Running, *, opened: bool = False) -> float:
    """Return the seconds of CPU that a second without calls takes."""
    with page(sidecar.admin_port) if opened else contextlib.nullcontext():
        before = sidecar.cpu()
        time.sleep(10)
        return (sidecar.cpu() - before) / 10


async def _tick() -> tuple[float, int]:
    """Return the CPU seconds and the bytes of the largest tick that there is, which no other load can blur much."""
    from tests.support.app import running_pair

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    async with running_pair() as pair:
        for number in range(CALLS):
            await pair.call("GET", f"/v2.01/acme/users/user_m_{number}")
        feed = Feed(pair.app.sidecar._make_state(Lifecycle(SystemClock(), delay=0, drain=0)))
        costs, news = [], b""
        for _ in range(200):
            feed._calls = 0
            begun = time.process_time()
            news = feed.news()
            costs.append(time.process_time() - begun)
    return statistics.median(costs), len(news)


def measure_instructions() -> None:
    """Count instructions a request, with the list of calls and without."""
    try:
        counts = {without: _instructions(without) for without in ("nothing", "list", "timelines")}
    except CountingError as error:
        print(f"instructions: {error}")
        return
    whole = counts["nothing"]
    print(f"instructions a request           {whole:,.0f}")
    for without, words in (("list", "the list's observer"), ("timelines", "the same and timelines")):
        more = whole - counts[without]
        print(f"  {words:<30} {more:,.0f}, {more / whole * 100:.2f}% (at most 2%)")


def _instructions(without: str) -> float:
    few, many = (_collected(without, calls) for calls in (FEW, MANY))
    return (many - few) / (MANY - FEW)


def _collected(without: str, calls: int) -> int:
    """Return the instructions of a whole run with so many calls. Raises CountingError."""
    with tempfile.TemporaryDirectory() as directory:
        callgrind = Callgrind(Path(directory))
        with running(callgrind.prefix, without) as sidecar:
            sidecar.load(calls=calls)
        return callgrind.whole()


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
    record.status, record.deliveries, record.bytes_out = 200, 1, 600 + number
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
    record.report = ErrorReport(f"{number:064}", f"{number:064}", f"{number:021}")
    record.bytes_in = record.bytes_out = 10_000_000 + number
    record.failed(SidecarError(ErrorCode.UPSTREAM_TIMEOUT, "late", outcome=Outcome.UNKNOWN, detail=f"{number:0300}"))
    recorder.close(record)


def main(words: list[str]) -> None:
    """Run the command line."""
    parts = {"cpu": measure_cpu, "instructions": measure_instructions, "memory": measure_memory}
    for word in words or parts:
        parts[word]()


if __name__ == "__main__":
    main(sys.argv[1:])
