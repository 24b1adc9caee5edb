"""What sidecar.upstream relies on in aiohttp and in the event loops: documented little, so held here.

If one of these fails after an upgrade, read sidecar/upstream/chunks.py again before anything else.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
from typing import TYPE_CHECKING, Any

import aiohttp.http
import pytest
from aiohttp import _http_parser
from aiohttp.http_exceptions import HttpProcessingError
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.core.http.response_head import BadResponseError, check_body_framing, parse_head
from sidecar.upstream import chunks
from sidecar.upstream.chunks import ChunkedDecoder
from tests.support.upstreams import OK, answering, client_of, serve

if TYPE_CHECKING:
    from collections.abc import Iterator

compiled: Any = _http_parser

BODY = b"3\r\nabc\r\n0\r\n\r\n"

#: What a strict reader of chunks refuses.
MALFORMED = {
    "bare LF after the size": b"3\nabc\r\n0\r\n\r\n",
    "blank after the size": b"3 \r\nabc\r\n0\r\n\r\n",
    "bare LF after the data": b"3\r\nabc\n0\r\n\r\n",
    "bare LF after the last chunk": b"3\r\nabc\r\n0\n\r\n",
    "control byte in an extension": b"3;a=\x01\r\nabc\r\n0\r\n\r\n",
    "control byte in a trailer": b"3\r\nabc\r\n0\r\nA: \x01\r\n\r\n",
}


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def accepts(decoder: ChunkedDecoder, data: bytes) -> bool:
    try:
        decoder.feed(data)
    except BadResponseError:
        return False
    return decoder.complete


# --- the parser ------------------------------------------------------------------------------------------------------


def test_the_compiled_parser_is_the_one_in_use() -> None:
    assert aiohttp.http.HttpResponseParser is compiled.HttpResponseParser


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED)
def test_our_parser_is_strict(loop: asyncio.AbstractEventLoop, data: bytes) -> None:
    assert not accepts(ChunkedDecoder(loop), data)


@pytest.mark.interpreted
def test_a_parser_made_without_the_switch_is_lenient(
    loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Why the switch is there. Should this fail, aiohttp has become strict by itself and the switch can go."""

    def lenient(loop: asyncio.AbstractEventLoop) -> aiohttp.http.HttpResponseParser:
        protocol: Any = chunks._NO_FLOW_CONTROL
        return aiohttp.http.HttpResponseParser(protocol, loop, 65_536, read_until_eof=False, auto_decompress=False)

    monkeypatch.setattr(chunks, "_strict_parser", lenient)
    monkeypatch.setattr(compiled, "DEBUG", False)
    accepted = [name for name, data in MALFORMED.items() if accepts(ChunkedDecoder(loop), data)]
    assert "blank after the size" in accepted


@pytest.mark.parametrize("before", [True, False])
def test_other_users_of_the_parser_keep_their_switch(
    loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch, before: bool
) -> None:
    monkeypatch.setattr(compiled, "DEBUG", before)
    ChunkedDecoder(loop)
    assert compiled.DEBUG is before


def test_payload_is_there_as_soon_as_its_bytes_are(loop: asyncio.AbstractEventLoop) -> None:
    decoder = ChunkedDecoder(loop)
    pieces = [decoder.feed(BODY[index : index + 1]) for index in range(len(BODY))]
    assert [piece for piece in pieces if piece] == [b"a", b"b", b"c"]
    assert decoder.complete
    assert not decoder.surplus


def test_the_end_is_not_seen_before_its_last_byte(loop: asyncio.AbstractEventLoop) -> None:
    decoder = ChunkedDecoder(loop)
    decoder.feed(BODY[:-1])
    assert not decoder.complete
    decoder.feed(BODY[-1:])
    assert decoder.complete


def test_trailers_are_dropped(loop: asyncio.AbstractEventLoop) -> None:
    decoder = ChunkedDecoder(loop)
    assert decoder.feed(b"3\r\nabc\r\n0\r\nA: b\r\nServer: c\r\nServer: d\r\n\r\n") == b"abc"
    assert decoder.complete
    assert not decoder.surplus


@pytest.mark.parametrize("cut", range(len(BODY) + 1))
@pytest.mark.parametrize("surplus", [b"x", b"\r\n", b"\n", b"\r", b"\0", b"0\r\n\r\n", OK, b"HTTP/1.1 204 No\r\n\r\n"])
def test_every_byte_after_the_end_is_noticed(loop: asyncio.AbstractEventLoop, surplus: bytes, cut: int) -> None:
    """Wherever the bytes are cut: ``Connection: close`` makes the parser refuse them, but for blank lines."""
    decoder = ChunkedDecoder(loop)
    data = BODY + surplus
    assert decoder.feed(data[:cut]) + decoder.feed(data[cut:]) == b"abc"
    assert decoder.complete
    assert decoder.surplus


