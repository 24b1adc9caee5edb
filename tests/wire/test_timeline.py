"""What a call's timeline tells: each attempt, when it began, what it waited for, and what came of it."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from tests.support.app import App, request_bytes, running_app, running_pair
from tests.support.emulator import NATURAL_USER

if TYPE_CHECKING:
    from sidecar.telemetry.record import CallRecord

USERS = "/v2.01/acme/users"
NATURAL = "/v2.01/acme/users/natural"
BODY = json.dumps(NATURAL_USER).encode()
KEY = ("Idempotency-Key", "timeline-0123456789")


def last(app: App) -> CallRecord:
    app.sidecar._recorder.flush()
    return app.sidecar._recent.newest_first()[0]


def told(record: CallRecord) -> list[tuple[str, int | str]]:
    return [(attempt.purpose, attempt.result) for attempt in record.timeline]


def assert_in_order(record: CallRecord) -> None:
    """Attempts follow one another within the call, and their parts make up what the log says of the whole."""
    moment = 0.0
    for attempt in record.timeline:
        parts = (attempt.connection, attempt.token, attempt.upstream)
        assert min(parts) >= 0
        assert attempt.at >= moment
        moment = attempt.at + sum(parts) - 1e-9
    assert moment <= record.duration
    own = [attempt for attempt in record.timeline if attempt.purpose == "call"]
    assert sum(attempt.upstream for attempt in own) == pytest.approx(record.upstream_seconds)
    assert sum(attempt.token for attempt in record.timeline) == pytest.approx(record.token_wait_seconds)


async def test_a_plain_call_has_one_attempt() -> None:
    async with running_pair() as pair:
        await pair.call("GET", USERS)
        pair.emulator.faults.add("pass answer_delay=0.05 times=1")
        await pair.call("GET", USERS)
        record = last(pair.app)
    assert told(record) == [("call", 200)]
    assert record.timeline[0].upstream >= 0.05
    assert_in_order(record)


async def test_a_mended_401_has_two_and_the_second_waited_for_the_token() -> None:
    async with running_pair() as pair:
        await pair.call("GET", USERS)
        pair.emulator.state.tokens.revoke(None, client_id=None)
        pair.emulator.faults.add("pass delay=0.05 token")
        await pair.call("POST", NATURAL, BODY)
        record = last(pair.app)
    assert told(record) == [("call", 401), ("call", 200)]
    assert record.timeline[0].token == 0
    assert record.timeline[1].token >= 0.05
    assert_in_order(record)


async def test_a_connection_that_broke_is_told_before_the_one_that_held() -> None:
    async with running_pair() as pair:
        await pair.call("GET", USERS)
        pair.emulator.faults.add("reset=before GET times=1")
        await pair.call("GET", USERS)
        record = last(pair.app)
    assert told(record) == [("call", "lost"), ("call", 200)]
    assert record.recovered == ("connection",)
    assert_in_order(record)


async def test_reading_back_shows_after_the_attempt_whose_response_was_lost() -> None:
    async with running_pair() as pair:
        pair.emulator.faults.add("reset=after POST api times=1")
        pair.emulator.faults.add("status=400 GET /v2.01/acme/responses times=1")  # as if it was not stored yet
        response = await pair.call("POST", NATURAL, BODY, headers=(KEY,))
        record = last(pair.app)
    assert response.status == 200
    assert told(record) == [("call", "lost"), ("read_back", 400), ("read_back", 200)]
    assert record.timeline[1].at >= 0.2
    assert_in_order(record)


async def test_a_call_without_a_token_had_a_connection_at_least() -> None:
    """Why it got none stands in place of a status."""
    async with running_pair(token_prefetch="false", token_wait_timeout="100ms") as pair:
        pair.emulator.faults.add("hang token")
        await pair.call("GET", USERS)
        record = last(pair.app)
    assert told(record) == [("call", "token_unavailable")]
    assert record.timeline[0].token >= 0.1
    assert record.timeline[0].upstream == 0
    assert_in_order(record)


async def test_an_upstream_that_is_not_there_shows_both_tries() -> None:
    async with running_app("http://127.0.0.1:1", token_prefetch="false") as app:
        await app.call("GET", USERS)
        record = last(app)
    assert told(record) == [("call", "connect"), ("call", "connect")]
    assert_in_order(record)


async def test_a_call_that_was_stopped_shows_where() -> None:
    async with running_pair() as pair:
        pair.emulator.faults.add("hang GET")
        with await pair.app.connect() as client:
            await client.send(request_bytes("GET", USERS))
            while not pair.emulator.state.stats.requests > 1:
                await asyncio.sleep(0.001)
            client.reset()
        while not pair.app.sidecar._recent.total:
            await asyncio.sleep(0.001)
        record = last(pair.app)
    assert told(record) == [("call", "cut")]
    assert record.caller == "gone"
    assert_in_order(record)


async def test_a_refused_call_has_no_attempt() -> None:
    async with running_pair() as pair:
        await pair.call("GET", "/v2.01/../users")
        assert last(pair.app).timeline == ()
