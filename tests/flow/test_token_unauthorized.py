"""401s from the API: one refresh mends all, and an endless 401 costs next to nothing."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from sidecar.core.errors import SidecarError
from tests.support.clock import FakeClock
from tests.support.tokens import LOCKED_OUT, REFUSED, TRANSIENT, FakeSource, Managers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sidecar.core.tokens.oauth import FetchResult
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
        #: Seconds that it takes longer to carry a request out than to refuse its token.
        self.work = 0.0
        self.deliveries: Counter[int] = Counter()
        self.calls = 0

    async def call(self, path: str, *, resendable: bool = True) -> int | str:
        """Make one call through the sidecar; return the status that the app gets, or the sidecar's error."""
        self.calls += 1
        number = self.calls
        try:
            token = self.manager.take_nowait(self.clock.now()) or await self.manager.take(LATE)
        except SidecarError as error:
            return error.code.value
        if await self._deliver(number, token.generation, path) == 200:
            self.manager.accepted(token.generation, path)
            return 200
        permit = self.manager.unauthorized(token.generation, path)
        if permit is None:
            return 401
        status: int | None = None
        try:
            if not resendable:
                return 401
            token = await self.manager.take(LATE, newer_than=permit.generation)
            status = await self._deliver(number, token.generation, path)
        except SidecarError as error:
            return error.code.value
        finally:
            if status is None:
                self.manager.resend_withdrawn(permit)
        self.manager.resend_answered(permit, token.generation, unauthorized=status == 401)
        return status

    async def _deliver(self, number: int, generation: int, path: str) -> int:
        self.deliveries[number] += 1
        await self.clock.sleep_until(self.clock.now() + self.latency / 2)
        ended = generation in self.revoked or (self.one_token_only and generation < self.source.requests)
        status = 401 if ended or path in self.forbidden else 200
        await self.clock.sleep_until(self.clock.now() + self.latency / 2 + (self.work if status == 200 else 0.0))
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


async def responses(clock: FakeClock, *calls: asyncio.Task[int | str], within: float = 1.0) -> list[int | str]:
    await clock.advance(within)
    return await asyncio.gather(*calls)


async def test_two_hundred_calls_on_a_revoked_token_are_mended_by_one_token_request(
    clock: FakeClock, api: Api, source: FakeSource
) -> None:
    api.revoked.add(1)
    statuses = await responses(clock, *[asyncio.create_task(api.call(f"/users/{n}")) for n in range(200)])
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
    assert await responses(clock, *slow, within=10) == [200] * 20
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
    assert await responses(clock, *bad) == [401] * 100
    assert await responses(clock, *good) == [200] * 100
    assert source.requests <= 3
    assert max(api.deliveries.values()) <= 2


@pytest.mark.parametrize("spread", [0.0, 0.003, 0.02, 0.2])
async def test_twenty_callers_of_a_resource_that_always_says_401_cost_three_token_requests_in_twenty_seconds(
    clock: FakeClock, api: Api, source: FakeSource, spread: float
) -> None:
    """However they are staggered: a call may have its 401 on the new token before the resend that judges it."""
    api.forbidden.add("/bad")

    async def caller(number: int) -> list[int | str]:
        await clock.sleep_until(clock.now() + number * spread)
        statuses = []
        for _ in range(5):
            statuses.append(await api.call("/bad"))
            await clock.sleep_until(clock.now() + 3.5)
        return statuses

    callers = [asyncio.create_task(caller(number)) for number in range(20)]
    await clock.advance(19.5)
    assert source.requests <= 3
    await clock.advance(5)
    assert [status for each in callers for status in await each] == [401] * 100
    assert max(api.deliveries.values()) <= 2


async def test_a_real_revocation_during_a_pause_is_mended_at_once_for_an_app_that_polls_one_other_path(
    clock: FakeClock, api: Api, source: FakeSource
) -> None:
    api.forbidden.add("/bad")
    for _ in range(5):  # each time longer, until the pause is a minute
        assert await responses(clock, asyncio.create_task(api.call("/bad"))) == [401]
        paused_until = api.manager.status().paused_until
        assert paused_until is not None
        assert await responses(clock, asyncio.create_task(api.call("/good"))) == [200]
        await clock.advance(paused_until - clock.wall())
    assert await responses(clock, asyncio.create_task(api.call("/bad"))) == [401]
    paused_until = api.manager.status().paused_until
    assert paused_until is not None
    assert paused_until - clock.wall() > 50
    for _ in range(10):
        api.revoked.add(source.requests)
        assert await responses(clock, asyncio.create_task(api.call("/good")), within=0.5) == [200]


