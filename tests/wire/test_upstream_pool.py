"""The pool: last in, first out; a cap and a queue; nothing dead, stale or spoilt is handed out; nothing leaks."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest

from sidecar.core.resend import AttemptFailure, FailureKind, Sent
from sidecar.upstream.errors import UpstreamError
from sidecar.upstream.pool import IDLE_TIMEOUT
from tests.support.ports import free_port
from tests.support.upstreams import OK, Client, Peer, answering, client_of, hang, serve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sidecar.network.resolver import AddressInfo

pytestmark = pytest.mark.any_loop


async def waits(client: Client, count: int) -> None:
    while client.pool.waiting != count:
        await asyncio.sleep(0)


# --- which one is taken ----------------------------------------------------------------------------------------------


async def test_the_connection_used_last_is_used_first() -> None:
    async with serve(answering(OK)) as upstream, client_of(upstream) as client:
        connections = [await client.acquire() for _ in range(3)]
        for index in (1, 0, 2):
            connections[index].release()
        taken = [await client.acquire() for _ in range(3)]
        assert taken == [connections[index] for index in (2, 0, 1)]
        for connection in taken:
            connection.release()


async def test_one_caller_after_another_needs_one_connection() -> None:
    async with serve(answering(OK)) as upstream, client_of(upstream) as client:
        for _ in range(10):
            await client.call()
        assert len(upstream.peers) == 1
        assert (client.pool.open, client.pool.idle) == (1, 1)


async def test_a_connection_knows_whether_it_was_idle_before() -> None:
    async with serve(answering(OK)) as upstream, client_of(upstream) as client:
        first = await client.acquire()
        assert not first.reused
        first.release()
        again = await client.acquire()
        assert again.reused
        again.release()


async def test_pool_and_connections_say_what_they_are_doing() -> None:
    async with serve(hang) as upstream, client_of(upstream, size=2) as client:
        assert repr(client.pool) == "<Pool [0 open, 0 idle, 0 waiting]>"
        first, second = await client.acquire(), await client.acquire()
        assert repr(first) == "<Connection [READY, new, sent NOTHING]>"
        second.release()
        assert repr(client.pool) == "<Pool [2 open, 1 idle, 0 waiting]>"
        second = await client.acquire()
        assert repr(second) == "<Connection [READY, reused, sent NOTHING]>"
        waiting = asyncio.ensure_future(client.acquire())
        await waits(client, 1)
        assert repr(client.pool) == "<Pool [2 open, 0 idle, 1 waiting]>"
        call = asyncio.ensure_future(first.exchange(b"GET / HTTP/1.1\r\n\r\n", None, head_only=False, timeout=9.0))
        await asyncio.sleep(0)
        assert repr(first) == "<Connection [HEAD, new, sent ALL]>"
        first.abort()
        assert repr(first) == "<Connection [CLOSED, new, sent ALL]>"
        await asyncio.wait([call])
        assert isinstance(call.exception(), UpstreamError)
        (await waiting).abort()
        second.abort()


async def test_a_fresh_connection_is_a_new_one() -> None:
    async with serve(answering(OK)) as upstream, client_of(upstream) as client:
        await client.call()
        fresh = await client.acquire(fresh=True)
        assert not fresh.reused
        assert (client.pool.open, client.pool.idle) == (2, 1)
        fresh.release()


async def test_a_fresh_connection_takes_the_place_of_the_idle_one_that_is_oldest() -> None:
    async with serve(answering(OK)) as upstream, client_of(upstream, size=2) as client:
        older, newer = await client.acquire(), await client.acquire()
        older.release()
        newer.release()
        fresh = await client.acquire(fresh=True)
        assert fresh not in (older, newer)
        assert (client.pool.open, client.pool.idle) == (2, 1)
        assert await client.acquire() is newer
        newer.abort()
        fresh.abort()


async def test_what_was_sent_is_counted_anew_for_each_call() -> None:
    async with serve(answering(OK)) as upstream, client_of(upstream) as client:
        await client.call("POST", body=b"{}")
        connection = await client.acquire()
        assert connection.reused
        assert connection.sent is Sent.NOTHING
        connection.release()


# --- the cap and the queue -------------------------------------------------------------------------------------------


async def test_no_more_connections_than_the_cap() -> None:
    async with serve(answering(OK)) as upstream, client_of(upstream, size=3) as client:
        await asyncio.gather(*(client.call() for _ in range(50)))
        assert len(upstream.peers) == 3
        assert len(upstream.requests) == 50
        assert (client.pool.open, client.pool.idle, client.pool.waiting) == (3, 3, 0)


async def test_connections_being_opened_count() -> None:
    opened = asyncio.Event()

    async def resolve(host: str, port: int) -> Sequence[AddressInfo]:
        await opened.wait()
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", port))]

    async with serve(answering(OK)) as upstream, client_of(upstream, size=2, resolve=resolve) as client:
        calls = [asyncio.create_task(client.call()) for _ in range(5)]
        await waits(client, 3)
        assert client.pool.open == 2
        opened.set()
        await asyncio.gather(*calls)
        assert len(upstream.peers) == 2


async def test_whoever_waits_longest_is_served_first() -> None:
    order: list[int] = []
    async with serve(answering(OK)) as upstream, client_of(upstream, size=1) as client:
        held = await client.acquire()

        async def wait(number: int) -> None:
            connection = await client.acquire()
            order.append(number)
            assert connection is held
            assert connection.reused
            connection.release()

        waiters = []
        for number in range(5):
            waiters.append(asyncio.create_task(wait(number)))
            await waits(client, number + 1)
        held.release()
        await asyncio.gather(*waiters)
        assert order == [0, 1, 2, 3, 4]


async def test_nobody_jumps_the_queue() -> None:
    async with serve(answering(OK)) as upstream, client_of(upstream, size=1) as client:
        held = await client.acquire()
        first = asyncio.create_task(client.acquire())
        await waits(client, 1)
        held.release()
        late = asyncio.create_task(client.acquire())
        got = await first
        assert not late.done()
        got.release()
        (await late).release()


async def test_a_wait_ends_with_its_deadline() -> None:
    async with serve(answering(OK)) as upstream, client_of(upstream, size=1) as client:
        held = await client.acquire()
        short = asyncio.create_task(client.acquire(within=12))
        long = asyncio.create_task(client.acquire(within=20))
        await waits(client, 2)
        await client.clock.advance(11)
        assert not short.done()
        await client.clock.advance(1.5)
        with pytest.raises(UpstreamError) as caught:
            await short
        assert caught.value.failure == AttemptFailure(
            FailureKind.NO_SLOT, Sent.NOTHING, reused=False, response_started=False
        )
        assert not long.done()
        held.release()
        (await long).release()
        assert upstream.requests == []


async def test_a_slot_that_becomes_free_at_the_deadline_is_not_used_to_connect() -> None:
    async with serve(answering(OK)) as upstream, client_of(upstream, size=1) as client:
        held = await client.acquire()
        waiter = asyncio.create_task(client.acquire(within=12, fresh=True))
        await waits(client, 1)
        await client.clock.advance(11.9)
        client.clock._now += 0.2  # the sweeper has not looked yet
        held.abort()
        with pytest.raises(UpstreamError) as caught:
            await waiter
        assert caught.value.failure.kind is FailureKind.NO_SLOT
        assert client.pool.open == 0


async def test_a_broken_connection_leaves_its_slot_to_whoever_waits() -> None:
    async with serve(answering(OK)) as upstream, client_of(upstream, size=1) as client:
        held = await client.acquire()
        waiter = asyncio.create_task(client.acquire())
        await waits(client, 1)
        held.abort()
        new = await waiter
        assert not new.reused
        new.release()
        assert len(upstream.peers) == 2


async def test_whoever_waits_for_a_fresh_connection_gets_no_used_one() -> None:
    async with serve(answering(OK)) as upstream, client_of(upstream, size=1) as client:
        held = await client.acquire()
        waiter = asyncio.create_task(client.acquire(fresh=True))
        await waits(client, 1)
        held.release()
        fresh = await waiter
        assert fresh is not held
        assert not fresh.reused
        fresh.release()


async def test_a_failed_connect_leaves_its_slot_to_whoever_waits() -> None:
    attempts = 0
    held = asyncio.Event()

    async def resolve(host: str, port: int) -> Sequence[AddressInfo]:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            await held.wait()
            raise socket.gaierror(socket.EAI_AGAIN, "later")
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", port))]

    async with serve(answering(OK)) as upstream, client_of(upstream, size=1, resolve=resolve) as client:
        first = asyncio.create_task(client.acquire())
        second = asyncio.create_task(client.acquire())
        await waits(client, 1)
        held.set()
        with pytest.raises(UpstreamError):
            await first
        (await second).release()


# --- what is not reused ----------------------------------------------------------------------------------------------


async def test_an_idle_connection_is_closed_after_a_while() -> None:
    async with serve(answering(OK)) as upstream, client_of(upstream) as client:
        await client.call()
        await client.clock.advance(IDLE_TIMEOUT - 1)
        assert client.pool.idle == 1
        await client.clock.advance(1.5)
        assert client.pool.open == 0
        await upstream.peers[0].ended.wait()


async def test_each_use_makes_a_connection_young_again() -> None:
    async with serve(answering(OK)) as upstream, client_of(upstream) as client:
        for _ in range(5):
            await client.call()
            await client.clock.advance(IDLE_TIMEOUT - 5)
        assert len(upstream.peers) == 1


async def test_an_expired_connection_is_not_used_even_before_the_sweeper_comes() -> None:
    async with serve(answering(OK)) as upstream, client_of(upstream) as client:
        await client.call()
        client.clock._now += IDLE_TIMEOUT
        await client.call()
        assert [request.connection for request in upstream.requests] == [0, 1]


@pytest.mark.parametrize(("hint", "kept"), [(b"timeout=5", 4), (b"timeout=5, max=100", 4), (b"timeout=1000", 30)])
async def test_upstreams_own_idle_time_counts_if_it_is_shorter(hint: bytes, kept: int) -> None:
    response = b"HTTP/1.1 200 OK\r\nKeep-Alive: %b\r\nContent-Length: 0\r\n\r\n" % hint
    async with serve(answering(response)) as upstream, client_of(upstream) as client:
        await client.call()
        await client.clock.advance(kept - 1)
        assert client.pool.idle == 1
        await client.clock.advance(1.5)
        assert client.pool.idle == 0
        assert len(upstream.peers) == 1


@pytest.mark.parametrize("hint", [b"timeout=1", b"timeout=0"])
async def test_an_idle_time_too_short_to_rely_on_means_no_reuse(hint: bytes) -> None:
    response = b"HTTP/1.1 200 OK\r\nKeep-Alive: %b\r\nContent-Length: 0\r\n\r\n" % hint
    async with serve(answering(response)) as upstream, client_of(upstream) as client:
        await client.call()
        assert client.pool.open == 0
        assert len(upstream.peers) == 1


async def test_bytes_on_an_idle_connection_close_it() -> None:
    go_on = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await go_on.wait()
        await peer.send(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
        await peer.gone()

    async with serve(script) as upstream, client_of(upstream) as client:
        await client.call()
        assert client.pool.idle == 1
        go_on.set()
        await upstream.peers[0].ended.wait()
        assert client.pool.open == 0


async def test_an_idle_connection_that_upstream_closes_leaves_the_pool() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)

    async with serve(script) as upstream, client_of(upstream) as client:
        await client.call()
        while client.pool.open:
            await asyncio.sleep(0)
        assert client.pool.idle == 0
        assert len(upstream.peers) == 1


async def test_a_half_closed_connection_is_not_reused() -> None:
    """Upstream sends its end along with the response and still reads: another request might get no response."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        peer.finish()
        await peer.gone()

    async with serve(script) as upstream, client_of(upstream) as client:
        await client.call("POST")
        await upstream.peers[0].ended.wait()
        await client.call("POST")
        assert [request.connection for request in upstream.requests] == [0, 1]


