"""Every row of the resend table, produced by a real upstream: what is said to have been sent is what was received."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from typing import TYPE_CHECKING

import pytest

from sidecar.core.resend import AttemptFailure, Event, FailureKind, Sent, classify, decide
from sidecar.upstream.byte_protocol import ByteProtocol
from sidecar.upstream.dialing import Dialer
from sidecar.upstream.errors import UpstreamError
from tests.support.ports import free_port
from tests.support.upstreams import (
    OK,
    Client,
    Peer,
    Script,
    Source,
    Upstream,
    answering,
    client_of,
    hang,
    in_turn,
    serve,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sidecar.network.resolver import AddressInfo
    from sidecar.upstream.connection import Connection

pytestmark = pytest.mark.any_loop

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


async def reset_after_request(peer: Peer) -> None:
    await peer.request()
    peer.reset()


async def close_after_request(peer: Peer) -> None:
    await peer.request()


async def failure_of(
    client: Client, method: str = "POST", body: bytes | Source | None = None, connection: Connection | None = None
) -> AttemptFailure:
    with pytest.raises(UpstreamError) as caught:
        await client.ask(method, body=body, connection=connection)
    return caught.value.failure


# --- the connection broke --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("script", [reset_after_request, close_after_request])
async def test_a_request_that_broke_is_received_exactly_once(method: str, script: Script) -> None:
    """No silent resend, for any method, on a fresh connection."""
    async with serve(script) as upstream, client_of(upstream) as client:
        failure = await failure_of(client, method)
        assert failure == AttemptFailure(FailureKind.LOST, Sent.ALL, reused=False, response_started=False)
        assert [request.method for request in upstream.requests] == [method]
        assert len(upstream.peers) == 1
        assert not decide(failure, method, 1, 0).resend


@pytest.mark.parametrize("method", METHODS)
async def test_a_request_that_broke_on_a_reused_connection_is_received_exactly_once(method: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.request()
        peer.reset()

    async with serve(script) as upstream, client_of(upstream) as client:
        await client.call("GET", "/first")
        failure = await failure_of(client, method)
        assert failure == AttemptFailure(FailureKind.LOST, Sent.ALL, reused=True, response_started=False)
        assert [request.method for request in upstream.requests] == ["GET", method]
        assert decide(failure, method, 1, 0).resend is (method in {"GET", "HEAD"})


async def test_a_break_within_the_head_counts_as_a_started_response() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK[:20])

    async with serve(script) as upstream, client_of(upstream) as client:
        failure = await failure_of(client, "GET")
        assert failure == AttemptFailure(FailureKind.LOST, Sent.ALL, reused=False, response_started=True)
        assert classify(failure) is Event.BROKEN


async def test_a_break_after_an_interim_response_counts_as_a_started_response() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")

    async with serve(script) as upstream, client_of(upstream) as client:
        assert (await failure_of(client, "GET")).response_started


async def test_a_break_during_an_upload_says_that_a_part_was_sent() -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.take(100_000)
        peer.reset()

    gate = asyncio.Event()
    source = Source(b"x" * 100_000, b"y" * 100_000, gate=gate)
    async with serve(script) as upstream, client_of(upstream) as client:
        failure = await failure_of(client, body=source)
        assert failure == AttemptFailure(FailureKind.LOST, Sent.PART, reused=False, response_started=False)
        assert not source.is_waited_for()
        assert upstream.requests == []


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n0\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n0\r\nTrailer: x\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Length: 10\r\n\r\n12345",
    ],
)
@pytest.mark.parametrize("reset", [True, False])
async def test_a_truncated_body_never_ends_cleanly(response: bytes, reset: bool) -> None:
    read = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(response)
        await read.wait()
        if reset:
            peer.reset()

    async with serve(script) as upstream, client_of(upstream) as client:
        received = await client.ask()
        assert await received.read() == b"12345"
        read.set()
        with pytest.raises(UpstreamError) as caught:
            await received.read()
        assert caught.value.failure == AttemptFailure(FailureKind.LOST, Sent.ALL, reused=False, response_started=True)
        assert not received.complete
        assert received.take_whole() is None
        with pytest.raises(UpstreamError):  # and not the second time either
            await received.read()
        received.release()
        assert client.pool.open == 0


async def test_what_arrived_before_a_cut_is_read_first() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345")

    async with serve(script) as upstream, client_of(upstream) as client:
        response = await client.ask()
        await upstream.peers[0].lost.wait()
        while client.pool.open:
            await asyncio.sleep(0)
        assert await response.read() == b"12345"
        with pytest.raises(UpstreamError):
            await response.read()


# --- dead before a byte was written ----------------------------------------------------------------------------------


async def test_a_connection_that_upstream_closed_when_idle_is_not_used_again() -> None:
    async def once(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)

    async with serve(once) as upstream, client_of(upstream) as client:
        for number in range(1, 4):
            await client.call("POST")
            await upstream.peers[-1].lost.wait()
            assert len(upstream.peers) == number
        assert [request.connection for request in upstream.requests] == [0, 1, 2]


async def test_a_connection_that_died_between_acquiring_and_sending_is_told_apart() -> None:
    close = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await close.wait()

    async with serve(script) as upstream, client_of(upstream) as client:
        await client.call()
        connection = await client.acquire()
        close.set()
        await upstream.peers[0].lost.wait()
        failure = await failure_of(client, "POST", connection=connection)
        assert failure == AttemptFailure(
            FailureKind.DEAD_BEFORE_WRITE, Sent.NOTHING, reused=True, response_started=False
        )
        assert decide(failure, "POST", 0, 0).resend
        assert [request.method for request in upstream.requests] == ["GET"]


class Listener:
    """A listening socket whose connections the test takes itself: what happens there, the event loop has not seen."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.upstream = Upstream(hang)
        self.upstream.port = self.socket.getsockname()[1]

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()


