"""Steady load for minutes, a part of it broken off by the callers: does memory or a descriptor stay behind?

``make soak``, or ``python -m benchmarks.soak --minutes 10``. The emulator and the
sidecar are processes of their own. The exit status is 1 if at the end the sidecar's
resident memory is more than 10 MiB above what it was after the first minute, if it
holds more than 10 descriptors more at rest after the load than before it, or if a
call that was not broken off failed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import statistics
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.support.app import request_bytes
from tests.support.raw_client import RawClient
from tests.support.sidecar import Command, Sidecar

if TYPE_CHECKING:
    from collections.abc import Callable

MIB: Final = 1024 * 1024
MOST_MEMORY: Final = 10 * MIB
MOST_DESCRIPTORS: Final = 10
#: Seconds after which memory is first looked at: buffers, caches and the allocator's arenas have their size by then.
WARM_UP: Final = 60.0
#: Seconds after the load by which connections that nobody uses have been closed: the sidecar keeps them for 30.
REST: Final = 40.0
_USER: Final = {"FirstName": "Steady", "LastName": "Load", "Email": "steady@example.com"}
_PAGE: Final = json.dumps({"File": "QUJD" * 25_000}).encode()


@dataclass(frozen=True)
class Plan:
    """Calls a second, for so many seconds, of which a share is broken off."""

    seconds: float = 600.0
    rate: float = 100.0
    aborts: float = 0.05
    seed: int = 1
    #: Tasks that share the load, each on a connection of its own.
    callers: int = 20

    @property
    def warm_up(self) -> float:
        """Seconds until the first look: a minute, less in a short run."""
        return min(WARM_UP, self.seconds / 4)


@dataclass(frozen=True, slots=True)
class Reading:
    """The sidecar's process at one moment."""

    at: float
    resident: int
    descriptors: int


@dataclass
class Report:
    """What was seen."""

    plan: Plan
    #: Under load.
    samples: list[Reading] = field(default_factory=list)
    #: Descriptors at rest, before the load and after it.
    before: int = 0
    after: int = 0
    calls: int = 0
    aborted: int = 0
    #: Calls that were not broken off and failed, by what came back.
    failed: Counter[str] = field(default_factory=Counter)
    #: Seconds that calls took, since the last row of the table.
    took: list[float] = field(default_factory=list)

    @property
    def base(self) -> Reading:
        """The process when it was warm."""
        return next(sample for sample in self.samples if sample.at >= self.plan.warm_up)

    @property
    def last(self) -> Reading:
        """The process at the end of the load."""
        return self.samples[-1]

    def wrong(self) -> list[str]:
        """Return a sentence for each bound that was broken."""
        memory = self.last.resident - self.base.resident
        descriptors = self.after - self.before
        sentences = []
        if memory > MOST_MEMORY:
            sentences.append(f"memory grew by {memory / MIB:.1f} MiB")
        if descriptors > MOST_DESCRIPTORS:
            sentences.append(f"{descriptors} descriptors more than before the load")
        sentences += [f"{count} calls failed: {what}" for what, count in self.failed.items()]
        return sentences


# --- the load --------------------------------------------------------------------------------------------------------


class Caller:
    """Makes calls on one connection, and another one after each that it breaks off."""

    def __init__(self, port: int, report: Report, seed: int) -> None:
        self._port = port
        self._report = report
        self._random = random.Random(seed)
        self._client: RawClient | None = None
        self._serial = seed * 1_000_000

    async def call(self) -> None:
        """Make one call, and count it."""
        begun = asyncio.get_running_loop().time()
        client = self._client or await RawClient.connect(("127.0.0.1", self._port))
        self._client = None
        self._report.calls += 1
        if self._random.random() < self._report.plan.aborts:
            await self._break_off(client)
            self._report.aborted += 1
            return
        try:
            await client.send(self._request())
            response = await client.response()
        except (EOFError, ConnectionError) as error:
            client.close()
            self._report.failed[type(error).__name__] += 1
            return
        if response.status != 200:
            self._report.failed[f"status {response.status}"] += 1
        self._report.took.append(asyncio.get_running_loop().time() - begun)
        if response.header("Connection") is None:
            self._client = client
        else:
            client.close()

    def close(self) -> None:
        """Hang up."""
        if self._client is not None:
            self._client.close()

    def _request(self) -> bytes:
        kind = self._random.random()
        if kind < 0.5:
            return request_bytes("GET", "/v2.01/acme/clients")
        if kind < 0.9:
            self._serial += 1
            headers = (("Idempotency-Key", f"soak-{self._serial:012}"),) if kind < 0.7 else ()
            return request_bytes("POST", "/v2.01/acme/users/natural", json.dumps(_USER).encode(), headers=headers)
        if kind < 0.95:
            return request_bytes("POST", "/__emulator__/echo", _PAGE)
        return request_bytes("GET", "/__emulator__/bytes?size=200000")

    async def _break_off(self, client: RawClient) -> None:
        """Leave while sending, while waiting, or while receiving; by FIN or by RST."""
        moment = self._random.randrange(3)
        with client:
            if moment == 0:
                await client.send_all(request_bytes("POST", "/__emulator__/echo", _PAGE)[:50_000])
            elif moment == 1:
                await client.send_all(request_bytes("POST", "/v2.01/acme/users/natural", json.dumps(_USER).encode()))
            else:
                await client.send_all(request_bytes("GET", "/__emulator__/bytes?size=5000000"))
                await client.receive()
            if self._random.random() < 0.5:
                client.reset()


