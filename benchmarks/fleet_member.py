"""One process of the fleet of ``benchmarks.fleet``: many token managers, each with a store client of its own.

Reads one JSON command a line, answers each with a line. A manager is what a sidecar has: its own connection to
the store, its own fetcher, its own clock. Time may run faster than real (``speed``), the store's clock with it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import sys
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import structlog
import uvloop

from sidecar.config import Config, load
from sidecar.core.errors import SidecarError
from sidecar.core.tokens.shared_token import LEASE, LONGEST_LEASE
from sidecar.runtime import SystemClock, Tasks
from sidecar.tokens.fetcher import Fetcher
from sidecar.tokens.manager import TokenManager
from sidecar.tokens.stores.backend import StoredContent
from sidecar.tokens.stores.opening import make_backend, name_of
from sidecar.tokens.stores.source import SharedSource
from sidecar.tokens.stores.store import Store
from sidecar.upstream.dialing import Dialer
from tests.support.app import request_bytes
from tests.support.raw_client import RawClient

if TYPE_CHECKING:
    from sidecar.core.clock import Clock
    from sidecar.core.tokens.state import Token
    from sidecar.core.tokens.unauthorized import ResendPermit
    from sidecar.tokens.stores.backend import Backend

PATH: Final = "/v2.01/acme/clients"
#: Connections to the API for all calls of this process: it is the tokens that are looked at.
_CONNECTIONS: Final = 8


class FastClock:
    """The real clock, running ``speed`` times as fast since ``origin``."""

    def __init__(self, speed: float) -> None:
        self._real = SystemClock()
        self._speed = speed
        self._origin = self._real.now()
        self._wall = self._real.wall()

    def now(self) -> float:
        return self._origin + (self._real.now() - self._origin) * self._speed

    def wall(self) -> float:
        return self._wall + (self._real.wall() - self._wall) * self._speed

    async def sleep_until(self, deadline: float) -> None:
        while (left := deadline - self.now()) > 0:
            await asyncio.sleep(left / self._speed)


class FastBackend:
    """A backend whose clock runs ``speed`` times as fast since ``origin``, which is the same for the whole fleet."""

    def __init__(self, backend: Backend, speed: float, origin: float) -> None:
        self._backend = backend
        self._speed = speed
        self._origin = origin
        self.kind, self.place = backend.kind, backend.place
        self.probe, self.inspect, self.rest, self.close = backend.probe, backend.inspect, backend.rest, backend.close

    async def read(self, name: str) -> StoredContent:
        return self._fast(await self._backend.read(name))

    async def swap(self, name: str, before: bytes | None, after: bytes, keep: float) -> tuple[bool, StoredContent]:
        swapped, snapshot = await self._backend.swap(name, before, after, keep)
        return swapped, self._fast(snapshot)

    def _fast(self, snapshot: StoredContent) -> StoredContent:
        return StoredContent(snapshot.content, self._origin + (snapshot.now - self._origin) * self._speed)


@dataclass
class Counts:
    """What this process saw since it was last asked."""

    calls: int = 0
    #: By what came instead of a response.
    failed: Counter[str] = field(default_factory=Counter)
    longest: float = 0.0


class Member:
    """One sidecar's tokens."""

    def __init__(self, config: Config, speed: float, origin: float, metrics: Any) -> None:
        self.clock: Clock = SystemClock() if speed == 1.0 else FastClock(speed)
        mangopay = config.mangopay
        dialer = Dialer(mangopay.endpoint, connect_timeout=5.0, ssl_context=None, egress=None)
        fetcher = Fetcher(mangopay.endpoint, mangopay.client_id, mangopay.api_key, self.clock, dialer=dialer)
        backend, sealing = make_backend(config, self.clock)
        self.tasks = Tasks()
        self.store = Store(
            backend if speed == 1.0 else FastBackend(backend, speed, origin), name_of(config), self.clock, random.random
        )
        # A lease has to outlast a busy machine's delays, which do not get shorter with the time.
        assert LEASE * speed <= LONGEST_LEASE
        source = SharedSource(
            "api", fetcher, self.store, sealing, self.clock, random.random, lease=LEASE * max(speed, 1.0)
        )
        self.manager = TokenManager(
            "api",
            source,
            self.clock,
            random.random,
            metrics,
            wait_timeout=10.0,
            prefetch=True,
            tasks=self.tasks,
        )

    async def close(self) -> None:
        await self.manager.close()
        await self.store.close()
        await self.tasks.close()


class Waits:
    """What managers tell of waiting; nothing is made of it."""

    def token_wait(self, seconds: float) -> None:
        """Note a wait."""


