"""401s from the API: one refresh mends all, and an endless 401 costs next to nothing."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from sidecar.core.errors import SidecarError
from tests.support.clock import FakeClock
from tests.support.tokens import TRANSIENT, FakeSource, Managers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sidecar.tokens.manager import TokenManager

LATE = float("inf")


class Api:
    """Mangopay's API as far as tokens go, and the calls of an app through the sidecar."""

    def __init__(self, clock: FakeClock, manager: TokenManager, source: FakeSource) -> None:
        self.clock = clock
        self.manager = manager
        self.source = source
        self.revoked: set[int] = set()
        #: Paths that answer 401 whatever the token.
        self.forbidden: set[str] = set()
        #: Whether each new token ends the ones before.
        self.one_token_only = False
        self.latency = 0.05
        self.deliveries: Counter[int] = Counter()
        self._calls = 0

    async def call(self, path: str, *, resendable: bool = True) -> int:
        """Make one call through the sidecar; return the status that the app gets."""
        self._calls += 1
        number = self._calls
        token = self.manager.take_nowait() or await self.manager.take(LATE)
        if await self._deliver(number, token.generation, path) == 200:
            self.manager.accepted(token.generation)
            return 200
        burn = self.manager.unauthorized(token.generation, path)
        if burn is None or not resendable:
            return 401
        try:
            token = await self.manager.take(LATE, newer_than=burn.generation)
        except SidecarError:
            return 401
        status = await self._deliver(number, token.generation, path)
        self.manager.resend_answered(burn, unauthorized=status == 401, generation=token.generation)
        return status

    async def _deliver(self, number: int, generation: int, path: str) -> int:
        self.deliveries[number] += 1
        await self.clock.sleep_until(self.clock.now() + self.latency / 2)
        ended = generation in self.revoked or (self.one_token_only and generation < self.source.requests)
        status = 401 if ended or path in self.forbidden else 200
        await self.clock.sleep_until(self.clock.now() + self.latency / 2)
        return status


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(now=1000.0)


@pytest.fixture
async def managers(clock: FakeClock) -> AsyncIterator[Managers]:
    made = Managers(clock)
    yield made
    await made.close()


@pytest.fixture
def source(clock: FakeClock) -> FakeSource:
    return FakeSource(clock, delay=0.1)


@pytest.fixture
async def api(clock: FakeClock, managers: Managers, source: FakeSource) -> Api:
    api = Api(clock, managers.start(source, prefetch=True), source)
    await clock.advance(0.1)
    assert source.requests == 1
    return api


async def answers(clock: FakeClock, *calls: asyncio.Task[int], within: float = 1.0) -> list[int]:
    await clock.advance(within)
    return await asyncio.gather(*calls)


async def test_two_hundred_calls_on_a_revoked_token_are_mended_by_one_token_request(
    clock: FakeClock, api: Api, source: FakeSource
) -> None:
    api.revoked.add(1)
    statuses = await answers(clock, *[asyncio.create_task(api.call(f"/users/{n}")) for n in range(200)])
    assert statuses == [200] * 200
    assert source.requests == 2
    assert set(api.deliveries.values()) == {2}


async def test_401s_that_trickle_in_after_the_refresh_are_resent_without_another(
    clock: FakeClock, api: Api, source: FakeSource
) -> None:
    api.revoked.add(1)
    slow = []
    for number in range(20):
        api.latency = 0.05 + number / 10
        slow.append(asyncio.create_task(api.call(f"/users/{number}")))
        await clock.settle()
    assert await answers(clock, *slow, within=10) == [200] * 20
    assert source.requests == 2


@pytest.mark.parametrize("one_token_only", [False, True])
async def test_a_resource_that_always_says_401_costs_three_token_requests_in_twenty_seconds(
    clock: FakeClock, api: Api, source: FakeSource, one_token_only: bool
) -> None:
    """And the calls to other resources in between all succeed, also where each new token ends the last one."""
    api.forbidden.add("/bad")
    api.one_token_only = one_token_only
    bad, good = [], []
    for _ in range(100):
        bad.append(asyncio.create_task(api.call("/bad")))
        good.append(asyncio.create_task(api.call("/good")))
        await clock.advance(0.2)
    assert await answers(clock, *bad) == [401] * 100
    assert await answers(clock, *good) == [200] * 100
    assert source.requests <= 3
    assert max(api.deliveries.values()) <= 2


async def test_a_real_revocation_during_the_penalty_is_mended_within_ten_seconds(
    clock: FakeClock, api: Api, source: FakeSource
) -> None:
    api.forbidden.add("/bad")
    for _ in range(4):  # each time longer, until the penalty is a minute
        assert await answers(clock, asyncio.create_task(api.call("/bad"))) == [401]
        assert await answers(clock, asyncio.create_task(api.call("/good"))) == [200]
        await clock.advance(60)
    assert await answers(clock, asyncio.create_task(api.call("/bad"))) == [401]
    assert await answers(clock, asyncio.create_task(api.call("/good"))) == [200]
    penalty = api.manager.status().penalty_until
    assert penalty is not None
    assert penalty - clock.wall() > 30
    api.revoked.add(source.requests)
    revoked_at, mended_at = clock.now(), None
    while mended_at is None and clock.now() < revoked_at + 60:
        statuses = await answers(
            clock, asyncio.create_task(api.call("/good")), asyncio.create_task(api.call("/fine")), within=0.5
        )
        if statuses == [200, 200]:
            mended_at = clock.now()
    assert mended_at is not None
    assert mended_at - revoked_at <= 10


