"""Tokens that are revoked, a resource that always says 401, and a token endpoint that fails meanwhile.

``python -m benchmarks.revocations`` runs the command as users do in front of an
emulator, and prints what callers got; the exit status is 1 if a promise of the
rule of 401s (``sidecar/core/tokens/unauthorized.py``) was broken. It takes about two
minutes; ``--seconds 5`` shortens the first two parts.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from sidecar.emulator.server import Emulator
from sidecar.emulator.settings import Settings
from sidecar.runtime import SystemClock
from tests.support.raw_client import RawClient
from tests.support.sidecar import Sidecar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CALLERS: Final = 20
GOOD: Final = "/v2.01/acme/users"
BAD: Final = "/v2.01/acme/clients"
#: Ways of a token endpoint to fail that pass by themselves; a lockout and refused credentials keep a pause of 30 s.
FAILURES: Final = ("status=500", "garbage", "not-json", "edge=403", "reset=before", "hang=before")
_CLOCK: Final = SystemClock()


class Caller:
    """An app's connection to the sidecar."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._client: RawClient | None = None

    async def get(self, path: str) -> tuple[int, str]:
        """Make one call; return its status, and its outcome if the response is the sidecar's own."""
        if self._client is None:
            self._client = await RawClient.connect(("127.0.0.1", self._port))
        await self._client.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        response = await self._client.response()
        if response.header("Connection") is not None:
            self.close()
        return response.status, (response.header("X-Sidecar-Outcome") or b"").decode()

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None


@asynccontextmanager
async def running() -> AsyncIterator[tuple[Emulator, Sidecar]]:
    """Run an emulator, and the command in front of it."""
    emulator = Emulator(_CLOCK, settings=Settings())
    await emulator.start()
    try:
        with Sidecar(emulator.url) as sidecar:
            await asyncio.to_thread(sidecar.wait_until_ready)
            yield emulator, sidecar
    finally:
        await emulator.stop()


async def repeat(port: int, path: str, until: float, pause: float = 0.0) -> Counter[tuple[int, str]]:
    """Call ``path`` one call after another until the moment ``until``; return how often which response came."""
    counts: Counter[tuple[int, str]] = Counter()
    caller = Caller(port)
    while _CLOCK.now() < until:
        counts[await caller.get(path)] += 1
        if pause:
            await _CLOCK.sleep_until(_CLOCK.now() + pause)
    caller.close()
    return counts


async def revoked_twice_a_second(seconds: float) -> list[str]:
    """Twenty callers on one path, while all tokens are revoked every half second."""
    async with running() as (emulator, sidecar):
        end = _CLOCK.now() + seconds
        callers = asyncio.gather(*(repeat(sidecar.port, GOOD, end) for _ in range(CALLERS)))
        revocations = 0
        while _CLOCK.now() < end:
            emulator.state.tokens.revoke()
            revocations += 1
            await _CLOCK.sleep_until(_CLOCK.now() + 0.5)
        await callers
        await asyncio.to_thread(sidecar.stop)
        lines = [line for line in sidecar.log if line["event"] == "request"]
        told = Counter((line["status"], line["attempts"]) for line in lines)
        print(f"revoked {revocations} times in {seconds:.0f} s under {CALLERS} callers on one path:")
        for (status, deliveries), count in sorted(told.items(), key=str):
            print(f"  {status} after {deliveries} deliveries: {count}")
        print(f"  token requests: {emulator.stats.token_requests}")
    return [f"{each} is neither a 200 nor a 401 after two deliveries" for each in told if each not in _HEALTHY]


_HEALTHY: Final = {(200, 1), (200, 2), (401, 2)}


async def always_401(seconds: float) -> list[str]:
    """A resource that always says 401, another one beside it, and a revocation in the middle of the pause."""
    async with running() as (emulator, sidecar):
        emulator.faults.add(f"unauthorized GET {BAD}")
        end = _CLOCK.now() + seconds
        bad, good = await asyncio.gather(
            repeat(sidecar.port, BAD, end, seconds / 100), repeat(sidecar.port, GOOD, end, seconds / 100)
        )
        requests = emulator.stats.token_requests
        emulator.state.tokens.revoke()
        begun = _CLOCK.now()
        after = await repeat(sidecar.port, GOOD, begun + 1.0, 0.05)
        print(f"a resource that always says 401, {sum(bad.values())} calls in {seconds:.0f} s: {_told(bad)}")
        print(f"  another resource meanwhile: {_told(good)}; token requests: {requests}")
        print(f"  that one, from a revocation during the pause on: {_told(after)}")
    ok = {(200, "")}
    wrong = [] if set(good) == set(after) == ok else ["calls to another resource failed"]
    return wrong if requests <= 3 else [*wrong, f"{requests} token requests"]


async def failing(fault: str) -> list[str]:
    """The token endpoint fails for two seconds, and the token is revoked at the beginning of it."""
    async with running() as (emulator, sidecar):
        rule = emulator.faults.add(f"{fault} token")
        emulator.state.tokens.revoke()
        begun = _CLOCK.now()
        during = await asyncio.gather(*(repeat(sidecar.port, GOOD, begun + 2.0, 0.05) for _ in range(CALLERS)))
        emulator.faults.remove(rule)
        emulator.close_connections()
        recovered = _CLOCK.now()
        probe, caller = 0.0, Caller(sidecar.port)
        while (await caller.get(GOOD))[0] != 200:
            await _CLOCK.sleep_until(_CLOCK.now() + 0.02)
        probe = _CLOCK.now() - recovered
        caller.close()
        emulator.state.tokens.revoke()
        later = _CLOCK.now() + 1.0
        after = await asyncio.gather(*(repeat(sidecar.port, GOOD, later, 0.05) for _ in range(CALLERS)))
        told, mended = sum(during, Counter()), sum(after, Counter())
        print(f"token endpoint fails ({fault}): {_told(told)}; 200 again {probe:.2f} s after its recovery;")
        print(f"  from a second revocation on: {_told(mended)}")
    wrong = [f"{fault}: {each} during the failure" for each in told if each not in _DURING]
    return wrong if set(mended) == {(200, "")} else [*wrong, f"{fault}: the second revocation was not mended"]


_DURING: Final = {(200, ""), (502, "rejected"), (502, "not-sent"), (503, "rejected"), (503, "not-sent")}


def _told(counts: Counter[tuple[int, str]]) -> str:
    return ", ".join(
        f"{status} {outcome}".strip() + f": {count}" for (status, outcome), count in sorted(counts.items())
    )


async def run(seconds: float) -> list[str]:
    """Run all parts; return a sentence for each broken promise."""
    wrong = await revoked_twice_a_second(seconds)
    wrong += await always_401(min(seconds, 20.0))
    for fault in FAILURES:
        wrong += await failing(fault)
    return wrong


def main() -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.revocations", description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=30.0)
    wrong = asyncio.run(run(parser.parse_args().seconds))
    for sentence in wrong:
        print(f"BROKEN: {sentence}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
