"""Where a request ends: two lengths, odd lengths, odd codings.

Sources: RFC 9112 sections 6.1 to 6.3 and 11.2; C. Linhart et al., "HTTP Request Smuggling" (Watchfire, 2005);
J. Kettle (PortSwigger): "HTTP Desync Attacks" (2019), "Browser-Powered Desync Attacks" (2022: CL.0) and "HTTP/1.1
Must Die" (2025: 0.CL, Expect); the bug list of narfindustries/http-garden; llhttp's and nginx's own tests
(``body_chunked.t``); CVE-2019-18277 (HAProxy, vertical tab), CVE-2021-40346 (HAProxy, overflowing name),
CVE-2023-40225 (HAProxy, empty length), CVE-2024-1135 (Gunicorn, codings in a list).
"""

from __future__ import annotations

from typing import Final

from sidecar.core.errors import ErrorCode
from tests.wire.threats.case import (
    AS_SENT,
    CHUNKED,
    PAY,
    REFUSED,
    SMUGGLED,
    USERS,
    Case,
    each,
    forwarded,
    get,
    group,
    post,
    refused,
    request,
    row,
    sized,
    up,
)

_END: Final = b"0\r\n\r\n"
_ABC: Final = b"3\r\nabc\r\n" + _END
_LINE: Final = b"POST " + PAY + b" HTTP/1.1"


def _length(value: bytes) -> bytes:
    return post(b"Content-Length:" + value, body=b"abc")


def _field(field: bytes) -> bytes:
    """Frame by ``field``, which is no proper framing, beside a length that covers a whole other request."""
    body = _END + SMUGGLED
    return post(field, b"Content-Length: %d" % len(body), body=body)


def _coding(value: bytes) -> bytes:
    return post(b"Transfer-Encoding:" + value, body=_ABC)


TWO_LENGTHS: Final = group(
    "two lengths",
    row("cl-te", post(b"Content-Length: 6", CHUNKED, body=_END + b"X"), REFUSED),
    row("te-cl", post(CHUNKED, b"Content-Length: 4", body=b"5c\r\n" + SMUGGLED + _END), REFUSED),
    row("cl-te-request-inside", _field(CHUNKED), REFUSED),
    row("cl-te-equal", post(b"Content-Length: %d" % len(_ABC), CHUNKED, body=_ABC), REFUSED),
    row("cl-0-te", post(b"Content-Length: 0", CHUNKED, body=_ABC), REFUSED),
    row("cl-te-get", get(USERS, b"Content-Length: 5", CHUNKED) + _END, REFUSED),
    row("cl-te-close", post(b"Connection: close", b"Content-Length: 6", CHUNKED, body=_END + b"X"), REFUSED),
    row("cl-te-nominated", post(b"Connection: Content-Length", b"Content-Length: 6", CHUNKED, body=_END), REFUSED),
    row("cl-te-lower-case", post(b"content-length: 6", b"transfer-encoding: chunked", body=_END + b"X"), REFUSED),
    row(
        "cl-te-far-apart", post(b"Content-Length: 6", *[b"X-%d: 1" % n for n in range(60)], CHUNKED, body=_END), REFUSED
    ),
    row("cl-te-unknown-coding", _field(b"Transfer-Encoding: cow"), REFUSED),
    row("cl-te-empty-coding", _field(b"Transfer-Encoding:"), REFUSED),
    row("cl-te-comma-chunked", _field(b"Transfer-Encoding: ,chunked"), REFUSED),
    row("cl-te-identity", _field(b"Transfer-Encoding: identity"), REFUSED),
    row("two-equal", post(b"Content-Length: 3", b"Content-Length: 3", body=b"abc"), REFUSED),
    row("two-different", post(b"Content-Length: 3", b"Content-Length: 0", body=b"abc"), REFUSED),
    row("two-different-last-longer", post(b"Content-Length: 0", b"Content-Length: 3", body=b"abc"), REFUSED),
    row("two-in-other-case", post(b"Content-Length: 3", b"content-length: 3", body=b"abc"), REFUSED),
    row("three", post(*[b"Content-Length: 3"] * 3, body=b"abc"), REFUSED),
    row("empty-then-length", post(b"Content-Length:", b"Content-Length: 3", body=b"abc"), REFUSED),
    row("length-then-empty", post(b"Content-Length: 3", b"Content-Length:", body=b"abc"), REFUSED),
    row("te-on-http-1.0", request(b"POST " + PAY + b" HTTP/1.0", CHUNKED, body=_ABC), REFUSED),
    row("cl-te-on-http-1.0", request(b"POST " + PAY + b" HTTP/1.0", b"Content-Length: 3", CHUNKED, body=_ABC), REFUSED),
    # The connection's own fields cannot be declared away: the body was framed by them already.
    row(
        "length-nominated",
        sized(b"abc", b"Connection: Content-Length"),
        forwarded(up(_LINE, body=b"abc")),
    ),
    row(
        "coding-nominated",
        post(b"Connection: Transfer-Encoding", CHUNKED, body=_ABC),
        forwarded(up(_LINE, body=b"abc"), closes=True),
    ),
)

