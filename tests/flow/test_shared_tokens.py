"""Sidecars that share a store: one token for all, one lockout known to all, and what happens when one of them ends."""

from __future__ import annotations

import asyncio
import re
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from sidecar.core.errors import ErrorCode, SidecarError
from sidecar.core.secret import Secret
from sidecar.core.tokens.oauth import Refusal, Refused
from sidecar.core.tokens.shared_token import LEASE
from sidecar.tokens.stores.sealing import Encrypted
from tests.support.canary import CANARY_API_KEY, record
from tests.support.stores import NAME, Fleet, MemoryBackend, kill
from tests.support.tokens import LOCKED_OUT, REFUSED, TRANSIENT, FakeSource

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import Any

    from sidecar.core.tokens.oauth import FetchResult


@pytest.fixture
async def fleet() -> AsyncIterator[Fleet]:
    fleet = Fleet()
    yield fleet
    for node in fleet.nodes:
        await node.close()


def code(response: object) -> ErrorCode:
    assert isinstance(response, SidecarError)
    return response.code


# --- one token for all -----------------------------------------------------------------------------------------------


async def test_a_cold_start_of_fifty_is_one_token_request(fleet: Fleet) -> None:
    fleet.start(50, prefetch=True)
    assert set(await fleet.tokens()) == {"-1"}
    assert (fleet.mangopay.requests, fleet.mangopay.most_in_flight) == (1, 1)


async def test_a_token_in_use_is_renewed_once_a_period_for_all(fleet: Fleet) -> None:
    fleet.start(20, prefetch=True)
    for period in (1, 2, 3):
        assert set(await fleet.tokens()) == {f"-{period}"}
        await fleet.clock.advance(1180)
    assert fleet.mangopay.requests == 4
    assert fleet.mangopay.most_in_flight == 1


async def test_a_revocation_is_one_token_request_for_all(fleet: Fleet) -> None:
    nodes = fleet.start(20)
    await fleet.tokens()
    for node in nodes:
        assert node.manager.unauthorized(1, "/a") is not None
    assert set(await fleet.tokens(newer_than=1)) == {"-2"}
    assert fleet.mangopay.requests == 2


async def test_a_restart_takes_the_token_that_is_there(fleet: Fleet) -> None:
    (first,) = fleet.start()
    await fleet.tokens(first)
    await first.close()
    await fleet.clock.advance(600)
    assert await fleet.tokens(*fleet.start(prefetch=True)) == ["-1"]
    assert fleet.mangopay.requests == 1


async def test_the_token_of_another_lasts_no_longer_than_it_really_does(fleet: Fleet) -> None:
    await fleet.tokens(*fleet.start())
    await fleet.clock.advance(600)
    (second,) = fleet.start()
    await fleet.tokens(second)
    token = second.manager.take_nowait(fleet.clock.now())
    assert token is not None
    assert token.sent_at <= fleet.mangopay.sent_at[0] + 1e-6
    assert token.expires_at == pytest.approx(fleet.mangopay.sent_at[0] + 1200)


async def test_credentials_have_tokens_of_their_own(fleet: Fleet) -> None:
    (node,) = fleet.start(embedded=fleet.embedded)
    assert node.embedded is not None
    await fleet.finish(node.token(), node.embedded.take(fleet.clock.now() + 60))
    assert (fleet.mangopay.requests, fleet.embedded.requests) == (1, 1)
    assert len(fleet.shelf.document.parts) == 2


async def test_who_waits_looks_now_and_then_only(fleet: Fleet) -> None:
    fleet.mangopay.delay = 4.0
    fleet.start(20, prefetch=True)
    await fleet.tokens()
    assert fleet.shelf.reads < 20 * 10


async def test_connections_are_closed_once_nobody_uses_the_store(fleet: Fleet) -> None:
    backend = MemoryBackend(fleet.shelf)
    await fleet.tokens(fleet.node(backend))
    assert backend.closed == 0
    await fleet.clock.advance(1.1)
    assert backend.closed == 1


# --- burnt tokens ----------------------------------------------------------------------------------------------------


async def test_a_burnt_token_is_handed_to_nobody_who_starts_later(fleet: Fleet) -> None:
    (first,) = fleet.start()
    await fleet.tokens(first)
    first.manager.unauthorized(1, "/a")
    assert await fleet.tokens(*fleet.start()) == ["-2"]


