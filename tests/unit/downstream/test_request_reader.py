"""Bytes in, requests and refusals out, however the bytes are cut up: the reader without a socket."""

from __future__ import annotations

import gc
import sys
from typing import TYPE_CHECKING

import pytest

from sidecar.core.errors import SidecarError
from sidecar.downstream.head_boundaries import MAX_HEAD
from sidecar.downstream.request_reader import Event, RequestReader
from sidecar.turns import Turns
from tests.support.proxy_port import GET, chunked, get, post

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from aiohttp.http import RawRequestMessage
    from aiohttp.streams import StreamReader

_GARBAGE = b"\x00garbage\r\n\r\n"
_RTSP = b"GET /b RTSP/1.0\r\n\r\n"


class _Source:
    """Notes whether it was asked to bring no more."""

    def __init__(self) -> None:
        self._paused = False

    def paused(self) -> bool:
        return self._paused

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        self._paused = False


def _at_once() -> Turns:
    """Return turns that nobody waits for: so much waits already that all that comes is worked through at once."""
    turns = Turns()
    turns.waiting_bytes = sys.maxsize
    return turns


def _reader(source: _Source, deliver: Callable[[bytes], None] = lambda _: None) -> RequestReader:
    return RequestReader(source, _at_once(), deliver)


class _Peer:
    """Answers one request after the other, each once its body is there, as a connection does; and writes it down."""

    def __init__(self) -> None:
        self.source = _Source()
        self.reader = _reader(self.source, self._feed)
        self.told: list[str] = []
        self._current: tuple[RawRequestMessage, StreamReader] | None = None

    def feed(self, data: bytes) -> None:
        assert not self.source.paused()
        self._feed(data)
        self.response()

    def _feed(self, data: bytes) -> None:
        if self.reader.feed(data) is Event.REFUSED:
            self._refused()

    def response(self) -> None:
        while self._current is not None or self.reader.requests:
            if self._current is None:
                self._current = self.reader.take()
            message, content = self._current
            error = content.exception()
            if not content.is_eof() and error is None:
                break
            body = f" !{error.code}" if isinstance(error, SidecarError) else f" {content.read_nowait().decode()}"
            self.told.append(f"{message.method} {message.path}{body.rstrip()}")
            self._current = None
            if not self.reader.finish():
                self.reader.discard()
            elif not self.reader.requests and self.reader.failure is not None:
                self._refused()

    def _refused(self) -> None:
        assert self.reader.failure is not None
        self.told.append(f"!{self.reader.failure.code}")
        self.reader.discard()

    @property
    def end(self) -> list[str]:
        """What there was; and "sealed" if nothing further is read, "part" if a head has begun, "body" if one misses."""
        reader = self.reader
        rest = {"sealed": reader.sealed, "part": bool(reader.heads.pending), "body": self._current is not None}
        return [*self.told, *(word for word, holds in rest.items() if holds)]


def _read(pieces: Iterable[bytes]) -> list[str]:
    peer = _Peer()
    for piece in pieces:
        peer.feed(piece)
    return peer.end


