"""What becomes of a call whose caller leaves, at each moment of its way (contract section 6, its last rows)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import pytest

from sidecar.core.errors import Outcome
from tests.flow.test_resends import ASKED, CONFLICT, IN_PIECES, KEY, STREAMED, Asked
from tests.support.in_memory import Fate, MemoryCaller, MemoryProxy, in_memory, respond

GET, HEAD, DELETE = Asked("GET"), Asked("HEAD"), Asked("DELETE")
POST, PUT = Asked("POST", b"{}"), Asked("PUT", b"{}")
LARGE_POST, STREAMED_POST, STREAMED_GET = Asked("POST", IN_PIECES), Asked("POST", STREAMED), Asked("GET", STREAMED)
#: What Mangopay answers in the end, if it is let.
CREATED: Final = respond(201, b"{}")


@dataclass(frozen=True)
class End:
    """What became of the call, for the log; the caller sees nothing any more."""

    status: int
    outcome: Outcome | None
    deliveries: int


NOT_SENT, REJECTED, UNKNOWN = Outcome.NOT_SENT, Outcome.REJECTED, Outcome.UNKNOWN


async def leave(proxy: MemoryProxy, caller: MemoryCaller) -> None:
    """Have the caller leave, and everything that follows at once happen."""
    before = caller.received
    caller.leave()
    await proxy.clock.settle()
    assert caller.received == before


async def is_over(proxy: MemoryProxy, end: End) -> None:
    """The call has ended by itself, and nothing of it goes on."""
    await proxy.clock.settle()
    record = proxy.record
    assert record.caller == "gone"
    assert (record.status, record.outcome, record.deliveries) == (end.status, end.outcome, end.deliveries)
    assert record.error is None
    assert len(proxy.mangopay.deliveries) == end.deliveries
    assert proxy.recorder.in_flight == 0
    assert not proxy.mangopay.read_backs


# --- before the request was wholly sent: aborted ---------------------------------------------------------------------


@pytest.mark.parametrize("asked", ASKED, ids=str)
async def test_who_leaves_while_a_token_is_waited_for_sends_nothing(asked: Asked) -> None:
    async with in_memory(token=False) as proxy:
        proxy.source.gated = True
        caller = proxy.begin(asked.bytes())
        await proxy.clock.settle()
        assert proxy.source.in_flight == 1
        await leave(proxy, caller)
        await is_over(proxy, End(0, NOT_SENT, 0))
        proxy.source.let_go()
        await proxy.clock.settle()
        assert (proxy.mangopay.deliveries, proxy.pool.idle) == ([], 1)  # the connection is as good as new


@pytest.mark.parametrize("asked", ASKED, ids=str)
async def test_who_leaves_while_a_connection_is_waited_for_sends_nothing(asked: Asked) -> None:
    async with in_memory() as proxy:
        others = [proxy.begin(GET.bytes(), Fate()) for _ in range(2)]
        await proxy.clock.settle()
        caller = proxy.begin(asked.bytes())
        await proxy.clock.settle()
        assert proxy.pool.waiting == 1
        caller.leave()
        await proxy.clock.settle()
        assert proxy.pool.waiting == 0
        (record,) = proxy.records
        assert (record.caller, record.status, record.outcome, record.deliveries) == ("gone", 0, NOT_SENT, 0)
        for other in others:
            other.leave()
        await proxy.clock.settle()
        assert len(proxy.mangopay.deliveries) == 2


@pytest.mark.parametrize("asked", [LARGE_POST, Asked("PUT", IN_PIECES), Asked("GET", IN_PIECES)], ids=str)
async def test_who_leaves_while_a_body_in_hand_goes_out_stops_it(asked: Asked) -> None:
    """All of it is in hand, and could still be sent; but whoever has left may try again, and must not pay twice."""
    async with in_memory() as proxy:
        caller = proxy.begin(asked.bytes(), Fate(takes_all=False))
        await proxy.clock.settle()
        (delivery,) = proxy.mangopay.deliveries
        assert not delivery.transport.is_closing()
        await leave(proxy, caller)
        await is_over(proxy, End(0, UNKNOWN, 1))
        assert delivery.transport.cut
        assert not delivery.whole


@pytest.mark.parametrize("asked", [STREAMED_POST, STREAMED_GET], ids=str)
async def test_who_leaves_in_the_middle_of_an_upload_ends_it(asked: Asked) -> None:
    async with in_memory() as proxy:
        caller = proxy.begin(asked.bytes()[:-1], Fate())
        await proxy.clock.settle()
        (delivery,) = proxy.mangopay.deliveries
        assert len(delivery.body) == len(STREAMED) - 1
        await leave(proxy, caller)
        await is_over(proxy, End(0, UNKNOWN, 1))
        assert delivery.transport.cut


@pytest.mark.parametrize("asked", [POST, LARGE_POST, STREAMED_POST], ids=str)
async def test_who_leaves_in_the_middle_of_its_body_sends_nothing_of_one_that_fits(asked: Asked) -> None:
    async with in_memory() as proxy:
        caller = proxy.begin(asked.bytes()[:-1], *([] if asked.repeatable else [Fate()]))
        await proxy.clock.settle()
        await leave(proxy, caller)
        delivered = not asked.repeatable
        await is_over(proxy, End(0, UNKNOWN if delivered else NOT_SENT, int(delivered)))


# --- afterwards ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", [GET, HEAD, STREAMED_GET], ids=str)
async def test_a_read_whose_caller_leaves_is_cancelled(asked: Asked) -> None:
    async with in_memory() as proxy:
        caller = proxy.begin(asked.bytes(), Fate())
        await proxy.clock.settle()
        (delivery,) = proxy.mangopay.deliveries
        assert delivery.whole
        await leave(proxy, caller)
        await is_over(proxy, End(0, UNKNOWN, 1))
        assert delivery.transport.cut
        assert [each.result for each in proxy.record.timeline] == ["cut"]


async def test_a_401_that_is_not_whole_when_its_caller_leaves_ends_with_its_connection() -> None:
    async with in_memory() as proxy:
        caller = proxy.begin(GET.bytes(), Fate(response=respond(401, b"{", length=9)))
        await proxy.clock.settle()
        assert proxy.pool.open == 1
        await leave(proxy, caller)
        await is_over(proxy, End(401, None, 1))
        assert proxy.mangopay.deliveries[0].transport.cut
        assert proxy.pool.open == 0


@pytest.mark.parametrize("asked", [DELETE, POST, PUT, LARGE_POST, STREAMED_POST, Asked("OPTIONS")], ids=str)
@pytest.mark.parametrize("status", [201, 403, 409, 500])
async def test_a_write_whose_caller_leaves_is_read_to_its_head(asked: Asked, status: int) -> None:
    async with in_memory() as proxy:
        caller = proxy.begin(asked.bytes(f"Idempotency-Key: {KEY}"), Fate())
        await proxy.clock.settle()
        (delivery,) = proxy.mangopay.deliveries
        await leave(proxy, caller)
        assert not proxy.records
        assert not delivery.transport.is_closing()
        delivery.respond(respond(status, b"", length=1000))  # the head is enough
        await is_over(proxy, End(status, None, 1))


@pytest.mark.parametrize(
    "broken", [Fate(breaks=True), Fate(response=b"ICY 200 OK\r\n\r\n"), Fate()], ids=["lost", "no HTTP", "silent"]
)
async def test_a_write_whose_caller_leaves_and_that_gets_no_response_is_unknown(broken: Fate) -> None:
    """It is not read back: nobody waits for what that would tell."""
    async with in_memory() as proxy:
        caller = proxy.begin(POST.bytes(f"Idempotency-Key: {KEY}"), Fate())
        await proxy.clock.settle()
        (delivery,) = proxy.mangopay.deliveries
        await leave(proxy, caller)
        if broken.response:
            delivery.respond(broken.response)
        elif broken.breaks:
            delivery.transport.end(ConnectionResetError())
        record = await proxy.over()
        assert (record.caller, record.outcome, record.deliveries) == ("gone", UNKNOWN, 1)
        assert not proxy.mangopay.read_backs
        assert record.idempotency_key == KEY


async def test_a_write_that_met_a_token_401_is_not_resent_for_nobody() -> None:
    async with in_memory() as proxy:
        caller = proxy.begin(POST.bytes(), Fate())
        await proxy.clock.settle()
        (delivery,) = proxy.mangopay.deliveries
        await leave(proxy, caller)
        delivery.respond(respond(401, b"{}"))
        await is_over(proxy, End(401, None, 1))
        assert proxy.unauthorized() == {"token": 1}  # it counts all the same: others need a new token
        assert proxy.source.requests == 2


async def test_who_leaves_while_the_401_of_its_write_is_mended_gets_it_sent_no_second_time() -> None:
    async with in_memory() as proxy:
        proxy.source.gated = True
        caller = proxy.begin(POST.bytes(), Fate(response=respond(401, b"{}")))
        await proxy.clock.settle()
        assert proxy.source.in_flight == 1  # a new token is waited for
        await leave(proxy, caller)
        await is_over(proxy, End(401, REJECTED, 1))
        proxy.source.let_go()
        await proxy.clock.settle()
        assert len(proxy.mangopay.deliveries) == 1


async def test_for_who_leaves_during_the_second_delivery_its_conflict_is_not_looked_up() -> None:
    """Contract section 6: the log has the status that Mangopay answered with, and nothing is read back for nobody."""
    async with in_memory() as proxy:
        caller = proxy.begin(POST.bytes(f"Idempotency-Key: {KEY}"), Fate(response=respond(401, b"{}")), Fate())
        await proxy.clock.settle()
        assert len(proxy.mangopay.deliveries) == 2
        await leave(proxy, caller)
        proxy.mangopay.deliveries[1].respond(respond(409, CONFLICT))
        await is_over(proxy, End(409, None, 2))


async def test_who_leaves_while_its_lost_response_is_looked_for_ends_that() -> None:
    async with in_memory() as proxy:
        caller = proxy.begin(POST.bytes(f"Idempotency-Key: {KEY}"), Fate(breaks=True))
        await proxy.clock.settle()
        await proxy.clock.advance(0.3)
        assert len(proxy.mangopay.read_backs) == 1
        await leave(proxy, caller)
        (record,) = proxy.records
        assert (record.caller, record.status, record.outcome) == ("gone", 0, UNKNOWN)
        await proxy.clock.advance(5.0)
        assert len(proxy.mangopay.read_backs) == 1


async def test_who_leaves_while_a_try_to_read_its_response_back_is_under_way_cuts_that() -> None:
    async with in_memory() as proxy:
        proxy.mangopay.stored.append(b"")  # it says nothing
        caller = proxy.begin(POST.bytes(f"Idempotency-Key: {KEY}"), Fate(breaks=True))
        await proxy.clock.settle()
        await proxy.clock.advance(0.3)
        assert (len(proxy.mangopay.read_backs), proxy.pool.open) == (1, 1)
        await leave(proxy, caller)
        record = proxy.record
        assert (record.caller, record.status, record.outcome) == ("gone", 0, UNKNOWN)
        assert [(each.result, each.purpose) for each in record.timeline] == [("lost", "call"), ("cut", "read_back")]
        assert proxy.pool.open == 0


# --- the time to drain is over ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "fates", "outcome"),
    [
        pytest.param(POST, [Fate()], "unknown", id="a write that is out"),
        pytest.param(GET, [Fate()], "unknown", id="a read that is out"),
        pytest.param(LARGE_POST, [Fate(takes_all=False)], "unknown", id="a write that is partly out"),
        pytest.param(POST, [Fate(response=respond(401, b"{}"))], "rejected", id="a write that waits for a new token"),
        pytest.param(POST, [Fate(response=respond(401, b"{}")), Fate()], "unknown", id="a write that was resent"),
    ],
)
async def test_a_call_that_a_drain_cuts_is_told_what_is_known(asked: Asked, fates: list[Fate], outcome: str) -> None:
    async with in_memory() as proxy:
        proxy.source.gated = len(fates) == 1
        caller = proxy.begin(asked.bytes(), *fates)
        await proxy.clock.settle()
        proxy.handler.cut_short()
        proxy.handler.cut_short()  # a second time changes nothing
        await proxy.clock.settle()
        assert (caller.status, caller.header("X-Sidecar-Error")) == (502, "upstream_unreachable")
        assert caller.header("X-Sidecar-Outcome") == outcome
        assert caller.header("Connection") == "close"
        told = {"unknown": "may have received it", "rejected": "executed nothing"}
        assert told[outcome].encode() in caller.body
        proxy.source.let_go()


async def test_a_call_that_a_drain_cuts_before_it_was_sent_is_told_so() -> None:
    async with in_memory(token=False) as proxy:
        proxy.source.gated = True
        caller = proxy.begin(POST.bytes())
        await proxy.clock.settle()
        proxy.handler.cut_short()
        await proxy.clock.settle()
        assert (caller.status, caller.header("X-Sidecar-Outcome")) == (502, "not-sent")
        assert b"it was not sent to Mangopay" in caller.body
        proxy.source.let_go()
