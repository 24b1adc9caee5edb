"""Calls of the batch lane: who waits, for how long, and what becomes of them (contract section 10)."""

from __future__ import annotations

import itertools
from email.utils import formatdate
from typing import TYPE_CHECKING, Final

import pytest

from sidecar.core.errors import Outcome
from sidecar.proxy.batch_lane import TURN_WAIT
from tests.support.in_memory import Fate, MemoryCaller, MemoryProxy, in_memory, respond

if TYPE_CHECKING:
    from sidecar.core.http.messages import ResponseHead
    from sidecar.proxy.batch_lane import BatchLane

BATCH: Final = ("GET /v2.01/*/reports/**", "POST /v2.01/*/kyc/**")
#: Bytes, more than a connection reads ahead.
LARGE: Final = 512 * 1024


def get(path: str = "reports", *headers: str) -> bytes:
    return "\r\n".join([f"GET /v2.01/acme/{path} HTTP/1.1", "Host: localhost", *headers, "", ""]).encode()


def told(
    proxy: MemoryProxy, remaining: int, *headers: str, status: int = 200, reset: int = 10, limit: int = 100
) -> bytes:
    """Return a response of Mangopay's after which so much remains of a window that starts anew in so many seconds."""
    now = int(proxy.clock.wall())
    return respond(
        status,
        b"{}",
        f"Date: {formatdate(now, usegmt=True)}",
        f"X-RateLimit: {limit - remaining}",
        f"X-RateLimit-Remaining: {remaining}",
        f"X-RateLimit-Reset: {now + reset}",
        *headers,
    )


async def look(proxy: MemoryProxy, remaining: int, *, reset: int = 10) -> None:
    """Have a call of the normal lane tell what remains."""
    caller = await proxy.call(get("clients"), Fate(response=told(proxy, remaining, reset=reset)))
    assert caller.status == 200
    proxy.records.clear()
    proxy.mangopay.deliveries.clear()


def lane(proxy: MemoryProxy) -> BatchLane:
    assert proxy.lane is not None
    return proxy.lane


def held(proxy: MemoryProxy) -> dict[str, int]:
    """Return what the metric ``rate_held_total`` has counted, zeros left out."""
    return {result: count for (result,), count in proxy.metrics.rate_held.items() if count}


def nothing_is_left(proxy: MemoryProxy) -> None:
    assert repr(proxy.lane) == "<BatchLane [0 waiting, 0 under way]>"
    assert proxy.recorder.in_flight == 0


# --- held, and let through -------------------------------------------------------------------------------------------


async def test_with_room_a_batch_call_goes_at_once() -> None:
    async with in_memory(reserve=0.2, batch=BATCH) as proxy:
        await look(proxy, 21)
        caller = await proxy.call(get(), Fate(response=told(proxy, 20)))
        assert (caller.status, proxy.record.lane, proxy.record.held_seconds) == (200, "batch", 0.0)
        assert held(proxy) == {}
        nothing_is_left(proxy)


async def test_without_room_it_waits_and_holds_its_callers_connection_alone() -> None:
    async with in_memory(reserve=0.2, batch=BATCH, wait=60) as proxy:
        await look(proxy, 20)
        caller = proxy.begin(get())
        await proxy.clock.advance(5)
        assert (lane(proxy).waiting, caller.received, proxy.mangopay.deliveries) == (1, b"", [])
        assert proxy.pool.open == proxy.pool.idle == 1
        proxy.mangopay.script.append(Fate(response=told(proxy, 90)))
        await proxy.over()
        assert (caller.status, proxy.record.deliveries) == (200, 1)
        assert proxy.record.held_seconds == 10.0, "until the reset"
        assert held(proxy) == {"sent": 1}
        nothing_is_left(proxy)


@pytest.mark.parametrize("status", [200, 429])
async def test_an_answer_that_tells_no_window_hides_none_that_did(status: int) -> None:
    """Endpoints of other kinds, and gateways, send no such headers."""
    async with in_memory(reserve=0.2, batch=BATCH) as proxy:
        await look(proxy, 10, reset=100)
        pause = ("Retry-After: 1",) if status == 429 else ()
        await proxy.call(get("clients"), Fate(response=respond(status, b"{}", *pause)))
        await proxy.clock.advance(2)
        for _ in range(3):
            assert (await proxy.call(get())).header("X-Sidecar-Error") == "rate_reserved"