ODD_LENGTHS: Final = group(
    "odd lengths",
    each(
        {
            "length-plus": b" +3",
            "length-minus": b" -3",
            "length-minus-zero": b" -0",
            "length-hexadecimal": b" 0x3",
            "length-octal": b" 0o3",
            "length-list": b" 3, 3",
            "length-list-no-space": b" 3,3",
            "length-list-different": b" 3,4",
            "length-list-empty-item": b" ,3",
            "length-space-inside": b" 3 3",
            "length-underscore": b" 1_0",
            "length-fraction": b" 3.0",
            "length-exponent": b" 3e0",
            "length-letter-behind": b" 3a",
            "length-semicolon": b" 3;",
            "length-quoted": b' "3"',
            "length-empty": b"",
            "length-blank": b" \t ",
            "length-nul-behind": b" 3\x00",
            "length-vertical-tab": b" 3\x0b",
            "length-form-feed-before": b" \x0c3",
            "length-no-break-space": b" \xa03",
            "length-next-line-byte": b" 3\x85",
            "length-arabic-digit": " ٣".encode(),
            "length-fullwidth-digit": " ３".encode(),
            "length-superscript": " ³".encode("latin-1"),
            "length-folded": b"\r\n 3",
            "length-folded-tab": b" 3\r\n\t4",
            "length-bare-cr": b" 3\rX: y",
            "length-2-to-the-64-plus-3": b" 18446744073709551619",
            "length-2-to-the-63": b" 9223372036854775808",
            "length-20-nines": b" " + b"9" * 20,
            "length-300-digits": b" " + b"0" * 299 + b"3",
        },
        _length,
        REFUSED,
    ),
    # Not odd, though some readers take an octal number for the first (RFC 9110 section 8.6: 1*DIGIT).
    row("length-leading-zeros", _length(b" 003"), forwarded(up(_LINE, body=b"abc"))),
    row("length-blanks-around", _length(b" \t 3 \t "), forwarded(up(_LINE, body=b"abc"))),
    row("length-no-space", _length(b"3"), forwarded(up(_LINE, body=b"abc"))),
)

