"""The usual mistakes of callers, each told apart in the response and in the log."""

from __future__ import annotations

import asyncio

import pytest

from sidecar.core.admission.target_verdict import Rule
from sidecar.core.errors import ErrorCode
from sidecar.core.malformed import Malformed
from tests.support.app import error_code, running_app

HOST = b"Host: localhost\r\n\r\n"

MISTAKES: dict[str, tuple[bytes, Malformed | Rule]] = {
    "https://": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 300, Malformed.TLS),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Malformed.HTTP2),
    "PROXY protocol": (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\nGET / HTTP/1.1\r\n" + HOST, Malformed.PROXY_PROTOCOL),
    "PROXY protocol 2": (
        b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\x7f\0\0\1\x7f\0\0\1\0\1\0\2GET / HTTP/1.1\r\n" + HOST,
        Malformed.PROXY_PROTOCOL,
    ),
    "SOCKS": (b"\x05\x01\x00", Malformed.SOCKS),
    "bare LF": (b"GET / HTTP/1.1\nHost: localhost\n\n", Malformed.BARE_LF),
    "raw UTF-8": ("GET /v2.01/_/café HTTP/1.1\r\n".encode() + HOST, Malformed.NOT_ASCII),
    "a space": (b"GET /v2.01/_/a b HTTP/1.1\r\n" + HOST, Malformed.SPACE),
    "a control character": (b"GET / HTTP/1.1\r\nX: a\x01b\r\n" + HOST, Malformed.CONTROL),
    "another version": (b"GET / HTTP/3.0\r\n" + HOST, Malformed.VERSION),
    "another protocol": (b"*1\r\n$4\r\nPING\r\n", Malformed.NOT_HTTP),
    "a byte order mark": (b"\xef\xbb\xbfGET / HTTP/1.1\r\n" + HOST, Malformed.BYTE_ORDER_MARK),
    "a method in small letters": (b"get / HTTP/1.1\r\n" + HOST, Malformed.METHOD),
    "no slash": (b"GET users HTTP/1.1\r\n" + HOST, Malformed.TARGET),
    "quotes": (b'GET "/users" HTTP/1.1\r\n' + HOST, Malformed.TARGET),
    "a tab": (b"GET /a\tb HTTP/1.1\r\n" + HOST, Malformed.CONTROL),
    "no Host": (b"GET / HTTP/1.1\r\nAccept: */*\r\n\r\n", Malformed.HOST),
    "two Hosts": (b"GET / HTTP/1.1\r\nHost: localhost\r\n" + HOST, Malformed.HOST),
    "two Hosts on one line": (b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", Malformed.HOST),
    "two lengths": (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n" + HOST, Malformed.LENGTH),
    "a length with a sign": (b"POST / HTTP/1.1\r\nContent-Length: +1\r\n" + HOST, Malformed.LENGTH),
    "length and chunks": (
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n" + HOST,
        Malformed.BOTH_LENGTHS,
    ),
    "another coding": (b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n" + HOST, Malformed.CODING),
    "a coding on HTTP/1.0": (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n" + HOST, Malformed.CODING_OF_1_0),
    "two types": (b"POST / HTTP/1.1\r\nContent-Type: a\r\nContent-Type: b\r\n" + HOST, Malformed.REPEATED),
    "no chunks": (b"POST /v2.01/_/x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + HOST + b"zz\r\n", Malformed.CHUNKS),
    "no header": (b"GET / HTTP/1.1\r\nno colon\r\n" + HOST, Malformed.FIELD),
    "no HTTP at all": (b"EHLO example.com\r\n\r\n", Malformed.VERSION),
    "a slash too many": (b"GET //v2.01/acme/users HTTP/1.1\r\n" + HOST, Rule.TWO_SLASHES),
    "http_proxy": (b"GET http://api.mangopay.com/v2.01/acme/users HTTP/1.1\r\n" + HOST, Rule.FORWARD_PROXY),
    "https_proxy": (b"CONNECT api.mangopay.com:443 HTTP/1.1\r\n" + HOST, Rule.FORWARD_PROXY),
    "http_proxy, as curl has it": (
        b"GET http://api.mangopay.com/v2.01/acme/users HTTP/1.1\r\nHost: api.mangopay.com\r\n\r\n",
        Rule.FORWARD_PROXY,
    ),
    "https_proxy, as curl has it": (
        b"CONNECT api.mangopay.com:443 HTTP/1.1\r\nHost: api.mangopay.com:443\r\n\r\n",
        Rule.FORWARD_PROXY,
    ),
    "a backslash": (b"GET /v2.01\\acme HTTP/1.1\r\n" + HOST, Rule.BACKSLASH),
}


@pytest.mark.parametrize(("sent", "what"), MISTAKES.values(), ids=MISTAKES)
async def test_a_mistake_is_named_to_the_caller_and_in_the_log(sent: bytes, what: Malformed | Rule) -> None:
    async with running_app("http://127.0.0.1:1", token_prefetch="false") as app:
        with await app.connect() as client:
            await client.send(sent)
            response = await client.response()
        assert (response.status, error_code(response)) == (400, ErrorCode.BAD_REQUEST)
        assert response.json["Message"] == what.message
        (line,) = app.log.requests
        kind = "malformed" if isinstance(what, Malformed) else "target"
        assert (line["error"], line["detail"]) == ("bad_request", f"{kind}: {what.detail}")


async def test_chunks_that_turn_out_malformed_later_are_named_as_well() -> None:
    head, what = b"POST /v2.01/_/x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + HOST, Malformed.CHUNKS
    async with running_app("http://127.0.0.1:1", token_prefetch="false") as app:
        with await app.connect() as client:
            await client.send(head + b"1\r\na\r\n")
            await asyncio.sleep(0.05)
            await client.send(b"1\nb\n0\n\n")
            response = await client.response()
        assert (response.status, response.json["Message"]) == (400, what.message)
        assert app.log.requests[0]["detail"] == f"malformed: {what.detail}"


@pytest.mark.parametrize("cut", [1, 2, 5, 20])
async def test_it_is_named_too_if_it_comes_in_pieces(cut: int) -> None:
    sent, what = MISTAKES["raw UTF-8"]
    async with running_app("http://127.0.0.1:1", token_prefetch="false") as app:
        with await app.connect() as client:
            await client.send(sent[:cut])
            await client.send(sent[cut:])
            assert (await client.response()).json["Message"] == what.message