async def test_a_token_is_burnt_for_all_also_while_no_new_one_may_be_asked_for(fleet: Fleet) -> None:
    (first,) = fleet.start()
    await fleet.tokens(first)
    fleet.mangopay.then(LOCKED_OUT)
    while fleet.mangopay.requests == 1:
        await fleet.clock.advance(1)  # until it is refreshed ahead, in vain
    first.manager.unauthorized(1, "/a")
    await fleet.clock.advance(0.1)
    assert [code(response) for response in await fleet.tokens(*fleet.start())] == [ErrorCode.TOKEN_LOCKED_OUT]
    assert fleet.mangopay.requests == 2


async def test_after_a_lockout_that_met_a_revoked_token_a_second_revocation_is_mended_at_once_for_all(
    fleet: Fleet,
) -> None:
    """Nobody could judge the refresh in between: that is held against no path of no sidecar."""
    nodes = fleet.start(8)
    await fleet.tokens()
    fleet.mangopay.then(LOCKED_OUT)
    for node in nodes:
        burn = node.manager.unauthorized(1, "/a")
        assert burn is not None
        node.manager.resend_withdrawn(burn)
    locked_out = await fleet.tokens(newer_than=1)
    assert {code(each) for each in locked_out} == {ErrorCode.TOKEN_LOCKED_OUT}
    await fleet.clock.advance(45)
    assert set(await fleet.tokens(newer_than=1)) == {"-3"}
    for node in nodes:
        node.manager.accepted(2, "/a")
    for generation in (2, 3, 4):
        burns = [node.manager.unauthorized(generation, "/a") for node in nodes]
        assert all(burn is not None for burn in burns), "a revocation during somebody's pause"
        assert len(set(await fleet.tokens(newer_than=generation))) == 1
        for node, burn in zip(nodes, burns, strict=True):
            assert burn is not None
            node.manager.resend_answered(burn, generation + 1, unauthorized=False)
    assert fleet.mangopay.requests == 6


async def test_a_token_of_the_store_that_was_revoked_with_the_own_one_is_held_against_nobody(fleet: Fleet) -> None:
    """A sidecar that lags behind takes the store's token first, gets 401 again, and asks for one."""
    first, second = fleet.start(2)
    await fleet.tokens()
    first.manager.unauthorized(1, "/a")
    await fleet.tokens(first, newer_than=1)
    await fleet.clock.advance(60)
    burn = second.manager.unauthorized(1, "/a")
    assert burn is not None
    assert await fleet.tokens(second, newer_than=1) == ["-2"]
    second.manager.resend_answered(burn, 2, unauthorized=True)
    assert second.manager.unauthorized(2, "/a") is not None
    assert await fleet.tokens(second, newer_than=2) == ["-3"]


async def test_who_burns_a_token_that_another_has_replaced_gets_the_new_one_for_nothing(fleet: Fleet) -> None:
    first, second = fleet.start(2)
    await fleet.tokens()
    first.manager.unauthorized(1, "/a")
    await fleet.tokens(first, newer_than=1)
    second.manager.unauthorized(1, "/a")
    assert await fleet.tokens(second, newer_than=1) == ["-2"]
    assert fleet.mangopay.requests == 2


# --- latches and back-off --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("result", "said"), [(LOCKED_OUT, ErrorCode.TOKEN_LOCKED_OUT), (REFUSED, ErrorCode.CREDENTIALS_REFUSED)]
)
async def test_a_latch_holds_for_all_and_lets_one_probe_through(fleet: Fleet, result: Any, said: ErrorCode) -> None:
    fleet.mangopay.then(*[result] * 4)
    fleet.start(20, prefetch=True)
    assert {code(response) for response in await fleet.tokens()} == {said}
    for probes in (1, 2, 3, 4):
        assert fleet.mangopay.requests == probes
        counts = {node.manager.status().latched_until for node in fleet.nodes}
        assert max(counts) - min(counts) < 0.3 * 30 * 2**probes  # type: ignore[operator, type-var]
        await fleet.clock.advance(30 * 2 ** (probes - 1) * 1.2 * 1.15)
    assert fleet.mangopay.requests == 5
    assert set(await fleet.tokens()) == {"-5"}


