"""Well-formed requests get through the listener untouched, one after another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sidecar.downstream.connection import ConnectionPhase
from tests.support.proxy_port import GET, chunked, get, ok, post, serve

if TYPE_CHECKING:
    from sidecar.downstream.request import CallerRequest
    from sidecar.downstream.response import CallerResponse

pytestmark = pytest.mark.any_loop


async def test_the_handler_gets_the_target_and_the_headers_byte_for_byte() -> None:
    seen: list[CallerRequest] = []

    async def handler(request: CallerRequest) -> CallerResponse:
        seen.append(request)
        return ok()

    async with serve(lambda _: handler) as port:
        with await port.client() as client:
            await client.send(
                b"GET /a%2Fb;x=1/?q=+&q=%zz&? HTTP/1.1\r\nHost: localhost\r\n"
                b"X-Odd_cAsE:  v\xe9 \xff\t\r\nx-odd_case: 2\r\n\r\n"
            )
            await client.response()
    (request,) = seen
    assert (request.method, request.raw_path) == ("GET", "/a%2Fb;x=1/?q=+&q=%zz&?")
    assert tuple(request.version) == (1, 1)
    assert request.raw_headers == (
        (b"Host", b"localhost"),
        (b"X-Odd_cAsE", b"v\xe9 \xff"),
        (b"x-odd_case", b"2"),
    )


async def test_nothing_is_added_to_the_response() -> None:
    async with serve() as port:
        with await port.client() as client:
            await client.send(GET)
            response = await client.response()
    assert response.raw == b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nGET /a "


async def test_requests_on_one_connection_are_answered_one_after_another() -> None:
    async with serve() as port:
        with await port.client() as client:
            for number in range(5):
                await client.send(get(f"/{number}"))
                assert (await client.response()).body == f"GET /{number} ".encode()
        assert port.seen == [f"GET /{number}" for number in range(5)]


async def test_two_pipelined_requests_are_answered_in_order() -> None:
    async with serve() as port:
        with await port.client() as client:
            await client.send(get("/1") + get("/2"))
            assert (await client.response()).body == b"GET /1 "
            assert (await client.response()).body == b"GET /2 "


async def test_pipelined_requests_with_bodies_are_answered_in_order() -> None:
    async with serve() as port:
        with await port.client() as client:
            await client.send(post("/1", b"one") + post("/2", b"two") + get("/3"))
            assert [(await client.response()).body for _ in range(3)] == [b"POST /1 one", b"POST /2 two", b"GET /3 "]


async def test_many_pipelined_requests_are_all_answered() -> None:
    """More than the parser parses ahead, and more than one read brings."""
    count = 2000
    async with serve() as port:
        with await port.client() as client:
            await client.send(b"".join(get(f"/{number}") for number in range(count)))
            for number in range(count):
                assert (await client.response()).body == f"GET /{number} ".encode()


async def test_a_request_may_come_byte_by_byte() -> None:
    async with serve() as port:
        with await port.client() as client:
            for byte in post("/a", b"xyz"):
                await client.send(bytes([byte]))
            assert (await client.response()).body == b"POST /a xyz"
            await client.send(GET)
            assert (await client.response()).status == 200


@pytest.mark.parametrize("size", [1, 65_535, 65_536, 131_072, 131_073, 262_144, 1_000_000, 14_000_000])
async def test_a_body_of_any_size_arrives_whole(size: int) -> None:
    """Sizes around the reading buffer's marks: the parser holds back what follows them."""
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    async with serve() as port:
        with await port.client() as client:
            await client.send(post("/a", body) + GET)
            assert (await client.response()).body == b"POST /a " + body
            assert (await client.response()).status == 200


async def test_a_chunked_body_arrives_whole_whatever_its_chunks() -> None:
    body = bytes(range(256)) * 1000
    pieces = [body[start : start + 77] for start in range(0, len(body), 77)]
    async with serve() as port:
        with await port.client() as client:
            await client.send(chunked("/a") + b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in pieces) + b"0\r\n\r\n")
            assert (await client.response()).body == b"POST /a " + body