ODD_CODINGS: Final = group(
    "odd codings",
    each(
        {
            "coding-twice-in-a-list": b" chunked, chunked",
            "coding-identity-chunked": b" identity, chunked",
            "coding-gzip-chunked": b" gzip, chunked",
            "coding-chunked-gzip": b" chunked, gzip",
            "coding-chunked-identity": b" chunked, identity",
            "coding-gzip": b" gzip",
            "coding-identity": b" identity",
            "coding-unknown": b" cow",
            "coding-empty": b"",
            "coding-comma-before": b" ,chunked",
            "coding-comma-behind": b" chunked,",
            "coding-semicolon": b" chunked;",
            "coding-parameter": b" chunked;q=1",
            "coding-x-prefix": b" xchunked",
            "coding-suffix": b" chunkedx",
            "coding-cut-off": b" chunke",
            "coding-quoted": b' "chunked"',
            "coding-single-quoted": b" 'chunked'",
            "coding-bracketed": b" [chunked]",
            "coding-vertical-tab": b" \x0bchunked",
            "coding-vertical-tab-behind": b" chunked\x0b",
            "coding-form-feed": b" \x0cchunked",
            "coding-nul-before": b" \x00chunked",
            "coding-nul-behind": b" chunked\x00",
            "coding-no-break-space": b" \xa0chunked",
            "coding-next-line-byte": b" chunked\x85",
            "coding-high-bytes-around": b" \xffchunked\xff",
            "coding-kelvin-sign": " chun\u212aed".encode(),
            "coding-encoded-word": b" =?iso-8859-1?B?Y2h1bmtlZA==?=",
            "coding-folded": b"\r\n chunked",
            "coding-folded-tab": b"\r\n\tchunked",
            "coding-folded-behind": b" chunked\r\n x",
            "coding-bare-cr-before": b" \rchunked",
            "coding-bare-cr-behind": b" chunked\r",
            "coding-bare-lf-before": b" \nchunked",
            "coding-bare-lf-behind": b" chunked\n",
        },
        _coding,
        REFUSED,
    ),
    row("coding-twice", post(CHUNKED, CHUNKED, body=_ABC), REFUSED),
    row("coding-then-identity", post(CHUNKED, b"Transfer-Encoding: identity", body=_ABC), REFUSED),
    row("coding-then-unknown", post(CHUNKED, b"Transfer-encoding: cow", body=_ABC), REFUSED),
    row("coding-unknown-then", post(b"Transfer-Encoding: x", CHUNKED, body=_ABC), REFUSED),
    row("coding-capitals", _coding(b" CHUNKED"), forwarded(up(_LINE, body=b"abc"), closes=True)),
    row("coding-tab-before", _coding(b"\tchunked"), forwarded(up(_LINE, body=b"abc"), closes=True)),
    row("coding-no-space", _coding(b"chunked"), forwarded(up(_LINE, body=b"abc"), closes=True)),
)

DISGUISED_NAMES: Final = group(
    "framing fields under other names",
    each(
        {
            "name-space-behind": b"Transfer-Encoding : chunked",
            "name-tab-behind": b"Transfer-Encoding\t: chunked",
            "name-vertical-tab-behind": b"Transfer-Encoding\x0b: chunked",
            "name-nul-behind": b"Transfer-Encoding\x00: chunked",
            "name-no-break-space-behind": b"Transfer-Encoding\xa0: chunked",
            "name-next-line-byte-behind": b"Transfer-Encoding\x85: chunked",
            "name-space-before": b" Transfer-Encoding: chunked",
            "name-tab-before": b"\tTransfer-Encoding: chunked",
            "name-behind-fold": b"X: y\r\n Transfer-Encoding: chunked",
            "name-behind-bare-cr": b"X: y\rTransfer-Encoding: chunked",
            "name-behind-bare-lf": b"X: y\nTransfer-Encoding: chunked",
            "name-behind-nul": b"X: y\x00Transfer-Encoding: chunked",
            "name-before-line-break": b"Transfer-Encoding\r\n: chunked",
            "name-before-bare-lf": b"Transfer-Encoding\n: chunked",
            "name-broken-in-two": b"Transfer-\r\nEncoding: chunked",
            "name-without-colon": b"Transfer-Encoding chunked",
            "name-quoted": b'"Transfer-Encoding": chunked',
            "name-kelvin-sign": "Transfer-Encoding\u212a: chunked".encode(),
            "name-space-inside": b"Transfer Encoding: chunked",
            "name-empty-before": b": \r\nTransfer-Encoding: chunked",
        },
        _field,
        REFUSED,
    ),
    row("length-name-space-behind", post(b"Content-Length : 3", body=b"abc"), REFUSED),
    row("length-name-no-break-space", post(b"Content-Length\xa0: 3", body=b"abc"), REFUSED),
    row("length-name-without-colon", post(b"Content-Length 3", body=b"abc"), REFUSED),
    # A name is what it is: these frame nothing here, and what CGI would take for framing is not passed on.
    row("length-underscore-name", sized(b"abc", b"Content_Length: 1"), forwarded(up(_LINE, body=b"abc"))),
    row("coding-underscore-name", sized(b"abc", b"Transfer_Encoding: chunked"), forwarded(up(_LINE, body=b"abc"))),
    row("coding-misspelt-name", sized(b"abc", b"Transfer-Encodin: chunked"), AS_SENT),
    row("length-overflowing-name", sized(b"abc", b"Content-Length0" + b"a" * 255 + b": 9"), AS_SENT),
)

