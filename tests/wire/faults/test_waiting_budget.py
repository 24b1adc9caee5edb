"""Token waits and connects of one call share twelve seconds: the .NET SDK gives up after fifteen (section 3)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NoReturn

from sidecar.core.resend import FailureKind
from sidecar.upstream.dialing import Dialer
from sidecar.upstream.errors import before_a_byte
from tests.wire.faults.support import KEYED, Outcome, TimedPair, call_and_observe, timed_pair, until, warm

if TYPE_CHECKING:
    import pytest

    from tests.support.clock import FakeClock


async def waited(pair: TimedPair, call: asyncio.Future[Outcome]) -> float:
    """Move time on until the call is answered; return how many seconds that took."""
    before = pair.clock.now()
    await pair.advance_until(call.done, step=0.1)
    return pair.clock.now() - before


async def test_a_call_waits_twelve_seconds_for_a_connection() -> None:
    async with timed_pair(upstream_pool_size="1") as pair:
        await warm(pair)
        pair.emulator.faults.add("hang=before POST api times=1")
        busy = asyncio.ensure_future(call_and_observe(pair, "POST"))
        await until(lambda: pair.emulator.ledger.deliveries)
        call = asyncio.ensure_future(call_and_observe(pair, "POST"))
        assert 12 <= await waited(pair, call) < 13
        fate = await call
        fate.check()
        assert (fate.status, fate.error, fate.outcome) == (503, "overloaded", "not-sent")
        assert fate.response is not None
        assert int(fate.response.header("Retry-After") or 0) >= 1
        await pair.advance_until(busy.done)
        assert (await busy).status == 504


async def test_a_call_waits_twelve_seconds_for_a_token_whatever_the_limit_for_tokens() -> None:
    async with timed_pair(token_prefetch="false", token_wait_timeout="60s") as pair:
        pair.emulator.faults.add("hang token")
        call = asyncio.ensure_future(call_and_observe(pair, "POST"))
        await until(lambda: pair.emulator.stats.requests)
        assert 12 <= await waited(pair, call) < 13
        fate = await call
        fate.check()
        assert (fate.status, fate.error, fate.outcome) == (503, "token_unavailable", "not-sent")


async def test_what_the_connection_took_is_missing_for_the_token() -> None:
    async with timed_pair(
        upstream_pool_size="1", token_wait_timeout="60s", emulator_settings={"expires_in": 60}
    ) as pair:
        await warm(pair)
        pair.emulator.faults.add("hang token")
        await pair.advance(52)
        pair.emulator.faults.add("pass answer_delay=8.5 POST api times=1")
        busy = asyncio.ensure_future(call_and_observe(pair, "POST"))
        await until(lambda: pair.emulator.ledger.executions)
        call = asyncio.ensure_future(call_and_observe(pair, "POST"))
        # For 8.5 s all connections are in use; by then the token has expired, and no new one comes.
        assert 12 <= await waited(pair, call) < 13
        fate = await call
        fate.check()
        assert (fate.status, fate.error, fate.outcome) == (503, "token_unavailable", "not-sent")
        assert isinstance(fate.line["token_wait_ms"], float)
        assert 3_000 <= fate.line["token_wait_ms"] <= 4_500
        assert (await busy).status == 200


def slow_to_fail(clock: FakeClock, seconds: float, limits: list[float]) -> Any:
    """Stand in for :meth:`Dialer.dial`: every connect takes so long, and then fails."""

    async def dial(self: Dialer, make: object, limit: float) -> NoReturn:
        limits.append(limit)
        await clock.sleep_until(clock.now() + min(limit, seconds))
        raise before_a_byte(FailureKind.CONNECT, "refused")

    return dial


async def test_what_the_first_connect_took_is_missing_for_the_second(monkeypatch: pytest.MonkeyPatch) -> None:
    async with timed_pair() as pair:
        await until(lambda: pair.token_requests)
        limits: list[float] = []
        monkeypatch.setattr(Dialer, "dial", slow_to_fail(pair.clock, 7, limits))
        call = asyncio.ensure_future(call_and_observe(pair, "POST"))
        assert 11.5 <= await waited(pair, call) < 13
        fate = await call
        fate.check()
        assert (fate.status, fate.error, fate.outcome) == (502, "upstream_unreachable", "not-sent")
        assert [round(limit) for limit in limits] == [12, 5]


async def test_what_was_spent_before_is_missing_for_the_reading_back(monkeypatch: pytest.MonkeyPatch) -> None:
    async with timed_pair(token_prefetch="false", token_wait_timeout="60s") as pair:
        pair.emulator.faults.add("pass delay=10 token")
        pair.emulator.faults.add("reset=after POST api times=1")
        call = asyncio.ensure_future(call_and_observe(pair, "POST", headers=KEYED))
        await until(lambda: pair.emulator.stats.requests)
        await pair.advance_until(lambda: pair.emulator.ledger.executions)
        limits: list[float] = []
        monkeypatch.setattr(Dialer, "dial", slow_to_fail(pair.clock, 7, limits))
        await waited(pair, call)
        fate = await call
        fate.check()
        assert (fate.status, fate.outcome) == (502, "unknown")
        assert len(limits) == 1, "once the time is used up no further connection is tried"
        assert limits[0] <= 2


async def test_a_resend_after_a_401_waits_for_what_is_left() -> None:
    async with timed_pair(token_wait_timeout="60s") as pair:
        await warm(pair)
        pair.emulator.state.tokens.revoke()
        pair.emulator.faults.add("hang token")
        requests = pair.emulator.stats.requests
        call = asyncio.ensure_future(call_and_observe(pair, "POST"))
        await until(lambda: pair.emulator.stats.requests == requests + 2)
        assert 12 <= await waited(pair, call) < 13
        fate = await call
        assert (fate.status, fate.error, len(fate.arrivals)) == (503, "token_unavailable", 1)