async def test_a_body_is_not_read_meanwhile() -> None:
    async with in_memory(reserve=0.2, batch=BATCH, wait=60) as proxy:
        await look(proxy, 20)
        head = f"POST /v2.01/acme/kyc/1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: {LARGE}\r\n\r\n".encode()
        caller = proxy.begin(head + bytes(LARGE // 4))
        await proxy.clock.advance(9)
        assert (lane(proxy).waiting, caller.transport.paused) == (1, True)
        proxy.mangopay.script.append(Fate(response=told(proxy, 90)))
        await proxy.clock.advance(1)
        assert not caller.transport.paused
        caller.send(bytes(LARGE - LARGE // 4))
        await proxy.over()
        assert (caller.status, proxy.record.bytes_in) == (200, LARGE)
        assert len(proxy.mangopay.deliveries[0].body) == LARGE


async def test_other_calls_are_never_held() -> None:
    async with in_memory(reserve=0.2, batch=BATCH, wait=60) as proxy:
        await look(proxy, 0)
        waiting = proxy.begin(get())
        await proxy.clock.settle()
        for remaining in (0, 0, 0):
            caller = await proxy.call(get("clients"), Fate(response=told(proxy, remaining)))
            assert (caller.status, proxy.records[-1].lane) == (200, None)
        assert (lane(proxy).waiting, waiting.received) == (1, b"")
        waiting.leave()
        await proxy.clock.settle()


async def test_an_answer_to_any_call_lets_those_who_wait_go_in_the_order_in_which_they_came() -> None:
    async with in_memory(reserve=0.2, batch=BATCH, wait=60) as proxy:
        await look(proxy, 20)
        callers = [proxy.begin(get(f"reports/{number}")) for number in range(5)]
        await proxy.clock.settle()
        callers[2].leave()
        await proxy.clock.advance(1)
        proxy.mangopay.script.extend(Fate(response=told(proxy, 30)) for _ in range(5))
        caller = await proxy.call(get("clients"))
        assert caller.status == 200
        await proxy.clock.settle()
        paths = [delivery.head.split(b" ")[1] for delivery in proxy.mangopay.deliveries]
        assert paths[1:] == [b"/v2.01/acme/reports/%d" % number for number in (0, 1, 3, 4)]
        assert [caller.status for caller in callers] == [200, 200, 0, 200, 200]
        assert held(proxy) == {"sent": 4, "gone": 1}
        nothing_is_left(proxy)


async def test_after_the_reset_one_goes_to_see_anew_and_the_others_wait_for_its_answer() -> None:
    async with in_memory(reserve=0.2, batch=BATCH, wait=60) as proxy:
        await look(proxy, 20)
        callers = [proxy.begin(get()) for _ in range(3)]
        proxy.mangopay.script.extend(Fate() for _ in range(3))
        await proxy.clock.advance(11)
        (probe,) = proxy.mangopay.deliveries
        probe.respond(told(proxy, 19))
        await proxy.clock.settle()
        assert (callers[0].status, len(proxy.mangopay.deliveries)) == (200, 1), "it found no room"
        await proxy.clock.advance(0.6)
        assert len(proxy.mangopay.deliveries) == 1
        await proxy.clock.advance(0.1)
        (_, probe) = proxy.mangopay.deliveries
        probe.respond(told(proxy, 60))
        await proxy.clock.settle()
        assert len(proxy.mangopay.deliveries) == 3
        proxy.mangopay.deliveries[-1].respond(told(proxy, 59))
        await proxy.clock.settle()
        assert [caller.status for caller in callers] == [200] * 3


async def test_a_batch_call_that_fails_makes_way_for_the_next() -> None:
    async with in_memory(reserve=0.2, batch=BATCH, wait=60) as proxy:
        await look(proxy, 21)
        first, second = proxy.begin(get()), proxy.begin(get())
        proxy.mangopay.script.extend([Fate(), Fate(response=told(proxy, 20))])
        await proxy.clock.advance(0.1)
        assert len(proxy.mangopay.deliveries) == 1
        first.leave()
        await proxy.clock.settle()
        assert second.status == 200
        nothing_is_left(proxy)


async def test_what_the_response_to_a_resend_tells_counts() -> None:
    async with in_memory(reserve=0.2, batch=BATCH, wait=5) as proxy:
        await look(proxy, 90)
        await proxy.clock.advance(1)
        first, second = told(proxy, 89, status=401), told(proxy, 20)
        caller = await proxy.call(get(), Fate(response=first), Fate(response=second))
        assert (caller.status, caller.header("X-Sidecar-Recovered")) == (200, "token")
        caller = proxy.begin(get())
        await proxy.clock.settle()
        assert lane(proxy).waiting == 1
        caller.leave()
        await proxy.clock.settle()


# --- refused ---------------------------------------------------------------------------------------------------------


async def refused(proxy: MemoryProxy, caller: MemoryCaller, *, retry_after: str) -> None:
    assert (caller.status, caller.header("X-Sidecar-Error")) == (429, "rate_reserved")
    assert (caller.header("X-Sidecar-Outcome"), caller.header("Retry-After")) == ("not-sent", retry_after)
    assert b'"Type":"sidecar_rate_reserved"' in caller.body
    record = proxy.records[-1]
    assert (record.outcome, record.deliveries, record.lane) == (Outcome.NOT_SENT, 0, "batch")
    assert proxy.mangopay.deliveries == []
    nothing_is_left(proxy)


async def test_without_a_wait_it_is_refused_at_once_with_the_time_to_the_reset() -> None:
    async with in_memory(reserve=0.2, batch=BATCH) as proxy:
        await look(proxy, 20, reset=300)
        await proxy.clock.advance(100)
        caller = proxy.begin(get())
        await proxy.clock.settle()
        await refused(proxy, caller, retry_after="200")
        assert held(proxy) == {"refused": 1}
        assert caller.header("Connection") is None, "the next call may use it"
        assert lane(proxy).refused_at == proxy.clock.now()


async def test_after_its_time_it_is_refused() -> None:
    async with in_memory(reserve=0.2, batch=BATCH, wait=30) as proxy:
        await look(proxy, 20, reset=300)
        first = proxy.begin(get())
        await proxy.clock.advance(10)
        second = proxy.begin(get())
        await proxy.clock.advance(19.9)
        assert (first.received, second.received) == (b"", b"")
        await proxy.clock.advance(0.6)
        assert (first.status, second.received, proxy.record.held_seconds) == (429, b"", 30.0)
        assert first.header("Retry-After") == "270"
        second.leave()
        await proxy.clock.settle()
        assert held(proxy) == {"refused": 1, "gone": 1}
        nothing_is_left(proxy)


async def test_a_refusal_of_a_call_whose_body_is_still_to_come_ends_the_connection() -> None:
    async with in_memory(reserve=0.2, batch=BATCH) as proxy:
        await look(proxy, 20)
        caller = proxy.begin(b"POST /v2.01/acme/kyc/1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n1")
        await proxy.clock.settle()
        assert (caller.status, caller.header("Connection")) == (429, "close")


async def test_a_call_that_expects_to_be_asked_for_its_body_is_refused_before_it_sends_it() -> None:
    async with in_memory(reserve=0.2, batch=BATCH) as proxy:
        await look(proxy, 20)
        head = (
            b"POST /v2.01/acme/kyc/1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n"
        )
        caller = proxy.begin(head)
        await proxy.clock.settle()
        assert caller.received.startswith(b"HTTP/1.1 429 ")


async def test_a_call_waits_for_its_turn_for_a_second_whatever_the_setting_says() -> None:
    async with in_memory(reserve=0.2, batch=BATCH) as proxy:
        callers = [proxy.begin(get()) for _ in range(3)]
        proxy.mangopay.script.extend(Fate() for _ in range(2))
        await proxy.clock.advance(TURN_WAIT / 2)
        (delivery,) = proxy.mangopay.deliveries
        delivery.respond(told(proxy, 90))
        await proxy.clock.settle()
        assert [caller.status for caller in callers] == [200, 0, 0]
        assert len(proxy.mangopay.deliveries) == 2, "one for each look, at first"
        await proxy.clock.advance(TURN_WAIT)
        assert (callers[2].status, callers[2].header("Retry-After")) == (429, "1")
        assert len(proxy.mangopay.deliveries) == 2
        callers[1].leave()
        await proxy.clock.settle()
        nothing_is_left(proxy)


async def test_no_more_may_wait_than_leave_connections_to_others() -> None:
    async with in_memory(reserve=0.2, batch=BATCH, wait=60, most_waiting=2) as proxy:
        await look(proxy, 20, reset=300)
        callers = [proxy.begin(get()) for _ in range(4)]
        await proxy.clock.settle()
        assert [caller.status for caller in callers] == [0, 0, 429, 429]
        assert callers[3].header("Retry-After") == "300"
        callers[0].leave()
        await proxy.clock.settle()
        another = proxy.begin(get())
        await proxy.clock.settle()
        assert (another.received, lane(proxy).waiting) == (b"", 2)
        lane(proxy).close()
        await proxy.clock.settle()


# --- the ends of a wait ----------------------------------------------------------------------------------------------


async def test_a_drain_ends_every_wait_at_once() -> None:
    async with in_memory(reserve=0.2, batch=BATCH, wait=60) as proxy:
        await look(proxy, 20)
        callers = [proxy.begin(get()) for _ in range(3)]
        await proxy.clock.settle()
        lane(proxy).close()
        await proxy.clock.settle()
        for caller in callers:
            assert (caller.status, caller.header("X-Sidecar-Error")) == (503, "shutting_down")
            assert caller.header("X-Sidecar-Outcome") == "not-sent"
        late = proxy.begin(get())
        await proxy.clock.settle()
        assert late.status == 503
        assert (held(proxy), proxy.mangopay.deliveries) == ({"drained": 3}, [])
        nothing_is_left(proxy)


async def test_the_end_of_a_drain_cuts_a_wait_short() -> None:
    async with in_memory(reserve=0.2, batch=BATCH, wait=60) as proxy:
        await look(proxy, 20)
        caller = proxy.begin(get())
        await proxy.clock.settle()
        proxy.handler.cut_short()
        await proxy.clock.settle()
        assert (caller.status, caller.header("X-Sidecar-Outcome")) == (502, "not-sent")
        assert held(proxy) == {"drained": 1}
        nothing_is_left(proxy)


async def test_time_in_which_the_process_stood_still_is_not_held_against_a_call_that_waits() -> None:
    async with in_memory(reserve=0.2, batch=BATCH, wait=5) as proxy:
        await look(proxy, 20, reset=10_000)
        caller = proxy.begin(get())
        await proxy.clock.advance(4)
        proxy.clock.stand_still(3600)
        await proxy.clock.settle(100)
        assert caller.received == b""
        await proxy.clock.advance(2)
        assert caller.status == 429


async def test_a_standstill_holds_no_call_that_came_after_it() -> None:
    async with in_memory(reserve=0.2, batch=BATCH, wait=5) as proxy:
        await look(proxy, 20, reset=10_000)
        proxy.begin(get())
        await proxy.clock.settle()
        proxy.clock.stand_still(3600)
        late = proxy.begin(get())  # before the line is looked at again
        await proxy.clock.advance(4.5)
        assert late.received == b""
        await proxy.clock.advance(1)
        assert late.status == 429


async def test_an_answer_that_lies_in_a_socket_counts_before_a_wait_is_over() -> None:
    async with in_memory(reserve=0.2, batch=BATCH, wait=3) as proxy:
        await look(proxy, 20, reset=10_000)
        other = proxy.begin(get("clients"), Fate(), Fate(response=told(proxy, 89)))
        waiting = proxy.begin(get())
        await proxy.clock.advance(2.9)
        (delivery,) = proxy.mangopay.deliveries
        proxy.clock.stand_still(0.6)  # the time is over, and nobody has looked yet
        delivery.respond(told(proxy, 90))
        await proxy.clock.settle(100)
        assert (other.status, waiting.status) == (200, 200)


async def test_whoever_is_let_through_and_leaves_in_the_same_moment_gives_its_turn_back() -> None:
    async with in_memory(reserve=0.2, batch=BATCH, wait=60) as proxy:
        await look(proxy, 20)
        first, second = proxy.begin(get()), proxy.begin(get())
        await proxy.clock.settle()
        proxy.mangopay.script.extend([Fate(response=told(proxy, 30)), Fate(response=told(proxy, 29))])
        batch = lane(proxy)
        serve = batch.look

        def look_and_leave(head: ResponseHead, sent_at: float, at: float) -> None:
            serve(head, sent_at, at)
            first.leave()

        batch.look = look_and_leave  # type: ignore[method-assign]
        proxy.begin(get("clients"))
        await proxy.clock.advance(1)
        assert (first.received, second.status) == (b"", 200)
        assert held(proxy) == {"gone": 1, "sent": 1}
        nothing_is_left(proxy)


# --- the lane --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reserve", [0.0, 0.2])
@pytest.mark.parametrize("name", ["X-Sidecar-Lane", "x_sidecar_lane"])
@pytest.mark.parametrize("value", ["batch", "normal", "bulk"])
async def test_the_header_is_never_forwarded(reserve: float, name: str, value: str) -> None:
    async with in_memory(reserve=reserve) as proxy:
        await proxy.call(get("clients", f"{name}: {value}"), Fate(response=told(proxy, 90)))
        (delivery,) = proxy.mangopay.deliveries
        assert b"lane" not in delivery.head.lower()
        lanes = {"batch": "batch", "bulk": "unknown"}
        assert proxy.record.lane == (lanes.get(value) if reserve else None)


async def test_a_call_that_says_so_is_held_and_one_that_names_no_lane_is_not() -> None:
    async with in_memory(reserve=0.2) as proxy:
        await look(proxy, 0)
        caller = proxy.begin(get("clients", "X-Sidecar-Lane: batch"))
        await proxy.clock.settle()
        assert caller.status == 429
        caller = await proxy.call(get("clients", "X-Sidecar-Lane: bulk"), Fate(response=told(proxy, 0)))
        assert caller.status == 200


async def test_without_a_reserve_nothing_of_this_happens() -> None:
    async with in_memory(batch=BATCH) as proxy:
        await look(proxy, 0)
        caller = await proxy.call(get(), Fate(response=told(proxy, 0, status=429)))
        assert (caller.status, caller.header("Retry-After"), proxy.record.lane) == (429, None, None)


# --- 429 of Mangopay's -----------------------------------------------------------------------------------------------


async def test_a_429_gets_the_time_to_the_reset_of_the_window_that_is_used_up() -> None:
    async with in_memory(reserve=0.2) as proxy:
        caller = await proxy.call(get(), Fate(response=told(proxy, 0, status=429, reset=421)))
        assert (caller.status, caller.header("Retry-After")) == (429, "421")
        assert caller.header("X-Sidecar-Error") is None


async def test_one_that_says_when_to_retry_keeps_what_it_says() -> None:
    async with in_memory(reserve=0.2) as proxy:
        caller = await proxy.call(get(), Fate(response=told(proxy, 0, "retry-after: 7", status=429)))
        assert caller.header("Retry-After") == "7"


async def test_one_without_windows_is_told_by_those_that_were_told_last() -> None:
    async with in_memory(reserve=0.2) as proxy:
        await look(proxy, 0, reset=60)
        caller = await proxy.call(get(), Fate(response=respond(429, b"{}")))
        assert caller.header("Retry-After") == "60"


@pytest.mark.parametrize("remaining", [None, 5])
async def test_one_of_which_no_window_is_known_to_be_used_up_stays_as_it_is(remaining: int | None) -> None:
    async with in_memory(reserve=0.2) as proxy:
        response = respond(429, b"{}") if remaining is None else told(proxy, remaining, status=429)
        caller = await proxy.call(get(), Fate(response=response))
        assert (caller.status, caller.header("Retry-After")) == (429, None)


async def test_a_batch_call_waits_for_as_long_as_a_429_says() -> None:
    async with in_memory(reserve=0.2, batch=BATCH) as proxy:
        await proxy.call(get("clients"), Fate(response=told(proxy, 50, "Retry-After: 90", status=429)))
        caller = proxy.begin(get())
        await proxy.clock.settle()
        assert (caller.status, caller.header("Retry-After")) == (429, "90")


# --- many ------------------------------------------------------------------------------------------------------------


async def test_hundreds_that_wait_and_leave_leave_nothing() -> None:
    async with in_memory(reserve=0.2, batch=BATCH, wait=60) as proxy:
        await look(proxy, 20)
        callers = [proxy.begin(get()) for _ in range(300)]
        await proxy.clock.settle(100)
        assert lane(proxy).waiting == 300
        for caller in itertools.islice(callers, 0, None, 2):
            caller.leave()
        await proxy.clock.settle(100)
        assert lane(proxy).waiting == 150
        lane(proxy).close()
        await proxy.clock.settle(100)
        assert {caller.status for caller in callers[1::2]} == {503}
        nothing_is_left(proxy)