async def test_an_end_that_the_loop_has_not_seen_is_noticed_before_writing() -> None:
    with Listener() as listener:
        async with client_of(listener.upstream) as client:
            connection = await client.acquire()
            accepted, _ = listener.socket.accept()
            accepted.close()
            failure = await failure_of(client, "POST", connection=connection)
            assert failure == AttemptFailure(
                FailureKind.DEAD_BEFORE_WRITE, Sent.NOTHING, reused=False, response_started=False
            )
            assert client.pool.open == 0


async def test_a_pooled_connection_whose_end_the_loop_has_not_seen_is_replaced() -> None:
    with Listener() as listener:
        async with client_of(listener.upstream) as client:
            connection = await client.acquire()
            connection.release()
            accepted, _ = listener.socket.accept()
            accepted.close()
            replacement = await client.acquire()
            assert replacement is not connection
            assert not replacement.reused
            replacement.abort()


async def test_bytes_that_nobody_asked_for_are_never_taken_for_a_response() -> None:
    """An upstream (or whoever broke into it) answers before it is asked: the request is not sent on that connection."""
    with Listener() as listener:
        async with client_of(listener.upstream) as client:
            connection = await client.acquire()
            accepted, _ = listener.socket.accept()
            with accepted:
                accepted.sendall(OK)
                failure = await failure_of(client, "POST", connection=connection)
                assert failure.kind is FailureKind.DEAD_BEFORE_WRITE
                assert failure.sent is Sent.NOTHING
                accepted.setblocking(False)
                assert await asyncio.get_running_loop().sock_recv(accepted, 1) == b""


async def test_what_waits_on_a_socket_may_be_harmless(monkeypatch: pytest.MonkeyPatch) -> None:
    """TLS 1.3 session tickets look like bytes that nobody asked for, until the loop has read them."""
    looks = iter([False, False, True])
    async with serve(answering(OK)) as upstream, client_of(upstream) as client:
        connection = await client.acquire()
        monkeypatch.setattr(ByteProtocol, "is_quiet", lambda self: next(looks))
        response = await client.ask(connection=connection)
        monkeypatch.undo()
        assert response.status == 200
        response.release()


async def test_a_connection_carries_one_exchange_at_a_time() -> None:
    async with serve(hang) as upstream, client_of(upstream) as client:
        connection = await client.acquire()
        first = asyncio.create_task(client.ask("POST", connection=connection))
        await upstream.has_requests(1)
        with pytest.raises(RuntimeError, match="one exchange"):
            await client.ask("POST", connection=connection)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert len(upstream.requests) == 1


# --- no connection at all --------------------------------------------------------------------------------------------


async def test_a_refused_connection_sends_nothing() -> None:
    upstream = Upstream(hang)
    upstream.port = free_port()
    async with client_of(upstream) as client:
        with pytest.raises(UpstreamError) as caught:
            await client.acquire()
        assert caught.value.failure == AttemptFailure(
            FailureKind.CONNECT, Sent.NOTHING, reused=False, response_started=False
        )
        assert caught.value.detail == os.strerror(errno.ECONNREFUSED).lower()
        assert client.pool.open == 0


