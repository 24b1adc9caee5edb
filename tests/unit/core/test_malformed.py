"""Bytes that are no HTTP/1.1 request: each cause has its words."""

from __future__ import annotations

import pytest

from sidecar.core.malformed import Malformed, why_malformed

M = Malformed
HOST = b"Host: localhost\r\n"

CASES = [
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 300, M.TLS),
    (b"\x16\x03\x03", M.TLS),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", M.HTTP2),
    (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\nGET / HTTP/1.1\r\n" + HOST + b"\r\n", M.PROXY_PROTOCOL),
    (b"PROXY UNKNOWN\r\n", M.PROXY_PROTOCOL),
    (b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c", M.PROXY_PROTOCOL),
    (b"\x00\r\nQUIT\n\x21\x11\x00\x0c", M.PROXY_PROTOCOL),  # as it is behind empty lines that were passed over
    (b"\x05\x01\x00", M.SOCKS),
    (b"\x04\x01\x01\xbb", M.SOCKS),
    (b"GET / HTTP/1.1\nHost: localhost\n\n", M.BARE_LF),
    (b"GET / HTTP/1.1\r\nHost: localhost\n\r\n", M.BARE_LF),
    (b"GET / HTTP/1.1\r\nHost: local\rhost\r\n\r\n", M.BARE_CR),
    (b"GET /caf\xc3\xa9 HTTP/1.1\r\n" + HOST + b"\r\n", M.NOT_ASCII),
    (b"GET /caf\xe9", M.NOT_ASCII),
    (b"GET /a b HTTP/1.1\r\n" + HOST + b"\r\n", M.SPACE),
    (b"GET  /a HTTP/1.1\r\n" + HOST + b"\r\n", M.SPACE),
    (b"GET /a\x01 HTTP/1.1\r\n\r\n", M.CONTROL),
    (b"GET /a\tb HTTP/1.1\r\n\r\n", M.CONTROL),
    (b"GET / HTTP/1.1\r\nX: a\x01b\r\n\r\n", M.CONTROL),
    (b"GET / HTTP/1.1\r\nX: a\x7fb\r\n\r\n", M.CONTROL),
    (b"GET / HTTP/1.1\r\n" + HOST + b"X: a\x0b", M.CONTROL),
    (b"GET / HTTP/1.1\r\nX", M.FIELD),
    (b"GET / HTTP/2.0\r\n\r\n", M.VERSION),
    (b"POST /x RTSP/1.0\r\n\r\n", M.VERSION),
    (b"GET /\r\n\r\n", M.VERSION),
    (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", M.FIELD),
    (b"GET / HTTP/1.1\r\nHost : localhost\r\n\r\n", M.FIELD),
    (b"GET / HTTP/1.1\r\n" + HOST + b" folded\r\n\r\n", M.FIELD),
    (b"get / HTTP/1.1\r\n" + HOST + b"\r\n", M.METHOD),
    (b"FOO / HTTP/1.1\r\n" + HOST + b"\r\n", M.METHOD),
    (b"GET users HTTP/1.1\r\n" + HOST + b"\r\n", M.TARGET),
    (b'GET "/users" HTTP/1.1\r\n' + HOST + b"\r\n", M.TARGET),
    (b"GET ?page=1 HTTP/1.1\r\n" + HOST + b"\r\n", M.TARGET),
    (b"GET / HTTP/1.1\r\n\r\n", M.HOST),
    (b"GET / HTTP/1.1\r\n" + HOST + HOST + b"\r\n", M.HOST),
    (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: +1\r\n\r\n", M.LENGTH),
    (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: \r\n\r\n", M.LENGTH),
    (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\ncontent-length: 2\r\n\r\n", M.LENGTH),
    (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", M.BOTH_LENGTHS),
    (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip\r\n\r\n", M.CODING),
    (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n" * 2 + b"\r\n", M.CODING),
    (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Type: a\r\ncontent-type: b\r\n\r\n", M.REPEATED),
    (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: Chunked \r\n\r\nzz\r\n", M.CHUNKS),
    (b"\xef\xbb\xbfGET / HTTP/1.1\r\n" + HOST + b"\r\n", M.BYTE_ORDER_MARK),
    (b"", M.NOT_HTTP),
    (b"hello", M.NOT_HTTP),
    (b"GET", M.NOT_HTTP),
    (b'{"json": 1}\r\n', M.NOT_HTTP),
    (b"*1\r\n$4\r\nPING\r\n", M.NOT_HTTP),
    (b"SSH-2.0-OpenSSH_9.2\r\n", M.NOT_HTTP),
    (b"GET / HTTP/1.1\r\n" + HOST + b"\r\n", M.OTHER),  # nothing is wrong with it
    (b"POST / HTTP/1.1\r\nHost: localhost:80\r\nContent-Length: 2\r\nContent-Type: a\r\n\r\n", M.OTHER),
    (b"GET / HTTP/1.0\r\n" + HOST + b"\r\nbody\nwith LF \xff\x01", M.OTHER),  # what follows does not matter
]


@pytest.mark.parametrize(("data", "what"), CASES)
def test_the_cause_is_told(data: bytes, what: Malformed) -> None:
    assert why_malformed(data) is what


def test_every_cause_is_met_and_has_words_of_its_own() -> None:
    assert {what for _, what in CASES} == set(Malformed) - {M.CODING_OF_1_0}  # that one is for the rules of framing
    assert len({what.message for what in Malformed}) == len({what.detail for what in Malformed}) == len(Malformed)


@pytest.mark.parametrize(
    "data", [b"PROXY ", b"GET /a\nX", b"GET /" + b"\xc3" * 70_000, b"\r" * 70_000, b"a: " * 50_000]
)
def test_pieces_and_long_ones_are_told_as_well(data: bytes) -> None:
    assert why_malformed(data) in Malformed