async def test_a_latch_survives_a_restart_and_is_not_counted_twice(fleet: Fleet) -> None:
    fleet.mangopay.then(LOCKED_OUT)
    (first,) = fleet.start()
    await fleet.tokens(first)
    until = first.manager.status().latched_until
    await first.close()
    (second,) = fleet.start()
    assert [code(response) for response in await fleet.tokens(second)] == [ErrorCode.TOKEN_LOCKED_OUT]
    assert fleet.mangopay.requests == 1
    assert second.manager.status().latched_until == pytest.approx(until, abs=3.7)
    lockout = fleet.shelf.document.lockout
    assert lockout is not None
    assert lockout.count == 1


async def test_one_probe_serves_both_credentials_of_all(fleet: Fleet) -> None:
    fleet.mangopay.then(LOCKED_OUT, LOCKED_OUT)
    fleet.embedded.then(LOCKED_OUT)
    nodes = fleet.start(5, embedded=fleet.embedded)
    embedded = [node.embedded for node in nodes if node.embedded is not None]
    await fleet.tokens()
    responses = await fleet.finish(*(each.take(fleet.clock.now() + 60) for each in embedded))
    assert {code(response) for response in responses} == {ErrorCode.TOKEN_LOCKED_OUT}
    assert fleet.mangopay.requests + fleet.embedded.requests == 1
    await fleet.clock.advance(45)
    assert fleet.mangopay.requests + fleet.embedded.requests == 2


async def test_transient_failures_are_counted_once_for_all(fleet: Fleet) -> None:
    fleet.mangopay.then(*[TRANSIENT] * 3)
    fleet.start(10, prefetch=True)
    await fleet.clock.advance(8)
    assert set(await fleet.tokens()) == {"-4"}
    assert fleet.mangopay.requests == 4
    pauses = [later - earlier for earlier, later in pairwise(fleet.mangopay.sent_at)]
    assert [pause > least for pause, least in zip(pauses, (0.4, 0.8, 1.6), strict=True)] == [True] * 3


async def test_what_another_was_told_is_said_with_the_mend(fleet: Fleet) -> None:
    fleet.mangopay.then(Refused(Refusal.FORBIDDEN, "status 403"))
    first, second = fleet.start(2)
    await fleet.tokens(first)
    with capture_logs() as logs:
        (response,) = await fleet.tokens(second)
    assert isinstance(response, SidecarError)
    assert "allow-list" in response.message
    (latched,) = [entry for entry in logs if entry["event"] == "token.latched"]
    assert latched["reason"] == "forbidden"
    assert "token store" in latched["detail"]


# --- keys and certificates -------------------------------------------------------------------------------------------


async def test_a_key_that_is_rolled_out_costs_one_token_request(fleet: Fleet) -> None:
    nodes = fleet.start(6, sealing=Encrypted())
    await fleet.tokens()
    for node in nodes[:3]:
        node.replace_key(CANARY_API_KEY + "-new")
    await fleet.clock.advance(1150)
    tokens = await fleet.tokens()
    await fleet.clock.advance(5)
    tokens = await fleet.tokens()
    assert (len(set(tokens[:3])), len(set(tokens[3:])), len(set(tokens))) == (1, 1, 2)
    assert fleet.mangopay.requests == 3
    for node in nodes[3:]:
        node.replace_key(CANARY_API_KEY + "-new")
    await fleet.clock.advance(1150)
    await fleet.tokens()
    await fleet.clock.advance(5)
    assert len(set(await fleet.tokens())) == 1
    assert fleet.mangopay.requests == 4


async def test_the_latch_of_an_old_key_does_not_hold_a_new_one(fleet: Fleet) -> None:
    fleet.mangopay.then(REFUSED)
    first, second = fleet.start(2)
    await fleet.tokens()
    assert fleet.mangopay.requests == 1
    first.replace_key(CANARY_API_KEY + "-new")
    assert await fleet.tokens(first) == ["-2"]
    assert [code(response) for response in await fleet.tokens(second)] == [ErrorCode.CREDENTIALS_REFUSED]
    second.replace_key(CANARY_API_KEY + "-new")
    assert await fleet.tokens(second) == ["-2"]


async def test_the_latch_of_an_old_certificate_does_not_hold_a_new_one(fleet: Fleet) -> None:
    fleet.mangopay.then(*[Refused(Refusal.CERTIFICATE, "TLS")] * 2)
    nodes = fleet.start(4)
    await fleet.tokens()
    for node in nodes:
        node.asker.certificate = b"another"
        node.manager.key_changed()
    await fleet.tokens()
    assert fleet.mangopay.requests == 2, "the new one is tried once for all, not once by each"
    for node in nodes:
        node.asker.certificate = b"a good one"
        node.manager.key_changed()
    assert set(await fleet.tokens()) == {"-3"}


