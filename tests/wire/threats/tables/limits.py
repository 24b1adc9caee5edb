"""How much of anything is taken.

``hasty`` has the default timeouts, and a clock that goes ten times faster; ``small`` takes bodies of 64 KiB and
keeps 16. Sources: RFC 9110 section 15.5.14 (413), RFC 6585 section 5 (431); R. Hansen, Slowloris (2009); S. Shekyan,
slowhttptest (slow body, slow read); nginx's ``limit_conn.t`` and ``http_keepalive.t``.
"""

from __future__ import annotations

from typing import Final

from sidecar.core.errors import ErrorCode
from tests.wire.threats.case import (
    AS_SENT,
    CHUNKED,
    PAY,
    SILENT,
    USERS,
    Case,
    Exactly,
    Forwarded,
    Nothing,
    Outcome,
    Refusal,
    chunked,
    forwarded,
    get,
    group,
    post,
    refused,
    row,
    sized,
    up,
)

_TOO_LARGE_HEAD: Final = refused(ErrorCode.HEADERS_TOO_LARGE, closes=True)
_TOO_LARGE_BODY: Final = refused(ErrorCode.BODY_TOO_LARGE, closes=True)
_TOO_SLOW: Final = refused(ErrorCode.REQUEST_TIMEOUT, closes=True)
_LINE: Final = b"POST " + PAY + b" HTTP/1.1"
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_KIB: Final = 1024


def _in_chunks(body: bytes, size: int = 8 * _KIB) -> bytes:
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


SIZES: Final = group(
    "sizes",
    row("head-line-of-8-kib", get(USERS, b"X: " + b"a" * 8200), _TOO_LARGE_HEAD),
    row("head-name-of-8-kib", get(USERS, b"X" * 8200 + b": a"), _TOO_LARGE_HEAD),
    row("head-target-of-8-kib", get(b"/" + b"a" * 8200), _TOO_LARGE_HEAD),
    row("head-query-of-8-kib", get(USERS + b"?" + b"a" * 8200), _TOO_LARGE_HEAD),
    row("head-129-fields", get(USERS, *[b"X-%d: 1" % n for n in range(128)]), _TOO_LARGE_HEAD),
    row("head-of-80-kib", get(USERS, *[b"X-%d: %b" % (n, b"a" * 8000) for n in range(10)]), _TOO_LARGE_HEAD),
    row(
        "head-without-end",
        b"GET /x HTTP/1.1\r\n" + b"".join(b"X-%d: %b\r\n" % (n, b"a" * 2000) for n in range(100)),
        _TOO_LARGE_HEAD,
    ),
    row("head-of-60-kib", get(USERS, *[b"X-%d: %b" % (n, b"a" * 500) for n in range(115)]), AS_SENT),
    row("body-too-large", sized(b"a" * (64 * _KIB + 1)), _TOO_LARGE_BODY, on="small"),
    row("body-too-large-by-far", post(b"Content-Length: 999999999999", body=b"abc"), _TOO_LARGE_BODY, on="small"),
    row(
        "body-too-large-asked-before",
        post(b"Expect: 100-continue", b"Content-Length: 99999999"),
        _TOO_LARGE_BODY,
        on="small",
    ),
    row("chunks-too-large-at-once", chunked(_in_chunks(b"a" * (8 * _KIB + 1))), _TOO_LARGE_BODY, on="tiny"),
    row("body-as-large-as-may-be", sized(b"a" * (64 * _KIB)), AS_SENT, on="small"),
    row("body-beyond-replay", sized(b"a" * (16 * _KIB + 1)), AS_SENT, on="small"),
    row("body-within-replay", sized(b"a" * (16 * _KIB)), AS_SENT, on="small"),
    row(
        "chunks-beyond-replay",
        chunked(_in_chunks(b"a" * (32 * _KIB))),
        forwarded(Forwarded(_LINE, body=b"a" * (32 * _KIB), chunked=True), closes=True),
        on="small",
    ),
    row(
        "chunks-within-replay",
        chunked(_in_chunks(b"a" * (15 * _KIB))),
        forwarded(up(_LINE, body=b"a" * (15 * _KIB)), closes=True),
        on="small",
    ),
    row("token-body-too-large", sized(b"a" * (65 * _KIB), target=b"/v2.01/oauth/token"), _TOO_LARGE_BODY, on="small"),
    row("pipelined-200", get() * 200, forwarded(*[up(b"GET " + USERS + b" HTTP/1.1")] * 200)),
)

PACE: Final = group(
    "pace",
    row("slow-nothing", b"", SILENT, on="hasty"),
    row("slow-line-end-alone", b"\r\n", SILENT, on="hasty"),
    row("slow-request-line", b"GET /v2.01", _TOO_SLOW, on="hasty"),
    row("slow-head", get()[:-2], _TOO_SLOW, on="hasty"),
    row("slow-body", sized(b"{}")[:-1], _TOO_SLOW, on="hasty"),
    row("slow-first-chunk", post(CHUNKED), _TOO_SLOW, on="hasty"),
    row("slow-chunk", chunked(b"5\r\nab"), _TOO_SLOW, on="hasty"),
    row("slow-last-chunk", chunked(b"2\r\nab\r\n"), _TOO_SLOW, on="hasty"),
    row("slow-chunk-of-64-bits", chunked(b"ffffffffffffffff\r\nabc"), _TOO_SLOW, on="hasty"),
    row("slow-trailer", chunked(b"2\r\nab\r\n0\r\nX: 1\r\n"), _TOO_SLOW, on="hasty"),
    row(
        "slow-body-asked-for",
        (post(b"Expect: 100-continue", b"Content-Length: 3"), b"a"),
        Outcome((Exactly(_CONTINUE), Refusal(ErrorCode.REQUEST_TIMEOUT)), closes=True),
        on="hasty",
    ),
    row(
        "slow-head-behind-a-call",
        get() + b"GET /v2.01",
        Outcome(
            (*AS_SENT.responses, Refusal(ErrorCode.REQUEST_TIMEOUT)), (up(b"GET " + USERS + b" HTTP/1.1"),), closes=True
        ),
        on="hasty",
    ),
    row("slow-next-call", get(), Outcome((*AS_SENT.responses, Nothing()), None, closes=True), on="hasty"),
)

CASES: Final[tuple[Case, ...]] = (*SIZES, *PACE)
