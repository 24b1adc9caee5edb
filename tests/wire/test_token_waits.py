"""A call that has to wait for its token holds no connection to Mangopay meanwhile (contract section 5.1)."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

from sidecar.core.errors import ErrorCode
from tests.support.answering_mangopay import AnsweringMangopay, answering
from tests.support.app import App, error_code, running_app, running_pair
from tests.support.clock import FakeClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import TypeAlias

    from tests.support.app import Pair
    from tests.support.raw_client import ReceivedResponse

    Call: TypeAlias = asyncio.Task[ReceivedResponse]

pytestmark = pytest.mark.any_loop

_USERS = "/v2.01/acme/users"
_EMBEDDED = "/v2.01/oauth/token/embedded/recipient"


async def _waiting_for_a_token(pair: Pair, count: int) -> None:
    """Wait until so many calls wait for a token, or have got as far as they get."""
    manager = pair.app.sidecar._credentials.embedded
    assert manager is not None
    async with asyncio.timeout(20):
        while len(manager._news) < count:
            await asyncio.sleep(0.001)


async def test_calls_that_wait_for_another_token_hold_no_connection() -> None:
    async with running_pair(upstream_pool_size="2", mangopay_embedded_api_key="embedded-api-key") as pair:
        assert (await pair.call("GET", _USERS)).status == 200
        pair.emulator.faults.add("hang token")
        embedded = [asyncio.ensure_future(pair.call("POST", _EMBEDDED, b"{}")) for _ in range(5)]
        await _waiting_for_a_token(pair, 5)
        for _ in range(4):
            assert (await pair.call("GET", _USERS)).status == 200
        assert not any(each.done() for each in embedded)
        for each in embedded:
            each.cancel()
        await asyncio.gather(*embedded, return_exceptions=True)


async def test_they_are_sent_once_their_token_is_there() -> None:
    async with running_pair(upstream_pool_size="2", mangopay_embedded_api_key="embedded-api-key") as pair:
        assert (await pair.call("GET", _USERS)).status == 200
        pair.emulator.faults.add("pass answer_delay=0.2 times=1 token")
        responses = await asyncio.gather(*(pair.call("POST", _EMBEDDED, b"{}") for _ in range(5)))
        assert {error_code(response) for response in responses} == {None}


# --- a process that stood still --------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def _call_that_waits(clock: FakeClock, **settings: str) -> AsyncIterator[tuple[AnsweringMangopay, App, Call]]:
    """Make a POST whose token does not come before the gate is opened; it is waiting for that."""
    mangopay = AnsweringMangopay(gate=asyncio.Event())
    async with answering(mangopay) as url, running_app(url, clock, token_prefetch="false", **settings) as app:
        call = asyncio.create_task(app.call("POST", _USERS, b"{}"))
        manager = app.sidecar._credentials.api
        async with asyncio.timeout(20):
            while not (len(manager._news) and mangopay.tokens_asked):
                await asyncio.sleep(0.001)
        yield mangopay, app, call
        if not call.done():
            call.cancel()
            await asyncio.wait([call])


@pytest.mark.parametrize("settings", [{"token_wait_timeout": "2s"}, {"token_wait_timeout": "60s"}], ids=["2s", "12s"])
async def test_standstills_do_not_count_while_a_call_waits_for_its_token(settings: dict[str, str]) -> None:
    """There is no connection to Mangopay meanwhile, whose deadlines would tell of them."""
    clock = FakeClock()
    async with _call_that_waits(clock, **settings) as (mangopay, _, call):
        for _ in range(2):
            await clock.advance(0.7)
            clock.stand_still(60.0)
            await clock.settle()
            assert not call.done()
        assert mangopay.gate is not None
        mangopay.gate.set()  # the token comes after them
        assert (await call).status == 200
        assert [head.split()[0] for head in mangopay.heads] == [b"POST", b"POST"]


async def test_a_token_that_came_during_a_standstill_serves_the_call() -> None:
    """What is left of the 12 s after it is what was left before."""
    clock = FakeClock()
    async with _call_that_waits(clock) as (mangopay, _, call):
        await clock.advance(9.6)
        assert mangopay.gate is not None
        mangopay.gate.set()
        clock.stand_still(300.0)  # it still has three quarters of its life
        assert (await call).status == 200


async def test_a_call_that_nobody_answers_ends_all_the_same_once_the_process_goes_on() -> None:
    clock = FakeClock()
    async with _call_that_waits(clock) as (mangopay, _, call):
        await clock.advance(5.0)
        clock.stand_still(3600.0)
        await clock.advance(6.0)
        response = await call
        assert error_code(response) is ErrorCode.TOKEN_UNAVAILABLE
        assert response.header("X-Sidecar-Outcome") == b"not-sent"
        assert len(mangopay.heads) == 1