async def test_the_sweeper_sleeps_while_there_is_nothing_to_watch() -> None:
    """An idle sidecar wakes nobody."""
    async with serve(answering(OK)) as upstream, client_of(upstream) as client:
        assert len(client.tasks) == 0
        for _ in range(2):
            await client.call()
            assert len(client.tasks) == 1
            await client.clock.advance(IDLE_TIMEOUT + 1)
            assert len(client.tasks) == 0


# --- where it connects to --------------------------------------------------------------------------------------------


async def test_the_name_is_resolved_for_every_new_connection() -> None:
    """Mangopay moves to another address: the next connection follows."""
    async with serve(answering(OK)) as old, serve(answering(OK)) as new:
        ports = [old.port, new.port]
        asked: list[tuple[str, int]] = []

        async def resolve(host: str, port: int) -> Sequence[AddressInfo]:
            asked.append((host, port))
            return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", ports.pop(0)))]

        async with client_of(old, resolve=resolve) as client:
            await client.call()
            await client.call()
            (await client.acquire()).abort()
            await client.call()
        assert asked == [(old.endpoint.host, old.port)] * 2
        assert (len(old.requests), len(new.requests)) == (2, 1)


class Blackhole:
    """An address that takes no connection and refuses none: a listener whose backlog is full."""

    def __init__(self) -> None:
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(0)
        self._fill = [socket.socket() for _ in range(4)]

    def __enter__(self) -> tuple[str, int]:
        address: tuple[str, int] = self._listener.getsockname()
        for each in self._fill:
            each.setblocking(False)
            each.connect_ex(address)
        return address

    def __exit__(self, *_: object) -> None:
        for each in (*self._fill, self._listener):
            each.close()


