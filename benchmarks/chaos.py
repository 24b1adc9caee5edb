"""Payments in a storm: faults at random, tokens revoked in the middle, and then the books are compared.

``python -m benchmarks.chaos --posts 20000`` runs the command as users do in front
of an emulator. Every POST is different, half of them have an ``Idempotency-Key``.
At the end what each caller was told is held against the emulator's ledger and the
sidecar's log; the exit status is 1 if a request was executed twice, acknowledged
but not executed, or told a wrong outcome.

With ``--reconcile`` every POST has a key, and answers can be read back so late that the
sidecar finds none. After the storm ``mangopay-sidecar reconcile`` reads its log and asks
through it, and what it tells of each ``unknown`` is held against the ledger.

With ``--kill-after N`` the sidecar is killed once N of them were told what became of
them, the moment that the next one is told ``unknown``: every ``unknown`` that was told
must be in the log then.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import hashlib
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sidecar.emulator.server import Emulator
from sidecar.emulator.settings import Settings
from sidecar.runtime import SystemClock
from tests.support.raw_client import RawClient
from tests.support.sidecar import Command, Sidecar

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sidecar.emulator.ledger import Entry
    from tests.support.raw_client import ReceivedResponse

#: One of each kind: lost before execution, lost after it, no response at all, a response cut in half.
FAULTS: Final = ("reset=before", "reset=after", "hang=after", "truncate")
TARGET: Final = "/v2.01/acme/users/natural"
#: Reading back gives up before an answer is there. No rate window is nearly used up.
STORED_LATE: Final = Settings(stored_answer_delay=4.0, rate_limits=(200_000,) * 4)
#: One in so many POSTs lacks what Mangopay wants.
REFUSED: Final = 5


@dataclass(frozen=True)
class Plan:
    """What to do: so many POSTs, and the share of them that each fault hits."""

    posts: int = 2_000
    share: float = 0.05
    callers: int = 50
    seed: int = 1
    #: Every POST has a key, some are refused, and answers are stored late; ``reconcile`` has to find them.
    reconcile: bool = False
    #: POSTs whose callers were told something before the sidecar is killed; 0: it is not.
    kill_after: int = 0


@dataclass(slots=True)
class Told:
    """One POST, and what its caller was told."""

    number: int
    body: bytes
    key: str | None
    #: 0 if the response was cut off, so that nothing was told but that.
    status: int = 0
    outcome: str | None = None
    recovered: str | None = None
    #: Something was told before the sidecar was killed, if only by a cut.
    over: bool = False

    @property
    def identifier(self) -> str:
        """Its ``X-Request-Id``, by which its log line is found."""
        return f"chaos-{self.number}"


@dataclass
class Report:
    """What happened. ``wrong`` has a sentence for each broken promise."""

    plan: Plan
    faulted: int = 0
    seconds: float = 0.0
    token_requests: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """Describe it for a person."""
        posts = self.plan.posts
        yield f"{posts} POSTs in {self.seconds:.1f} s, seed {self.plan.seed}, {self.token_requests} token requests"
        yield f"{'faults injected':<44}{self.faulted:>8}  {self.faulted / posts:6.1%}"
        for name, count in sorted(self.counts.items()):
            yield f"{name:<44}{count:>8}  {count / posts:6.1%}"
        yield f"{'broken promises':<44}{len(self.wrong):>8}"
        yield from self.wrong[:20]


async def run(plan: Plan) -> Report:
    """Carry out ``plan`` in front of an emulator of its own."""
    chosen = random.Random(plan.seed)
    emulator = Emulator(SystemClock(), settings=STORED_LATE if plan.reconcile else Settings(), chance=chosen.random)
    await emulator.start()
    # Earlier rules take their share of the requests before later ones are asked.
    rules = [
        emulator.faults.add(f"{fault} POST /v2.01/acme probability={plan.share / (1 - number * plan.share)}")
        for number, fault in enumerate(FAULTS)
    ]
    try:
        with Sidecar(emulator.url, environ={"SIDECAR_UPSTREAM_RESPONSE_TIMEOUT": "1s"}) as sidecar:
            await asyncio.to_thread(sidecar.wait_until_ready)
            begun = time.perf_counter()
            storm = Storm(plan, sidecar, emulator)
            told = await storm.pass_over()
            report = Report(plan, seconds=time.perf_counter() - begun)
            if plan.reconcile:
                await asyncio.sleep(STORED_LATE.stored_answer_delay)
                await asyncio.to_thread(_reconcile, report, sidecar, emulator, told)
            code = await asyncio.to_thread(sidecar.wait if storm.killed else sidecar.stop)
            if code != (-signal.SIGKILL if plan.kill_after else 0):
                report.wrong.append(f"the sidecar ended with status {code}")
            report.wrong += sidecar.complaints
            lines = {line.get("x_request_id"): line for line in sidecar.log if line["event"] == "request"}
    finally:
        await emulator.stop()
    report.faulted = sum(emulator.faults.fired(rule) for rule in rules)
    report.token_requests = emulator.stats.token_requests
    _compare(report, told, emulator, lines)
    return report


# --- the storm -------------------------------------------------------------------------------------------------------


class Storm:
    """All callers, and the end that the sidecar may find."""

    def __init__(self, plan: Plan, sidecar: Sidecar, emulator: Emulator) -> None:
        self._plan: Final = plan
        self._sidecar: Final = sidecar
        self._emulator: Final = emulator
        self._over = 0
        #: The sidecar was killed.
        self.killed = False

    async def pass_over(self) -> list[Told]:
        """Make the calls; return those of which something was told."""
        posts = [_post(self._plan, number) for number in range(self._plan.posts)]
        waiting = iter(posts)
        async with asyncio.TaskGroup() as group:
            for _ in range(self._plan.callers):
                group.create_task(self._call(waiting))
        return [post for post in posts if post.over]

    async def _call(self, waiting: Iterator[Told]) -> None:
        client: RawClient | None = None
        for post in waiting:
            if post.number == self._plan.posts // 2:
                self._emulator.state.tokens.revoke()
            try:
                if client is None:
                    client = await RawClient.connect(("127.0.0.1", self._sidecar.port))
                usable = await _send(client, post)
            except ConnectionError:
                if not self.killed:
                    raise
                break
            self._is_over(post)
            if not usable:
                client.close()
                client = None
        if client is not None:
            client.close()

    def _is_over(self, post: Told) -> None:
        """Note that a call is over. What was on its way when the sidecar was killed has been told; a cut has not."""
        post.over = bool(post.status) or not self.killed
        self._over += post.over
        unknown = post.outcome == "unknown" or not post.status
        if self._plan.kill_after and not self.killed and unknown and self._over >= self._plan.kill_after:
            self.killed = True
            os.kill(self._sidecar.pid, signal.SIGKILL)


def _post(plan: Plan, number: int) -> Told:
    user = {"FirstName": "Storm", "LastName": str(number), "Email": f"storm-{plan.seed}-{number}@example.com"}
    if plan.reconcile and number % REFUSED == 0:
        del user["Email"]
    key = f"storm-{plan.seed:04}-{number:010}" if number % 2 or plan.reconcile else None
    return Told(number, json.dumps(user).encode(), key)


async def _send(client: RawClient, post: Told) -> bool:
    """Make one call; return whether the connection is still of use."""
    headers = ["Host: localhost", f"X-Request-Id: {post.identifier}", f"Content-Length: {len(post.body)}"]
    if post.key is not None:
        headers.append(f"Idempotency-Key: {post.key}")
    head = "\r\n".join([f"POST {TARGET} HTTP/1.1", *headers, "", ""]).encode()
    await client.send(head + post.body)
    try:
        response = await client.response()
    except (EOFError, ConnectionError):
        return False
    post.status = response.status
    post.outcome = _header(response, "X-Sidecar-Outcome")
    post.recovered = _header(response, "X-Sidecar-Recovered")
    return response.header("Connection") is None


def _header(response: ReceivedResponse, name: str) -> str | None:
    value = response.header(name)
    return None if value is None else value.decode()


# --- the books -------------------------------------------------------------------------------------------------------


def _compare(report: Report, told: list[Told], emulator: Emulator, lines: dict[object, dict[str, object]]) -> None:
    ledger = emulator.ledger
    if ledger.forgotten:
        report.wrong.append("too many POSTs for the emulator's ledger, so nothing is proven: do fewer")
    report.wrong += [f"executed {entry.executions} times: {entry.path}" for entry in ledger.executed_twice()]
    report.wrong += [f"delivered {entry.deliveries} times: {entry.path}" for entry in ledger.delivered_twice()]
    entries = {entry.body_sha256: entry for entry in ledger.entries()}
    for post in told:
        entry = entries.get(hashlib.sha256(post.body).hexdigest())
        line = lines.get(post.identifier)
        report.counts[_describe(post)] += 1
        if line is None:
            # Killed, it may lack lines of calls that are certain, as docs/observability.md says, and no other.
            if not report.plan.kill_after or post.outcome == "unknown" or not post.status:
                report.wrong.append(f"{post.identifier}: no log line of {_describe(post)}")
            continue
        report.wrong += [f"{post.identifier}: {lie}" for lie in _lies(post, entry, line)]
    if report.plan.reconcile or report.plan.kill_after:
        return  # most calls that met a fault stay unknown then, as is meant, or the storm was cut short
    answered = sum(post.status == 200 for post in told)
    unharmed = 1 - report.faulted / len(told)
    if answered / len(told) < unharmed - 0.01:
        report.wrong.append(f"{answered / len(told):.1%} succeeded, though {unharmed:.1%} met no fault")


def _describe(post: Told) -> str:
    if post.status == 200:
        return f"answered 200{'' if post.recovered is None else f', recovered: {post.recovered}'}"
    return f"{post.status or 'cut off'}, {post.outcome or ('unknown' if not post.status else 'from upstream')}"


def _lies(post: Told, entry: Entry | None, line: dict[str, object]) -> Iterator[str]:
    deliveries = 0 if entry is None else entry.deliveries
    executions = 0 if entry is None else entry.executions
    logged = line.get("outcome")
    if post.status == 200:
        if executions != 1:
            yield f"acknowledged, but executed {executions} times"
        if logged is not None:
            yield f"acknowledged, but logged as {logged}"
    elif not post.status:
        # The caller sees that it was cut off: the log has to say the rest.
        if logged != "unknown":
            yield f"cut off, and logged as {logged}"
    elif post.outcome is None:
        if line.get("error") is not None or executions:
            yield f"status {post.status} without an outcome, executed {executions} times"
    else:
        if post.outcome == "not-sent" and deliveries:
            yield "said not-sent, but it was delivered"
        if post.outcome == "rejected" and (executions or entry is None or entry.unauthorized < deliveries):
            yield "said rejected, but Mangopay did not answer each delivery with 401"
        if logged != post.outcome:
            yield f"the caller was told {post.outcome}, the log {logged}"
        if post.outcome == "unknown" and line.get("idempotency_key") != post.key:
            yield "the log lacks the key of a call whose outcome is unknown"


# --- what became of them ---------------------------------------------------------------------------------------------


def _reconcile(report: Report, sidecar: Sidecar, emulator: Emulator, told: list[Told]) -> None:
    """Have the command read the log of the storm, and hold what it tells against the ledger."""
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory, "sidecar.log.gz")
        log.write_bytes(gzip.compress(sidecar.stderr.encode()))
        with Command("reconcile", "--log", log, "--json", "--port", str(sidecar.port)) as command:
            code = command.wait(timeout=600)
            document = json.loads(command.stdout)
    unknown = {
        line["idempotency_key"]
        for line in sidecar.log
        if line["event"] == "request" and line.get("outcome") == "unknown"
    }
    verdicts = {write["idempotency_key"]: write for write in document["writes"]}
    report.wrong += [f"{key}: unknown, and reconcile does not tell it" for key in unknown - verdicts.keys()]
    report.wrong += [f"{key}: told by reconcile, and not unknown" for key in verdicts.keys() - unknown]
    bodies = {post.key: post.body for post in told}
    for key, write in verdicts.items():
        report.counts[f"unknown, then told by reconcile: {write['verdict']}"] += 1
        report.wrong += _misjudged(key, write, emulator, bodies[key])
    if code != int(bool(document["uncertain"])):
        report.wrong.append(f"reconcile ended with status {code}, {document['uncertain']} uncertain")


def _misjudged(key: str, write: dict[str, object], emulator: Emulator, body: bytes) -> Iterator[str]:
    """Yield what the ledger, and the accounts themselves, say against a verdict."""
    entry = next(iter(emulator.ledger.find(body)), None)
    stored = _stored(emulator, key)
    truth = "not_there" if stored is None else "refused"
    if entry is not None and entry.executions:
        truth = "executed"
    if write["verdict"] != truth:
        yield f"{key}: reconcile says {write['verdict']}, and it is {truth}"
    if stored is not None and write["status"] != stored[0]:
        yield f"{key}: reconcile says {write['status']}, and Mangopay answered {stored[0]}"
    if stored is not None and (write["resource_id"], write["type"]) != stored[1:]:
        yield f"{key}: reconcile says {write['resource_id']}, {write['type']}, and it is {stored[1:]}"


def _stored(emulator: Emulator, key: str) -> tuple[int, str | None, str | None] | None:
    """Return the status, the resource's Id and the error's Type of what is stored under a key; None: nothing is."""
    client = emulator.state.clients["acme"]
    kept = client.stored_responses.peek(key)
    if kept is None:
        return None
    fields = json.loads(kept.body)
    refused = kept.status >= 400
    return kept.status, fields.get("Id"), fields.get("Type") if refused else None


def main() -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos", description=__doc__.partition("\n")[0])
    parser.add_argument("--posts", type=int, default=Plan.posts)
    parser.add_argument("--share", type=float, default=Plan.share, help="of the POSTs that each of the faults hits")
    parser.add_argument("--callers", type=int, default=Plan.callers)
    parser.add_argument("--kill-after", type=int, default=0, help="POSTs that are told before the sidecar is killed")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10_000))
    parser.add_argument("--reconcile", action="store_true", help="and have reconcile tell what became of each unknown")
    given = parser.parse_args()
    plan = Plan(given.posts, given.share, given.callers, given.seed, given.reconcile, given.kill_after)
    report = asyncio.run(run(plan))
    for line in report.lines():
        print(line)
    return 1 if report.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