class Process:
    """All members of this process, and the calls that use their tokens."""

    def __init__(self, config: Config, count: int, speed: float, origin: float) -> None:
        metrics = Waits()
        self.members = [Member(config, speed, origin, metrics) for _ in range(count)]
        self.counts = Counts()
        self._endpoint = (config.mangopay.endpoint.host, config.mangopay.endpoint.port)
        self._speed = speed
        self._idle: list[RawClient] = []
        self._room = asyncio.Semaphore(_CONNECTIONS)
        self._callers: list[asyncio.Task[None]] = []

    async def start(self, timeout: float) -> dict[str, Any]:
        """Start all at once; answer when each has a token, or knows that it gets none."""
        begun = asyncio.get_running_loop().time()
        for member in self.members:
            member.manager.start()
        while asyncio.get_running_loop().time() - begun < timeout:
            if all(member.manager.status().state not in ("empty", "refreshing") for member in self.members):
                break
            await asyncio.sleep(0.01)
        return {"seconds": asyncio.get_running_loop().time() - begun, **self.standing()}

    def standing(self) -> dict[str, Any]:
        """Tell what the members have: how many hold which token, by a hash of it."""
        tokens = Counter(
            "none" if (token := member.manager.take_nowait(member.clock.now())) is None else _hash(token)
            for member in self.members
        )
        states = Counter(member.manager.status().state for member in self.members)
        down = sum(member.store.status().up is False for member in self.members)
        return {"tokens": tokens, "states": states, "down": down}

    def call_steadily(self, rate: float) -> None:
        """Have each member make ``rate`` calls a second from now on; 0: none."""
        for caller in self._callers:
            caller.cancel()
        self._callers = [asyncio.create_task(self._keep_calling(member, rate)) for member in self.members if rate > 0]

    def report(self) -> dict[str, Any]:
        """Tell what was counted, and begin anew."""
        counts, self.counts = self.counts, Counts()
        return {"calls": counts.calls, "failed": counts.failed, "longest": counts.longest, **self.standing()}

    async def close(self) -> None:
        self.call_steadily(0)
        await asyncio.gather(*(member.close() for member in self.members))
        for client in self._idle:
            client.close()

    async def _keep_calling(self, member: Member, rate: float) -> None:
        while True:
            await asyncio.sleep(random.expovariate(rate))
            begun = asyncio.get_running_loop().time()
            try:
                await self._call(member)
            except SidecarError as error:
                self.counts.failed[error.code.value] += 1
            except (EOFError, OSError) as error:
                self.counts.failed[type(error).__name__] += 1
            self.counts.calls += 1
            self.counts.longest = max(self.counts.longest, asyncio.get_running_loop().time() - begun)

    async def _call(self, member: Member) -> None:
        """Make one call, and resend it after a 401 as the sidecar does."""
        manager, now = member.manager, member.clock.now()
        deadline = now + 12.0 * self._speed
        token = manager.take_nowait(now) or await manager.take(deadline)
        status = await self._get(token)
        if status != 401:
            manager.accepted(token.generation, PATH)
        elif (burn := manager.unauthorized(token.generation, PATH)) is not None:
            status = await self._resend(member, burn, deadline)
        if status != 200:
            self.counts.failed[f"status {status}"] += 1

    async def _resend(self, member: Member, burn: ResendPermit, deadline: float) -> int:
        manager, status = member.manager, 0
        try:
            token = await manager.take(deadline, newer_than=burn.generation)
            status = await self._get(token)
        finally:
            if not status:
                manager.resend_withdrawn(burn)
        manager.resend_answered(burn, token.generation, unauthorized=status == 401)
        return status

    async def _get(self, token: Token) -> int:
        async with self._room:
            if self._idle:
                try:
                    return await self._ask(self._idle.pop(), token)
                except (EOFError, OSError):
                    pass  # it was closed while nobody used it: once more on a new one, as the sidecar does
            return await self._ask(await RawClient.connect(self._endpoint), token)

    async def _ask(self, client: RawClient, token: Token) -> int:
        authorization = ("Authorization", f"Bearer {token.value.reveal()}")
        try:
            await client.send(request_bytes("GET", PATH, headers=(authorization,)))
            status = (await client.response()).status
        except BaseException:
            client.close()
            raise
        self._idle.append(client)
        return status


def _hash(token: Token) -> str:
    return hashlib.sha256(token.value.reveal().encode()).hexdigest()[:12]


async def serve() -> None:
    """Carry out the commands of standard input; its first line says what this process is made of."""
    given = json.loads(await asyncio.to_thread(sys.stdin.readline))
    process = Process(load(None, given["environ"]), given["count"], given["speed"], given["origin"])
    print(json.dumps({"members": given["count"]}), flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        command = json.loads(line)
        response: dict[str, Any] = {}
        if command["do"] == "start":
            response = await process.start(command["timeout"])
        elif command["do"] == "call":
            process.call_steadily(command["rate"])
        elif command["do"] == "report":
            response = process.report()
        elif command["do"] == "close":
            await process.close()
        print(json.dumps(response), flush=True)


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    uvloop.run(serve())
