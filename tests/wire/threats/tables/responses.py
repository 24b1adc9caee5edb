"""Responses of upstream that break HTTP: 502 or a cut, never a clean response, and never the response to another call.

Every case is a POST, which is never sent twice. Sources: RFC 9112 sections 4, 6.1 to 6.3, 7.1, 8 and 9.2, RFC 9110
section 15.2; nginx's own ``proxy_extra_data.t`` and ``proxy_duplicate_headers.t``; A. Klein, "Divide and Conquer"
(HTTP Response Splitting, 2004); "Response Queue Poisoning" (PortSwigger, 2022); CVE-2023-26137, CWE-113, CWE-436;
the lax modes of llhttp that aiohttp's client turns on.
"""

from __future__ import annotations

from typing import Final

from tests.support.recording_upstream import Reply
from tests.wire.threats.case import (
    BAD_GATEWAY,
    CUT,
    PAY,
    Begins,
    Case,
    Outcome,
    answered,
    group,
    request,
    row,
    sized,
    up,
)

_CALL: Final = sized(b"{}")
_OK: Final = b"HTTP/1.1 200 OK\r\n"
_ABC: Final = b"Content-Length: 3\r\n\r\nabc"
_PLAIN: Final = _OK + _ABC
_CHUNKED: Final = _OK + b"Transfer-Encoding: chunked\r\n\r\n"
_THREE: Final = b"3\r\nabc\r\n"

_HTTP_1_0: Final = request(b"POST " + PAY + b" HTTP/1.0", b"Content-Length: 2", body=b"{}")
_CUT_1_0: Final = Outcome((Begins(),), (up(b"POST " + PAY + b" HTTP/1.1", body=b"{}"),), closes=True)
_CUT_500: Final = Outcome((Begins(b"HTTP/1.1 500 "),), None, closes=True)


def _responses(replies: dict[str, bytes], outcome: Outcome = BAD_GATEWAY) -> list[Case]:
    return [row(title, _CALL, outcome, replies=(data,)) for title, data in replies.items()]


STATUS_LINES: Final = group(
    "status lines of upstream",
    _responses(
        {
            "status-garbage-before": b"garbage\r\n" + _PLAIN,
            "status-empty-line-before": b"\r\n" + _PLAIN,
            "status-bare-lf-before": b"\n" + _PLAIN,
            "status-space-before": b" " + _PLAIN,
            "status-nul-before": b"\x00" + _PLAIN,
            "status-byte-order-mark": b"\xef\xbb\xbf" + _PLAIN,
            "status-then-silence": b"SSH-2.0-OpenSSH_9.2\r\n",
            "status-no-http": b"<html>502 Bad Gateway</html>\r\n\r\n",
            "status-json-alone": b'{"Id": "42"}\r\n\r\n',
            "status-request-instead": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            "status-version-2": b"HTTP/2 200 OK\r\n" + _ABC,
            "status-version-2.0": b"HTTP/2.0 200 OK\r\n" + _ABC,
            "status-version-1.2": b"HTTP/1.2 200 OK\r\n" + _ABC,
            "status-version-0.9": b"HTTP/0.9 200 OK\r\n" + _ABC,
            "status-version-lower-case": b"http/1.1 200 OK\r\n" + _ABC,
            "status-other-protocol": b"ICY 200 OK\r\n" + _ABC,
            "status-two-spaces": b"HTTP/1.1  200 OK\r\n" + _ABC,
            "status-tab": b"HTTP/1.1\t200 OK\r\n" + _ABC,
            "status-two-digits": b"HTTP/1.1 20 OK\r\n" + _ABC,
            "status-four-digits": b"HTTP/1.1 2000 OK\r\n" + _ABC,
            "status-leading-zero": b"HTTP/1.1 099 OK\r\n" + _ABC,
            "status-letters": b"HTTP/1.1 abc OK\r\n" + _ABC,
            "status-negative": b"HTTP/1.1 -20 OK\r\n" + _ABC,
            "status-no-number": b"HTTP/1.1 OK\r\n" + _ABC,
            "status-no-space-before-reason": b"HTTP/1.1 200OK\r\n" + _ABC,
            "status-reason-bare-cr": b"HTTP/1.1 200 O\rK\r\n" + _ABC,
            "status-reason-nul": b"HTTP/1.1 200 O\x00K\r\n" + _ABC,
            "status-reason-escape": b"HTTP/1.1 200 \x1b[31m\r\n" + _ABC,
            "status-bare-lf-then-silence": b"HTTP/1.1 200 OK\nContent-Length: 3\n\nabc",
            "status-bare-lf": b"HTTP/1.1 200 OK\nContent-Length: 3\n\nabc\r\n\r\n",
        }
    ),
    row("status-no-reason", _CALL, answered(b"HTTP/1.1 200 \r\n" + _ABC), replies=(b"HTTP/1.1 200\r\n" + _ABC,)),
    row(
        "status-obs-text-reason",
        _CALL,
        answered(b"HTTP/1.1 200 \xe9\xff\r\n" + _ABC),
        replies=(b"HTTP/1.1 200 \xe9\xff\r\n" + _ABC,),
    ),
    row("status-unknown", _CALL, answered(b"HTTP/1.1 299 Odd\r\n" + _ABC), replies=(b"HTTP/1.1 299 Odd\r\n" + _ABC,)),
    row("status-999", _CALL, answered(b"HTTP/1.1 999 Odd\r\n" + _ABC), replies=(b"HTTP/1.1 999 Odd\r\n" + _ABC,)),
    row("status-1.0", _CALL, answered(_PLAIN), replies=(Reply(b"HTTP/1.0 200 OK\r\n" + _ABC, close=True),)),
)

