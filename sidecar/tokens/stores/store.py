"""The store as tokens use it: one document, changed by compare-and-swap, and never in a call's way.

Every operation has a deadline. The first one that fails is told (``store.down``),
and whoever asked gets :class:`StoreDownError`, and does without; so does everybody
within the next second. From then on somebody looks now and then whether it can be
written again (``store.up``).
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, TypeVar

import structlog

from sidecar.core.backoff import Backoff
from sidecar.core.tokens.shared_document import SharedDocument, StoreTime, read_document, write_document
from sidecar.core.tokens.shared_token import KEPT
from sidecar.patience import PatientTimeout
from sidecar.runtime import Tasks
from sidecar.tokens.status import StoreStatus
from sidecar.tokens.stores.backend import TIMEOUT, StoreError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from sidecar.core.clock import Clock
    from sidecar.tokens.stores.backend import Backend, StoredContent

    T = TypeVar("T")

#: Seconds for which a store that has failed is not asked again, whoever wants something of it.
BREAK: Final = 1.0
#: Pauses between two tries that look whether a store is back, if nobody wants anything of it.
RETRIES: Final = Backoff(first=1.0, limit=30.0, spread=0.5)
#: Seconds after the last use until connections are closed: a fleet has more sidecars than a server has connections.
IDLE: Final = 1.0
#: Times an operation's time that a whole change may take: reading, writing, and again if others were faster.
_LONGEST_CHANGE: Final = 2
#: Changes that others may make between our reading and writing, one after the other, before that counts as down.
_TRIES: Final = 10

_log = structlog.get_logger()


class StoreDownError(Exception):
    """There is no store for now; the sidecar goes on by itself."""


class Store:
    """One account's document in a backend."""

    def __init__(
        self,
        backend: Backend,
        name: str,
        clock: Clock,
        random: Callable[[], float],
        *,
        timeout: float = TIMEOUT,
    ) -> None:
        """``name`` is the document's; ``random`` gives numbers from 0 to 1; ``timeout`` of one operation in seconds."""
        self.name: Final = name
        #: Tasks of those who use the store; they end before its connections do.
        self.tasks: Final = Tasks()
        #: Called when the store is back.
        self.recovered: Final[list[Callable[[], None]]] = []
        self._backend: Final = backend
        self._clock: Final = clock
        self._random: Final = random
        self._timeout: Final = timeout
        self._up: bool | None = None
        self._since: float | None = None
        self._last_error: str | None = None
        self._failures = 0
        #: ``Clock.now``; before that nothing is asked of a store that is down.
        self._broken_until = float("-inf")
        self._retry_at = float("-inf")
        self._users = 0
        self._recovery: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._closed = False

    def status(self) -> StoreStatus:
        """Return a snapshot."""
        since = None if self._since is None else self._since - self._clock.now() + self._clock.wall()
        return StoreStatus(self._backend.kind, self._backend.place, self._up, since, self._last_error)

    async def change(
        self, decide: Callable[[SharedDocument, StoreTime], tuple[SharedDocument, T]], *, insist: bool = False
    ) -> tuple[T, StoreTime]:
        """Have ``decide`` replace the document; return what it said, and the time that it was told.

        It must be pure: it is called again if another process was faster. If it returns the
        document as it was, nothing is written. ``insist``: also if the store has just
        failed. Raises StoreDownError.
        """
        if self._up is False and not insist and self._clock.now() < self._broken_until:
            raise StoreDownError
        longest = _LONGEST_CHANGE * self._timeout
        try:
            async with self.in_use(), PatientTimeout(longest):
                return await self._change(decide)
        except StoreDownError:
            pass
        except TimeoutError:
            self._failed(f"is too slow: a change takes over {longest:g} s")
        except Exception as error:  # noqa: BLE001 - what lies in a store must cost no call, whatever it is
            self._failed(f"holds what cannot be used: {type(error).__name__}")
        self._broken_until = self._clock.now() + BREAK
        raise StoreDownError

    @asynccontextmanager
    async def in_use(self) -> AsyncIterator[None]:
        """Keep connections open meanwhile."""
        self._users += 1
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None
        try:
            yield
        finally:
            self._users -= 1
            if not self._users and not self._closed:
                self._closing = self.tasks.spawn(self._rest(), name="store.rest")

    async def close(self) -> None:
        """End everything."""
        self._closed = True
        await self.tasks.close()
        try:
            # A server that hangs does not answer the end of a TLS connection either.
            async with PatientTimeout(self._timeout):
                await self._backend.close()
        except (StoreError, TimeoutError) as error:
            _log.debug("store.close_failed", kind=self._backend.kind, detail=str(error) or "no answer")

    async def _change(
        self, decide: Callable[[SharedDocument, StoreTime], tuple[SharedDocument, T]]
    ) -> tuple[T, StoreTime]:
        snapshot, time = await self._read()
        for _ in range(_TRIES):
            document = self._understood(snapshot.content)
            changed, said = decide(document, time)
            if changed is document:
                return said, time
            swapped, snapshot, time = await self._swap(snapshot, write_document(changed))
            if swapped:
                return said, time
        self._failed("is changed by others all the time")
        raise StoreDownError

    # --- one operation -----------------------------------------------------------------------------------------------

    async def _read(self) -> tuple[StoredContent, StoreTime]:
        before = self._clock.now()
        snapshot = await self._run(self._backend.read(self.name), writes=False)
        return snapshot, StoreTime(snapshot.now, before, self._clock.now())

    async def _swap(self, found: StoredContent, content: bytes) -> tuple[bool, StoredContent, StoreTime]:
        before = self._clock.now()
        swap = self._backend.swap(self.name, found.content, content, KEPT)
        swapped, snapshot = await self._run(swap, writes=True)
        return swapped, snapshot, StoreTime(snapshot.now, before, self._clock.now())

    async def _run(self, operation: Awaitable[T], *, writes: bool) -> T:
        """Await ``operation`` for as long as it may take. Raises StoreDownError."""
        cancellations = _cancellations()
        try:
            async with PatientTimeout(self._timeout):
                result = await operation
        except StoreError as error:
            self._failed(str(error))
        except TimeoutError:
            self._failed(f"does not answer within {self._timeout:g} s")
        except Exception as error:  # noqa: BLE001 - a bug around a store must not cost a call either
            self._failed(f"failed: {type(error).__name__}")
        else:
            # A store that is full can be read all the same: only writing shows that it is back.
            if writes or self._up is None:
                self._works()
            if _cancellations() == cancellations:
                return result
        if _cancellations() > cancellations:
            # What is behind may answer a cancellation with an error of its own. Whoever closes would wait for ever.
            raise asyncio.CancelledError
        raise StoreDownError

    def _understood(self, content: bytes | None) -> SharedDocument:
        try:
            return read_document(content)
        except ValueError as error:
            _log.warning(
                "store.document_unreadable",
                kind=self._backend.kind,
                detail=str(error),
                message="it is replaced; if this comes again, look who else writes to the store",
            )
            return SharedDocument()

    # --- up and down -------------------------------------------------------------------------------------------------

    def _works(self) -> None:
        self._failures = 0
        if self._up is True:
            return
        was_down, self._up, self._since = self._up is False, True, self._clock.now()
        if was_down:
            _log.info("store.up", kind=self._backend.kind, place=self._backend.place)
            for call in self.recovered:
                call()

    def _failed(self, why: str) -> None:
        self._failures += 1
        self._last_error = why
        now = self._clock.now()
        self._retry_at = now + RETRIES.delay(self._failures, self._random())
        if self._up is not False:
            self._up, self._since = False, now
            _log.warning(
                "store.down",
                kind=self._backend.kind,
                place=self._backend.place,
                detail=f"the store {why}",
                message="no call fails by this: until the store is back this sidecar gets tokens for itself alone",
            )
        if not self._closed and (self._recovery is None or self._recovery.done()):
            self._recovery = self.tasks.spawn(self._recover(), name="store.recovery")

    async def _recover(self) -> None:
        while self._up is False:
            await self._clock.sleep_until(self._retry_at)
            if self._up is False:
                async with self.in_use():
                    await self._probe()

    async def _probe(self) -> None:
        try:
            await self._run(self._backend.probe(), writes=True)
        except StoreDownError:
            return

    async def _rest(self) -> None:
        await self._clock.sleep_until(self._clock.now() + IDLE)
        try:
            await self._backend.rest()
        except StoreError as error:
            _log.debug("store.close_failed", kind=self._backend.kind, detail=str(error))


def _cancellations() -> int:
    """Return how often somebody has asked the current task to end."""
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()
