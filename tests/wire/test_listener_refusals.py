"""Bytes that are no well-formed request never reach the handler; the response is ours, and the connection ends."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from sidecar.downstream.head_boundaries import MAX_HEAD
from tests.support.proxy_port import GET, Port, chunked, get, ok, post, serve, until

if TYPE_CHECKING:
    from sidecar.downstream.request import CallerRequest
    from sidecar.downstream.response import CallerResponse

pytestmark = pytest.mark.any_loop

_HOST = b"Host: localhost\r\n"

MALFORMED = {
    "not HTTP": b"\x00\x01\x02\x03garbage\r\n\r\n",
    "HTTP/0.9 with an empty line": b"GET /a\r\n\r\n",
    "HTTP/2.0": b"GET /a HTTP/2.0\r\n" + _HOST + b"\r\n",
    "HTTP/1.2": b"GET /a HTTP/1.2\r\n" + _HOST + b"\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "no target": b"CONNECT \r\n\r\na:1 HTTP/1.1\r\n" + _HOST + b"\r\n",
    "another protocol": b"POST /a RTSP/1.0\r\nContent-Length: 2\r\n\r\nab",
    "another protocol, HTTP named in a header": b"POST /a RTSP/1.0\r\nX: POST /a HTTP/1.1\r\n\r\n",
    "two spaces before the target": b"GET  /a HTTP/1.1\r\n" + _HOST + b"\r\n",
    "two spaces behind the target": b"GET /a  HTTP/1.1\r\n" + _HOST + b"\r\n",
    "bare LF": b"GET /a HTTP/1.1\nHost: localhost\n\n",
    "bare CR in a value": b"GET /a HTTP/1.1\r\nHost: localhost\r\nX: a\rb\r\n\r\n",
    "bare CR before the request": b"\rGET /a HTTP/1.1\r\n" + _HOST + b"\r\n",
    "bare LF before the request": b"\nGET /a HTTP/1.1\r\n" + _HOST + b"\r\n",
    "folded header": b"GET /a HTTP/1.1\r\nHost: localhost\r\nX: a\r\n b\r\n\r\n",
    "space before the colon": b"GET /a HTTP/1.1\r\nHost : localhost\r\n\r\n",
    "no name": b"GET /a HTTP/1.1\r\nHost: localhost\r\n: a\r\n\r\n",
    "NUL in a value": b"GET /a HTTP/1.1\r\nHost: localhost\r\nX: \x00\r\n\r\n",
    "no Host": b"GET /a HTTP/1.1\r\n\r\n",
    "two Hosts": b"GET /a HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n",
    "non-ASCII target": b"GET /\xc3\xa9 HTTP/1.1\r\n" + _HOST + b"\r\n",
    "control character in the target": b"GET /\x01 HTTP/1.1\r\n" + _HOST + b"\r\n",
    "unknown method": b"FROB /a HTTP/1.1\r\n" + _HOST + b"\r\n",
    "both lengths": chunked("/a", "Content-Length: 3") + b"0\r\n\r\n",
    "differing lengths": post("/a", b"abc", "Content-Length: 4"),
    "equal lengths": post("/a", b"abc", "Content-Length: 3"),
    "length with a sign": b"POST /a HTTP/1.1\r\n" + _HOST + b"Content-Length: +3\r\n\r\nabc",
    "list of lengths": b"POST /a HTTP/1.1\r\n" + _HOST + b"Content-Length: 3, 3\r\n\r\nabc",
    "length beyond 64 bits": b"POST /a HTTP/1.1\r\n" + _HOST + b"Content-Length: 99999999999999999999\r\n\r\n",
    "unknown coding": b"POST /a HTTP/1.1\r\n" + _HOST + b"Transfer-Encoding: foo\r\n\r\n",
    "chunked twice": chunked("/a", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
    "bad chunk at once": chunked("/a") + b"zz\r\n",
    "chunk size with 0x": chunked("/a") + b"0x2\r\nab\r\n0\r\n\r\n",
    "chunk with bare LF": chunked("/a") + b"2\nab\n0\n\n",
    "chunk longer than it says": chunked("/a") + b"2\r\nabc\r\n0\r\n\r\n",
    "chunk extension of 64 KiB": chunked("/a") + b"2;" + b"e" * 65_536 + b"\r\nab\r\n0\r\n\r\n",
    "empty lines without end": b"\r\n" * 100 + GET,
}

TOO_LARGE = {
    "129 headers": get("/a", *(f"X-{number}: 1" for number in range(128))),
    "a header line over 8190 bytes": get("/a", "X: " + "a" * 8191),
    "a target over 8190 bytes": get("/" + "a" * 8190),
    "a head over 64 KiB": get("/a", *(f"X-{number:02}: {'a' * 8000}" for number in range(9))),
}


async def _answer_once(port: Port, data: bytes) -> None:
    with await port.client() as client:
        await client.send_all(data)
        response = await client.response()
        assert response.version == b"HTTP/1.1"
        assert response.header("Connection") == b"close"
        assert response.header("X-Sidecar-Error") == port.reported[-1].encode()
        assert response.header("X-Sidecar-Outcome") == b"not-sent"
        assert response.json["Id"] == f"id-{len(port.reported)}"
        assert await client.ending() == "end"


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED)
async def test_a_malformed_request_gets_400_in_our_shape(data: bytes) -> None:
    async with serve() as port:
        await _answer_once(port, data)
        assert (port.reported, port.seen) == (["bad_request"], [])


@pytest.mark.parametrize("data", TOO_LARGE.values(), ids=TOO_LARGE)
async def test_a_head_beyond_the_limits_gets_431(data: bytes) -> None:
    async with serve() as port:
        await _answer_once(port, data)
        assert (port.reported, port.seen) == (["headers_too_large"], [])


async def test_a_head_within_the_limits_is_served() -> None:
    headers = [f"X-{number:03}: {'a' * 500}" for number in range(126)]
    request = get("/a", *headers, "Y: a")
    assert MAX_HEAD - 2000 < len(request) <= MAX_HEAD
    async with serve() as port:
        with await port.client() as client:
            await client.send(request)
            assert (await client.response()).status == 200


async def test_an_endless_head_is_refused_while_it_comes() -> None:
    async with serve() as port:
        with await port.client() as client:
            await client.send(b"GET /a HTTP/1.1\r\n")
            await client.send_all(b"".join(b"X-%03d: %b\r\n" % (number, b"a" * 5000) for number in range(20)))
            assert (await client.response()).status == 431


async def test_an_endless_head_behind_another_request_is_refused() -> None:
    async with serve() as port:
        with await port.client() as client:
            await client.send(GET)
            assert (await client.response()).status == 200
            await client.send_all(get("/a", *(f"X-{number:03}: {'a' * 5000}" for number in range(20)))[:-2])
            assert (await client.response()).status == 431
        assert port.seen == ["GET /a"]


async def test_nothing_of_the_request_is_in_the_response() -> None:
    async with serve() as port:
        with await port.client() as client:
            await client.send(b"GET /cAnArY HTTP/1.1\r\nAuthorization: cAnArY\r\ncAnArY : cAnArY\r\n\r\n")
            assert b"canary" not in (await client.response()).raw.lower()


async def test_tls_on_the_plain_port_is_told_to_use_http() -> None:
    async with serve() as port:
        with await port.client() as client:
            await client.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500))
            assert "use an http://" in (await client.response()).json["Message"]


async def test_a_refusal_arrives_though_the_caller_has_stopped_sending() -> None:
    async with serve() as port:
        with await port.client() as client:
            await client.send(b"nonsense\r\n\r\n")
            client.half_close()
            assert (await client.response()).status == 400


@pytest.mark.parametrize("behind", [b"\x00garbage", b"GET /b RTSP/1.0\r\n\r\n", b"GET /b HTTP/1.1\r\n: \r\n\r\n"])
async def test_what_is_malformed_behind_a_running_request_is_answered_after_it(behind: bytes) -> None:
    go = asyncio.Event()

    async def handler(request: CallerRequest) -> CallerResponse:
        await go.wait()
        return ok()

    async with serve(lambda _: handler) as port:
        with await port.client() as client:
            await client.send(GET)
            await until(lambda: len(port.seen) == 1)
            await client.send(behind)
            await until(lambda: port.connection._reader._broken)
            go.set()
            assert (await client.response()).status == 200
            assert (await client.response()).status == 400
            assert await client.ending() == "end"
        assert port.seen == ["GET /a"]


async def test_a_request_in_front_of_what_only_we_find_malformed_is_answered_as_the_last_one() -> None:
    """The parser takes both; the first one is a request like any other."""
    async with serve() as port:
        with await port.client() as client:
            await client.send(GET + b"GET /b RTSP/1.0\r\n\r\n")
            response = await client.response()
            assert (response.status, response.header("Connection")) == (200, b"close")
            assert await client.ending() == "end"
        assert port.seen == ["GET /a"]


async def test_a_request_in_front_of_garbage_in_one_packet_is_not_executed() -> None:
    """The parser forgets it; so its caller is told that it was refused, and may send it again."""
    async with serve() as port:
        with await port.client() as client:
            await client.send(post("/pay", b"{}") + b"\x00garbage")
            assert (await client.response()).header("X-Sidecar-Outcome") == b"not-sent"
            assert await client.ending() == "end"
        assert port.seen == []


async def test_garbage_behind_a_running_request_is_not_kept() -> None:
    """It is thrown away, and when there is much of it reading stops: the sender feels it, our memory does not."""
    go = asyncio.Event()

    async def handler(request: CallerRequest) -> CallerResponse:
        await go.wait()
        return ok()

    async with serve(lambda _: handler) as port:
        with await port.client() as client:
            await client.send(GET)
            await until(lambda: len(port.seen) == 1)
            garbage = b"\x00" * 1_000_000
            sent = idle = 0
            while idle < 50:  # the kernel's buffers are full and stay so
                size = client.fill(garbage)
                sent += size
                idle = 0 if size else idle + 1
                await asyncio.sleep(0.002)
            assert sent > 0
            reader = port.connection._reader
            assert reader._held
            assert not reader.requests
            assert reader.surplus < 1_000_000
            go.set()
            assert (await client.response()).status == 200
            assert (await client.response()).status == 400


async def test_pipelined_requests_behind_a_running_one_are_not_read_without_end() -> None:
    go = asyncio.Event()

    async def handler(request: CallerRequest) -> CallerResponse:
        await go.wait()
        return ok()

    # Large ones: the kernel's buffers, which take megabytes before anything stops, are then full of few.
    request = get("/", f"X-Padding: {'x' * 4000}")
    async with serve(lambda _: handler) as port:
        with await port.client() as client:
            await client.send(request)
            await until(lambda: len(port.seen) == 1)
            sent = idle = 0
            requests = request * 200
            while idle < 50:
                size = client.fill(requests[sent % len(request) :])
                sent += size
                idle = 0 if size else idle + 1
                await asyncio.sleep(0.002)
            reader = port.connection._reader
            assert len(reader.requests) <= 32
            assert len(reader.heads.pending) <= 300_000
            go.set()
            for _ in range(sent // len(request)):
                assert (await client.response()).status == 200


# --- chunked requests ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trailer", [b"", b"X-Sidecar-Trick: 1\r\n", b"Content-Type: text/evil\r\n"])
async def test_nothing_behind_a_chunked_request_is_executed(trailer: bytes) -> None:
    """A trailer would become the first header of the next request, so there is no next request."""
    async with serve() as port:
        with await port.client() as client:
            await client.send(chunked("/a") + b"2\r\nab\r\n0\r\n" + trailer + b"\r\n" + get("/smuggled"))
            response = await client.response()
            assert (response.body, response.header("Connection")) == (b"POST /a ab", b"close")
            assert await client.ending() == "end"
        assert port.seen == ["POST /a"]


@pytest.mark.parametrize("trailer", [b"Host: evil\r\n", b"Connection: close\r\n", b"Content-Length: 5\r\n"])
async def test_a_trailer_that_clashes_with_the_next_head_gets_nothing_executed(trailer: bytes) -> None:
    async with serve() as port:
        with await port.client() as client:
            await client.send(chunked("/a") + b"2\r\nab\r\n0\r\n" + trailer + b"\r\n" + get("/smuggled"))
            await client.response()
            assert await client.ending() == "end"
        assert "GET /smuggled" not in port.seen


async def test_nothing_behind_a_chunked_request_is_executed_in_a_later_packet_either() -> None:
    async with serve() as port:
        with await port.client() as client:
            await client.send(chunked("/a") + b"2\r\nab\r\n")
            await until(lambda: port.seen == ["POST /a"])
            await client.send(b"0\r\n\r\n" + get("/smuggled"))
            assert (await client.response()).body == b"POST /a ab"
            await client.send_all(get("/smuggled"))
            assert await client.ending() in {"end", "reset"}
        assert port.seen == ["POST /a"]


async def test_garbage_behind_a_chunked_request_changes_nothing() -> None:
    async with serve() as port:
        with await port.client() as client:
            await client.send(chunked("/a") + b"2\r\nab\r\n")
            await until(lambda: port.seen == ["POST /a"])
            await client.send(b"0\r\n\r\n\x00garbage")
            assert (await client.response()).body == b"POST /a ab"
            assert await client.ending() == "end"
        assert port.reported == []


@pytest.mark.parametrize(
    "rest",
    [
        b"zz\r\n",
        b"-1\r\n",
        b"2\r\nabc\r\n",
        b"0\r\nX: \x00\r\n\r\n",
        b"\r\n",
        b"ffffffffffffffffff\r\n",
        b"2;" + b"e" * 70_000,
    ],
    ids=["letters", "sign", "too long", "bad trailer", "no size", "overflow", "endless extension"],
)
async def test_a_bad_chunk_in_the_middle_of_a_body_ends_the_call_at_once(rest: bytes) -> None:
    async with serve() as port:
        with await port.client() as client:
            await client.send(chunked("/a") + b"2\r\nab\r\n")
            await until(lambda: port.seen == ["POST /a"])
            await client.send_all(rest)
            response = await client.response()
            assert (response.status, response.header("X-Sidecar-Error")) == (400, b"bad_request")
            assert await client.ending() == "end"


async def test_tiny_chunks_with_long_extensions_are_refused() -> None:
    async with serve() as port:
        with await port.client() as client:
            await client.send_all(chunked("/a") + (b"1;" + b"e" * 100 + b"\r\nx\r\n") * 20_000 + b"0\r\n\r\n")
            assert (await client.response()).status == 400


async def test_trailers_without_end_are_refused() -> None:
    async with serve() as port:
        with await port.client() as client:
            await client.send(chunked("/a") + b"2\r\nab\r\n")
            await until(lambda: port.seen == ["POST /a"])
            await client.send_all(b"0\r\n" + b"".join(b"X-%d: 1\r\n" % number for number in range(10_000)))
            assert (await client.response()).status == 431