async def test_a_key_that_changes_while_another_s_token_is_waited_for_is_used_at_once(fleet: Fleet) -> None:
    fleet.mangopay.delay = 4.0
    first, second = fleet.start(2)
    calls = asyncio.ensure_future(fleet.tokens(first, second))
    await fleet.clock.settle()
    second.replace_key(CANARY_API_KEY + "-new")
    assert await calls == ["-1", "-2"]
    assert second.asker.keys == [CANARY_API_KEY + "-new"]


async def test_a_key_that_changes_during_its_own_request_changes_nothing_for_that(fleet: Fleet) -> None:
    (first,) = fleet.start(sealing=Encrypted())
    call = asyncio.ensure_future(first.token())
    await fleet.clock.advance(0.1)
    first.asker.api_key = Secret(CANARY_API_KEY + "-new")
    await fleet.clock.advance(1)
    assert await call == "-1"
    assert await fleet.tokens(*fleet.start(sealing=Encrypted())) == ["-1"]


async def test_a_token_burnt_after_the_key_changed_is_burnt_for_those_who_still_have_the_old_one(fleet: Fleet) -> None:
    first, second = fleet.start(2)
    await fleet.tokens()
    first.replace_key(CANARY_API_KEY + "-new")
    first.manager.unauthorized(1, "/a")
    assert await fleet.tokens(first, newer_than=1) == ["-2"]
    assert await fleet.tokens(*fleet.start()) == ["-3"]
    second.manager.unauthorized(1, "/a")
    assert await fleet.tokens(second, newer_than=1) == ["-3"]


# --- sidecars that end or stall --------------------------------------------------------------------------------------


async def test_one_that_is_killed_while_it_asks_is_replaced_within_a_lease(fleet: Fleet) -> None:
    fleet.mangopay.gated = True
    backend = MemoryBackend(fleet.shelf)
    first = fleet.node(backend, prefetch=True)
    await fleet.clock.advance(3)  # it renews the lease
    await kill(first, backend)
    killed = fleet.clock.now()
    fleet.mangopay.gated = False
    assert await fleet.tokens(*fleet.start()) == ["-2"]
    assert fleet.mangopay.sent_at[1] - killed <= LEASE + 1


async def test_one_that_ends_in_order_leaves_no_lease_behind(fleet: Fleet) -> None:
    fleet.mangopay.gated = True
    (first,) = fleet.start(prefetch=True)
    await fleet.clock.advance(1)
    await first.close()
    closed = fleet.clock.now()
    fleet.mangopay.gated = False
    assert await fleet.tokens(*fleet.start()) == ["-2"]
    assert fleet.mangopay.sent_at[1] == closed


async def test_one_that_ends_before_it_could_tell_leaves_no_lease_behind(fleet: Fleet) -> None:
    backend = MemoryBackend(fleet.shelf)
    first = fleet.node(backend, prefetch=True)
    await fleet.clock.advance(0.1)
    backend.thawed.clear()
    await fleet.clock.advance(0.2)  # the response is there, and cannot be told
    closing = asyncio.ensure_future(first.close())
    await fleet.clock.settle()
    backend.thawed.set()
    await closing
    closed = fleet.clock.now()
    assert await fleet.tokens(*fleet.start()) == ["-2"]
    assert fleet.mangopay.sent_at[1] == closed


async def test_the_lease_of_a_request_that_takes_long_is_kept(fleet: Fleet) -> None:
    fleet.mangopay.delay = 3 * LEASE
    fleet.start(5, prefetch=True)
    await fleet.clock.advance(3 * LEASE + 2)
    assert set(await fleet.tokens()) == {"-1"}
    assert fleet.mangopay.requests == 1


async def one_that_stalls(fleet: Fleet) -> tuple[FakeSource, MemoryBackend, asyncio.Future[Any]]:
    """Have a sidecar ask for a token and stop, as a stopped process does: it renews nothing until it is thawed."""
    slow = FakeSource(fleet.clock, life=1200.0)
    slow.gated = True
    backend = MemoryBackend(fleet.shelf)
    node = fleet.node(backend)
    node.asker.mangopay = slow
    call = asyncio.ensure_future(node.token())
    await fleet.clock.advance(0.1)
    backend.thawed.clear()
    return slow, backend, call


