"""What the sidecar uses has bounds: memory, descriptors, tasks, and the time for which one callback holds the loop.

The emulator is a process of its own here, so that what is counted is the sidecar's.
"""

from __future__ import annotations

import asyncio
import gc
import http.client
import json
import random
import sys
import time
import tracemalloc
from collections import Counter
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from benchmarks import soak
from sidecar.app import Sidecar
from sidecar.config import load
from sidecar.core.http import response_head
from sidecar.downstream.connection import CallerConnection
from sidecar.lifecycle import Lifecycle
from sidecar.proxy.call import Call
from sidecar.runtime import SystemClock
from sidecar.telemetry.line_format import json_line
from sidecar.telemetry.line_writer import LineWriter
from sidecar.telemetry.log_output import LogOutput
from sidecar.upstream.connection import Connection
from sidecar.upstream.response import Response
from tests.support import canary
from tests.support.app import request_bytes
from tests.support.raw_client import RawClient
from tests.support.sidecar import Command

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="descriptors and memory are read from /proc")

MB: Final = 1_000_000
#: The largest body that Mangopay documents: a page of a KYC document.
LARGEST: Final = 14 * MB
#: Seconds of CPU that one callback may take on the event loop.
LONGEST: Final = 0.020
ECHO: Final = "/__emulator__/echo"
FAULTS: Final = ("reset=before", "reset=after", "truncate", "garbage", "bad-chunk", "status=503", "close=during")


@pytest.fixture(scope="module")
def emulator() -> Iterator[str]:
    """Run the emulator's command; yield its URL."""
    with Command("emulator", "--port", "0") as command:
        yield command.wait_for(r"^ready emulator=(.*)$")[1]


@asynccontextmanager
async def running(upstream: str, **settings: str) -> AsyncIterator[int]:
    """Run a sidecar that keeps no log lines; yield its port."""
    environ = {
        "SIDECAR_MANGOPAY_ENVIRONMENT": "emulator",
        "SIDECAR_MANGOPAY_BASE_URL": upstream,
        "SIDECAR_MANGOPAY_CLIENT_ID": "acme",
        "SIDECAR_MANGOPAY_API_KEY": canary.CANARY_API_KEY,
        "SIDECAR_LISTEN_HOST": "127.0.0.1",
        "SIDECAR_LISTEN_PORT": "0",
        "SIDECAR_ADMIN_PORT": "off",
        **{f"SIDECAR_{name.upper()}": value for name, value in settings.items()},
    }
    clock = SystemClock()
    log = LogOutput(LineWriter(None), json_line, clock, "info")
    sidecar = Sidecar(load(None, environ), log=log, lifecycle=Lifecycle(clock, delay=0, drain=0), clock=clock)
    try:
        yield int((await sidecar.start()).proxy.rpartition(":")[2])
    finally:
        await sidecar.close()


async def control(emulator: str, method: str, route: str, **body: object) -> Any:
    """Ask one of the emulator's control routes."""

    def ask() -> Any:
        connection = http.client.HTTPConnection(emulator.removeprefix("http://"), timeout=20)
        try:
            connection.request(method, f"/__emulator__/{route}", json.dumps(body))
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    return await asyncio.to_thread(ask)


# --- load ------------------------------------------------------------------------------------------------------------


async def misuse(port: int, count: int, chosen: random.Random) -> None:
    """Make so many calls, ten at a time; every third one is broken off somewhere."""
    numbers = iter(range(count))

    async def caller() -> None:
        for number in numbers:
            body = b"%d " % number * chosen.choice((1, 100, 20_000))
            method = chosen.choice(("GET", "POST", "PUT", "DELETE"))
            headers = (("Idempotency-Key", f"bounds-{number:016}"),) if number % 7 == 0 else ()
            data = request_bytes(method, ECHO, None if method == "GET" else body, headers=headers)
            with await RawClient.connect(("127.0.0.1", port)) as client:
                if number % 3 == 0:
                    await client.send_all(data[: chosen.randrange(1, len(data) + 1)])
                    if chosen.random() < 0.5:
                        client.reset()
                elif await client.send_all(data):
                    with suppress(EOFError, ConnectionError):  # it may be cut by one of the faults
                        await client.response()

    async with asyncio.TaskGroup() as group:
        for _ in range(10):
            group.create_task(caller())


