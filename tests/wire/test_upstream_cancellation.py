"""A call that is cancelled, wherever it waits, closes its connection, frees its slot and leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from typing import TYPE_CHECKING

import pytest
import trustme

from sidecar.upstream.byte_protocol import ByteProtocol
from sidecar.upstream.trust import client_context
from tests.support.upstreams import OK, Client, Peer, Source, answering, client_of, hang, serve

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from sidecar.network.resolver import AddressInfo

pytestmark = pytest.mark.any_loop

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


async def cancel(task: asyncio.Task[object]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_while_resolving() -> None:
    resolving = asyncio.Event()

    async def resolve(host: str, port: int) -> Sequence[AddressInfo]:
        resolving.set()
        await asyncio.Event().wait()
        return []

    async with serve(hang) as upstream, client_of(upstream, resolve=resolve) as client:
        call = asyncio.create_task(client.ask())
        await resolving.wait()
        assert client.pool.open == 1
        await cancel(call)
        assert client.pool.open == 0


async def test_during_the_tls_handshake() -> None:
    async with serve(Peer.gone) as upstream:
        upstream.scheme = "https"
        async with client_of(upstream, ssl_context=client_context()) as client:
            call = asyncio.create_task(client.ask())
            await upstream.until(lambda: any(peer.received for peer in upstream.peers))
            await cancel(call)
            assert client.pool.open == 0
        await upstream.peers[0].ended.wait()


async def test_while_waiting_for_a_slot() -> None:
    async with serve(answering(OK)) as upstream, client_of(upstream, size=1) as client:
        held = await client.acquire()
        waiter = asyncio.create_task(client.acquire())
        while not client.pool.waiting:
            await asyncio.sleep(0)
        await cancel(waiter)
        assert client.pool.waiting == 0
        held.release()
        assert client.pool.idle == 1


@pytest.mark.parametrize("fresh", [False, True])
async def test_in_the_moment_of_getting_a_connection_or_slot(fresh: bool) -> None:
    """What the cancelled call was granted goes to the next one that waits."""
    async with serve(answering(OK)) as upstream, client_of(upstream, size=1) as client:
        held = await client.acquire()
        first = asyncio.create_task(client.acquire(fresh=fresh))
        second = asyncio.create_task(client.acquire())
        while client.pool.waiting < 2:
            await asyncio.sleep(0)
        held.release()
        await cancel(first)
        (await second).release()
        assert (client.pool.open, client.pool.idle, client.pool.waiting) == (1, 1, 0)


async def test_just_before_getting_a_connection() -> None:
    """The wait is cancelled, and before its task has run again a connection is given back."""
    async with serve(answering(OK)) as upstream, client_of(upstream, size=1) as client:
        held = await client.acquire()
        first = asyncio.create_task(client.acquire())
        second = asyncio.create_task(client.acquire())
        while client.pool.waiting < 2:
            await asyncio.sleep(0)
        first.cancel()
        held.release()
        (await second).release()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert (client.pool.open, client.pool.idle, client.pool.waiting) == (1, 1, 0)


async def test_while_waiting_for_the_head() -> None:
    async with serve(hang) as upstream, client_of(upstream) as client:
        call = asyncio.create_task(client.ask("POST", body=b"{}"))
        await upstream.has_requests(1)
        await cancel(call)
        assert client.pool.open == 0
        await upstream.peers[0].ended.wait()
        assert len(upstream.requests) == 1


async def test_while_looking_again_at_a_suspicious_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serve(hang) as upstream, client_of(upstream) as client:
        connection = await client.acquire()
        monkeypatch.setattr(ByteProtocol, "is_quiet", lambda self: False)
        call = asyncio.create_task(client.ask(connection=connection))
        await asyncio.sleep(0)
        await cancel(call)
        assert client.pool.open == 0


async def test_while_upstream_does_not_read_the_body() -> None:
    async def script(peer: Peer) -> None:
        peer.stop_reading()
        await peer.gone()

    async with serve(script) as upstream, client_of(upstream) as client:
        call = asyncio.create_task(client.ask("POST", body=bytes(14_000_000)))
        await upstream.until(lambda: len(upstream.peers) == 1)
        await client.clock.settle()
        await cancel(call)
        assert client.pool.open == 0


async def test_while_the_callers_body_is_waited_for() -> None:
    source = Source(b"one", b"two", gate=asyncio.Event())
    async with serve(hang) as upstream, client_of(upstream) as client:
        call = asyncio.create_task(client.ask("POST", body=source))
        await upstream.until(lambda: any(peer.received.endswith(b"one") for peer in upstream.peers))
        assert source.is_waited_for()
        await cancel(call)
        assert not source.is_waited_for()
        assert client.pool.open == 0
        await upstream.peers[0].ended.wait()
        assert upstream.requests == []


async def test_while_waiting_for_more_of_the_body() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK[:-1])
        await peer.gone()

    async with serve(script) as upstream, client_of(upstream) as client:
        response = await client.ask()
        assert await response.read() == OK[-12:-1]
        read = asyncio.create_task(response.read())
        await asyncio.sleep(0)
        await cancel(read)
        assert client.pool.open == 0
        response.release()
        await upstream.peers[0].ended.wait()


# --- everywhere ------------------------------------------------------------------------------------------------------


async def small(client: Client) -> None:
    await client.call("POST", body=b"{}")


async def large(client: Client) -> None:
    await client.call("POST", body=bytes(1_000_000))


async def streamed(client: Client) -> None:
    await client.call("POST", body=Source(b"one", b"two", b"x" * 100_000, chunked=True))


async def response(peer: Peer) -> None:
    """Answer in pieces, so that there is something to wait for in the head, the body and at its end."""
    while True:
        await peer.request()
        for piece in (CHUNKED[:9], CHUNKED[9:], b"3\r\nabc\r\n", b"100\r\n" + bytes(256) + b"\r\n", b"0\r\n", b"\r\n"):
            await peer.send(piece)
            for _ in range(3):
                await asyncio.sleep(0)


@pytest.mark.parametrize("call", [small, large, streamed])
@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("warm", [False, True])
async def test_after_any_number_of_loop_passes(
    call: Callable[[Client], Awaitable[None]], tls: bool, warm: bool
) -> None:
    """Cancel a call after 0, 1, 2 … passes of the event loop until it runs to its end; the only slot is never lost."""
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server)
    trusting = client_context()
    authority.configure_trust(trusting)
    async with serve(response, ssl_context=server if tls else None) as upstream:

        async def resolve(host: str, port: int) -> Sequence[AddressInfo]:
            await asyncio.sleep(0)  # a real look-up takes a thread, and so any number of passes
            return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", port))]

        context = trusting if tls else None
        async with client_of(upstream, size=1, ssl_context=context, resolve=resolve) as client:
            for passes in range(1000):
                if warm:
                    await small(client)
                task = asyncio.ensure_future(call(client))
                for _ in range(passes):
                    await asyncio.sleep(0)
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
                assert client.pool.waiting == 0
                assert client.pool.open == client.pool.idle
                if not task.cancelled():
                    break
            else:
                pytest.fail("the call never ran to its end")
            assert passes > 3
            await small(client)