async def test_a_body_in_chunks_of_one_byte_is_legal() -> None:
    async with serve() as port:
        with await port.client() as client:
            await client.send(chunked("/a") + b"1\r\nx\r\n" * 100_000 + b"0\r\n\r\n")
            assert (await client.response()).body == b"POST /a " + b"x" * 100_000


async def test_a_get_may_have_a_body() -> None:
    async with serve() as port:
        with await port.client() as client:
            await client.send(b"GET /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nab" + GET)
            assert (await client.response()).body == b"GET /a ab"
            assert (await client.response()).status == 200


async def test_empty_lines_between_requests_are_ignored() -> None:
    async with serve() as port:
        with await port.client() as client:
            await client.send(b"\r\n" + post("/a", b"ab") + b"\r\n\r\n" + GET)
            assert (await client.response()).body == b"POST /a ab"
            assert (await client.response()).status == 200
            await client.send(b"\r\n")
            await client.send(GET)
            assert (await client.response()).status == 200


async def test_an_empty_line_behind_a_request_does_not_count_as_the_next_head() -> None:
    async with serve() as port:
        with await port.client() as client:
            await client.send(post("/a", b"ab") + b"\r\n")
            await client.response()
            await port.phase(ConnectionPhase.IDLE)


async def test_http_1_0_with_keep_alive_keeps_the_connection() -> None:
    async with serve() as port:
        with await port.client() as client:
            for _ in range(2):
                await client.send(b"GET /a HTTP/1.0\r\nConnection: keep-alive\r\nHost: localhost\r\n\r\n")
                assert (await client.response()).status == 200


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /a HTTP/1.0\r\nHost: localhost\r\n\r\n",
        get("/a", "Connection: close"),
        get("/a", "Connection: x, Close"),
        get("/a", "Connection: close") + b"\r\n",
    ],
)
async def test_the_connection_ends_when_the_request_says_so(request_bytes: bytes) -> None:
    async with serve() as port:
        with await port.client() as client:
            await client.send(request_bytes)
            response = await client.response()
            assert (response.status, response.header("Connection")) == (200, b"close")
            assert await client.ending() == "end"


async def test_the_connection_ends_when_the_response_says_so() -> None:
    async def handler(request: CallerRequest) -> CallerResponse:
        return ok(keep_alive=False)

    async with serve(lambda _: handler) as port:
        with await port.client() as client:
            await client.send(GET)
            await client.response()
            assert await client.ending() == "end"


@pytest.mark.parametrize("protocol", ["websocket", "h2c", "TLS/1.0"])
async def test_an_upgrade_is_declined_and_ends_the_connection(protocol: str) -> None:
    """What follows an upgrade may be anything: it is never read as a request."""
    async with serve() as port:
        with await port.client() as client:
            await client.send(get("/a", "Connection: Upgrade", f"Upgrade: {protocol}") + get("/smuggled"))
            response = await client.response()
            assert (response.status, response.header("Connection")) == (200, b"close")
            assert await client.ending() == "end"
        assert port.seen == ["GET /a"]


async def test_what_follows_an_upgrade_in_a_later_packet_is_no_request_either() -> None:
    async with serve() as port:
        with await port.client() as client:
            await client.send(get("/a", "Connection: Upgrade", "Upgrade: h2c"))
            assert (await client.response()).status == 200
            await client.send_all(get("/smuggled"))
            assert await client.ending() in {"end", "reset"}
        assert port.seen == ["GET /a"]


async def test_a_post_that_offers_an_upgrade_keeps_its_body() -> None:
    async with serve() as port:
        with await port.client() as client:
            head, body = post("/a", b"abcdef", "Connection: Upgrade", "Upgrade: h2c")[:-6], b"abcdef"
            await client.send(head + body[:2])
            await client.send(body[2:])
            assert (await client.response()).body == b"POST /a abcdef"


async def test_a_connection_is_idle_between_requests_and_in_a_head_within_one() -> None:
    async with serve() as port:
        with await port.client() as client:
            await port.phase(ConnectionPhase.FRESH)
            await client.send(GET + GET[:9])
            await client.response()
            await port.phase(ConnectionPhase.HEAD)
            await client.send(GET[9:])
            await client.response()
            await port.phase(ConnectionPhase.IDLE)