@pytest.mark.parametrize("trailers", [b"", b"A: b\r\n", b"Connection: upgrade\r\nUpgrade: websocket\r\n"])
@pytest.mark.parametrize("surplus", [b"x", OK])
def test_trailers_do_not_hide_what_follows(loop: asyncio.AbstractEventLoop, trailers: bytes, surplus: bytes) -> None:
    decoder = ChunkedDecoder(loop)
    assert decoder.feed(b"3\r\nabc\r\n0\r\n" + trailers + b"\r\n" + surplus) == b"abc"
    assert decoder.surplus


PAYLOADS = st.lists(st.binary(min_size=1, max_size=40), max_size=6)


@settings(deadline=None)
@given(PAYLOADS, st.lists(st.integers(0, 400), max_size=8))
def test_any_body_survives_however_it_is_cut(payloads: list[bytes], cuts: list[int]) -> None:
    loop = asyncio.new_event_loop()
    try:
        decoder = ChunkedDecoder(loop)
        wire = b"".join(b"%x\r\n%b\r\n" % (len(payload), payload) for payload in payloads) + b"0\r\n\r\n"
        edges = [0, *sorted(min(cut, len(wire)) for cut in cuts), len(wire)]
        got = b"".join(decoder.feed(wire[start:end]) for start, end in itertools.pairwise(edges))
        assert got == b"".join(payloads)
        assert decoder.complete
        assert not decoder.surplus
    finally:
        loop.close()


def test_what_is_decoded_does_not_stay_in_the_parser(loop: asyncio.AbstractEventLoop) -> None:
    decoder = ChunkedDecoder(loop)
    for _ in range(1000):
        decoder.feed(b"1000\r\n" + bytes(4096) + b"\r\n")
    assert decoder._payload._size == 0
    assert len(decoder._payload._http_chunk_splits or ()) <= 2


# --- heads: what we accept, aiohttp reads in the same way ------------------------------------------------------------

NAMES = st.sampled_from([b"Content-Length", b"Transfer-Encoding", b"Connection", b"X-A", b"x_b", b"Server", b"A!"])
VALUES = st.one_of(
    st.sampled_from([b"0", b"5", b"chunked", b"close", b"gzip, chunked", b" x ", b"\xff", b"", b"a\tb"]),
    st.binary(max_size=8),
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([200, 204, 304, 404, 500]), st.lists(st.tuples(NAMES, VALUES), max_size=6))
def test_a_head_means_the_same_to_both_parsers(status: int, fields: list[tuple[bytes, bytes]]) -> None:
    head = b"HTTP/1.1 %d OK\r\n" % status + b"".join(b"%b: %b\r\n" % field for field in fields) + b"\r\n"
    try:
        ours = parse_head(head)
        framing = check_body_framing(ours, head_only=False)
    except BadResponseError:
        return
    loop = asyncio.new_event_loop()
    try:
        protocol: Any = chunks._NO_FLOW_CONTROL
        parser = aiohttp.http.HttpResponseParser(protocol, loop, 65_536, read_until_eof=False, auto_decompress=False)
        messages, upgraded, rest = parser.feed_data(head)
    finally:
        loop.close()
    [(theirs, payload)] = messages
    assert (theirs.code, theirs.reason, theirs.raw_headers) == (ours.status, "OK", ours.raw_headers)
    assert (upgraded, rest) == (False, b"")
    assert payload.is_eof() == (framing.length == 0)
    assert theirs.chunked or framing.length is not None


def test_a_refusal_is_one_kind_of_exception(loop: asyncio.AbstractEventLoop) -> None:
    parser = chunks._strict_parser(loop)
    with pytest.raises(HttpProcessingError):
        parser.feed_data(b"no HTTP\r\n\r\n")


# --- the event loops -------------------------------------------------------------------------------------------------


@pytest.mark.any_loop
async def test_the_socket_that_was_passed_in_can_be_polled_as_long_as_the_transport_is_open() -> None:
    async with serve(answering(OK)) as upstream, client_of(upstream) as client:
        connection = await client.acquire()
        assert connection.is_quiet()
        upstream.peers[0].close()
        while connection.is_quiet():
            await asyncio.sleep(0)
        assert not connection.is_alive()
        connection.abort()


@pytest.mark.any_loop
async def test_nagles_algorithm_is_off_and_dead_peers_are_found() -> None:
    async with serve(answering(OK)) as upstream, client_of(upstream) as client:
        connection = await client.acquire()
        assert connection._transport is not None
        raw = connection._transport.get_extra_info("socket")
        assert raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert raw.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        connection.release()