async def test_what_one_that_stalled_brings_too_late_is_thrown_away(fleet: Fleet) -> None:
    slow, backend, call = await one_that_stalls(fleet)
    (second,) = fleet.start()
    assert await fleet.tokens(second) == ["-1"]
    backend.thawed.set()
    with capture_logs() as logs:
        slow.let_go()
        assert await fleet.finish(asyncio.wait_for(call, None)) == ["-1"]
    assert "store.lease_lost" in [entry["event"] for entry in logs]
    assert second.manager.take_nowait(fleet.clock.now()) is not None
    assert (slow.requests, fleet.mangopay.requests) == (1, 1)


@pytest.mark.parametrize("others", [TRANSIENT, REFUSED], ids=["an error", "a refusal"])
async def test_what_came_too_late_is_used_where_the_others_got_nothing(fleet: Fleet, others: FetchResult) -> None:
    slow, backend, call = await one_that_stalls(fleet)
    (second,) = fleet.start()
    fleet.mangopay.then(*[others] * 9)
    assert [type(each) for each in await fleet.tokens(second)] == [SidecarError]
    backend.thawed.set()
    slow.let_go()
    assert await fleet.finish(asyncio.wait_for(call, None)) == ["-1"]
    assert slow.requests == 1


# --- what may lie in the store ---------------------------------------------------------------------------------------


async def test_what_is_no_document_is_replaced(fleet: Fleet) -> None:
    fleet.shelf.contents[NAME] = b'{"parts": 7}'
    with capture_logs() as logs:
        assert set(await fleet.tokens(*fleet.start(3))) == {"-1"}
    assert "store.document_unreadable" in [entry["event"] for entry in logs]
    assert fleet.mangopay.requests == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace(b'"generation":1', b'"generation":2'),
        lambda text: text.replace(b'"expires_at":', b'"expires_at":1'),
        lambda text: text.replace(b'"value":"', b'"value":"AAAA'),
        lambda text: text.replace(b'"value":"', b'"value":"?'),
    ],
)
async def test_a_sealed_token_that_somebody_changed_is_replaced_once_for_all(fleet: Fleet, change: Any) -> None:
    await fleet.tokens(*fleet.start(sealing=Encrypted()))
    fleet.shelf.contents[NAME] = change(fleet.shelf.contents[NAME])
    later = fleet.start(5, sealing=Encrypted())
    with capture_logs() as logs:
        assert set(await fleet.tokens(*later)) == {"-2"}
    assert fleet.mangopay.requests == 2
    assert "store.token_unreadable" in [entry["event"] for entry in logs]


@pytest.mark.parametrize("value", ["", "a b", "a\\r\\nX-Injected: b", "\u00e9"])
async def test_what_no_header_can_carry_is_replaced(fleet: Fleet, value: str) -> None:
    await fleet.tokens(*fleet.start())
    pattern = rb'(?<="value":")[^"]*'
    fleet.shelf.contents[NAME] = re.sub(pattern, lambda _: value.encode(), fleet.shelf.contents[NAME])
    assert set(await fleet.tokens(*fleet.start(3))) == {"-2"}
    assert fleet.mangopay.requests == 2


async def test_the_store_sees_neither_key_nor_token(fleet: Fleet) -> None:
    await fleet.tokens(*fleet.start(3, sealing=Encrypted()))
    record("the store", fleet.shelf.contents[NAME])


async def test_a_store_that_came_back_with_the_state_of_yesterday_makes_no_storm(fleet: Fleet) -> None:
    nodes = fleet.start(5)
    await fleet.tokens()
    yesterday = fleet.shelf.contents[NAME]
    for generation in (1, 2):
        for node in nodes:
            node.manager.unauthorized(generation, "/a")
        await fleet.tokens(newer_than=generation)
        await fleet.clock.advance(20)
        for node in nodes:
            node.manager.accepted(generation + 1, "/a")
    assert fleet.mangopay.requests == 3
    fleet.shelf.contents[NAME] = yesterday
    for node in nodes:
        node.manager.unauthorized(3, "/b")
    assert set(await fleet.tokens(newer_than=3)) == {"-4"}
    assert fleet.mangopay.requests == 4


async def test_a_store_that_was_emptied_makes_no_storm(fleet: Fleet) -> None:
    nodes = fleet.start(5)
    await fleet.tokens()
    fleet.shelf.contents.clear()
    for node in nodes:
        node.manager.unauthorized(1, "/a")
    assert set(await fleet.tokens(newer_than=1)) == {"-2"}
    assert fleet.mangopay.requests == 2
