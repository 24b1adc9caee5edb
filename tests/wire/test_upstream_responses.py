"""What comes back: every well-formed response byte for byte, every other one refused, and no byte left for the next."""

from __future__ import annotations

import asyncio
import traceback
from typing import NamedTuple

import pytest

from sidecar.core.http.response_head import MAX_HEAD, MAX_INTERIM
from sidecar.core.resend import Event, FailureKind, Sent, classify
from sidecar.upstream.errors import UpstreamError
from tests.support.upstreams import OK, Peer, Script, Source, answering, client_of, read_all, serve

pytestmark = pytest.mark.any_loop

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Answer(NamedTuple):
    """Bytes on the wire and what is to be read in them."""

    wire: bytes
    body: bytes = b""
    status: int = 200
    method: str = "GET"
    reused: bool = True


WELL_FORMED = {
    "with a length": Answer(OK, b'{"Id": "42"}'),
    "chunked": Answer(CHUNKED + b"3\r\nabc\r\n04\r\ndefg\r\n0\r\n\r\n", b"abcdefg"),
    "chunked and empty": Answer(CHUNKED + b"0\r\n\r\n"),
    "chunked with extensions": Answer(CHUNKED + b'3;a=b;c="d e"\r\nabc\r\n0;last\r\n\r\n', b"abc"),
    "chunked with trailers": Answer(CHUNKED + b"3\r\nabc\r\n0\r\nDigest: x\r\nExpires: 0\r\n\r\n", b"abc"),
    "chunked with line ends inside": Answer(CHUNKED + b"6\r\n0\r\n\r\n\r\r\n0\r\n\r\n", b"0\r\n\r\n\r"),
    "length zero": Answer(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    "to HEAD": Answer(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n", method="HEAD"),
    "to HEAD, chunked": Answer(CHUNKED, method="HEAD"),
    "204": Answer(b"HTTP/1.1 204 No Content\r\n\r\n", status=204),
    "304 with a length": Answer(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\n\r\n", status=304),
    "after 100 and 103": Answer(CONTINUE + b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + OK, b'{"Id": "42"}'),
    "after as many interim ones as may be": Answer(CONTINUE * MAX_INTERIM + OK, b'{"Id": "42"}'),
    "Connection: close": Answer(
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi", b"hi", reused=False
    ),
    "HTTP/1.0": Answer(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", b"hi", reused=False),
    "an unknown status": Answer(b"HTTP/1.1 799 Odd\r\nContent-Length: 2\r\n\r\nhi", b"hi", status=799),
    "a long head": Answer(
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + (b"A: " + b"x" * 9000 + b"\r\n") * 7 + b"\r\nhi", b"hi"
    ),
    "many headers": Answer(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + b"A: b\r\n" * 1000 + b"\r\nhi", b"hi"),
}

ID = Answer(OK, b'{"Id": "42"}')
ABC = Answer(CHUNKED + b"3\r\nabc\r\n0\r\n\r\n", b"abc")

#: Complete responses, and what follows them but must never be taken for the next one.
SURPLUS = {
    "after a length": (ID, b"x"),
    "a blank line": (ID, b"\r\n"),
    "a second response": (ID, OK),
    "after a length of zero": (Answer(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), b"x"),
    "after chunks": (ABC, b"x"),
    "a second response after chunks": (ABC, OK),
    "a response without a body after chunks": (ABC, b"HTTP/1.1 204 No Content\r\n\r\n"),
    "a blank line after chunks": (ABC, b"\r\n"),
    "half a blank line after chunks": (ABC, b"\r"),
    "a line feed after chunks": (ABC, b"\n"),
    "a body to HEAD": (Answer(OK[:-12], method="HEAD"), OK[-12:]),
    "a body of 204": (Answer(b"HTTP/1.1 204 No\r\nContent-Length: 2\r\n\r\n", status=204), b"hi"),
    "chunks of 204": (Answer(b"HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n", status=204), b"0\r\n\r\n"),
    "a body of 304": (Answer(b"HTTP/1.1 304 No\r\nContent-Length: 2\r\n\r\n", status=304), b"hi"),
}

BROKEN = {
    "no HTTP": b"<html>hello</html>",
    "a blank line first": b"\r\n" + OK,
    "TLS on a plain port": b"\x15\x03\x01\x00\x02\x02\x50",
    "HTTP/2.0": b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "HTTP/0.9": b"just a body",
    "status 099": b"HTTP/1.1 099 No\r\nContent-Length: 0\r\n\r\n",
    "control byte in the reason": b"HTTP/1.1 200 O\x00K\r\nContent-Length: 0\r\n\r\n",
    "bare LF": b"HTTP/1.1 200 OK\nContent-Length: 0\n\nHTTP\r\n\r\n",
    "a folded line": b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 0\r\n\r\n",
    "NUL in a header": b"HTTP/1.1 200 OK\r\nA: \x00\r\nContent-Length: 0\r\n\r\n",
    "Transfer-Encoding: foo": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: foo\r\n\r\n0\r\n\r\n",
    "gzip, chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "both lengths": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "an equal length twice": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "a negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
    "no length": b"HTTP/1.1 200 OK\r\n\r\nhello",
    "chunks in HTTP/1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "101": b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
    "one interim response too many": CONTINUE * (MAX_INTERIM + 1) + OK,
    "a huge head": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nA: " + b"x" * MAX_HEAD + b"\r\n\r\n",
}

BROKEN_BODY = {
    "no size": CHUNKED + b"\r\nabc",
    "no hexadecimal size": CHUNKED + b"xyz\r\n",
    "a negative size": CHUNKED + b"-3\r\nabc\r\n0\r\n\r\n",
    "0x": CHUNKED + b"0x3\r\nabc\r\n0\r\n\r\n",
    "a blank after the size": CHUNKED + b"3 \r\nabc\r\n0\r\n\r\n",
    "a size beyond 64 bits": CHUNKED + b"F" * 17 + b"\r\n",
    "bare LF after the size": CHUNKED + b"3\nabc\r\n0\r\n\r\n",
    "bare LF after an extension": CHUNKED + b"3;a=b\nabc\r\n0\r\n\r\n",
    "a control byte in an extension": CHUNKED + b"3;a=\x01\r\nabc\r\n0\r\n\r\n",
    "more data than the size": CHUNKED + b"3\r\nabcd\r\n0\r\n\r\n",
    "bare LF after the data": CHUNKED + b"3\r\nabc\n0\r\n\r\n",
    "bare LF at the end": CHUNKED + b"3\r\nabc\r\n0\r\n\n",
    "a malformed trailer": CHUNKED + b"3\r\nabc\r\n0\r\nno colon\r\n\r\n",
    "a length in the trailers": CHUNKED + b"3\r\nabc\r\n0\r\nContent-Length: 5\r\n\r\n",
    "a flood of trailers": CHUNKED + b"0\r\n" + b"A: b\r\n" * 200 + b"\r\n",
    "a flood of extensions": CHUNKED + b"3;" + b"a" * 70_000 + b"\r\nabc\r\n0\r\n\r\n",
    "a flood of tiny chunks": CHUNKED + b"1\r\nx\r\n" * 40_000 + b"0\r\n\r\n",
}


def piecewise(wire: bytes, size: int) -> Script:
    """Return a script that answers each request with ``wire``, ``size`` bytes in a TCP segment at most."""

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            for start in range(0, len(wire), size):
                await peer.send(wire[start : start + size])
                await asyncio.sleep(0)

    return script


def cases(table: dict[str, Answer]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("received", table.values(), ids=table)


@cases(WELL_FORMED)
@pytest.mark.parametrize("size", [1, 7, 10**6])
async def test_a_well_formed_response_is_read_and_its_connection_reused(received: Answer, size: int) -> None:
    if size == 1 and len(received.wire) > 2000:
        size = 97
    async with serve(piecewise(received.wire, size)) as upstream, client_of(upstream) as client:
        for _ in range(2):
            response = await client.ask(received.method)
            assert response.status == received.status
            assert await read_all(response) == received.body
            assert response.complete
            response.release()
            assert client.pool.idle == int(received.reused)
        assert len(upstream.peers) == (1 if received.reused else 2)


@pytest.mark.parametrize(("received", "surplus"), SURPLUS.values(), ids=SURPLUS)
@pytest.mark.parametrize("apart", [False, True])
async def test_a_byte_after_the_response_ends_the_connection_but_not_the_response(
    received: Answer, surplus: bytes, apart: bool
) -> None:
    """Whether it comes along with the response or later, it is never taken for the response to the next request."""
    go_on = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        if apart:
            await peer.send(received.wire)
            await go_on.wait()
            await peer.send(surplus)
        else:
            await peer.send(received.wire + surplus)
        await peer.gone()

    async with serve(script) as upstream, client_of(upstream) as client:
        for number in (1, 2):
            response = await client.ask(received.method)
            assert await read_all(response) == received.body
            go_on.set()
            if apart:
                await upstream.peers[-1].ended.wait()
            assert response.complete
            response.release()
            assert client.pool.open == 0
            assert len(upstream.peers) == number
            go_on.clear()


@pytest.mark.parametrize("wire", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_broken_head_is_a_failure_of_unknown_outcome(wire: bytes, method: str) -> None:
    async with serve(answering(wire)) as upstream, client_of(upstream) as client:
        with pytest.raises(UpstreamError) as caught:
            await client.ask(method)
        failure = caught.value.failure
        assert (failure.kind, failure.sent, failure.response_started) == (FailureKind.BROKEN, Sent.ALL, True)
        assert classify(failure) is Event.BROKEN
        assert client.pool.open == 0
        assert len(upstream.requests) == 1


@pytest.mark.parametrize("wire", BROKEN_BODY.values(), ids=BROKEN_BODY)
@pytest.mark.parametrize("size", [5, 10**6])
async def test_a_broken_body_never_ends_cleanly(wire: bytes, size: int) -> None:
    size = max(size, len(wire) // 500)
    async with serve(piecewise(wire, size)) as upstream, client_of(upstream) as client:
        response = await client.ask()
        with pytest.raises(UpstreamError) as caught:
            await read_all(response)
        assert caught.value.failure.kind is FailureKind.BROKEN
        assert not response.complete
        response.release()
        assert client.pool.open == 0


CARD = b"4970101122334406"


@pytest.mark.parametrize(
    "wire",
    [
        CARD,
        b"HTTP/1.1 200 " + CARD + b"\x00\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + CARD + b"\x00\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + CARD + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: " + CARD + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: +" + CARD + b"\r\n\r\n",
        CHUNKED + b"x" + CARD + b"\r\n",
        CHUNKED + b"10\r\n" + CARD + b"x",
        CHUNKED + b"10\r\n" + CARD,
    ],
)
async def test_a_failure_repeats_nothing_of_what_upstream_sent(wire: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(wire)

    async with serve(script) as upstream, client_of(upstream) as client:
        with pytest.raises(UpstreamError) as caught:
            await read_all(await client.ask())
    assert CARD.decode() not in "".join(traceback.format_exception(caught.value))
    assert CARD.decode() not in caught.value.detail


async def test_headers_and_reason_are_the_bytes_that_upstream_sent() -> None:
    wire = (
        b"HTTP/1.1 200 Tr\xe8s bien\r\nx-LOWER: 1\r\nServer: a\r\nServer: b\r\nX-RateLimit: 1\r\nETag: a\r\n"
        b"X-RateLimit: 2\r\nETag: b\r\nX-Obs: \xff \r\nEmpty:\r\nContent-Length: 0\r\nConnection: x-lower\r\n\r\n"
    )
    async with serve(answering(wire)) as upstream, client_of(upstream) as client:
        response = await client.ask()
        response.release()
    assert response.head.reason == b"Tr\xe8s bien"
    assert response.head.raw_headers == (
        (b"x-LOWER", b"1"),
        (b"Server", b"a"),
        (b"Server", b"b"),
        (b"X-RateLimit", b"1"),
        (b"ETag", b"a"),
        (b"X-RateLimit", b"2"),
        (b"ETag", b"b"),
        (b"X-Obs", b"\xff"),
        (b"Empty", b""),
        (b"Content-Length", b"0"),
        (b"Connection", b"x-lower"),
    )


@pytest.mark.parametrize(
    ("method", "wire", "content_length", "chunked", "has_body"),
    [
        ("GET", OK, 12, False, True),
        ("HEAD", OK[:-12], 12, False, False),
        ("GET", CHUNKED + b"0\r\n\r\n", None, True, True),
        ("HEAD", CHUNKED, None, False, False),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 12\r\n\r\n", 12, False, False),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n", None, False, False),
        ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 0, False, False),
    ],
)
async def test_a_response_says_how_its_body_is_framed(
    method: str, wire: bytes, content_length: int | None, chunked: bool, has_body: bool
) -> None:
    async with serve(answering(wire)) as upstream, client_of(upstream) as client:
        response = await client.ask(method)
        await read_all(response)
        response.release()
    framing = response.framing
    assert (framing.declared, framing.length is None, framing.length != 0) == (
        content_length,
        chunked,
        has_body,
    )


async def test_no_content_coding_is_undone() -> None:
    """Bytes that are no gzip at all come through, under whatever name."""
    wire = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nplain\r\n0\r\n\r\n"
    async with serve(answering(wire)) as upstream, client_of(upstream) as client:
        assert await client.call() == b"plain"


@pytest.mark.parametrize("wire", [OK, CHUNKED + b"c\r\n" + OK[-12:] + b"\r\n0\r\n\r\n"])
async def test_a_small_response_is_there_without_another_wait(wire: bytes) -> None:
    async with serve(answering(wire)) as upstream, client_of(upstream) as client:
        response = await client.ask()
        assert response.complete
        assert response.take_whole() == OK[-12:]
        assert client.pool.idle == 1
        assert response.take_whole() == b""
        assert await response.read() == b""
        response.release()
        assert client.pool.idle == 1


async def test_an_incomplete_response_is_not_read_without_waiting() -> None:
    go_on = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK[:-3])
        await go_on.wait()
        await peer.send(OK[-3:])
        await peer.gone()

    async with serve(script) as upstream, client_of(upstream) as client:
        response = await client.ask()
        assert not response.complete
        assert response.take_whole() is None
        go_on.set()
        assert await read_all(response) == OK[-12:]
        response.release()
        assert len(upstream.peers) == 1


async def test_the_body_can_be_read_after_the_connection_was_given_back() -> None:
    """So that a slow caller does not keep a connection of the pool."""
    async with serve(answering(OK)) as upstream, client_of(upstream) as client:
        first = await client.ask()
        first.release()
        assert client.pool.idle == 1
        second = await client.ask()
        assert first.take_whole() == OK[-12:]
        assert second.take_whole() == OK[-12:]
        second.release()
        second.release()
        assert client.pool.idle == 1


async def test_a_released_response_that_was_not_complete_cannot_be_read_on() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK[:-3])
        await peer.gone()

    async with serve(script) as upstream, client_of(upstream) as client:
        response = await client.ask()
        response.release()
        assert client.pool.open == 0
        assert await response.read() == OK[-12:-3]
        with pytest.raises(UpstreamError):
            await response.read()
        await upstream.peers[0].ended.wait()


async def test_responses_of_many_exchanges_never_mix() -> None:
    async def script(peer: Peer) -> None:
        while True:
            request = await peer.request()
            body = request.target.encode() * 50
            await peer.send(CHUNKED + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))

    async with serve(script) as upstream, client_of(upstream, size=5) as client:
        targets = [f"/{number}" for number in range(100)]
        bodies = await asyncio.gather(*(client.call("POST", target, Source(b"x")) for target in targets))
        assert bodies == [target.encode() * 50 for target in targets]
        assert len(upstream.peers) <= 5
