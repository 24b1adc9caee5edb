"""Bodies in very many chunks go through whole and in order, in both directions, a part of them in each pass."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.support.proxy_port import Handler, Port, chunked, get, listen_limits, serve, until
from tests.support.upstreams import answering, client_of, read_all
from tests.support.upstreams import serve as serve_upstream

if TYPE_CHECKING:
    from sidecar.downstream.request import CallerRequest
    from sidecar.downstream.response import CallerResponse

pytestmark = pytest.mark.any_loop

_CONTENT = bytes(range(256)) * 200
_TINY = b"".join(b"1\r\n%c\r\n" % byte for byte in _CONTENT) + b"0\r\n\r\n"


async def test_a_body_in_chunks_of_one_byte_is_read_whole() -> None:
    async with serve(limits=listen_limits()) as port:
        with await port.client() as client:
            await client.send(chunked("/a") + _TINY)
            assert (await client.response()).body == b"POST /a " + _CONTENT


async def test_bodies_of_many_callers_are_not_mixed_up() -> None:
    async with serve(limits=listen_limits()) as port:

        async def upload(number: int) -> bytes:
            with await port.client() as client:
                content = b"%d" % number * 4000
                tiny = b"".join(b"1\r\n%c\r\n" % byte for byte in content)
                await client.send(chunked(f"/{number}") + tiny + b"0\r\n\r\n")
                return (await client.response()).body.removeprefix(f"POST /{number} ".encode())

        bodies = await asyncio.gather(*(upload(number) for number in range(10)))
        assert bodies == [b"%d" % number * 4000 for number in range(10)]


async def test_a_body_that_nobody_reads_is_paused_and_goes_on() -> None:
    go = asyncio.Event()

    def handler(port: Port) -> Handler:
        async def serve_later(request: CallerRequest) -> CallerResponse:
            await go.wait()
            return await port.echo(request)

        return serve_later

    async with serve(handler, limits=listen_limits()) as port:
        with await port.client() as client:
            sending = asyncio.ensure_future(client.send(chunked("/a") + _TINY))
            await until(lambda: bool(port.seen) and port.connection._reader._body_full)
            go.set()
            await sending
            assert (await client.response()).body == b"POST /a " + _CONTENT


async def test_a_bad_chunk_behind_many_is_refused() -> None:
    async with serve(limits=listen_limits()) as port:
        with await port.client() as client:
            await client.send(chunked("/a") + _TINY[:-5] + b"nonsense\r\n")
            assert (await client.response()).status == 400


async def test_a_caller_that_leaves_in_the_middle_leaves_nothing_behind() -> None:
    async with serve(limits=listen_limits()) as port:
        with await port.client() as client:
            await client.send(chunked("/a") + _TINY[:60_000])
            await until(lambda: bool(port.seen))
        await until(lambda: not port.server.connections and not port.server.busy)


async def test_pipelined_requests_in_one_piece_are_answered_in_order() -> None:
    async with serve(limits=listen_limits()) as port:
        with await port.client() as client:
            await client.send(b"".join(get(f"/{number}") for number in range(500)))
            for number in range(500):
                assert (await client.response()).body == f"GET /{number} ".encode()


async def test_a_long_text_behind_its_head_is_read_whole() -> None:
    text = b'{\r\n  "a": 1\r\n}\r\n' * 3000
    async with serve(limits=listen_limits()) as port:
        with await port.client() as client:
            head = b"POST /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(text)
            await client.send((head + text) * 3)
            for _ in range(3):
                assert (await client.response()).body == b"POST /a " + text


# --- responses -------------------------------------------------------------------------------------------------------

#: Chunk sizes may not outweigh the content by much in responses.
_SMALL = b"".join(b"6\r\n%06d\r\n" % number for number in range(20_000)) + b"0\r\n\r\n"
_NUMBERS = b"".join(b"%06d" % number for number in range(20_000))
_START = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


async def test_a_response_in_small_chunks_comes_whole_and_its_connection_is_used_again() -> None:
    async with serve_upstream(answering(_START + _SMALL)) as upstream, client_of(upstream) as client:
        assert await client.call() == _NUMBERS
        assert await client.call() == _NUMBERS
        assert len(upstream.peers) == 1


async def test_what_follows_a_response_in_small_chunks_spoils_the_connection() -> None:
    async with serve_upstream(answering(_START + _SMALL + b"x")) as upstream, client_of(upstream) as client:
        response = await client.ask()
        assert await read_all(response) == _NUMBERS
        response.release()
        assert await client.call() == _NUMBERS
        assert len(upstream.peers) == 2


async def test_a_response_in_small_chunks_lets_others_have_their_turn() -> None:
    """In one pass of the loop not more of it is taken than a pass has room for."""
    async with serve_upstream(answering(_START + _SMALL)) as upstream, client_of(upstream) as client:
        response = await client.ask()
        took = []
        while piece := await response.read():
            took.append(len(piece))
        response.release()
        assert sum(took) == len(_NUMBERS)
        assert max(took) < 10_000


async def test_nobody_is_read_for_whoever_does_not_read() -> None:
    async with serve_upstream(answering(_START + _SMALL)) as upstream, client_of(upstream) as client:
        response = await client.ask()
        for _ in range(200):
            await asyncio.sleep(0)
        assert response.full
        assert await read_all(response) == _NUMBERS
        response.release()
