"""Several things that go wrong in one call: the outcome is that of the call, not of its last attempt."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.app import request_bytes, running_pair
from tests.support.raw_client import RawClient
from tests.wire.faults.support import (
    ECHO,
    KEYED,
    LEDGER,
    METHODS,
    SAFE,
    Outcome,
    TimedPair,
    call_and_observe,
    line_of,
    timed_pair,
    until,
    warm,
)


async def in_time(pair: TimedPair, call: asyncio.Future[Outcome]) -> Outcome:
    await pair.advance_until(call.done)
    fate = await call
    fate.check()
    return fate


# --- an earlier attempt was sent -------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["lockout", "invalid-client", "status=500"])
@pytest.mark.parametrize("method", SAFE)
async def test_a_read_that_was_sent_is_not_called_unsent_for_lack_of_a_second_token(method: str, fault: str) -> None:
    async with timed_pair(emulator_settings={"expires_in": 60}) as pair:
        await warm(pair)
        pair.emulator.faults.add(f"{fault} token")
        await pair.advance(50)
        await warm(pair)
        pair.emulator.faults.add(f"reset=before {method} api times=1 delay=30")
        call = asyncio.ensure_future(call_and_observe(pair, method))
        await until(lambda: pair.emulator.stats.faults)
        fate = await in_time(pair, call)
        assert (fate.status, fate.error, fate.outcome) == (502, "upstream_unreachable", "unknown")
        assert len(fate.arrivals) == 1


@pytest.mark.parametrize("method", SAFE)
async def test_a_read_that_was_sent_is_not_called_unsent_for_lack_of_a_second_connection(method: str) -> None:
    async with running_pair() as pair:
        await warm(pair)
        pair.emulator.faults.add(f"reset=before {method} api times=1")
        pair.emulator.faults.add("reset=connect")
        call = await call_and_observe(pair, method)
        call.check()
        assert (call.status, call.error, call.outcome) == (502, "upstream_unreachable", "unknown")
        assert len(call.arrivals) == 1


@pytest.mark.parametrize("sent", [0, 50_000])
async def test_a_streamed_request_whose_body_stops_coming_may_have_arrived(sent: int) -> None:
    """Its head is out before the first byte of its body is there."""
    async with timed_pair(replay_max_body="1000") as pair:
        await warm(pair)
        requests = pair.emulator.stats.requests
        data = request_bytes("POST", ECHO, b"x" * 100_000, headers=(("X-Request-Id", "slow"),))
        with await RawClient.connect(("127.0.0.1", pair.app.port)) as client:
            await client.send(data[: len(data) - 100_000 + sent])
            await until(lambda: pair.emulator.stats.requests > requests)
            await pair.advance_until(lambda: pair.app.log.requests[1:])
            response = await client.response()
        assert (response.status, response.header("X-Sidecar-Error")) == (408, b"request_timeout")
        assert response.header("X-Sidecar-Outcome") == b"unknown"
        line = await line_of(pair.app, "slow")
        assert (line["outcome"], line["attempts"]) == ("unknown", 1)
        assert pair.emulator.ledger.executions == 0


@pytest.mark.parametrize("sent", [0, 50_000])
async def test_a_request_whose_body_stops_coming_was_not_sent(sent: int) -> None:
    async with timed_pair() as pair:
        await warm(pair)
        requests = pair.emulator.stats.requests
        data = request_bytes("POST", ECHO, b"x" * 100_000)
        with await RawClient.connect(("127.0.0.1", pair.app.port)) as client:
            await client.send(data[: len(data) - 100_000 + sent])
            await pair.advance_until(lambda: pair.app.log.requests[1:])
            response = await client.response()
        assert (response.status, response.header("X-Sidecar-Outcome")) == (408, b"not-sent")
        assert pair.emulator.stats.requests == requests


@pytest.mark.parametrize("method", [each for each in METHODS if each not in SAFE])
async def test_a_write_that_met_a_401_and_gets_no_new_token_is_told_that_it_was_rejected(method: str) -> None:
    """Its credentials are fine, and every later call is told the same (section 5.4)."""
    async with running_pair() as pair:
        await warm(pair)
        pair.emulator.faults.add(f"unauthorized {method} api times=1")
        pair.emulator.faults.add("lockout token")
        call = await call_and_observe(pair, method)
        call.check()
        assert (call.status, call.error, call.outcome) == (503, "token_locked_out", "rejected")
        assert (call.executions, len(call.arrivals)) == (0, 1)


# --- mended twice ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
async def test_a_bad_connection_and_then_a_bad_token(method: str) -> None:
    async with running_pair() as pair:
        await until(lambda: pair.token_requests)
        pair.emulator.faults.add("reset=connect times=1")
        pair.emulator.faults.add(f"unauthorized {method} api times=1")
        call = await call_and_observe(pair, method)
        call.check()
        assert (call.status, call.recovered, len(call.arrivals)) == (200, "connection, token", 2)
        assert call.executions == int(method in LEDGER)


async def test_a_bad_token_and_then_a_lost_response() -> None:
    async with timed_pair() as pair:
        await warm(pair)
        pair.emulator.faults.add("unauthorized POST api times=1")
        pair.emulator.faults.add("reset=after POST api times=1")
        fate = await in_time(pair, asyncio.ensure_future(call_and_observe(pair, "POST", headers=KEYED)))
        assert (fate.status, fate.recovered) == (200, "token, idempotency")
        assert (len(fate.arrivals), fate.executions) == (2, 1)


@pytest.mark.parametrize("method", SAFE)
async def test_a_read_that_was_sent_twice_is_not_sent_again_for_a_401(method: str) -> None:
    async with running_pair() as pair:
        await warm(pair)
        pair.emulator.faults.add(f"reset=before {method} api times=1")
        pair.emulator.faults.add(f"unauthorized {method} api times=1")
        call = await call_and_observe(pair, method)
        call.check()
        assert (call.status, call.recovered, len(call.arrivals)) == (401, "connection", 2)
        # The 401 counted all the same: the next call has a new token.
        again = await call_and_observe(pair, method)
        assert (again.status, again.recovered) == (200, None)
        assert pair.token_requests == 2


# --- the token a call gets -------------------------------------------------------------------------------------------


async def test_a_caller_that_goes_away_cancels_no_token_request() -> None:
    async with timed_pair(token_prefetch="false") as pair:
        pair.emulator.faults.add("pass delay=2 token")
        first = await RawClient.connect(("127.0.0.1", pair.app.port))
        await first.send(request_bytes("POST", ECHO, b"gone"))
        await until(lambda: pair.emulator.stats.requests)
        others = [asyncio.ensure_future(call_and_observe(pair, "POST")) for _ in range(49)]
        first.close()
        await until(lambda: pair.app.log.requests)
        for fate in [await in_time(pair, each) for each in others]:
            assert (fate.status, fate.executions) == (200, 1)
        assert pair.token_requests == 1


async def test_the_token_is_taken_after_the_connection_so_that_none_grows_old() -> None:
    async with timed_pair(upstream_pool_size="1", emulator_settings={"expires_in": 60}) as pair:
        await warm(pair)
        await pair.advance(50)
        await warm(pair)
        pair.emulator.faults.add("pass answer_delay=11 POST api times=1")
        busy = asyncio.ensure_future(call_and_observe(pair, "POST"))
        await until(lambda: pair.emulator.ledger.executions)
        waiting = asyncio.ensure_future(call_and_observe(pair, "POST"))
        # The first token expires while the second call waits for the only connection.
        fate = await in_time(pair, waiting)
        assert (fate.status, fate.recovered, len(fate.arrivals)) == (200, None, 1)
        assert not any(pair.emulator.stats.refused_tokens.values())
        assert (await in_time(pair, busy)).status == 200