@pytest.mark.parametrize(
    ("phase", "latency", "mended"),
    [
        (1, 0.05, 500),  # twelve thousand calls, at all moments by themselves
        *((phase, *slow) for phase in range(3) for slow in ((0.6, 500), (1.2, 300), (3.0, 120))),
    ],
    ids=str,
)
async def test_tokens_that_are_revoked_twice_a_second_cost_no_call_its_second_delivery(
    clock: FakeClock, api: Api, source: FakeSource, phase: int, latency: float, mended: int
) -> None:
    """Twenty callers on one path for 30 seconds, at three moments of the calls' and token requests' way.

    Also of an API that takes longer over a request than the next revocation takes to come.
    """
    api.work = latency - api.latency
    statuses: Counter[tuple[int | str, int]] = Counter()
    stop = clock.now() + 30

    async def caller(number: int) -> None:
        await clock.sleep_until(clock.now() + number * 0.003)
        while clock.now() < stop:
            first = api.calls + 1
            status = await api.call("/good")
            statuses[status, api.deliveries[first]] += 1

    callers = [asyncio.create_task(caller(number)) for number in range(20)]
    await clock.advance(phase * 0.04)
    while clock.now() < stop:
        api.revoked.update(range(source.requests + 1))
        await clock.advance(0.5)
    await asyncio.wait_for(asyncio.gather(*callers, clock.advance(8)), 20)
    assert set(statuses) <= {(200, 1), (200, 2), (401, 2)}
    assert statuses[200, 2] > mended
    assert source.requests <= 130


async def test_two_revocations_in_a_row_are_both_mended_at_once(clock: FakeClock, api: Api, source: FakeSource) -> None:
    for generation in (1, 2, 3):
        api.revoked.add(generation)
        assert await responses(clock, asyncio.create_task(api.call("/good"))) == [200]
    assert source.requests == 4


async def test_a_call_that_cannot_be_resent_burns_the_token_for_the_others(
    clock: FakeClock, api: Api, source: FakeSource
) -> None:
    api.revoked.add(1)
    assert await responses(clock, asyncio.create_task(api.call("/upload", resendable=False))) == [401]
    assert source.requests == 2
    assert await responses(clock, asyncio.create_task(api.call("/good"))) == [200]
    assert api.deliveries[2] == 1


@pytest.mark.parametrize(
    ("result", "error", "recovery"),
    [
        (TRANSIENT, "token_unavailable", 40.0),
        (LOCKED_OUT, "token_locked_out", 40.0),
        (REFUSED, "credentials_refused", 40.0),
        (RuntimeError("a bug"), "token_unavailable", 40.0),
    ],
)
async def test_if_the_refresh_fails_every_caller_gets_the_error_and_not_the_401(
    clock: FakeClock, api: Api, source: FakeSource, result: FetchResult | Exception, error: str, recovery: float
) -> None:
    """And when the token endpoint is well again, all calls are, and so they are after a second revocation."""
    api.revoked.add(1)
    source.then(*[result] * 5)
    calls = [asyncio.create_task(api.call(f"/{path}")) for path in ("good", "fine", "good")]
    assert await responses(clock, *calls, within=10.5) == [error] * 3
    assert set(api.deliveries.values()) == {1}
    assert await responses(clock, asyncio.create_task(api.call("/good"))) == [error]
    source.forget_results()
    await clock.advance(recovery)
    for _ in range(3):
        assert await responses(clock, asyncio.create_task(api.call("/good"))) == [200]
        assert await responses(clock, asyncio.create_task(api.call("/fine"))) == [200]
        api.revoked.add(api.manager.status().generation)