FIELD_LINES: Final = group(
    "field lines of upstream",
    _responses(
        {
            "field-folded": _OK + b"X: a\r\n b\r\n" + _ABC,
            "field-folded-tab": _OK + b"X: a\r\n\tb\r\n" + _ABC,
            "field-folded-last": _OK + b"Content-Length: 3\r\nX: a\r\n b\r\n\r\nabc",
            "field-fold-first": _OK + b" X: a\r\n" + _ABC,
            "field-bare-lf": _OK + b"X: a\nX-Injected: 1\r\n" + _ABC,
            "field-bare-cr": _OK + b"X: a\rX-Injected: 1\r\n" + _ABC,
            "field-nul": _OK + b"X: a\x00b\r\n" + _ABC,
            "field-vertical-tab": _OK + b"X: a\x0bb\r\n" + _ABC,
            "field-delete": _OK + b"X: a\x7f\r\n" + _ABC,
            "field-space-before-colon": _OK + b"Content-Length : 3\r\n\r\nabc",
            "field-space-before-another-colon": _OK + b"X-A : 1\r\n" + _ABC,
            "field-no-colon": _OK + b"garbage\r\n" + _ABC,
            "field-empty-name-last": _OK + b"Content-Length: 3\r\n: a\r\n\r\nabc",
            "field-empty-name": _OK + b": a\r\n" + _ABC,
            "field-high-byte-in-name": _OK + b"X\xe9: a\r\n" + _ABC,
            "field-bare-lf-ends-head": _OK + b"Content-Length: 3\r\n\nabc\r\n\r\n",
            "field-too-long": _OK + b"X: " + b"a" * 70_000 + b"\r\n" + _ABC,
            "field-without-end": _OK + b"X: " + b"a" * 300_000,
            "fields-too-many": _OK + b"".join(b"X-%05d: 1\r\n" % n for n in range(8_000)) + _ABC,
        }
    ),
    row(
        "split-by-encoded-line-ends",
        _CALL,
        answered(_OK + b"Location: /x%0d%0aContent-Length:%200%0d%0a\r\n" + _ABC),
        replies=(_OK + b"Location: /x%0d%0aContent-Length:%200%0d%0a\r\n" + _ABC,),
    ),
)

