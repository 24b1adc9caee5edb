"""A token endpoint that fails in every way: no call is sent without a token, and every caller is told so."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.app import running_pair
from tests.wire.faults.support import METHODS, Outcome, TimedPair, call_and_observe, timed_pair, until

#: Faults after which asking again may help.
TRANSIENT = [
    *(f"{end}={stage}" for end in ("reset", "close") for stage in ("head", "before", "after", "during")),
    *("status=500", "status=502", "status=503", "status=504", "status=408", "rate-limit", "redirect"),
    *("not-json", "oversized", "empty", "truncate", "bad-chunk", "content-length", "garbage", "two-lengths"),
]
#: Faults that only a person can mend, and how a call that meets them is answered.
LATCHING = {
    "lockout": (503, "token_locked_out"),
    "invalid-client": (502, "credentials_refused"),
    "forbidden": (502, "credentials_refused"),
    "unauthorized": (502, "credentials_refused"),
    "status=404": (502, "credentials_refused"),
    "status=400": (502, "credentials_refused"),
}
#: Responses that are no token, though they look like one.
NO_TOKEN = [
    {"access_token": None},
    {"access_token": 42},
    {"access_token": ""},
    {"access_token": "two\nlines"},
    {"access_token": "X-Injected: 1\r\nX: y"},
    {"token_type": "mac"},
]


async def in_time(pair: TimedPair, method: str = "POST") -> Outcome:
    call = asyncio.ensure_future(call_and_observe(pair, method))
    await pair.advance_until(call.done)
    fate = await call
    fate.check()
    return fate


def assert_not_sent(call: Outcome, status: int, code: str) -> None:
    assert (call.status, call.error, call.outcome) == (status, code, "not-sent")
    assert not call.arrivals
    assert call.response is not None
    assert (int(call.response.header("Retry-After") or 0) > 0) is (status == 503)


@pytest.mark.parametrize("fault", TRANSIENT)
async def test_a_passing_fault_costs_the_call_a_moment(fault: str) -> None:
    async with timed_pair(token_prefetch="false") as pair:
        pair.emulator.faults.add(f"{fault} token times=1")
        call = await in_time(pair)
        assert (call.status, call.recovered, len(call.arrivals), call.executions) == (200, None, 1, 1)
        assert pair.token_requests == 2


@pytest.mark.parametrize("fault", [*TRANSIENT, "hang=head", "hang=before", "hang=during"])
async def test_while_there_is_no_token_nothing_is_sent(fault: str) -> None:
    async with timed_pair(token_prefetch="false") as pair:
        pair.emulator.faults.add(f"{fault} token")
        assert_not_sent(await in_time(pair), 503, "token_unavailable")


@pytest.mark.parametrize("method", METHODS)
async def test_no_method_is_sent_without_a_token(method: str) -> None:
    async with timed_pair(token_prefetch="false") as pair:
        pair.emulator.faults.add("status=500 token")
        assert_not_sent(await in_time(pair, method), 503, "token_unavailable")


@pytest.mark.parametrize("response", NO_TOKEN, ids=repr)
async def test_what_is_no_token_is_never_sent_as_one(response: dict[str, object]) -> None:
    async with timed_pair(token_prefetch="false", emulator_settings={"token_answer": response}) as pair:
        assert_not_sent(await in_time(pair), 503, "token_unavailable")


@pytest.mark.parametrize("fault", LATCHING)
async def test_a_fault_that_a_person_must_mend_is_asked_about_once(fault: str) -> None:
    async with timed_pair(token_prefetch="false") as pair:
        pair.emulator.faults.add(f"{fault} token")
        for method in METHODS:
            assert_not_sent(await in_time(pair, method), *LATCHING[fault])
        assert pair.token_requests == 1


@pytest.mark.parametrize("fault", ["chunked", "trailers", "interim", "http10", "trickle=0.01", "close-after"])
async def test_an_odd_response_of_the_token_endpoint_is_a_token(fault: str) -> None:
    async with running_pair(token_prefetch="false") as pair:
        pair.emulator.faults.add(f"{fault} token")
        call = await call_and_observe(pair, "POST")
        call.check()
        assert (call.status, call.executions) == (200, 1)


async def test_a_refresh_that_fails_takes_no_valid_token_away() -> None:
    async with timed_pair(emulator_settings={"expires_in": 100}) as pair:
        await until(lambda: pair.token_requests)
        pair.emulator.faults.add("status=500 token")
        for _ in range(9):
            assert (await in_time(pair)).status == 200
            await pair.advance(11)
        assert pair.token_requests > 1
        await pair.advance(5)
        assert_not_sent(await in_time(pair), 503, "token_unavailable")


async def test_calls_that_wait_for_a_token_go_out_once_each_when_it_comes() -> None:
    async with running_pair(token_prefetch="false") as pair:
        pair.emulator.faults.add("reset=before token times=1")
        calls = await asyncio.gather(*(call_and_observe(pair, "POST") for _ in range(50)))
        for call in calls:
            call.check()
            assert (call.status, call.executions) == (200, 1)
        assert pair.token_requests == 2
