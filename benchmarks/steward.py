"""A checkout beside a batch job at full speed: with a reserve of the rate limit, and without.

``python -m benchmarks.steward`` runs the commands as users do: the emulator with one
window of 100 calls in 10 seconds, then one sidecar, then four that know nothing of
each other. A checkout makes a call a second, and on each sidecar a batch job makes as many
as it can. The exit status is 1 if a promise of docs/rate-limits.md was broken: with the
reserve the checkout meets no 429, and the jobs get 70% of what it leaves; without it the
checkout fails. It takes some eight minutes; ``--seconds 20`` shortens each of the four parts.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final

from tests.support.raw_client import RawClient, ReceivedResponse
from tests.support.sidecar import Command, Section, Sidecar

LIMIT, LENGTH = 100, 10
RESERVE: Final = "20%"
#: Connections of a batch job, each of which makes one call after another.
WORKERS: Final = 16
#: Seconds between two calls of the checkout.
CHECKOUT: Final = 1.0
#: Of what the checkout leaves of the windows, the part that the jobs have to get.
LEAST_SHARE: Final = 0.7
#: Seconds for which a worker keeps quiet after a 429 of Mangopay's, which does not say for how long.
_PAUSE: Final = 0.05

_USER: Final = (
    b'{"FirstName":"Ada","LastName":"Lovelace","Email":"ada@example.com","UserCategory":"PAYER",'
    b'"TermsAndConditionsAccepted":true}'
)
_PAY: Final = (
    b"POST /v2.01/acme/sca/users/natural HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(_USER), _USER)
)
_BATCH: Final = b"GET /v2.01/acme/reports HTTP/1.1\r\nHost: localhost\r\n\r\n"


@dataclass
class Part:
    """What came of one part."""

    sidecars: int
    reserve: str
    seconds: float
    checkout: list[int] = field(default_factory=list)
    batch: list[int] = field(default_factory=list)
    #: Of the window, as the checkout's answers told it: the least.
    remaining: int = LIMIT

    @property
    def refused(self) -> int:
        """How often the checkout met a 429."""
        return self.checkout.count(429)

    @property
    def share(self) -> float:
        """What the jobs got of that which the checkout left."""
        return self.batch.count(200) / (LIMIT * self.seconds / LENGTH - len(self.checkout))

    def __str__(self) -> str:
        """Return the row of a table."""
        with_reserve = self.reserve if self.reserve != "0%" else "none"
        return (
            f"| {self.sidecars} | {with_reserve} | {len(self.checkout)} | {self.refused} | {self.remaining} "
            f"| {self.batch.count(200)} | {self.share:.0%} |"
        )

    def broken(self) -> list[str]:
        """Return the promises that were broken."""
        what = f"{self.sidecars} sidecar(s), reserve {self.reserve}"
        if self.reserve == "0%":
            return [] if self.refused else [f"{what}: the checkout met no 429, so this shows nothing"]
        broken = []
        if set(self.checkout) != {200}:
            broken.append(f"{what}: the checkout was answered {sorted(set(self.checkout))}")
        if self.share < LEAST_SHARE:
            broken.append(f"{what}: the jobs got {self.share:.0%} of the rest")
        return broken


class Caller:
    """A connection to a sidecar, made anew where it ends."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._client: RawClient | None = None

    async def call(self, request: bytes) -> ReceivedResponse:
        if self._client is None:
            self._client = await RawClient.connect(("127.0.0.1", self._port))
        await self._client.send(request)
        response = await self._client.response()
        if response.header("Connection") is not None:
            self.close()
        return response

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None


async def checkout(port: int, part: Part, end: float) -> None:
    """Make a call a second."""
    caller = Caller(port)
    due = time.monotonic()
    while due < end:
        await asyncio.sleep(due - time.monotonic())
        response = await caller.call(_PAY)
        part.checkout.append(response.status)
        part.remaining = min(part.remaining, int(response.header("X-RateLimit-Remaining") or LIMIT))
        due += CHECKOUT
    caller.close()


async def worker(port: int, part: Part, end: float) -> None:
    """Make one batch call after another."""
    caller = Caller(port)
    while time.monotonic() < end:
        response = await caller.call(_BATCH)
        if time.monotonic() < end:
            part.batch.append(response.status)
        if response.status == 429:
            told = response.header("Retry-After")
            await asyncio.sleep(min(_PAUSE if told is None else float(told), max(0.0, end - time.monotonic())))
    caller.close()


async def run(part: Part, ports: list[int]) -> None:
    """Have everybody call until the time is over."""
    end = time.monotonic() + part.seconds
    jobs = [worker(port, part, end) for port in ports for _ in range(WORKERS)]
    await asyncio.gather(checkout(ports[0], part, end), *jobs)


def play(sidecars: int, reserve: str, seconds: float) -> Part:
    """Start everything, and run one part."""
    part = Part(sidecars, reserve, seconds)
    with ExitStack() as stack:
        settings = (f"rate_windows=[{LENGTH}]", f"rate_limits=[{LIMIT}]", "enforce_rate_limits=true")
        options = [word for each in settings for word in ("--set", each)]
        emulator = stack.enter_context(Command("emulator", "--port", "0", *options))
        upstream = emulator.wait_for(r"^ready emulator=(\S+)$")[1]
        limits: Section = {"reserve": reserve, "batch": ["GET /v2.01/*/reports"], "wait": "15s"}
        started = [
            stack.enter_context(Sidecar(upstream, limits=limits if reserve != "0%" else {}, log={"requests": "errors"}))
            for _ in range(sidecars)
        ]
        asyncio.run(run(part, [each.port for each in started]))
    return part


def main() -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=120.0, help="of each part (default: %(default)g)")
    seconds: float = parser.parse_args().seconds
    print("| sidecars | reserve | checkout calls | of them 429 | least that remained | batch calls | of the rest |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    broken = []
    for sidecars in (1, 4):
        for reserve in (RESERVE, "0%"):
            part = play(sidecars, reserve, seconds)
            print(part, flush=True)
            broken += part.broken()
    for each in broken:
        print(f"BROKEN: {each}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