async def test_an_address_that_does_not_answer_does_not_hold_up_the_next() -> None:
    """Happy eyeballs: a dead route (IPv6, often) costs a quarter of a second, not the connect timeout."""
    with Blackhole() as hole:
        async with serve(answering(OK)) as upstream:

            async def resolve(host: str, port: int) -> Sequence[AddressInfo]:
                return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", each) for each in (hole, ("127.0.0.1", port))]

            async with client_of(upstream, resolve=resolve, connect_timeout=30) as client:
                await client.call()
            assert len(upstream.requests) == 1


async def test_an_address_that_refuses_does_not_hold_up_the_next() -> None:
    refusing = ("127.0.0.1", free_port())
    async with serve(answering(OK)) as upstream:

        async def resolve(host: str, port: int) -> Sequence[AddressInfo]:
            return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", address) for address in (refusing, ("127.0.0.1", port))]

        async with client_of(upstream, resolve=resolve) as client:
            await client.call()
        assert len(upstream.requests) == 1


async def test_a_connect_that_hangs_ends_with_the_connect_timeout() -> None:
    with Blackhole() as hole:
        async with serve(hang) as upstream:

            async def resolve(host: str, port: int) -> Sequence[AddressInfo]:
                return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", hole)]

            async with client_of(upstream, resolve=resolve, connect_timeout=0.05) as client:
                with pytest.raises(UpstreamError) as caught:
                    await client.acquire()
                assert caught.value.failure.kind is FailureKind.CONNECT
                assert caught.value.detail == "not done within 0.05 s"
                assert client.pool.open == 0