#: What a caller sends, and what becomes of it wherever it is cut.
_SCRIPTS = {
    "nothing": (b"", []),
    "one": (GET, ["GET /a"]),
    "two": (GET + get("/b"), ["GET /a", "GET /b"]),
    "a part": (GET[:20], ["part"]),
    "one and a part": (GET + GET[:9], ["GET /a", "part"]),
    "empty lines": (b"\r\n\r\n" + GET + b"\r\n" + get("/b"), ["GET /a", "GET /b"]),
    "a body": (post("/a", b"abc"), ["POST /a abc"]),
    "an empty body": (post("/a", b"") + GET, ["POST /a", "GET /a"]),
    "a body that looks like a request": (post("/a", GET[:14]) + GET, ["POST /a GET /a HTTP/1.", "GET /a"]),
    "a body that is not whole": (post("/a", b"abc")[:-1], ["body"]),
    "bodies in a row": (post("/a", b"abc") + post("/b", b"d") + GET, ["POST /a abc", "POST /b d", "GET /a"]),
    "chunks": (chunked("/a") + b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n", ["POST /a abc", "sealed"]),
    "behind chunks": (chunked("/a") + b"2\r\nab\r\n0\r\nX: 1\r\n\r\n" + GET, ["POST /a ab", "sealed"]),
    "chunks that are not whole": (chunked("/a") + b"2\r\nab\r\n", ["sealed", "body"]),
    "the last": (get("/a", "Connection: close"), ["GET /a", "sealed"]),
    "HTTP/1.0": (b"GET /a HTTP/1.0\r\n\r\n", ["GET /a", "sealed"]),
    "behind an upgrade": (get("/a", "Connection: Upgrade", "Upgrade: h2c") + GET, ["GET /a", "sealed"]),
    "another protocol": (_RTSP, ["!bad_request", "sealed"]),
    "another protocol behind": (GET + _RTSP, ["GET /a", "!bad_request", "sealed"]),
    "a head that is no head behind a body": (post("/a", b"abc") + _RTSP, ["POST /a abc", "!bad_request", "sealed"]),
    "garbage": (_GARBAGE, ["!bad_request", "sealed"]),
    "no host": (b"GET /a HTTP/1.1\r\n\r\n", ["!bad_request", "sealed"]),
    "length and chunks": (chunked("/a", "Content-Length: 3"), ["!bad_request", "sealed"]),
    "a line that is too long": (get("/" + "a" * 8190), ["!headers_too_large", "sealed"]),
    "too many headers": (get("/a", *(f"X-{number}: 1" for number in range(128))), ["!headers_too_large", "sealed"]),
    "a head without an end": (b"GET /a HTTP/1.1\r\n" + b"X: y\r\n" * 11_000, ["!headers_too_large", "sealed"]),
}


@pytest.mark.parametrize("name", _SCRIPTS)
async def test_a_script_is_read_alike_wherever_it_is_cut(name: str) -> None:
    data, expected = _SCRIPTS[name]
    assert _read([data]) == expected
    step = max(1, len(data) // 300)
    for cut in range(1, len(data), step):
        assert _read([data[:cut], data[cut:]]) == expected, cut
    if len(data) < 1000:
        assert _read([data[at : at + 1] for at in range(len(data))]) == expected


@pytest.mark.parametrize("first", [get("/a", "Connection: close"), b"GET /a HTTP/1.0\r\n\r\n"])
async def test_what_comes_behind_the_last_request_is_never_read(first: bytes) -> None:
    for cut in range(len(first), len(first + GET)):
        wire = first + GET
        expected = ["GET /a", "sealed"] if cut == len(first) else ["!bad_request", "sealed"]
        assert _read([wire[:cut], wire[cut:]]) == expected, cut
    assert _read([first[:-1], first[-1:], *(GET[at : at + 1] for at in range(len(GET)))]) == ["GET /a", "sealed"]


@pytest.mark.parametrize("body", [b"2\r\nab\r\nzz\r\n" + GET, b"2;" + b"e" * 17_000], ids=["size", "extension"])
async def test_a_body_in_bad_chunks_is_never_whole_and_nothing_is_read_behind_it(body: bytes) -> None:
    """In one piece with its head it is refused at once; else the reader of the body learns of it."""
    head = chunked("/a")
    assert _read([head + body]) == ["!bad_request", "sealed"]
    assert _read([head, body]) == ["POST /a !bad_request", "sealed"]
    for cut in range(len(head), len(head + body), 1 + len(body) // 100):
        wire = head + body
        assert _read([wire[:cut], wire[cut:]]) in (["POST /a !bad_request", "sealed"], ["!bad_request", "sealed"]), cut


async def test_a_request_in_front_of_garbage_in_one_piece_is_refused_with_it() -> None:
    """The parser forgets it: so its caller is told that it was not sent, and may send it again."""
    assert _read([GET + _GARBAGE]) == ["!bad_request", "sealed"]
    assert _read([GET, _GARBAGE]) == ["GET /a", "!bad_request", "sealed"]


async def test_a_tls_hello_is_told_to_speak_http() -> None:
    peer = _Peer()
    assert peer.reader.feed(b"\x16\x03\x01\x02\x00\x01") is Event.REFUSED
    assert peer.reader.failure is not None
    assert "http://" in peer.reader.failure.message


@pytest.mark.parametrize(
    ("pieces", "events"),
    [
        ([b"", b"GE", b"T /a", GET[6:]], [Event.NOTHING, Event.HEAD, Event.HEAD, Event.REQUEST]),
        ([post("/a", b"abc")[:-2], b"b", b"c"], [Event.REQUEST, Event.NOTHING, Event.NOTHING]),
        ([GET + b"GE", b"T"], [Event.REQUEST, Event.HEAD]),
        ([get("/a", "Connection: close"), b"x", b""], [Event.REQUEST, Event.SURPLUS, Event.NOTHING]),
        ([_GARBAGE, b"x"], [Event.REFUSED, Event.SURPLUS]),
        ([GET + _RTSP, b"x"], [Event.REQUEST, Event.SURPLUS]),
    ],
)
async def test_each_piece_says_what_it_brought(pieces: list[bytes], events: list[Event]) -> None:
    reader = _reader(_Source())
    assert [reader.feed(piece) for piece in pieces] == events


# --- failures and who gets them --------------------------------------------------------------------------------------


async def test_what_is_malformed_behind_a_request_that_runs_waits_for_its_turn() -> None:
    reader = _reader(_Source())
    reader.feed(GET)
    reader.take()
    assert (reader.feed(_RTSP), reader.requests) == (Event.NOTHING, type(reader.requests)())
    assert reader.failure is not None
    assert (reader.finish(), reader.has_unread) == (True, True)


async def test_garbage_behind_the_last_request_is_worth_no_response() -> None:
    reader = _reader(_Source())
    reader.feed(chunked("/a") + b"0\r\n\r\n")
    reader.take()
    assert (reader.feed(_GARBAGE), reader.failure, reader.surplus) == (Event.SURPLUS, None, len(_GARBAGE))


async def test_a_body_breaks_once_and_only_while_more_of_it_is_to_come() -> None:
    reader = _reader(_Source())
    reader.break_body(KeyError())  # there is no request
    reader.feed(post("/a", b"abc")[:-1])
    _, content = reader.take()
    reader.break_body(KeyError())
    assert isinstance(content.exception(), KeyError)
    assert (reader.sealed, reader.feed(b"c"), reader.finish()) == (True, Event.SURPLUS, False)
    whole = _reader(_Source())
    whole.feed(post("/a", b"abc"))
    _, content = whole.take()
    whole.break_body(KeyError())
    assert (content.exception(), content.read_nowait(), whole.sealed) == (None, b"abc", False)


# --- flow control ----------------------------------------------------------------------------------------------------


async def test_a_body_that_nobody_reads_stops_the_source_and_reading_it_brings_the_rest() -> None:
    source = _Source()
    reader = _reader(source)
    size = 400_000
    wire = post("/a", b"x" * size) + GET
    reader.feed(wire[:200_000])
    assert source.paused()
    _, content = reader.take()
    assert len(content.read_nowait()) <= 200_000
    assert not source.paused()
    reader.feed(wire[200_000:])
    assert source.paused()
    rest = content.total_bytes
    while not content.is_eof():
        content.read_nowait()
    assert (rest <= size, content.total_bytes) == (True, size)
    assert (len(reader.requests), source.paused(), reader.finish()) == (1, True, True)  # held: one waits for its turn
    message, _ = reader.take()
    assert (message.path, source.paused()) == ("/a", False)


async def test_a_small_body_never_stops_the_source() -> None:
    source = _Source()
    reader = _reader(source)
    reader.feed(post("/a", b"x" * 1000))
    assert not source.paused()


async def test_requests_in_one_segment_are_handed_out_in_order_and_few_are_held() -> None:
    peer = _Peer()
    peer.reader.feed(b"".join(get(f"/{number}") for number in range(100)))
    assert (len(peer.reader.requests), peer.source.paused()) == (4, True)
    peer.response()
    assert peer.end == [f"GET /{number}" for number in range(100)]
    assert not peer.source.paused()


async def test_a_request_behind_one_that_runs_stops_the_source_until_it_is_taken() -> None:
    source = _Source()
    reader = _reader(source)
    reader.feed(GET)
    reader.take()
    assert not source.paused()
    reader.feed(GET)
    assert source.paused()
    reader.finish()
    reader.take()
    assert not source.paused()


async def test_surplus_stops_the_source_unless_it_is_to_be_discarded() -> None:
    source = _Source()
    reader = _reader(source)
    reader.stop()
    reader.feed(b"x" * 60_000)
    assert (source.paused(), reader.surplus) == (False, 60_000)
    reader.feed(b"x" * 6_000)
    assert source.paused()
    reader.discard()
    assert (source.paused(), reader.surplus) == (False, 0)
    for _ in range(10):
        assert reader.feed(b"x" * 60_000) is Event.SURPLUS
    assert (source.paused(), reader.surplus) == (False, 600_000)


async def test_the_head_limit_holds_at_its_byte() -> None:
    """As many bytes as are allowed, in lines that are each short enough."""
    start, end, line = b"GET /a HTTP/1.1\r\nHost: a\r\n", b"\r\n", b"X: " + b"y" * 3000 + b"\r\n"
    lines = line * ((MAX_HEAD - len(start + end) - 8) // len(line))
    fill = MAX_HEAD - len(start + lines + end)
    head = start + lines + b"X: " + b"y" * (fill - 5) + b"\r\n" + end
    assert len(head) == MAX_HEAD
    assert _read([head]) == ["GET /a"]
    assert _read([head.replace(b"X: y", b"X: yy", 1)]) == ["!headers_too_large", "sealed"]


# --- the end ---------------------------------------------------------------------------------------------------------


async def test_nothing_of_a_closed_reader_waits_for_the_garbage_collector() -> None:
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            reader = _reader(_Source())
            reader.feed(post("/a", b"abc")[:-1] + b"")
            _, content = reader.take()
            reader.close()
            assert reader.feed(b"x") is Event.SURPLUS
            reader.finish()
            del reader, content, _
        assert not [each for each in gc.get_objects() if type(each) is RequestReader]
    finally:
        gc.enable()
