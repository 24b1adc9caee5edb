"""Token sources, metrics and managers for tests."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sidecar.core.secret import Secret
from sidecar.core.tokens.oauth import Fetched, FetchResult, LockedOut, Refusal, Refused, Transient
from sidecar.runtime import Tasks
from sidecar.tokens.manager import TokenManager
from tests.support.canary import CANARY_TOKEN

if TYPE_CHECKING:
    from sidecar.tokens.lockout import AccountLockout
    from sidecar.tokens.manager import TokenSource
    from tests.support.clock import FakeClock

LOCKED_OUT = LockedOut("status 400, unauthorized_client")
REFUSED = Refused(Refusal.CREDENTIALS, "status 401, invalid_client")
TRANSIENT = Transient("status 503")


class FakeSource:
    """Gives out tokens of ``life`` seconds, ``delay`` seconds after each request, after the ``results`` it was told.

    While :attr:`gated`, each request is parked until :meth:`let_go`.
    """

    def __init__(
        self, clock: FakeClock, *results: FetchResult | Exception, life: float = 3600.0, delay: float = 0.0
    ) -> None:
        self.life = life
        self.delay = delay
        self.gated = False
        #: When each request was sent.
        self.sent_at: list[float] = []
        self.in_flight = 0
        #: How often a token of this source was burnt.
        self.burns = 0
        self.most_in_flight = 0
        self._clock = clock
        self._results = list(results)
        self._parked: list[asyncio.Future[None]] = []

    def then(self, *results: FetchResult | Exception) -> None:
        """Answer the next requests with these, before tokens again."""
        self._results += results

    def forget_results(self) -> None:
        """Answer with tokens from now on."""
        self._results.clear()

    def let_go(self) -> None:
        """Answer the requests that are parked."""
        for future in self._parked:
            if not future.done():
                future.set_result(None)
        self._parked.clear()

    def burnt(self) -> None:
        self.burns += 1

    @property
    def requests(self) -> int:
        return len(self.sent_at)

    async def fetch(self) -> FetchResult:
        sent_at = self._clock.now()
        self.sent_at.append(sent_at)
        number = self.requests
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            if self.delay:
                await self._clock.sleep_until(sent_at + self.delay)
            if self.gated:
                self._parked.append(asyncio.get_running_loop().create_future())
                await self._parked[-1]
        finally:
            self.in_flight -= 1
        result = self._results.pop(0) if self._results else self._token(number, sent_at)
        if isinstance(result, Exception):
            raise result
        return result

    def _token(self, number: int, sent_at: float) -> Fetched:
        return Fetched(Secret(f"{CANARY_TOKEN}-{number}"), self.life, sent_at)


class CountingMetrics:
    """What a manager counted."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    def token_wait(self, seconds: float) -> None:
        self.waits.append(seconds)


class Managers:
    """Makes managers on one clock, and closes them all."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.tasks = Tasks()
        self.metrics = CountingMetrics()
        #: What the managers are given for every random number.
        self.roll = 0.5
        self._managers: list[TokenManager] = []

    def start(
        self,
        source: TokenSource,
        credential: str = "api",
        *,
        prefetch: bool = False,
        lockout: AccountLockout | None = None,
    ) -> TokenManager:
        manager = TokenManager(
            credential,
            source,
            self.clock,
            self._random,
            self.metrics,
            wait_timeout=10.0,
            prefetch=prefetch,
            tasks=self.tasks,
            lockout=lockout,
        )
        self._managers.append(manager)
        manager.start()
        return manager

    async def close(self) -> None:
        for manager in self._managers:
            await manager.close()
        await self.tasks.close()

    def _random(self) -> float:
        return self.roll