async def test_two_revocations_in_a_row_are_both_mended_at_once(clock: FakeClock, api: Api, source: FakeSource) -> None:
    for generation in (1, 2, 3):
        api.revoked.add(generation)
        assert await answers(clock, asyncio.create_task(api.call("/good"))) == [200]
    assert source.requests == 4


async def test_a_call_that_cannot_be_resent_burns_the_token_for_the_others(
    clock: FakeClock, api: Api, source: FakeSource
) -> None:
    api.revoked.add(1)
    assert await answers(clock, asyncio.create_task(api.call("/upload", resendable=False))) == [401]
    assert source.requests == 2
    assert await answers(clock, asyncio.create_task(api.call("/good"))) == [200]
    assert api.deliveries[2] == 1


async def test_if_the_refresh_fails_the_caller_gets_the_first_401(
    clock: FakeClock, api: Api, source: FakeSource
) -> None:
    api.revoked.add(1)
    source.then(*[TRANSIENT] * 5)
    assert await answers(clock, asyncio.create_task(api.call("/good")), within=10) == [401]
    assert api.deliveries[1] == 1


async def test_a_burnt_token_is_never_handed_out_again(clock: FakeClock, api: Api, source: FakeSource) -> None:
    source.then(*[TRANSIENT] * 5)
    api.manager.unauthorized(1, "/bad")
    assert api.manager.take_nowait() is None
    await clock.advance(2)
    with pytest.raises(SidecarError):
        await api.manager.take(LATE)


async def test_during_the_penalty_calls_are_mended_by_a_refresh_that_is_on_its_way(
    clock: FakeClock, api: Api, source: FakeSource
) -> None:
    """Else a server that ends old tokens would fail calls at every refresh ahead."""
    source.life, source.delay = 20.0, 1.0
    api.forbidden.add("/bad")
    api.one_token_only = True
    bad = asyncio.create_task(api.call("/bad"))
    await clock.advance(1.5)
    assert await bad == 401
    await answers(clock, asyncio.create_task(api.call("/good")))
    await clock.advance(10)
    bad = asyncio.create_task(api.call("/bad"))
    await clock.advance(1.5)
    assert await bad == 401
    token = api.manager.take_nowait()
    assert token is not None
    await clock.advance(token.soft_at - clock.now())
    assert source.in_flight == 1
    assert api.manager.status().penalty_until is not None
    assert await answers(clock, *[asyncio.create_task(api.call("/good")) for _ in range(9)], within=2) == [200] * 9


async def test_a_call_with_a_401_can_be_cancelled_at_every_moment(clock: FakeClock, managers: Managers) -> None:
    for turns in range(0, 60, 2):
        source = FakeSource(clock, delay=0.1)
        api = Api(clock, managers.start(source, prefetch=True), source)
        await clock.advance(0.1)
        api.revoked.add(1)
        doomed = asyncio.create_task(api.call("/a"))
        spared = asyncio.create_task(api.call("/b"))
        for _ in range(turns):
            await clock.advance(0.005)
        doomed.cancel()
        assert await answers(clock, spared) == [200]
        assert source.requests == 2
        await asyncio.gather(doomed, return_exceptions=True)
    assert not any("waits.timer" in task.get_name() for task in asyncio.all_tasks())


async def test_a_futile_refresh_is_logged_once_however_many_calls_it_failed(
    clock: FakeClock, api: Api, source: FakeSource
) -> None:
    api.forbidden.add("/bad")
    with capture_logs() as logs:
        await answers(clock, *[asyncio.create_task(api.call("/bad")) for _ in range(20)])
    assert [entry["event"] for entry in logs] == ["token.burnt", "token.refreshed", "token.futile"]
    assert logs[-1]["pause"] == 10


async def test_status_shows_the_penalty(clock: FakeClock, api: Api) -> None:
    api.forbidden.add("/bad")
    called_at = clock.wall()
    await answers(clock, asyncio.create_task(api.call("/bad")))
    status = api.manager.status()
    assert status.penalty_until == pytest.approx(called_at + api.latency + api.source.delay + 10)
    assert status.futile


async def test_a_new_token_that_no_call_has_tried_yet_is_not_called_futile(clock: FakeClock, api: Api) -> None:
    """The penalty holds all the same, until it has shown itself useful."""
    await answers(clock, asyncio.create_task(api.call("/a")))
    api.revoked.add(1)
    await answers(clock, asyncio.create_task(api.call("/a", resendable=False)))
    await clock.advance(1)
    status = api.manager.status()
    assert status.generation == 2
    assert status.penalty_until is not None
    assert not status.futile
