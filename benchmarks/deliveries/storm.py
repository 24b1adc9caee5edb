"""The storm: random callers, the whole sidecar, the random upstream; then each call is judged."""

from __future__ import annotations

import asyncio
import itertools
import ssl
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

import trustme

from benchmarks.deliveries import callers
from benchmarks.deliveries.ledger import Ledger
from benchmarks.deliveries.oracle import judge
from benchmarks.deliveries.plan import REPLAY_LIMIT, ROOM, Call, Conversation, conversations
from benchmarks.deliveries.upstream import RandomUpstream
from tests.support.app import App, running_app
from tests.support.clock import FastClock

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from benchmarks.deliveries.oracle import Evidence, Told

#: Times that the sidecar's clock is faster, so that lockouts of 30 s end within the test.
SPEED: Final = 10.0
#: Healthy calls at the end, all of which must succeed: nothing stays broken.
AFTERWARDS: Final = 50
#: Seconds within which the sidecar must be at rest after the last caller has left.
_REST: Final = 20.0
_SETTINGS: Final = {
    "replay_max_body": str(REPLAY_LIMIT),
    "upstream_response_timeout": "8s",
    "log_format": "json",
    "admin_port": "off",
}


@dataclass(frozen=True)
class Plan:
    """What to do; see the command's help."""

    calls: int = 30_000
    seed: int = 1
    tls: bool = False
    callers: int = 40
    #: One conversation alone, by its index.
    only: int | None = None

    def conversations(self) -> Iterator[Conversation]:
        """Draw what callers do."""
        for conversation in conversations(self.seed, self.calls):
            if self.only is None or conversation.index == self.only:
                yield conversation


@dataclass
class Report:
    """What happened; ``wrong`` has a sentence for each broken promise, with what repeats it."""

    plan: Plan
    seconds: float = 0.0
    calls: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """Describe it for a person."""
        plan = self.plan
        upstream = "TLS" if plan.tls else "plain"
        yield f"{self.calls} calls in {self.seconds:.1f} s, seed {plan.seed}, {upstream}"
        for name, count in sorted(self.counts.items()):
            yield f"{name:<52}{count:>8}"
        yield f"{'broken promises':<52}{len(self.wrong):>8}"
        yield from self.wrong[:40]


async def run(plan: Plan) -> Report:
    """Carry out ``plan`` on the running event loop."""
    report, ledger = Report(plan), Ledger()
    _tell_of_lost_errors(report)
    upstream = RandomUpstream(ledger, plan.seed)
    with TemporaryDirectory(prefix="deliveries-") as directory:
        context, settings = _tls(Path(directory)) if plan.tls else (None, {})
        await upstream.start(context)
        try:
            url = f"{'https' if plan.tls else 'http'}://127.0.0.1:{upstream.port}"
            async with running_app(url, FastClock(SPEED), **_SETTINGS, **settings) as app:
                began = time.perf_counter()
                await _storm(plan, app, ledger, report)
                report.seconds = time.perf_counter() - began
                await _rest(app, report)
                await _afterwards(app, ledger, upstream, report)
        finally:
            await upstream.stop()
    report.wrong += [f"the benchmark itself failed: {error}" for error in upstream.errors]
    report.wrong += [f"bytes reached upstream that are no request: {stray!r}" for stray in ledger.strays[:5]]
    report.counts.update(upstream.counts)
    _judge(report, ledger, app.log.entries)
    return report


def _tell_of_lost_errors(report: Report) -> None:
    """Have an exception that nobody took count as a broken promise: a task of the sidecar's has died of it."""

    def tell(_: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        report.wrong.append(f"an error that nobody took: {context['message']}: {context.get('exception')!r}")

    asyncio.get_running_loop().set_exception_handler(tell)


async def _storm(plan: Plan, app: App, ledger: Ledger, report: Report) -> None:
    waiting = plan.conversations()

    async def caller() -> None:
        for conversation in waiting:
            pages = [ledger.expect(call) for call in conversation.calls]
            report.wrong += await callers.converse(app.port, conversation, pages)

    async with asyncio.TaskGroup() as group:
        for _ in range(plan.callers):
            group.create_task(caller())


async def _rest(app: App, report: Report) -> None:
    """Wait until no call runs any more: writes are followed to their responses though nobody waits for them."""
    end = time.monotonic() + _REST
    while (running := app.sidecar._recorder.in_flight) and time.monotonic() < end:
        await asyncio.sleep(0.01)
    if running:
        report.wrong.append(f"{running} calls still run {_REST:g} s after the last caller has left")


async def _afterwards(app: App, ledger: Ledger, upstream: RandomUpstream, report: Report) -> None:
    """Make healthy calls, once a latch of the storm has ended."""
    upstream.calm = True
    first = max(ledger.evidence, default=0) + 1
    end = time.monotonic() + _REST
    good = 0
    for number in itertools.count(first):
        call = Call(number, "POST", f"/v2.01/acme/afterwards/{number}", size=20)
        page = ledger.expect(call)
        report.wrong += await callers.converse(app.port, Conversation(-1, (call,)), [page])
        good = good + 1 if page.told.status == 200 else 0
        if good >= AFTERWARDS:
            return
        if time.monotonic() > end:
            report.wrong.append(f"healthy calls still fail {_REST:g} s after the storm: {page.told}")
            return


# --- what became of it ------------------------------------------------------------------------------------------------


def _judge(report: Report, ledger: Ledger, entries: list[dict[str, object]]) -> None:
    by_identifier = {evidence.call.identifier: evidence for evidence in ledger.evidence.values()}
    for entry in entries:
        if entry["event"] == "request":
            evidence = by_identifier.get(str(entry.get("x_request_id")))
            if evidence is not None:
                evidence.lines.append(entry)
        elif entry.get("level") in {"error", "critical"}:
            report.counts[f"log: {entry['event']}"] += 1
            if entry["event"] in {"request.failed", "task.failed", "loop.error"}:
                report.wrong.append(f"the sidecar failed: {entry}")
    for evidence in ledger.evidence.values():
        report.calls += 1
        report.counts[f"callers: {_describe(evidence.told)}"] += 1
        report.wrong += [f"{_where(report.plan, evidence)}: {sentence}" for sentence in judge(evidence)]


def _describe(told: Told) -> str:
    if not told.status:
        return "left, told nothing" if told.left else "stayed, told nothing"
    if told.error is not None:
        return f"{told.error}, {told.outcome}"
    whole = "" if told.complete else ", cut off"
    recovered = f", recovered by {told.recovered}" if told.recovered else ""
    return f"{told.status // 100}xx of upstream{recovered}{whole}"


def _where(plan: Plan, evidence: Evidence) -> str:
    call = evidence.call
    return f"call {call.number} of conversation {(call.number - 1) // ROOM} ({call.method}, seed {plan.seed})"


def _tls(directory: Path) -> tuple[ssl.SSLContext, Mapping[str, str]]:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    path = directory / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return context, {"tls_ca_file": str(path)}
