"""Ordinary traffic, which must pass untouched: a proxy that refuses everything would pass every other table.

Sources: RFC 9110 sections 9.3, 10.1.1, 15 and 6.4.1, RFC 9112 sections 6.3, 7.1 and 9.3.2; requests as the official
Mangopay SDKs send them; nginx's ``http_keepalive.t``, ``proxy_chunked_extra.t`` and ``http_expect_100_continue.t``.
"""

from __future__ import annotations

import gzip
from typing import Final

from tests.support.recording_upstream import Reply
from tests.wire.threats.case import (
    AS_SENT,
    CHUNKED,
    PAY,
    USERS,
    Case,
    Echo,
    Exactly,
    Forwarded,
    Outcome,
    answered,
    chunked,
    forwarded,
    get,
    group,
    post,
    request,
    row,
    sized,
    up,
)

_GET: Final = b"GET " + USERS + b" HTTP/1.1"
_POST: Final = b"POST " + PAY + b" HTTP/1.1"
_MIB: Final = 1024 * 1024
#: A KYC document is at most about 10 MB; in base64 that is some 14 MB of JSON.
_DOCUMENT: Final = b'{"File": "%b"}' % (b"QUJD" * (14 * _MIB // 4))
_LARGE: Final = bytes(range(256)) * (20 * _MIB // 256)
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_JSON: Final = b'{"Id": "42", "Name": "Zo\xc3\xab"}'
_OK: Final = b"HTTP/1.1 200 OK\r\n"
_EMPTY: Final = b"Content-Length: 0\r\n\r\n"


def _in_chunks(body: bytes, size: int) -> bytes:
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join([b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces]) + b"0\r\n\r\n"


REQUESTS: Final = group(
    "ordinary requests",
    row("control-get", get(), AS_SENT),
    row("control-get-query", get(USERS + b"?per_page=1&sort=CreationDate:desc"), AS_SENT),
    row("control-post", sized(_JSON, b"Content-Type: application/json", b"Idempotency-Key: 0123456789abcdef"), AS_SENT),
    row("control-post-empty", post(b"Content-Length: 0"), AS_SENT),
    row("control-post-no-length", post(), AS_SENT),
    row("control-put", request(b"PUT " + USERS + b"/1 HTTP/1.1", b"Content-Length: 2", body=b"{}"), AS_SENT),
    row("control-put-empty", request(b"PUT " + USERS + b"/1 HTTP/1.1", b"Content-Length: 0"), AS_SENT),
    row("control-patch", request(b"PATCH " + USERS + b"/1 HTTP/1.1", b"Content-Length: 2", body=b"{}"), AS_SENT),
    row("control-delete", request(b"DELETE " + USERS + b"/1 HTTP/1.1"), AS_SENT),
    row("control-head", request(b"HEAD " + USERS + b" HTTP/1.1"), AS_SENT),
    row("control-get-with-body", get(USERS, b"Content-Length: 2") + b"{}", AS_SENT),
    row("control-get-empty-body", get(USERS, b"Content-Length: 0"), forwarded(up(_GET))),
    row("control-binary-body", sized(bytes(range(256)) * 16), AS_SENT),
    row("control-gzip-body", sized(gzip.compress(_JSON, mtime=0), b"Content-Encoding: gzip"), AS_SENT),
    row(
        "control-multipart-body",
        sized(
            b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n",
            b"Content-Type: multipart/form-data; boundary=b",
        ),
        AS_SENT,
    ),
    row("control-obs-text", get(USERS, b"X-Name: Zo\xeb"), AS_SENT),
    row("control-repeats", get(USERS, b"X-A: 1", b"X-A: 2", b"x-a: 3"), AS_SENT),
    row(
        "control-php-sdk",
        get(b"/V2_01/acme/users/1", b"User-Agent: Mangopay-SDK/3.42.1 (PHP/8.3)", b"Accept: */*"),
        AS_SENT,
    ),
    row(
        "control-node-sdk",
        get(USERS, b"Accept: application/json, text/plain, */*", b"Accept-Encoding: gzip, compress, deflate, br"),
        AS_SENT,
    ),
    row("control-close", get(USERS, b"Connection: close"), forwarded(up(_GET), closes=True)),
    row("control-http-1.0", request(b"GET " + USERS + b" HTTP/1.0"), forwarded(up(_GET), closes=True)),
    row(
        "control-http-1.0-keep-alive",
        request(b"GET " + USERS + b" HTTP/1.0", b"Connection: Keep-Alive"),
        Outcome((Exactly(b"HTTP/1.1 204 No Content\r\nConnection: keep-alive\r\n\r\n"),), (up(_GET),)),
        replies=(b"HTTP/1.1 204 No Content\r\n\r\n",),
    ),
    row("control-two-pipelined", get() + get(USERS + b"?2"), forwarded(up(_GET), up(b"GET " + USERS + b"?2 HTTP/1.1"))),
    row(
        "control-pipelined-with-bodies",
        sized(b"one") + get() + sized(b"three") + request(b"HEAD " + USERS + b" HTTP/1.1") + get(USERS + b"?5"),
        forwarded(
            up(_POST, body=b"one"),
            up(_GET),
            up(_POST, body=b"three"),
            up(b"HEAD " + USERS + b" HTTP/1.1"),
            up(b"GET " + USERS + b"?5 HTTP/1.1"),
        ),
    ),
    row(
        "control-one-after-another",
        (get(USERS + b"?1"), get(USERS + b"?2"), sized(b"{}"), get(USERS + b"?4")),
        forwarded(
            up(b"GET " + USERS + b"?1 HTTP/1.1"),
            up(b"GET " + USERS + b"?2 HTTP/1.1"),
            up(_POST, body=b"{}"),
            up(b"GET " + USERS + b"?4 HTTP/1.1"),
        ),
    ),
    row("control-chunked", chunked(b"2\r\n{}\r\n0\r\n\r\n"), forwarded(up(_POST, body=b"{}"), closes=True)),
    row(
        "control-chunked-behind-another",
        get() + chunked(b"2\r\n{}\r\n0\r\n\r\n"),
        forwarded(up(_GET), up(_POST, body=b"{}"), closes=True),
    ),
    row(
        "control-100-continue",
        (post(b"Expect: 100-continue", b"Content-Length: 2"), b"{}"),
        Outcome((Exactly(_CONTINUE), Echo()), (up(_POST, body=b"{}"),)),
    ),
    row(
        "control-100-continue-chunked",
        (post(b"Expect: 100-continue", CHUNKED), b"2\r\n{}\r\n0\r\n\r\n"),
        Outcome((Exactly(_CONTINUE), Echo()), (up(_POST, body=b"{}"),), closes=True),
    ),
    row(
        "control-100-continue-capitals",
        (post(b"EXPECT: 100-Continue", b"Content-Length: 2"), b"{}"),
        Outcome((Exactly(_CONTINUE), Echo()), (up(_POST, body=b"{}"),)),
    ),
    row("control-14-mb", sized(_DOCUMENT, b"Content-Type: application/json"), AS_SENT),
    row(
        "control-14-mb-chunked",
        chunked(_in_chunks(_DOCUMENT, 64 * 1024)),
        forwarded(up(_POST, body=_DOCUMENT), closes=True),
    ),
    row("control-20-mb-streamed", sized(_LARGE), AS_SENT),
    row(
        "control-20-mb-streamed-chunked",
        chunked(_in_chunks(_LARGE, 64 * 1024)),
        forwarded(Forwarded(_POST, body=_LARGE, chunked=True), closes=True),
    ),
)


_TEN_CHUNKS: Final = b"a" * 10_000

ANSWERS: Final = group(
    "ordinary answers",
    *[
        row(title, get(), answered(response), replies=(response,))
        for title, response in {
            "answer-json": _OK
            + b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(_JSON), _JSON),
            "answer-empty": _OK + b"Content-Length: 0\r\n\r\n",
            "answer-201": b"HTTP/1.1 201 Created\r\nLocation: /v2.01/acme/users/1\r\nContent-Length: 2\r\n\r\n{}",
            "answer-204": b"HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n",
            "answer-304": b'HTTP/1.1 304 Not Modified\r\nETag: "x"\r\nContent-Length: 1234\r\n\r\n',
            "answer-302": b"HTTP/1.1 302 Found\r\nLocation: http://evil.example/\r\nContent-Length: 0\r\n\r\n",
            "answer-400": b"HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\n{}",
            "answer-403": b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\n{}",
            "answer-409": b"HTTP/1.1 409 Conflict\r\nContent-Length: 2\r\n\r\n{}",
            "answer-429": b"HTTP/1.1 429 Slow\r\nRetry-After: 5\r\nX-RateLimit: 1\r\nX-RateLimit: 2\r\n" + _EMPTY,
            "answer-500": b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 4\r\n\r\noops",
            "answer-503": b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 30\r\nContent-Length: 0\r\n\r\n",
            "answer-gzip": _OK
            + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b"
            % (len(gzip.compress(_JSON, mtime=0)), gzip.compress(_JSON, mtime=0)),
            "answer-not-really-gzip": _OK + b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
            "answer-obs-text": _OK + b"X-Raw: \xff\xfe\xe9\r\nContent-Length: 0\r\n\r\n",
            "answer-odd-case-and-repeats": _OK
            + b"x-lower: 1\r\nX-UPPER: a\r\nX-UPPER: b\r\nx-lower: 2\r\ncONTENT-lENGTH: 0\r\n\r\n",
            "answer-cookies": _OK + b"Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 0\r\n\r\n",
            "answer-server-and-date": _OK
            + b"Server: x\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Length: 0\r\n\r\n",
            "answer-empty-value": _OK + b"X-Empty: \r\nContent-Length: 0\r\n\r\n",
            "answer-head-of-60-kib": _OK
            + b"".join(b"X-%d: %b\r\n" % (n, b"a" * 6000) for n in range(10))
            + b"Content-Length: 0\r\n\r\n",
            "answer-5-mb": _OK + b"Content-Length: %d\r\n\r\n%b" % (5 * _MIB, bytes(5 * _MIB)),
            "answer-binary": _OK + b"Content-Length: 512\r\n\r\n" + bytes(range(256)) * 2,
            "answer-body-like-a-response": _OK
            + b"Content-Length: 38\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        }.items()
    ],
    row(
        "answer-chunked",
        get(),
        answered(_OK + b"Transfer-Encoding: chunked\r\n\r\n2710\r\n%b\r\n0\r\n\r\n" % _TEN_CHUNKS),
        replies=(_OK + b"Transfer-Encoding: chunked\r\n\r\n" + _in_chunks(_TEN_CHUNKS, 1000),),
    ),
    row(
        "answer-chunked-empty",
        get(),
        answered(_OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        replies=(_OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",),
    ),
    row(
        "answer-chunked-extensions",
        get(),
        answered(_OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
        replies=(_OK + b'Transfer-Encoding: Chunked\r\n\r\n3;a="b"\r\nabc\r\n0;c\r\n\r\n',),
    ),
    row(
        "answer-to-head",
        request(b"HEAD " + USERS + b" HTTP/1.1"),
        answered(_OK + b"Content-Length: 99\r\n\r\n"),
        replies=(_OK + b"Content-Length: 99\r\n\r\n",),
    ),
    row(
        "answer-to-head-chunked",
        request(b"HEAD " + USERS + b" HTTP/1.1"),
        answered(_OK + b"\r\n"),
        replies=(_OK + b"Transfer-Encoding: chunked\r\n\r\n",),
    ),
    row(
        "answer-blanks-around-values",
        get(),
        answered(_OK + b"X-A: a  b\r\nContent-Length: 0\r\n\r\n"),
        replies=(_OK + b"X-A: \t a  b\t \r\nContent-Length:0\r\n\r\n",),
    ),
    row(
        "answer-then-close",
        get(),
        answered(_OK + b"Content-Length: 3\r\n\r\nabc"),
        replies=(Reply(_OK + b"Content-Length: 3\r\n\r\nabc", close=True),),
    ),
)

CASES: Final[tuple[Case, ...]] = (*REQUESTS, *ANSWERS)