async def load(plan: Plan, port: int, report: Report, enough: asyncio.Event) -> None:
    """Call at a steady rate until ``enough``; a caller that is late does not catch up with more than one call."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    pause = plan.callers / plan.rate

    async def keep_calling(caller: Caller, offset: float) -> None:
        due = begun + offset
        while not enough.is_set():
            await asyncio.sleep(max(0.0, due - loop.time()))
            await caller.call()
            due = max(due + pause, loop.time() - pause)
        caller.close()

    callers = [Caller(port, report, plan.seed * plan.callers + number) for number in range(plan.callers)]
    async with asyncio.TaskGroup() as group:
        for number, caller in enumerate(callers):
            group.create_task(keep_calling(caller, pause * number / plan.callers))


# --- the process -----------------------------------------------------------------------------------------------------


def look(pid: int, at: float) -> Reading:
    """Return what Linux says of a process."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return Reading(at, int(found[1]) * 1024, len(os.listdir(f"/proc/{pid}/fd")))  # noqa: PTH208 - only to be counted


async def _watch(pid: int, report: Report, tell: Callable[[str], None], enough: asyncio.Event) -> None:
    """Look at the process while the load is on, and say when it is ``enough``; write a row of the table each minute."""
    plan = report.plan
    loop = asyncio.get_running_loop()
    begun = loop.time()
    every = min(5.0, plan.seconds / 20)
    row = min(60.0, plan.seconds / 4)
    tell(f"{'s':>6} {'calls':>8} {'aborted':>8} {'failed':>7} {'p50 ms':>7} {'p99 ms':>7} {'RSS MiB':>8} {'fds':>5}")
    while (at := loop.time() - begun) < plan.seconds:
        await asyncio.sleep(every - at % every)
        sample = look(pid, loop.time() - begun)
        report.samples.append(sample)
        if sample.at >= row:
            row += min(60.0, plan.seconds / 4)
            tell(_row(report, sample))
    enough.set()


async def _rest(pid: int, report: Report) -> None:
    """Wait until no more descriptors are open than before the load, or for as long as that may take."""
    loop = asyncio.get_running_loop()
    end = loop.time() + min(REST, report.plan.seconds)
    while (found := look(pid, 0).descriptors) > report.before and loop.time() < end:
        await asyncio.sleep(0.1)
    report.after = found


def _row(report: Report, sample: Reading) -> str:
    took = sorted(report.took) or [0.0]
    report.took = []
    p50, p99 = statistics.median(took) * 1000, took[int(len(took) * 0.99)] * 1000
    return (
        f"{sample.at:6.0f} {report.calls:8} {report.aborted:8} {report.failed.total():7} "
        f"{p50:7.1f} {p99:7.1f} {sample.resident / MIB:8.1f} {sample.descriptors:5}"
    )


async def run(plan: Plan, tell: Callable[[str], None] = lambda row: None) -> Report:
    """Carry out ``plan`` against processes of its own; ``tell`` gets the rows of a table as they come. Linux only."""
    report = Report(plan)
    with Command("emulator", "--port", "0") as emulator:
        url = emulator.wait_for(r"^ready emulator=(.*)$")[1]
        environ = {"SIDECAR_LOG_LEVEL": "error"}
        with Sidecar(url, environ=environ, measured=True) as sidecar:
            sidecar.wait_until_ready()
            report.before = look(sidecar.pid, 0).descriptors
            enough = asyncio.Event()
            running = load(plan, sidecar.port, report, enough)
            await asyncio.gather(running, _watch(sidecar.pid, report, tell, enough))
            await _rest(sidecar.pid, report)
            if sidecar.stop() != 0 or sidecar.complaints:
                report.failed["the sidecar complained, or did not end well"] += 1
    return report


def main() -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--rate", type=float, default=Plan.rate, help="calls a second")
    parser.add_argument("--aborts", type=float, default=Plan.aborts, help="share of the calls that are broken off")
    parser.add_argument("--seed", type=int, default=Plan.seed)
    given = parser.parse_args()
    plan = Plan(given.minutes * 60, given.rate, given.aborts, given.seed)
    report = asyncio.run(run(plan, lambda row: print(row, flush=True)))
    base, last = report.base, report.last
    print(
        f"from {base.at:.0f} s to {last.at:.0f} s: memory {(last.resident - base.resident) / MIB:+.1f} MiB "
        f"(at most {MOST_MEMORY / MIB:+.0f}); at rest: {report.before} descriptors before, {report.after} after "
        f"(at most {MOST_DESCRIPTORS:+})"
    )
    wrong = report.wrong()
    for sentence in wrong:
        print(f"FAILED: {sentence}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