BODIES_THAT_LOOK_LIKE_REQUESTS: Final = group(
    "a request inside a body",
    row("cl-0-get", get(USERS, b"Content-Length: %d" % len(SMUGGLED)) + SMUGGLED, AS_SENT),
    row(
        "cl-0-head", request(b"HEAD " + USERS + b" HTTP/1.1", b"Content-Length: %d" % len(SMUGGLED)) + SMUGGLED, AS_SENT
    ),
    row(
        "cl-0-delete",
        request(b"DELETE " + USERS + b"/1 HTTP/1.1", b"Content-Length: %d" % len(SMUGGLED), body=SMUGGLED),
        AS_SENT,
    ),
    row(
        "cl-0-options",
        request(b"OPTIONS " + USERS + b" HTTP/1.1", b"Content-Length: %d" % len(SMUGGLED), body=SMUGGLED),
        AS_SENT,
    ),
    row("cl-0-post", sized(SMUGGLED), AS_SENT),
    row(
        "te-0-get",
        get(USERS, CHUNKED) + b"%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED),
        forwarded(up(b"GET " + USERS + b" HTTP/1.1", body=SMUGGLED), closes=True),
    ),
    row(
        "0-cl-behind-refused-target",
        post(b"Content-Length: %d" % len(SMUGGLED), body=SMUGGLED, target=b"/v2.01/../x"),
        refused(),
    ),
    row(
        "0-cl-behind-refused-host",
        request(b"POST /x HTTP/1.1", b"Content-Length: %d" % len(SMUGGLED), host=b"Host: evil.example", body=SMUGGLED),
        refused(ErrorCode.HOST_NOT_ALLOWED),
    ),
    row(
        "0-cl-expect-obfuscated",
        post(b"Expect: y 100-continue", b"Content-Length: %d" % len(SMUGGLED), body=SMUGGLED),
        refused(ErrorCode.EXPECTATION_FAILED, closes=True),
    ),
    row(
        "0-cl-expect-twice",
        post(b"Expect: 100-continue", b"Expect: 100-continue", b"Content-Length: 44", body=SMUGGLED),
        REFUSED,
    ),
    row(
        "0-cl-expect-unknown",
        post(b"Expect: 200-ok", b"Content-Length: %d" % len(SMUGGLED), body=SMUGGLED),
        refused(ErrorCode.EXPECTATION_FAILED, closes=True),
    ),
    row(
        "expect-on-get-is-dropped",
        get(USERS, b"Expect: 100-continue"),
        forwarded(up(b"GET " + USERS + b" HTTP/1.1")),
    ),
    row(
        "expect-on-http-1.0",
        request(b"POST " + PAY + b" HTTP/1.0", b"Expect: 100-continue", b"Content-Length: 3", body=b"abc"),
        forwarded(up(_LINE, body=b"abc"), closes=True),
    ),
    row(
        "close-in-capitals",
        get(USERS, b"Connection: CLOSE"),
        forwarded(up(b"GET " + USERS + b" HTTP/1.1"), closes=True),
    ),
    row("garbage-behind-the-body", post(b"Content-Length: 3", body=b"abc\x00\x01garbage\r\n\r\n"), REFUSED),
    row("length-too-short", post(b"Content-Length: 3", body=b"abcdef" + SMUGGLED), REFUSED),
    # The parser gets both requests in one piece and refuses both; what matters is that the second one is not executed.
    row("nothing-behind-close", sized(b"abc", b"Connection: close") + SMUGGLED, REFUSED),
    row("nothing-behind-http-1.0", request(b"GET " + USERS + b" HTTP/1.0") + SMUGGLED, REFUSED),
    row(
        "nothing-behind-upgrade",
        get(USERS, b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk") + SMUGGLED,
        forwarded(up(b"GET " + USERS + b" HTTP/1.1"), closes=True),
    ),
    row(
        "nothing-behind-websocket",
        get(USERS, b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13") + SMUGGLED,
        forwarded(up(b"GET " + USERS + b" HTTP/1.1", b"Sec-WebSocket-Version: 13"), closes=True),
    ),
)

CASES: Final[tuple[Case, ...]] = (
    *TWO_LENGTHS,
    *ODD_LENGTHS,
    *ODD_CODINGS,
    *DISGUISED_NAMES,
    *BODIES_THAT_LOOK_LIKE_REQUESTS,
)
