"""When the token endpoint is well again: who gets what, and when, after each way in which it may have failed.

The back-off and the latches set the moment of the next token request (contract sections 5.6 and 5.7), so that may be
more than a second after the endpoint's recovery. Once that request has succeeded, every call is mended at once.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from sidecar.core.secret import Secret
from sidecar.core.tokens.oauth import Fetched, Transient
from tests.flow.test_token_unauthorized import Api
from tests.support.canary import CANARY_TOKEN
from tests.support.clock import FakeClock
from tests.support.tokens import LOCKED_OUT, REFUSED, FakeSource, Managers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sidecar.core.tokens.oauth import FetchResult

#: What each failure is to the manager, and how many seconds it takes to be seen as one.
FAILURES: dict[str, tuple[FetchResult, float]] = {
    "500": (Transient("status 500"), 0.1),
    "garbage": (Transient("no HTTP"), 0.1),
    "HTML": (Transient("status 403, a page of the edge", failure="edge_page"), 0.1),
    "reset": (Transient("connection lost"), 0.0),
    "hang": (Transient("no answer in time"), 10.0),
    "lockout": (LOCKED_OUT, 0.1),
    "refused": (REFUSED, 0.1),
}
LATCHING = ("lockout", "refused")
PATHS = ("/a", "/a", "/b")


class Endpoint(FakeSource):
    """A token endpoint that fails in one way while it is not :attr:`well`; a request that hangs goes on hanging."""

    def __init__(self, clock: FakeClock, failure: str) -> None:
        super().__init__(clock)
        self.well = True
        self._moments = clock
        self._failure, self._seen_after = FAILURES[failure]
        #: When token requests were sent, answered, and whether with a token.
        self.history: list[tuple[float, float, bool]] = []

    async def fetch(self) -> FetchResult:
        sent_at, well = self._moments.now(), self.well
        self.sent_at.append(sent_at)
        number = self.requests
        await self._moments.sleep_until(sent_at + (0.1 if well else self._seen_after))
        self.history.append((sent_at, self._moments.now(), well))
        return Fetched(Secret(f"{CANARY_TOKEN}-{number}"), 3600.0, sent_at) if well else self._failure


@dataclass
class Told:
    """What one call was told, and when."""

    begun: float
    ended: float
    status: int | str


class Outage:
    """A token that is revoked, a token endpoint that fails meanwhile, and three callers who go on calling."""

    def __init__(self, clock: FakeClock, managers: Managers, failure: str) -> None:
        self.clock = clock
        self.endpoint = Endpoint(clock, failure)
        self.api = Api(clock, managers.start(self.endpoint, prefetch=True), self.endpoint)
        self.told: list[Told] = []
        self.recovered = 0.0
        self._over = False

    async def lasts(self, seconds: float) -> None:
        """Go on for a while after the first token request that succeeds, and revoke once more then."""
        clock, endpoint = self.clock, self.endpoint
        await clock.advance(1.0)
        assert endpoint.requests == 1
        callers = [asyncio.create_task(self._call(path)) for path in PATHS]
        await clock.advance(0.25)
        endpoint.well = False
        self.api.revoked.add(1)
        await clock.advance(seconds)
        endpoint.well = True
        self.recovered = clock.now()
        while [well for _, _, well in endpoint.history[-2:]] != [False, True]:
            await clock.advance(0.5)
            assert clock.now() < self.recovered + 60
        await clock.advance(1.0)
        self.api.revoked.add(self.api.manager.status().generation)
        await clock.advance(1.0)
        self._over = True
        await asyncio.gather(clock.advance(1.0), *callers)

    async def _call(self, path: str) -> None:
        while not self._over:
            begun = self.clock.now()
            status = await self.api.call(path)
            self.told.append(Told(begun, self.clock.now(), status))
            await self.clock.sleep_until(self.clock.now() + 0.1)

    @property
    def requests(self) -> list[tuple[float, float, bool]]:
        """Those that the revocation caused, up to the one that succeeded: when sent, when answered, whether well."""
        first = next(number for number, (_, _, well) in enumerate(self.endpoint.history) if not well)
        last = next(n for n, (_, _, well) in enumerate(self.endpoint.history) if well and n > first)
        return self.endpoint.history[first : last + 1]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(now=1000.0)


@pytest.fixture(params=[0.0, 1.0], ids=lambda roll: f"roll {roll}")
async def managers(clock: FakeClock, request: pytest.FixtureRequest) -> AsyncIterator[Managers]:
    """Managers on one clock, whose pauses are jittered down, or up."""
    made = Managers(clock)
    made.roll = request.param
    yield made
    await made.close()


@pytest.mark.parametrize("seconds", [0.3, 5.0])
@pytest.mark.parametrize("failure", FAILURES)
async def test_all_calls_are_mended_at_once_when_the_first_token_request_succeeds(
    clock: FakeClock, managers: Managers, failure: str, seconds: float
) -> None:
    outage = Outage(clock, managers, failure)
    await outage.lasts(seconds)
    *failed, (asked, renewed, _) = outage.requests
    assert failed
    assert 401 not in {each.status for each in outage.told}
    after = [each for each in outage.told if each.ended >= renewed]
    assert {each.status for each in after} == {200}, "whoever waited for the token, and whoever came later"
    waited = [each for each in after if each.begun < renewed]
    assert max((each.ended for each in waited), default=renewed) <= renewed + 0.25
    assert len(outage.endpoint.history) == len(failed) + 3, "the first token, this one, and one for the last revocation"
    # The next request after the recovery is the one that succeeds, and no later than the pauses allow.
    assert failed[-1][0] < outage.recovered <= asked
    pause = 36.0 if failure in LATCHING else min(1.2 * 0.5 * 2 ** (len(failed) - 1), 36.0)
    assert asked - failed[-1][1] <= pause + 0.2


@pytest.mark.parametrize("seconds", [0.1, 0.5, 1.0, 2.0, 8.0, 40.0])
async def test_a_passing_failure_is_felt_for_as_long_again_as_it_lasted_at_most(
    clock: FakeClock, managers: Managers, seconds: float
) -> None:
    """Half a minute at most, and a little more either way: the back-off doubles, up to 30 s, and is jittered."""
    outage = Outage(clock, managers, "500")
    await outage.lasts(seconds)
    renewed = outage.requests[-1][1]
    assert renewed - outage.recovered <= min(1.5 * seconds + 1.0, 36.0) + 0.2
