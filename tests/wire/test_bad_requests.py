"""The usual mistakes of callers, each told apart in the response and in the log."""

from __future__ import annotations

import pytest

from sidecar.core.admission.target import Rule
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
    "no HTTP at all": (b"EHLO example.com\r\n\r\n", Malformed.VERSION),
    "a slash too many": (b"GET //v2.01/acme/users HTTP/1.1\r\n" + HOST, Rule.TWO_SLASHES),
    "http_proxy": (b"GET http://api.mangopay.com/v2.01/acme/users HTTP/1.1\r\n" + HOST, Rule.FORWARD_PROXY),
    "https_proxy": (b"CONNECT api.mangopay.com:443 HTTP/1.1\r\n" + HOST, Rule.FORWARD_PROXY),
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


@pytest.mark.parametrize("cut", [1, 2, 5, 20])
async def test_it_is_named_too_if_it_comes_in_pieces(cut: int) -> None:
    sent, what = MISTAKES["raw UTF-8"]
    async with running_app("http://127.0.0.1:1", token_prefetch="false") as app:
        with await app.connect() as client:
            await client.send(sent[:cut])
            await client.send(sent[cut:])
            assert (await client.response()).json["Message"] == what.message
