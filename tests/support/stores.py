"""Stores for tests: one in memory whose failures are told, and sidecars' sources and managers before it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from sidecar.core.secret import Secret
from sidecar.core.tokens.shared_document import SharedDocument, document_name, read_document
from sidecar.core.tokens.shared_token import LEASE
from sidecar.runtime import Tasks
from sidecar.tokens.lockout import AccountLockout
from sidecar.tokens.manager import TokenManager
from sidecar.tokens.stores.backend import StoredContent, StoreError
from sidecar.tokens.stores.sealing import Plain, Sealing
from sidecar.tokens.stores.source import SharedSource
from sidecar.tokens.stores.store import Store
from tests.support.canary import CANARY_API_KEY, CANARY_TOKEN
from tests.support.clock import FakeClock
from tests.support.tokens import CountingMetrics, FakeSource

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from sidecar.core.tokens.oauth import FetchResult
    from sidecar.tokens.stores.backend import Backend

NAME = document_name("acme", "https://api.example.com")


class Shelf:
    """What all :class:`MemoryBackend` of a test share: contents, and a clock that is nobody else's."""

    def __init__(self, clock: FakeClock, ahead: float = 5e6) -> None:
        self.contents: dict[str, bytes] = {}
        self.clock = clock
        self.ahead = ahead
        self.reads = 0
        self.writes = 0

    def now(self) -> float:
        return self.clock.now() + self.ahead

    @property
    def document(self) -> SharedDocument:
        return read_document(self.contents.get(NAME))


class MemoryBackend:
    """One process's way to the shelf, which can be cut."""

    kind = "memory"
    place = "a shelf"

    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf
        #: What reading and writing fail with.
        self.down: str | None = None
        #: What writing alone fails with.
        self.full: str | None = None
        #: While cleared, no operation comes back: the process is stopped, or the store hangs.
        self.thawed = asyncio.Event()
        self.thawed.set()
        self.closed = 0
        #: The number of the write, from 1, whose reply does not arrive.
        self.loses_reply_to = 0
        self.writes = 0
        #: It says that it has written, and keeps nothing.
        self.forgets = False
        #: Called once, when something has been read.
        self.after_next_read: Callable[[], None] | None = None

    async def read(self, name: str) -> StoredContent:
        await self._operate()
        self.shelf.reads += 1
        then, self.after_next_read = self.after_next_read, None
        if then is not None:
            then()
        return StoredContent(self.shelf.contents.get(name), self.shelf.now())

    async def swap(self, name: str, before: bytes | None, after: bytes, keep: float) -> tuple[bool, StoredContent]:
        assert keep > 0
        await self._operate(writes=True)
        found = self.shelf.contents.get(name)
        if found != before:
            return False, StoredContent(found, self.shelf.now())
        self.shelf.writes += 1
        if not self.forgets:
            self.shelf.contents[name] = after
        self.writes += 1
        if self.writes == self.loses_reply_to:
            raise StoreError("does not answer in time")
        return True, StoredContent(after, self.shelf.now())

    async def probe(self) -> None:
        await self._operate(writes=True)

    async def inspect(self) -> None:
        await self._operate(writes=True)

    async def rest(self) -> None:
        self.closed += 1

    async def close(self) -> None:
        await self.thawed.wait()
        self.closed += 1

    async def _operate(self, *, writes: bool = False) -> None:
        await asyncio.sleep(0)
        await self.thawed.wait()
        if (why := self.down or (self.full if writes else None)) is not None:
            raise StoreError(why)


class FakeAsker(FakeSource):
    """What a fetcher is to a shared source: asks Mangopay, here the ``mangopay`` that all askers of a test share."""

    def __init__(self, clock: FakeClock, mangopay: FakeSource, key: str = CANARY_API_KEY) -> None:
        super().__init__(clock)
        self.mangopay = mangopay
        self.api_key = Secret(key)
        self.certificate = b""
        self.keys: list[str] = []

    async def fetch_with(self, api_key: Secret) -> FetchResult:
        self.keys.append(api_key.reveal())
        return await self.mangopay.fetch()