# --- the end ---------------------------------------------------------------------------------------------------------


async def test_closing_ends_everything_at_once() -> None:
    async with serve(hang) as upstream, client_of(upstream, size=2) as client:
        idle = await client.acquire()
        in_use = asyncio.create_task(client.ask("POST"))
        await upstream.has_requests(1)
        idle.release()
        taken = await client.acquire()
        waiter = asyncio.create_task(client.acquire())
        await waits(client, 1)
        taken.release()
        (await waiter).release()
        holder = await client.acquire()
        waiter = asyncio.create_task(client.acquire())
        await waits(client, 1)
        await client.pool.close()
        with pytest.raises(UpstreamError) as caught:
            await in_use
        assert caught.value.failure == AttemptFailure(FailureKind.LOST, Sent.ALL, reused=False, response_started=False)
        with pytest.raises(UpstreamError) as caught:
            await waiter
        assert caught.value.failure.kind is FailureKind.NO_SLOT
        with pytest.raises(UpstreamError):
            await client.acquire()
        holder.release()
        assert (client.pool.open, client.pool.idle) == (0, 0)
        for peer in upstream.peers:
            await peer.ended.wait()


async def test_a_connection_that_opens_while_the_pool_closes_is_closed() -> None:
    resolving, go_on = asyncio.Event(), asyncio.Event()

    async def resolve(host: str, port: int) -> Sequence[AddressInfo]:
        resolving.set()
        await go_on.wait()
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", port))]

    async with serve(answering(OK)) as upstream, client_of(upstream, resolve=resolve) as client:
        acquiring = asyncio.create_task(client.acquire())
        await resolving.wait()
        await client.pool.close()
        go_on.set()
        with pytest.raises(UpstreamError):
            await acquiring
        assert client.pool.open == 0


async def test_a_connection_given_back_after_closing_is_closed() -> None:
    async with serve(answering(OK)) as upstream, client_of(upstream) as client:
        response = await client.ask()
        await client.pool.close()
        response.release()
        assert client.pool.open == 0
        assert response.take_whole() == OK[-12:]


async def test_giving_back_twice_gives_back_once() -> None:
    async with serve(answering(OK)) as upstream, client_of(upstream) as client:
        connection = await client.acquire()
        connection.release()
        connection.release()
        assert (client.pool.open, client.pool.idle) == (1, 1)
        connection.abort()
        connection.abort()
        connection.release()
        assert (client.pool.open, client.pool.idle) == (0, 0)


