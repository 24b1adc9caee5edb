"""``replay.resolve_conflicts``: an app retries with the same key, and gets the answer to its first try."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Final

import pytest

from tests.wire.faults.support import (
    ECHO,
    KEY,
    KEYED,
    NATURAL,
    USER,
    Outcome,
    call_and_observe,
    timed_pair,
    until,
    warm,
)

if TYPE_CHECKING:
    from tests.support.app import Pair
    from tests.wire.faults.support import TimedPair

LEGAL: Final = NATURAL.replace("natural", "legal")
#: With its query, the paths of the calls here differ in nothing.
Sent = list[tuple[str, str]]


def sent(pair: Pair) -> Sent:
    """What reached Mangopay, tokens and the warming call apart."""
    return [
        (each.method, each.target.partition("?")[0])
        for each in pair.emulator.received
        if not each.target.endswith(("/oauth/token", "?warm"))
    ]


async def in_time(pair: TimedPair, target: str = NATURAL, body: bytes | None = USER) -> Outcome:
    """Make a keyed POST, and move time until it is over."""
    call = asyncio.ensure_future(call_and_observe(pair, "POST", target=target, headers=KEYED, body=body))
    await pair.advance_until(call.done, step=0.1)
    return await call


def read_back(times: int) -> Sent:
    return [("GET", f"/v2.01/acme/responses/{KEY}")] * times


async def test_a_repeat_with_the_same_key_gets_the_answer_to_the_first() -> None:
    async with timed_pair(replay_resolve_conflicts="true") as pair:
        await warm(pair)
        first = await in_time(pair)
        assert first.response is not None
        await pair.advance(3600)
        second = await in_time(pair)
        assert second.response is not None
        assert (second.status, second.recovered, second.outcome) == (200, "idempotency", None)
        assert second.response.json == first.response.json
        assert (second.line["status"], second.line["recovered"]) == (200, ("idempotency",))
        assert sent(pair) == [("POST", NATURAL)] * 2 + read_back(1)
        assert pair.emulator.ledger.executions == 1


async def test_an_unknown_is_settled_by_a_repeat() -> None:
    """What the message of an unknown advises."""
    async with timed_pair(replay_resolve_conflicts="true", emulator_settings={"stored_answer_delay": 3}) as pair:
        await warm(pair)
        pair.emulator.faults.add("reset=after POST api times=1")
        lost = await in_time(pair)
        assert (lost.status, lost.outcome) == (502, "unknown")
        await pair.advance(3)
        again = await in_time(pair)
        assert (again.status, again.recovered) == (200, "idempotency")
        assert pair.emulator.ledger.executions == 1


async def test_a_refusal_that_is_stored_is_what_the_repeat_gets() -> None:
    async with timed_pair(replay_resolve_conflicts="true") as pair:
        incomplete = json.dumps({"FirstName": "only"}).encode()
        assert (await in_time(pair, body=incomplete)).status == 400
        again = await in_time(pair, body=incomplete)
        assert (again.status, again.recovered) == (400, "idempotency")


@pytest.mark.parametrize("resolving", ["false", "true"])
async def test_the_key_of_another_path_resolves_nothing(resolving: str) -> None:
    async with timed_pair(replay_resolve_conflicts=resolving) as pair:
        await warm(pair)
        assert (await in_time(pair)).status == 200
        other = await in_time(pair, target=LEGAL)
        assert other.response is not None
        assert (other.status, other.recovered, other.outcome) == (409, None, None)
        assert other.response.json["Type"] == "idempotent_creation_conflict"
        assert sent(pair)[2:] == (read_back(3) if resolving == "true" else [])


async def test_without_the_setting_a_conflict_is_passed_on_and_nothing_is_asked() -> None:
    async with timed_pair() as pair:
        await warm(pair)
        assert (await in_time(pair)).status == 200
        assert ((await in_time(pair)).status, sent(pair)) == (409, [("POST", NATURAL)] * 2)


@pytest.mark.parametrize("fault", ["reset=before", "status=500", "hang=before", "oversized", "forbidden"])
async def test_if_it_cannot_be_read_back_the_409_passes(fault: str) -> None:
    async with timed_pair(replay_resolve_conflicts="true") as pair:
        await warm(pair)
        assert (await in_time(pair)).status == 200
        pair.emulator.faults.add(f"{fault} GET /v2.01/acme/responses")
        before = pair.clock.now()
        again = await in_time(pair)
        assert (again.status, again.recovered, again.outcome, again.error) == (409, None, None, None)
        assert pair.clock.now() - before < 20


async def test_any_other_409_is_the_apps_own() -> None:
    async with timed_pair(replay_resolve_conflicts="true") as pair:
        await warm(pair)
        pair.emulator.faults.add("status=409 POST api times=1")
        other = await in_time(pair)
        assert (other.status, other.recovered, sent(pair)) == (409, None, [("POST", NATURAL)])


async def test_another_accounts_key_is_never_asked_for() -> None:
    async with timed_pair(replay_resolve_conflicts="true", mangopay_foreign_client_ids="forward") as pair:
        await warm(pair)
        conflict = '{"Type":"idempotent_creation_conflict"}'
        pair.emulator.faults.add(f"status=409 POST /v2.01/somebody body={conflict}")
        foreign = await in_time(pair, target=NATURAL.replace("acme", "somebody"))
        assert (foreign.status, foreign.recovered) == (409, None)
        assert sent(pair) == [("POST", NATURAL.replace("acme", "somebody"))]


async def test_a_caller_that_leaves_while_its_conflict_is_read_back_is_logged_with_the_409() -> None:
    async with timed_pair(replay_resolve_conflicts="true") as pair:
        await warm(pair)
        assert (await in_time(pair, target=ECHO, body=b"{}")).status == 200
        call = asyncio.ensure_future(pair.app.call("POST", ECHO, b"{}", headers=KEYED))
        await until(lambda: len(sent(pair)) == 2)
        await until(lambda: pair.clock._sleepers)
        call.cancel()
        await until(lambda: len(pair.app.log.requests) == 3)
        line = pair.app.log.requests[-1]
        assert (line["status"], line["caller"], line.get("outcome")) == (409, "gone", None)
        assert len(sent(pair)) == 2