@pytest.mark.parametrize("error", [socket.gaierror(socket.EAI_NONAME, "who?"), UnicodeError("label too long")])
async def test_a_name_that_does_not_resolve_sends_nothing(error: Exception) -> None:
    async def resolve(host: str, port: int) -> Sequence[AddressInfo]:
        raise error

    async with serve(hang) as upstream, client_of(upstream, resolve=resolve) as client:
        with pytest.raises(UpstreamError) as caught:
            await client.acquire()
        assert caught.value.failure.kind is FailureKind.RESOLVE
        assert client.pool.open == 0
        assert upstream.peers == []


async def test_a_name_without_an_address_is_a_failure_to_connect() -> None:
    async def resolve(host: str, port: int) -> Sequence[AddressInfo]:
        return []

    async with serve(hang) as upstream, client_of(upstream, resolve=resolve) as client:
        with pytest.raises(UpstreamError) as caught:
            await client.acquire()
        assert caught.value.failure.kind is FailureKind.CONNECT


async def test_a_resolver_that_hangs_is_given_up_after_the_connect_timeout() -> None:
    async def resolve(host: str, port: int) -> Sequence[AddressInfo]:
        await asyncio.Event().wait()
        return []

    async with serve(hang) as upstream, client_of(upstream, resolve=resolve, connect_timeout=0.01) as client:
        with pytest.raises(UpstreamError) as caught:
            await client.acquire()
        assert caught.value.failure.kind is FailureKind.RESOLVE
        assert caught.value.detail == "not done within 0.01 s"


async def test_the_deadline_of_the_call_bounds_connecting_too() -> None:
    async def resolve(host: str, port: int) -> Sequence[AddressInfo]:
        await asyncio.Event().wait()
        return []

    async with serve(hang) as upstream, client_of(upstream, resolve=resolve, connect_timeout=1000) as client:
        with pytest.raises(UpstreamError) as caught:
            await client.acquire(within=0.01)
        assert caught.value.failure.kind is FailureKind.RESOLVE


async def test_a_connection_that_is_lost_as_soon_as_it_is_made_sends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """An overloaded server takes connections and closes them; on uvloop that is often seen before the dial returns."""
    dial = Dialer.dial

    async def lose(self: Dialer, make: Callable[[], Connection], limit: float) -> tuple[Connection, socket.socket]:
        connection, raw = await dial(self, make, limit)
        connection.eof_received()
        return connection, raw

    monkeypatch.setattr(Dialer, "dial", lose)
    async with serve(hang) as upstream, client_of(upstream) as client:
        with pytest.raises(UpstreamError) as caught:
            await client.ask("POST")
        assert caught.value.failure == AttemptFailure(
            FailureKind.CONNECT, Sent.NOTHING, reused=False, response_started=False
        )
        assert client.pool.open == 0
        assert upstream.requests == []


async def test_a_server_that_takes_connections_only_to_close_them_gets_no_request() -> None:
    async def script(peer: Peer) -> None:
        """Close at once."""

    async def attempt(client: Client, upstream: Upstream, number: int) -> None:
        connection = await client.acquire()
        await upstream.until(lambda: len(upstream.peers) > number)
        await upstream.peers[number].lost.wait()
        await client.ask("POST", connection=connection)

    async with serve(script) as upstream, client_of(upstream) as client:
        for number in range(20):
            with pytest.raises(UpstreamError) as caught:
                await attempt(client, upstream, number)
            assert classify(caught.value.failure) in {Event.UNREACHABLE, Event.DEAD_POOLED}
        assert b"".join(bytes(peer.received) for peer in upstream.peers) == b""
        assert client.pool.open == 0


# --- no response in time ----------------------------------------------------------------------------------------------


async def test_a_hung_upstream_times_out_and_hurts_no_other_call() -> None:
    async with serve(in_turn(hang, answering(OK))) as upstream, client_of(upstream) as client:
        hung = asyncio.create_task(client.ask("POST", timeout=60))
        await upstream.has_requests(1)
        await client.clock.advance(59)
        assert not hung.done()
        await client.call()
        await client.clock.advance(2)
        with pytest.raises(UpstreamError) as caught:
            await hung
        assert caught.value.failure == AttemptFailure(
            FailureKind.TIMEOUT, Sent.ALL, reused=False, response_started=False
        )
        assert caught.value.detail == "no response within 60 s"
        await client.call()
        assert [request.connection for request in upstream.requests] == [0, 1, 1]