LENGTHS: Final = group(
    "lengths of upstream",
    _responses(
        {
            "answer-two-equal-lengths": _OK + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
            "answer-two-lengths": _OK + b"Content-Length: 3\r\nContent-Length: 5\r\n\r\nabc",
            "answer-two-lengths-other-case": _OK + b"Content-Length: 3\r\ncontent-length: 0\r\n\r\nabc",
            "answer-list-of-lengths": _OK + b"Content-Length: 3, 3\r\n\r\nabc",
            "answer-length-plus": _OK + b"Content-Length: +3\r\n\r\nabc",
            "answer-length-minus": _OK + b"Content-Length: -3\r\n\r\nabc",
            "answer-length-hexadecimal": _OK + b"Content-Length: 0x3\r\n\r\nabc",
            "answer-length-underscore": _OK + b"Content-Length: 3_0\r\n\r\nabc",
            "answer-length-letter": _OK + b"Content-Length: 3a\r\n\r\nabc",
            "answer-length-empty": _OK + b"Content-Length:\r\n\r\nabc",
            "answer-length-in-20-digits": _OK + b"Content-Length: 00000000000000000003\r\n\r\nabc",
            "answer-length-2-to-the-63": _OK + b"Content-Length: 9223372036854775808\r\n\r\nabc",
            "answer-length-huge": _OK + b"Content-Length: " + b"9" * 40 + b"\r\n\r\nabc",
            "answer-length-fullwidth": _OK + "Content-Length: ３\r\n\r\nabc".encode(),
            "answer-length-and-chunks": _OK
            + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"
            + _THREE
            + b"0\r\n\r\n",
            "answer-chunks-and-length": _OK
            + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n"
            + _THREE
            + b"0\r\n\r\n",
            "answer-neither": _OK + b"X: 1\r\n\r\nabc",
            "answer-unknown-coding": _OK + b"Transfer-Encoding: foo\r\n\r\nabc",
            "answer-identity-coding": _OK + b"Transfer-Encoding: identity\r\n" + _ABC,
            "answer-gzip-chunked": _OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + _THREE + b"0\r\n\r\n",
            "answer-chunked-gzip": _OK + b"Transfer-Encoding: chunked, gzip\r\n\r\n" + _THREE + b"0\r\n\r\n",
            "answer-chunked-twice": _OK
            + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"
            + _THREE
            + b"0\r\n\r\n",
            "answer-chunked-parameter": _OK + b"Transfer-Encoding: chunked;q=1\r\n\r\n" + _THREE + b"0\r\n\r\n",
            "answer-vertical-tab-coding": _OK + b"Transfer-Encoding: \x0bchunked\r\n\r\n" + _THREE + b"0\r\n\r\n",
            "answer-empty-coding": _OK + b"Transfer-Encoding:\r\n" + _ABC,
            "answer-coding-on-1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + _THREE + b"0\r\n\r\n",
            "answer-no-body-but-length": b"HTTP/1.1 204 No Content\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n",
            "answer-upgrade": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
            "answer-upgrade-after-continue": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 101 Switching Protocols\r\n\r\n",
            "answer-17-interim": b"HTTP/1.1 100 Continue\r\n\r\n" * 17 + _PLAIN,
            "answer-1000-interim": b"HTTP/1.1 102 Processing\r\n\r\n" * 1000 + _PLAIN,
        }
    ),
    row("answer-1.0-to-the-end", _CALL, BAD_GATEWAY, replies=(Reply(b"HTTP/1.0 200 OK\r\n\r\nabc", close=True),)),
    row(
        "answer-to-the-end",
        _CALL,
        BAD_GATEWAY,
        replies=(Reply(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc", close=True),),
    ),
    row(
        "answer-leading-zeros",
        _CALL,
        answered(_OK + b"Content-Length: 003\r\n\r\nabc"),
        replies=(_OK + b"Content-Length: 003\r\n\r\nabc",),
    ),
    row("answer-16-interim", _CALL, answered(_PLAIN), replies=(b"HTTP/1.1 100 Continue\r\n\r\n" * 16 + _PLAIN,)),
    row(
        "answer-early-hints",
        _CALL,
        answered(_PLAIN),
        replies=(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\nX-Secret: 1\r\n\r\n" + _PLAIN,),
    ),
    row(
        "answer-unknown-interim",
        _CALL,
        answered(_PLAIN),
        replies=(b"HTTP/1.1 199 Odd\r\nContent-Length: 5\r\n\r\n" + _PLAIN,),
    ),
)

#: The first piece of a body that comes in pieces is passed on before the rest can be judged: then the response is cut.
CHUNKS: Final = group(
    "chunks of upstream",
    _responses(
        {
            "answer-chunk-0x": _CHUNKED + b"0x3\r\nabc\r\n0\r\n\r\n",
            "answer-chunk-plus": _CHUNKED + b"+3\r\nabc\r\n0\r\n\r\n",
            "answer-chunk-minus": _CHUNKED + b"-3\r\nabc\r\n0\r\n\r\n",
            "answer-chunk-underscore": _CHUNKED + b"0_3\r\nabc\r\n0\r\n\r\n",
            "answer-chunk-space-before": _CHUNKED + b" 3\r\nabc\r\n0\r\n\r\n",
            "answer-chunk-space-behind": _CHUNKED + b"3 \r\nabc\r\n0\r\n\r\n",
            "answer-chunk-no-number": _CHUNKED + b"zz\r\nabc\r\n0\r\n\r\n",
            "answer-chunk-empty-size": _CHUNKED + b"\r\nabc\r\n0\r\n\r\n",
            "answer-chunk-too-large": _CHUNKED + b"fffffffffffffffff\r\nabc",
            "answer-chunk-bare-lf": _CHUNKED + b"3\nabc\n0\n\n",
            "answer-chunk-size-bare-lf": _CHUNKED + b"3\nabc\r\n0\r\n\r\n",
            "answer-chunk-extension-bare-lf": _CHUNKED + b"3;a\nabc\r\n0\r\n\r\n",
            "answer-chunk-bare-cr": _CHUNKED + b"3\r\nabc\r0\r\n\r\n",
            "answer-chunk-longer": _CHUNKED + b"2\r\nabc\r\n0\r\n\r\n",
            "answer-chunk-no-end": _CHUNKED + b"3\r\nabc0\r\n\r\n",
            "answer-chunk-second-is-bad": _CHUNKED + _THREE + b"zz\r\n",
            "answer-chunk-extension-flood": _CHUNKED + b"1;" + b"e" * 200_000 + b"\r\nx\r\n0\r\n\r\n",
            "answer-trailer-bad": _CHUNKED + _THREE + b"0\r\nX: \x00\r\n\r\n",
            "answer-trailer-folded": _CHUNKED + _THREE + b"0\r\nX: a\r\n b\r\n\r\n",
        },
        CUT,
    ),
    row("answer-cut-chunk", _CALL, CUT, replies=(Reply(_CHUNKED + b"a\r\nabc", close=True),)),
    row("answer-cut-between-chunks", _CALL, CUT, replies=(Reply(_CHUNKED + _THREE, close=True),)),
    row("answer-cut-last-chunk", _CALL, CUT, replies=(Reply(_CHUNKED + _THREE + b"0\r\n", close=True),)),
    row("answer-cut-trailer", _CALL, CUT, replies=(Reply(_CHUNKED + _THREE + b"0\r\nX: 1\r\n", close=True),)),
    row("answer-cut-body", _CALL, CUT, replies=(Reply(_OK + b"Content-Length: 10\r\n\r\nabc", close=True),)),
    row("answer-cut-no-body", _CALL, CUT, replies=(Reply(_OK + b"Content-Length: 10\r\n\r\n", close=True),)),
    row(
        "answer-cut-error",
        _CALL,
        _CUT_500,
        replies=(Reply(b"HTTP/1.1 500 Oops\r\nContent-Length: 10\r\n\r\nabc", close=True),),
    ),
    row("answer-cut-head", _CALL, BAD_GATEWAY, replies=(Reply(b"HTTP/1.1 200 OK\r\nContent-Le", close=True),)),
    row("answer-cut-status-line", _CALL, BAD_GATEWAY, replies=(Reply(b"HTTP/1.", close=True),)),
    row("answer-nothing", _CALL, BAD_GATEWAY, replies=(Reply(b"", close=True),)),
    row("answer-only-interim", _CALL, BAD_GATEWAY, replies=(Reply(b"HTTP/1.1 100 Continue\r\n\r\n", close=True),)),
    row("answer-cut-to-http-1.0", _HTTP_1_0, _CUT_1_0, replies=(Reply(_CHUNKED + _THREE, close=True),)),
)

CASES: Final[tuple[Case, ...]] = (*STATUS_LINES, *FIELD_LINES, *LENGTHS, *CHUNKS)