async def test_a_burnt_token_is_never_handed_out_again(clock: FakeClock, api: Api, source: FakeSource) -> None:
    source.then(*[TRANSIENT] * 5)
    api.manager.unauthorized(1, "/bad")
    assert api.manager.take_nowait(clock.now()) is None
    await clock.advance(2)
    with pytest.raises(SidecarError):
        await api.manager.take(LATE)


async def test_during_a_pause_calls_are_mended_by_a_refresh_that_is_on_its_way(
    clock: FakeClock, api: Api, source: FakeSource
) -> None:
    """Else a server that ends old tokens would fail calls at every refresh ahead."""
    source.life, source.delay = 20.0, 1.0
    api.forbidden.add("/bad")
    api.one_token_only = True
    bad = asyncio.create_task(api.call("/bad"))
    await clock.advance(1.5)
    assert await bad == 401
    await responses(clock, asyncio.create_task(api.call("/good")))
    await clock.advance(10)
    bad = asyncio.create_task(api.call("/bad"))
    await clock.advance(1.5)
    assert await bad == 401
    token = api.manager.take_nowait(clock.now())
    assert token is not None
    await clock.advance(token.soft_at - clock.now())
    assert source.in_flight == 1
    assert api.manager.status().paused_paths == ("/bad",)
    assert await responses(clock, *[asyncio.create_task(api.call("/good")) for _ in range(9)], within=2) == [200] * 9


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
        assert await responses(clock, spared) == [200]
        assert source.requests == 2
        await asyncio.gather(doomed, return_exceptions=True)
    assert not any("waits.timer" in task.get_name() for task in asyncio.all_tasks())


async def test_a_futile_refresh_is_logged_once_however_many_calls_it_failed(
    clock: FakeClock, api: Api, source: FakeSource
) -> None:
    api.forbidden.add("/bad")
    with capture_logs() as logs:
        await responses(clock, *[asyncio.create_task(api.call("/bad")) for _ in range(20)])
    assert [entry["event"] for entry in logs] == ["token.burnt", "token.refreshed", "token.futile"]
    assert (logs[-1]["path"], logs[-1]["pause"]) == ("/bad", 10)


async def test_of_a_path_that_has_worked_it_is_logged_once_another_response_closes_the_verdict(
    clock: FakeClock, api: Api
) -> None:
    await responses(clock, asyncio.create_task(api.call("/bad")))
    api.forbidden.add("/bad")
    with capture_logs() as logs:
        await responses(clock, asyncio.create_task(api.call("/bad")))
        assert [entry["event"] for entry in logs] == ["token.burnt", "token.refreshed"]
        await responses(clock, *[asyncio.create_task(api.call("/good")) for _ in range(3)])
    assert [entry["event"] for entry in logs] == ["token.burnt", "token.refreshed", "token.futile"]
    assert (logs[-1]["path"], logs[-1]["pause"]) == ("/bad", 10)


async def test_status_shows_the_pause(clock: FakeClock, api: Api) -> None:
    api.forbidden.add("/bad")
    called_at = clock.wall()
    await responses(clock, asyncio.create_task(api.call("/bad")))
    status = api.manager.status()
    assert status.paused_paths == ("/bad",)
    assert status.paused_until == pytest.approx(called_at + 2 * api.latency + api.source.delay + 10)


async def test_a_new_token_that_no_call_has_tried_yet_is_not_called_futile(clock: FakeClock, api: Api) -> None:
    await responses(clock, asyncio.create_task(api.call("/a")))
    api.revoked.add(1)
    await responses(clock, asyncio.create_task(api.call("/a", resendable=False)))
    await clock.advance(1)
    status = api.manager.status()
    assert status.generation == 2
    assert (status.paused_paths, status.paused_until) == ((), None)


async def test_an_upload_that_always_gets_401_and_cannot_be_resent_is_no_storm(
    clock: FakeClock, api: Api, source: FakeSource
) -> None:
    api.forbidden.add("/upload")
    for _ in range(100):
        assert await responses(clock, asyncio.create_task(api.call("/upload", resendable=False)), within=0.1) == [401]
        assert await responses(clock, asyncio.create_task(api.call("/good")), within=0.1) == [200]
    assert source.requests <= 4