async def test_a_trickled_head_does_not_put_the_timeout_off() -> None:
    step = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        for index in range(len(OK)):
            await peer.send(OK[index : index + 1])
            await step.wait()
            step.clear()

    async with serve(script) as upstream, client_of(upstream) as client:
        call = asyncio.create_task(client.ask("POST", timeout=60))
        await upstream.has_requests(1)
        for _ in range(13):
            await client.clock.advance(5)
            step.set()
        with pytest.raises(UpstreamError) as caught:
            await call
        assert caught.value.failure == AttemptFailure(
            FailureKind.TIMEOUT, Sent.ALL, reused=False, response_started=True
        )


async def test_interim_responses_do_not_put_the_timeout_off() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 102 Processing\r\n\r\n")
        await peer.gone()

    async with serve(script) as upstream, client_of(upstream) as client:
        call = asyncio.create_task(client.ask("POST", timeout=60))
        await upstream.has_requests(1)
        await client.clock.advance(61)
        with pytest.raises(UpstreamError) as caught:
            await call
        assert caught.value.failure.kind is FailureKind.TIMEOUT


async def test_a_body_may_take_longer_than_the_timeout_but_not_pause_longer() -> None:
    step = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
        for _ in range(3):
            await step.wait()
            step.clear()
            await peer.send(b"x")
        await peer.gone()

    async with serve(script) as upstream, client_of(upstream) as client:
        response = await client.ask(timeout=60)
        await client.clock.advance(500)  # nobody reads: this is the caller's time, not upstream's
        for _ in range(3):
            read = asyncio.create_task(response.read())
            await client.clock.advance(50)
            step.set()
            assert await read == b"x"
        await client.clock.advance(500)
        read = asyncio.create_task(response.read())
        await client.clock.advance(59)
        assert not read.done()
        await client.clock.advance(2)
        with pytest.raises(UpstreamError) as caught:
            await read
        assert caught.value.failure == AttemptFailure(
            FailureKind.TIMEOUT, Sent.ALL, reused=False, response_started=True
        )
        assert caught.value.detail == "no more of the body within 60 s"
        response.release()


async def test_an_upstream_that_does_not_read_a_large_body_times_out() -> None:
    async def script(peer: Peer) -> None:
        peer.stop_reading()
        await peer.gone()

    async with serve(script) as upstream, client_of(upstream) as client:
        call = asyncio.create_task(client.ask("POST", body=bytes(14_000_000), timeout=60))
        await upstream.until(lambda: len(upstream.peers) == 1)
        await client.clock.advance(61)
        with pytest.raises(UpstreamError) as caught:
            await call
        assert caught.value.failure == AttemptFailure(
            FailureKind.TIMEOUT, Sent.PART, reused=False, response_started=False
        )
        assert "took nothing" in caught.value.detail


async def test_a_streamed_request_is_timed_from_its_last_byte() -> None:
    gate = asyncio.Event()
    source = Source(b"first", b"last", gate=gate)
    async with serve(hang) as upstream, client_of(upstream) as client:
        call = asyncio.create_task(client.ask("POST", body=source, timeout=60))
        await upstream.until(lambda: any(peer.received.endswith(b"first") for peer in upstream.peers))
        await client.clock.advance(1000)  # the caller takes its time
        gate.set()
        await upstream.has_requests(1)
        await client.clock.advance(59)
        assert not call.done()
        await client.clock.advance(2)
        with pytest.raises(UpstreamError) as caught:
            await call
        assert caught.value.failure == AttemptFailure(
            FailureKind.TIMEOUT, Sent.ALL, reused=False, response_started=False
        )


async def test_a_caller_may_take_its_time_after_upstream_took_its_own() -> None:
    """The timer that watched upstream read is off while the caller is waited for."""
    gate = asyncio.Event()
    source = Source(bytes(10_000_000), b"last", gate=gate)
    async with serve(hang) as upstream, client_of(upstream) as client:
        call = asyncio.create_task(client.ask("POST", body=source, timeout=60))
        await upstream.until(lambda: any(len(peer.received) > 10_000_000 for peer in upstream.peers))
        while not source.is_waited_for():
            await asyncio.sleep(0)
        await client.clock.advance(1000)
        gate.set()
        await upstream.has_requests(1)
        assert not call.done()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