# --- a process that stood still --------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [0.6, 4.0, 3600.0])
async def test_a_response_that_came_in_time_is_taken_after_a_standstill(seconds: float) -> None:
    here = asyncio.Event()

    async def late(peer: Peer) -> None:
        await peer.request()
        here.set()
        await hang(peer)

    async with serve(late) as upstream, client_of(upstream) as client:
        call = asyncio.create_task(client.ask(timeout=10.0))
        await here.wait()
        await client.clock.advance(9.9)
        transport = upstream.peers[0]._transport
        assert transport is not None
        transport.write(OK)
        client.clock.stand_still(seconds)
        response = await call
        assert response.status == 200
        response.release()


async def test_upstream_has_the_time_that_it_had_before_the_standstill() -> None:
    async with serve(hang) as upstream, client_of(upstream) as client:
        call = asyncio.create_task(client.ask(timeout=10.0))
        await upstream.until(lambda: bool(upstream.peers))
        await client.clock.advance(5.0)
        client.clock.stand_still(3600.0)
        await client.clock.advance(4.0)
        assert not call.done()
        await client.clock.advance(2.0)
        with pytest.raises(UpstreamError) as caught:
            await call
        assert caught.value.failure.kind is FailureKind.TIMEOUT


async def test_a_look_at_the_sockets_that_takes_long_is_no_standstill() -> None:
    """As on a machine with very much to do: else the time that passes would be given back again and again."""
    async with serve(hang) as upstream, client_of(upstream) as client:
        first = asyncio.create_task(client.ask(timeout=10.0))
        await upstream.until(lambda: len(upstream.peers) == 1)
        await client.clock.advance(0.5)
        second = asyncio.create_task(client.ask(timeout=10.0))
        await upstream.until(lambda: len(upstream.peers) == 2)
        begin = client.clock.now()
        while client.clock.now() - begin < 60.0:
            client.clock.stand_still(0.05)  # for one pass of the loop, of which a look takes many
            await asyncio.sleep(0)
        for call in (first, second):
            assert call.done()
            with pytest.raises(UpstreamError) as caught:
                await call
            assert caught.value.failure.kind is FailureKind.TIMEOUT


async def test_a_wait_for_a_connection_outlives_a_standstill() -> None:
    async with serve(answering(OK)) as upstream, client_of(upstream, size=1) as client:
        held = await client.acquire()
        waiter = asyncio.create_task(client.acquire(within=12))
        fresh = asyncio.create_task(client.acquire(within=12, fresh=True))
        await waits(client, 2)
        await client.clock.advance(6.0)
        client.clock.stand_still(60.0)
        await client.clock.settle()
        held.release()
        taken = await waiter
        taken.release()
        (await fresh).release()


async def test_a_slot_that_becomes_free_right_after_a_standstill_is_used_to_connect() -> None:
    """Whatever happened meanwhile may be seen before the sweeper looks."""
    async with serve(answering(OK)) as upstream, client_of(upstream, size=1) as client:
        held = await client.acquire()
        waiter = asyncio.create_task(client.acquire(within=12, fresh=True))
        await waits(client, 1)
        await client.clock.advance(6.0)
        client.clock._now += 60.0
        held.abort()
        (await waiter).release()


async def test_standstills_that_end_before_the_deadline_do_not_count_either() -> None:
    async with serve(hang) as upstream, client_of(upstream, size=1) as client:
        call = asyncio.create_task(client.ask(timeout=10.0))
        await upstream.until(lambda: bool(upstream.peers))
        waiter = asyncio.create_task(client.acquire(within=12))
        await waits(client, 1)
        for _ in range(3):
            await client.clock.advance(1.0)
            client.clock.stand_still(4.0)
        await client.clock.advance(6.0)
        assert not call.done()
        assert not waiter.done()
        await client.clock.advance(2.0)
        with pytest.raises(UpstreamError):
            await call
        (await waiter).release()


async def test_an_exchange_that_begins_after_a_standstill_has_no_more_time_by_it() -> None:
    async with serve(hang) as upstream, client_of(upstream, size=2) as client:
        held = await client.acquire()
        client.clock._now += 3600.0  # the sweeper has not looked yet
        call = asyncio.create_task(client.ask(timeout=10.0))
        await upstream.until(lambda: len(upstream.peers) == 2)
        await client.clock.settle()
        await client.clock.advance(11.0)
        with pytest.raises(UpstreamError):
            await call
        held.release()


async def test_an_idle_connection_does_not_get_younger_in_a_standstill() -> None:
    """Upstream's patience goes on: it has closed it, or is about to."""
    async with serve(answering(OK)) as upstream, client_of(upstream) as client:
        await client.call()
        client.clock.stand_still(IDLE_TIMEOUT + 1)
        await client.clock.settle()
        assert client.pool.idle == 0
