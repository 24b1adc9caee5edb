"""Many 401s at once: whatever they mean, no write is executed twice and the token endpoint is not flooded."""

from __future__ import annotations

import asyncio

from tests.support.app import running_pair
from tests.wire.faults.support import (
    KEYED,
    NATURAL,
    USER,
    Outcome,
    TimedPair,
    call_and_observe,
    timed_pair,
    until,
    warm,
)


async def all_at_once(pair: TimedPair, count: int) -> list[Outcome]:
    calls = asyncio.gather(*(call_and_observe(pair, "POST") for _ in range(count)))
    await pair.advance_until(calls.done)
    fates = await calls
    for fate in fates:
        fate.check()
    return fates


async def test_a_revocation_under_200_writes_executes_each_once_and_fetches_one_token() -> None:
    async with timed_pair() as pair:
        await warm(pair)
        pair.emulator.state.tokens.revoke()
        calls = await all_at_once(pair, 200)
        assert {call.status for call in calls} == {200}
        assert {call.executions for call in calls} == {1}
        assert pair.token_requests == 2


async def test_tokens_that_end_the_older_ones_cause_no_storm() -> None:
    """Every new token revokes the last one, so that a refresh makes 401s of its own."""
    async with timed_pair(emulator_settings={"invalidates_older": True, "expires_in": 20}) as pair:
        for _ in range(10):
            calls = await all_at_once(pair, 20)
            assert {call.status for call in calls} == {200}
            await pair.advance(9)
        assert pair.token_requests <= 10
        assert pair.emulator.ledger.executed_twice() == []


async def test_an_api_that_refuses_every_token_gets_each_write_twice_at_most() -> None:
    async with timed_pair() as pair:
        await warm(pair)
        pair.emulator.faults.add("unauthorized api")
        calls = await all_at_once(pair, 100)
        assert {(call.status, call.error, call.executions) for call in calls} == {(401, None, 0)}
        assert pair.token_requests <= 3
        again = await all_at_once(pair, 100)
        assert {len(call.arrivals) for call in again} == {1}, "while refreshes are futile nothing is sent twice"
        assert pair.token_requests <= 3
        pair.emulator.faults.clear()
        assert {call.status for call in await all_at_once(pair, 10)} == {200}


async def test_a_revocation_every_few_milliseconds_executes_nothing_twice() -> None:
    async with running_pair() as pair:
        await warm(pair)
        calls = [asyncio.ensure_future(call_and_observe(pair, "POST")) for _ in range(100)]

        async def revoke() -> None:
            while not all(call.done() for call in calls):
                pair.emulator.state.tokens.revoke()
                await asyncio.sleep(0.005)

        await revoke()
        for call in await asyncio.gather(*calls):
            call.check()
            assert call.status in {200, 401}
            assert call.executions == (call.status == 200)
        assert pair.emulator.ledger.executed_twice() == []


async def test_the_first_401_is_told_if_the_key_was_used_up_by_it() -> None:
    """The resend is a duplicate then (409), and the stored response is the 401 (section 5.4)."""
    async with timed_pair(emulator_settings={"burn_keys_on_401": True}) as pair:
        await warm(pair)
        pair.emulator.state.tokens.revoke()
        call = asyncio.ensure_future(call_and_observe(pair, "POST", target=NATURAL, body=USER, headers=KEYED))
        await pair.advance_until(call.done)
        fate = await call
        assert (fate.status, fate.recovered, fate.executions) == (401, None, 0)
        assert len([each for each in fate.arrivals if each.method == "POST"]) == 2


async def test_a_conflict_with_another_payment_under_the_key_stays_a_conflict() -> None:
    """The key was used up by an earlier success, not by the 401: then the 409 is the truth."""
    async with timed_pair() as pair:
        assert (await all_at_once(pair, 1))[0].status == 200
        first = await call_and_observe(pair, "POST", headers=KEYED)
        assert first.status == 200
        await until(lambda: pair.token_requests)
        pair.emulator.state.tokens.revoke()
        call = asyncio.ensure_future(call_and_observe(pair, "POST", headers=KEYED))
        await pair.advance_until(call.done)
        fate = await call
        assert (fate.status, fate.executions) == (409, 0)
        assert fate.response is not None
        assert fate.response.json["Type"] == "idempotent_creation_conflict"
