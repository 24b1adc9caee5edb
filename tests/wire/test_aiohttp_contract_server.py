"""What aiohttp's request parser does where the proxy port does otherwise, and what the port leans on.

A test of the first part that fails means that aiohttp has mended a fault: then
our own guard against it may go. One of the second part means that ours broke.
Both are why the minor version is pinned.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp.http import HttpRequestParser
from aiohttp.http_exceptions import BadHttpMessage, BadHttpMethod, HttpProcessingError, LineTooLong
from aiohttp.streams import EMPTY_PAYLOAD

from tests.support.proxy_port import GET, chunked, get, post

_GARBAGE = b"\x00garbage\r\n\r\n"
_BUFFER = 2**16


class _Protocol:
    """All that a parser and its bodies ask of the protocol that they are given; notes what they asked."""

    __slots__ = ("asked",)

    connected = True

    def __init__(self) -> None:
        self.asked: list[str] = []

    def pause_reading(self) -> None:
        self.asked.append("pause")

    def resume_reading(self, resume_parser: bool = True) -> None:
        self.asked.append("resume" if resume_parser else "end")


def _parser(protocol: _Protocol | None = None, *, queue: int = 0) -> Any:
    given: Any = protocol or _Protocol()
    return HttpRequestParser(
        given, asyncio.get_running_loop(), _BUFFER, auto_decompress=False, max_msg_queue_size=queue
    )


# --- faults ----------------------------------------------------------------------------------------------------------


async def test_a_trailer_becomes_a_header_of_the_next_request() -> None:
    wire = chunked("/a") + b"2\r\nab\r\n0\r\nX-Injected: 1\r\n\r\n" + get("/b")
    (_, (message, _)), _, _ = _parser().feed_data(wire)
    assert message.headers["X-Injected"] == "1"


async def test_a_bad_chunk_in_the_middle_of_a_body_leaves_its_reader_waiting() -> None:
    parser = _parser()
    ((_, content),), _, _ = parser.feed_data(chunked("/a") + b"2\r\nab\r\n")
    with pytest.raises(HttpProcessingError):
        parser.feed_data(b"zz\r\n")
    assert (content.exception(), content.is_eof()) == (None, False)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /a\r\n\r\n",
        b"GET /a HTTP/2.0\r\nHost: localhost\r\n\r\n",
        b"POST /a RTSP/1.0\r\nHost: localhost\r\n\r\n",
        b"GET  /a HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\n\nGET /a HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST /a HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        chunked("/a") + b"2;" + b"e" * 65_536 + b"\r\nab\r\n0\r\n\r\n",
        get("/a", *(f"X-{number:02}: {'a' * 8000}" for number in range(20))),
    ],
    ids=[
        "HTTP/0.9",
        "HTTP/2.0",
        "RTSP",
        "two spaces",
        "bare LF in front",
        "chunked HTTP/1.0",
        "gzip, chunked",
        "64 KiB chunk extension",
        "160 KiB head",
    ],
)
async def test_odd_requests_are_taken(request_bytes: bytes) -> None:
    messages, _, _ = _parser().feed_data(request_bytes)
    assert len(messages) == 1


async def test_what_is_behind_an_upgrade_is_handed_back_and_the_next_piece_is_read_as_a_request() -> None:
    """So the body of a request that was handed back becomes a request: smuggling."""
    parser = _parser()
    lost = post("/lost", GET)[: -len(GET)]
    messages, upgraded, tail = parser.feed_data(get("/a", "Connection: Upgrade", "Upgrade: websocket") + lost)
    assert (len(messages), upgraded, tail) == (1, True, lost)
    parser.set_upgraded(False)
    ((message, _),), _, _ = parser.feed_data(GET)
    assert message.path == "/a"


# --- what the port leans on ------------------------------------------------------------------------------------------


async def test_a_body_that_has_its_fill_asks_to_pause_and_one_that_is_read_to_resume() -> None:
    protocol = _Protocol()
    ((_, content),), _, _ = _parser(protocol).feed_data(post("/a", b"x" * 300_000)[:-1])
    assert protocol.asked == ["pause"]
    content.read_nowait()
    assert protocol.asked == ["pause", "resume"]


async def test_a_body_that_ends_asks_to_resume_without_the_parser() -> None:
    protocol = _Protocol()
    _parser(protocol).feed_data(post("/a", b"abc"))
    assert protocol.asked == ["end"]


async def test_a_paused_parser_holds_back_what_it_got_and_goes_on_with_nothing() -> None:
    parser: Any = None

    class Pausing(_Protocol):
        def pause_reading(self) -> None:
            parser.pause_reading()

    parser = _parser(Pausing())
    size = 3 * _BUFFER
    ((_, content),), _, _ = parser.feed_data(post("/a", b"x" * size) + GET)
    assert (content.total_bytes, content.is_eof()) == (size, False)
    ((message, _),), _, _ = parser.feed_data(b"")
    assert (content.is_eof(), message.method) == (True, "GET")


async def test_a_parser_hands_out_so_many_requests_until_one_is_consumed() -> None:
    parser = _parser(queue=2)
    messages, _, _ = parser.feed_data(GET * 4)
    assert len(messages) == 2
    parser.message_consumed()
    messages, _, _ = parser.feed_data(b"")
    assert len(messages) == 1


async def test_the_parser_is_the_one_in_c() -> None:
    assert HttpRequestParser.__module__ == "aiohttp._http_parser"


async def test_messages_tell_what_seals_a_connection() -> None:
    for request, expected in [
        (GET, (False, False, False)),
        (get("/a", "Connection: close"), (False, False, True)),
        (get("/a", "Connection: Upgrade", "Upgrade: h2c"), (False, True, False)),
        (chunked("/a"), (True, False, False)),
        (b"GET /a HTTP/1.0\r\n\r\n", (False, False, True)),
    ]:
        ((message, _),), _, _ = _parser().feed_data(request)
        assert (bool(message.chunked), message.upgrade, message.should_close) == expected


async def test_a_request_without_a_body_shares_one_empty_one() -> None:
    for request in (GET, post("/a", b"")):
        ((_, content),), _, _ = _parser().feed_data(request)
        assert content is EMPTY_PAYLOAD
        assert (content.is_eof(), content.total_bytes, content.read_nowait()) == (True, 0, b"")


async def test_the_target_and_the_method_come_as_they_were_sent() -> None:
    """The heads' own count leans on their lengths."""
    ((message, _),), _, _ = _parser().feed_data(b"M-SEARCH /a%zz//;x?&#f HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (message.method, message.path) == ("M-SEARCH", "/a%zz//;x?&#f")


async def test_a_length_always_comes_as_one_header_of_digits() -> None:
    ((message, _),), _, _ = _parser().feed_data(post("/a", b"abc"))
    assert message.headers["content-length"] == "3"
    for value in (b"+3", b"3, 3", b"0x3", b"", b"3 3", b"3_0"):
        with pytest.raises(HttpProcessingError):
            _parser().feed_data(b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: " + value + b"\r\n\r\nabc")


async def test_too_many_headers_are_told_in_these_words() -> None:
    with pytest.raises(BadHttpMessage) as caught:
        _parser().feed_data(get("/a", *(f"X-{number}: 1" for number in range(128))))
    assert caught.value.message == "Too many headers received"


@pytest.mark.parametrize("request_bytes", [get("/" + "a" * 8190), get("/a", "X: " + "a" * 8191)])
async def test_a_line_over_the_limit_has_an_error_of_its_own(request_bytes: bytes) -> None:
    with pytest.raises(LineTooLong):
        _parser().feed_data(request_bytes)


async def test_tls_has_an_error_of_its_own() -> None:
    with pytest.raises(BadHttpMethod):
        _parser().feed_data(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")


async def test_a_target_that_is_not_ascii_is_an_error() -> None:
    with pytest.raises(HttpProcessingError):
        _parser().feed_data(b"GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n")


async def test_a_parser_that_failed_goes_on_failing() -> None:
    parser = _parser()
    for _ in range(3):
        with pytest.raises(HttpProcessingError):
            parser.feed_data(_GARBAGE)


async def test_a_request_in_front_of_garbage_in_one_piece_is_forgotten() -> None:
    parser = _parser()
    with pytest.raises(HttpProcessingError):
        parser.feed_data(GET + _GARBAGE)
    with pytest.raises(HttpProcessingError):
        parser.feed_data(b"")


async def test_a_content_given_an_exception_raises_it_from_a_read_that_waits() -> None:
    ((_, content),), _, _ = _parser().feed_data(post("/a", b"abc")[:-3])
    reading = asyncio.ensure_future(content.readany())
    await asyncio.sleep(0)
    content.set_exception(KeyError("told"))
    with pytest.raises(KeyError):
        await reading