class Node:
    """One sidecar: managers of an account, on a store."""

    def __init__(
        self,
        clock: FakeClock,
        mangopay: FakeSource,
        backend: Backend,
        *,
        sealing: Sealing | None = None,
        random: Callable[[], float] = lambda: 0.5,
        embedded: FakeSource | None = None,
        prefetch: bool = False,
        key: str = CANARY_API_KEY,
        lease: float = LEASE,
        timeout: float = 60.0,
    ) -> None:
        self.clock = clock
        self.tasks = Tasks()
        self.metrics = CountingMetrics()
        self.store = Store(backend, NAME, clock, random, timeout=timeout)
        self.asker = FakeAsker(clock, mangopay, key)
        self.sealing = sealing or Plain()
        self.lease = lease
        self.random = random
        self.lockout = AccountLockout()
        self.source = self._source("api", self.asker)
        self.manager = self._manager("api", self.source, prefetch=prefetch)
        self.embedded = None
        if embedded is not None:
            asker = FakeAsker(clock, embedded, key + "-embedded")
            self.embedded = self._manager("embedded", self._source("embedded", asker), prefetch=False)

    def _source(self, credential: str, asker: FakeAsker) -> SharedSource:
        return SharedSource(credential, asker, self.store, self.sealing, self.clock, self.random, lease=self.lease)

    def _manager(self, credential: str, source: SharedSource, *, prefetch: bool) -> TokenManager:
        manager = TokenManager(
            credential,
            source,
            self.clock,
            self.random,
            self.metrics,
            wait_timeout=10.0,
            prefetch=prefetch,
            tasks=self.tasks,
            lockout=self.lockout,
        )
        manager.start()
        return manager

    def replace_key(self, key: str) -> None:
        self.asker.api_key = Secret(key)
        self.manager.key_changed()

    async def token(self, *, newer_than: int = 0) -> str:
        """Return a token's value as a call gets it, without the part that all have in common."""
        token = await self.manager.take(self.clock.now() + 60, newer_than=newer_than)
        return token.value.reveal().removeprefix(CANARY_TOKEN)

    async def close(self) -> None:
        await self.manager.close()
        if self.embedded is not None:
            await self.embedded.close()
        await self.store.close()
        await self.tasks.close()


async def kill(node: Node, backend: MemoryBackend) -> None:
    """End a node as SIGKILL does: it tells nobody."""
    backend.down = "is not there for the dead"
    await node.close()


class Fleet:
    """Nodes on one shelf, in front of one Mangopay."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.mangopay = FakeSource(self.clock, life=1200.0, delay=0.25)
        self.embedded = FakeSource(self.clock, life=1200.0, delay=0.25)
        self.shelf = Shelf(self.clock)
        self.nodes: list[Node] = []
        self.rolls = 0

    def start(self, count: int = 1, **options: Any) -> list[Node]:
        return [self.node(**options) for _ in range(count)]

    def node(self, backend: MemoryBackend | None = None, **options: Any) -> Node:
        backend = backend or MemoryBackend(self.shelf)
        node = Node(self.clock, self.mangopay, backend, random=self.random, **options)
        self.nodes.append(node)
        return node

    def random(self) -> float:
        """Give numbers that differ, the same in each run."""
        self.rolls += 1
        return (self.rolls * 0.6180339887) % 1.0

    async def finish(self, *calls: Coroutine[Any, Any, Any], within: float = 10.0) -> list[Any]:
        """Return what the calls return (or raised), moving time on while they wait."""
        tasks = [asyncio.ensure_future(call) for call in calls]
        end = self.clock.now() + within
        while not all(task.done() for task in tasks) and self.clock.now() < end:
            await self.clock.advance(0.05)
        assert all(task.done() for task in tasks), "a call waited for too long"
        return await asyncio.gather(*tasks, return_exceptions=True)

    async def tokens(self, *nodes: Node, newer_than: int = 0) -> list[Any]:
        return await self.finish(*(node.token(newer_than=newer_than) for node in nodes or self.nodes))