@asynccontextmanager
async def faulty(emulator: str) -> AsyncIterator[None]:
    """Have a third of all calls meet a fault."""
    for fault in FAULTS:
        await control(emulator, "POST", "faults", rule=f"{fault} api probability=0.05")
    try:
        yield
    finally:
        await control(emulator, "DELETE", "faults")


async def settle(port: int) -> None:
    """Wait until the sidecar has noticed that everybody left, and answer one more call."""
    await asyncio.sleep(0.2)
    with await RawClient.connect(("127.0.0.1", port)) as client:
        await client.send(request_bytes("GET", ECHO))
        assert (await client.response()).status == 200


def descriptors_open() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def alive() -> Counter[str]:
    """How many objects there are of each kind that a call needs."""
    gc.collect()
    kinds = (Call, CallerConnection, Connection, Response)
    return Counter(type(each).__name__ for each in gc.get_objects() if type(each) in kinds)


# --- what is left of calls -------------------------------------------------------------------------------------------


@pytest.mark.any_loop
async def test_calls_that_failed_or_were_broken_off_leave_no_object_task_or_descriptor(
    emulator: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sidecar.proxy.readback.PAUSES", (0.01, 0.01, 0.01))
    chosen = random.Random(1)
    async with running(emulator) as port:
        await settle(port)
        tasks, descriptors, before = len(asyncio.all_tasks()), descriptors_open(), alive()
        async with faulty(emulator):
            await misuse(port, 300, chosen)
        async with asyncio.timeout(20):
            while (left := alive()) - before - Counter({"Connection": 10}) or len(asyncio.all_tasks()) > tasks:
                await asyncio.sleep(0.05)
        await settle(port)
        assert left["Call"] == left["Response"] == 0
        # The pool may have kept a connection for each of the ten callers, no more.
        assert descriptors_open() <= descriptors + 10


async def at_rest() -> None:
    """Wait until nothing of any call is left, and all has been told of them."""
    async with asyncio.timeout(20):
        while (left := alive())["Call"] or left["Response"]:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)


def _snapshot() -> tracemalloc.Snapshot:
    # These tables are bounded, and emptied when they are full: how full they are is chance.
    response_head._FIELD_LINES.clear()
    response_head._STATUS_LINES.clear()
    gc.collect()
    return tracemalloc.take_snapshot()


