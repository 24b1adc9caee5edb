"""A call that has to wait for its token holds no connection to Mangopay meanwhile (contract section 5.1)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.support.app import error_code, running_pair

if TYPE_CHECKING:
    from tests.support.app import Pair

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