async def test_memory_is_flat_to_the_kilobyte(emulator: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.proxy.readback.PAUSES", (0.01, 0.01, 0.01))
    chosen = random.Random(2)
    async with running(emulator) as port, faulty(emulator):
        await misuse(port, 200, chosen)
        await at_rest()
        tracemalloc.start()
        try:
            await misuse(port, 100, chosen)
            await at_rest()
            before = _snapshot()
            await misuse(port, 500, chosen)
            await at_rest()
            after = _snapshot()
        finally:
            tracemalloc.stop()
        ours = [
            tracemalloc.Filter(inclusive=False, filename_pattern=each) for each in ("*/tests/*", "*/tracemalloc.py")
        ]
        grown = after.filter_traces(ours).compare_to(before.filter_traces(ours), "lineno")
        assert sum(each.size_diff for each in grown) < 100 * 500, "\n".join(map(str, grown[:10]))


async def test_a_short_soak_keeps_within_the_bounds_of_the_long_one() -> None:
    report = await soak.run(soak.Plan(seconds=4, rate=200, aborts=0.2, callers=5))
    assert not report.wrong()
    assert report.aborted > 50


# --- how long one callback holds the loop ----------------------------------------------------------------------------


@pytest.fixture
def slowest(monkeypatch: pytest.MonkeyPatch) -> Callable[[], tuple[float, str]]:
    """Measure every callback of the loop, as asyncio's debug mode does, but in CPU time: the machine may be busy.

    Asking for the slowest one begins anew.
    """
    worst: tuple[float, str] = (0.0, "")
    run = asyncio.Handle._run

    def measured(self: asyncio.Handle) -> None:
        nonlocal worst
        begun = time.thread_time()
        run(self)
        took = time.thread_time() - begun
        if took > worst[0]:
            worst = (took, repr(self))

    def take() -> tuple[float, str]:
        nonlocal worst
        taken, worst = worst, (0.0, "")
        return taken

    monkeypatch.setattr(asyncio.Handle, "_run", measured)
    return take


async def assert_quick(act: Callable[[], Awaitable[None]], slowest: Callable[[], tuple[float, str]]) -> None:
    """Measure once more if need be, and let the better one count: a core that others use as well is slower, too."""
    measured: list[tuple[float, str]] = []
    for _ in range(2):
        gc.collect()  # what others left would be counted as ours
        await asyncio.sleep(0)
        slowest()
        await act()
        measured.append(slowest())
        if measured[-1][0] < LONGEST:
            return
    pytest.fail(f"twice a callback took long: {measured}")


def upload(port: int, *, chunked: bool = False) -> int:
    """Post the largest body from a thread; return the status."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    body = bytes(range(250)) * (LARGEST // 250)
    try:
        if chunked:
            pieces = (body[start : start + 100_000] for start in range(0, LARGEST, 100_000))
            connection.request("POST", ECHO, pieces, encode_chunked=True, headers={"Transfer-Encoding": "chunked"})
        else:
            connection.request("POST", ECHO, body)
        response = connection.getresponse()
        received = json.loads(response.read())
        assert received["body_length"] == LARGEST
        return response.status
    finally:
        connection.close()


def download(port: int, query: str) -> int:
    """Get the largest body from a thread; return how many bytes came."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", f"/__emulator__/bytes?size={LARGEST}{query}")
        return len(connection.getresponse().read())
    finally:
        connection.close()


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("how", ["whole", "streamed", "sent twice"])
async def test_no_callback_takes_long_on_a_large_request(
    how: str, chunked: bool, emulator: str, slowest: Callable[[], tuple[float, str]]
) -> None:
    settings = {"replay_max_body": "1MiB"} if how == "streamed" else {}

    async def act() -> None:
        async with running(emulator, **settings) as port:
            await settle(port)
            if how == "sent twice":
                await control(emulator, "POST", "revoke")
            assert await asyncio.to_thread(upload, port, chunked=chunked) == 200

    await assert_quick(act, slowest)


async def test_no_callback_takes_long_on_a_body_in_chunks_of_one_byte(
    emulator: str, slowest: Callable[[], tuple[float, str]]
) -> None:
    head = f"POST {ECHO} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n".encode()

    async def act() -> None:
        async with running(emulator) as port:
            with await RawClient.connect(("127.0.0.1", port)) as client:
                await client.send(head)
                for _ in range(20):
                    await client.send(b"1\r\ny\r\n" * 40_000)
                await client.send(b"0\r\n\r\n")
                assert (await client.response()).json["body_length"] == 800_000

    await assert_quick(act, slowest)


@pytest.mark.parametrize("query", ["", "&chunked=1"])
async def test_no_callback_takes_long_on_a_large_response(
    query: str, emulator: str, slowest: Callable[[], tuple[float, str]]
) -> None:
    async def act() -> None:
        async with running(emulator) as port:
            assert await asyncio.to_thread(download, port, query) == LARGEST

    await assert_quick(act, slowest)


async def test_no_callback_takes_long_when_a_caller_of_a_large_response_leaves(
    emulator: str, slowest: Callable[[], tuple[float, str]]
) -> None:
    async def act() -> None:
        async with running(emulator) as port:
            for size in (LARGEST, 1000):
                with await RawClient.connect(("127.0.0.1", port)) as client:
                    await client.send(request_bytes("GET", f"/__emulator__/bytes?size={size}"))
                    await client.receive()
            await settle(port)

    await assert_quick(act, slowest)
