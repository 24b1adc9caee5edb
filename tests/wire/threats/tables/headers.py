"""Header fields on their way up: whose they are, and what they may change.

Sources: RFC 9110 sections 5.3, 7.6.1 (Connection) and 10.1.1, RFC 9112 section 9.6; N. Davison, "Abusing HTTP
hop-by-hop request headers" (2019); J. Kettle, "Practical Web Cache Poisoning" (PortSwigger, 2018: X-Original-URL,
X-Forwarded-Host); J. Miller, "h2c Smuggling" (2020); CVE-2020-11724 and RFC 3875 section 4.1.18 for ``_`` as ``-``;
CVE-2022-31813 (Apache dropped X-Forwarded-* that Connection named).
"""

from __future__ import annotations

from typing import Final

from tests.support.canary import CANARY_API_KEY
from tests.wire.threats.case import (
    AS_SENT,
    PAY,
    USERS,
    Case,
    Outcome,
    each,
    forwarded,
    get,
    group,
    refused,
    request,
    row,
    sized,
    up,
)

_GET: Final = b"GET " + USERS + b" HTTP/1.1"
_POST: Final = b"POST " + PAY + b" HTTP/1.1"
_KEY: Final = b"Idempotency-Key: 0123456789abcdef"

#: Each is dropped on the way up, whatever its value is. The ids of their cases are ``strip-`` and the name.
DROPPED: Final = {
    # one connection's own
    b"Keep-Alive": b"timeout=5",
    b"Proxy-Connection": b"keep-alive",
    b"TE": b"trailers",
    b"Trailer": b"X-T",
    b"Upgrade": b"h2c",
    b"HTTP2-Settings": b"AAMAAABkAAQAAP__",
    # whose the call is
    b"Authorization": b"Bearer sidecar_forged",
    b"Cookie": b"session=1",
    # where it came from
    b"Forwarded": b"for=127.0.0.1;host=evil.example",
    b"Via": b"1.1 evil.example",
    b"X-Real-IP": b"127.0.0.1",
    # what it is about
    b"X-Original-URL": b"/v2.01/acme/payouts",
    b"X-Rewrite-URL": b"/v2.01/acme/payouts",
    b"X-HTTP-Method": b"DELETE",
    b"X-HTTP-Method-Override": b"DELETE",
    b"X-Method-Override": b"DELETE",
    # how urgent it is: the sidecar's own business
    b"X-Sidecar-Lane": b"normal",
    # whole families
    b"Proxy-Authorization": b"Basic eDp5",
    b"Proxy-Anything": b"1",
    b"X-Forwarded-For": b"127.0.0.1",
    b"X-Forwarded-Host": b"evil.example",
    b"X-Forwarded-Proto": b"http",
    b"X-Forwarded-Anything": b"1",
}


def _among_others(line: bytes) -> bytes:
    return get(USERS, b"X-Before: 1", line, b"X-After: 2")


_WITHOUT: Final = forwarded(up(_GET, b"X-Before: 1", b"X-After: 2"))


def _dropped() -> list[Case]:
    rows: list[Case] = []
    for name, value in DROPPED.items():
        title = f"strip-{name.decode().lower()}"
        rows.append(row(title, _among_others(name + b": " + value), _WITHOUT))
        if b"-" in name:
            spelt = name.replace(b"-", b"_").upper()
            rows.append(row(f"{title}-underscores", _among_others(spelt + b": " + value), _WITHOUT))
    return rows


STRIPPED: Final = group(
    "fields that are not the caller's to send",
    _dropped(),
    row("strip-authorization-twice", _among_others(b"Authorization: Basic eDp5\r\nauthorization: Bearer y"), _WITHOUT),
    row("strip-authorization-empty", _among_others(b"Authorization:"), _WITHOUT),
    row("strip-in-other-case", _among_others(b"x-fORWARDED-hOST: evil.example"), _WITHOUT),
    row("strip-mixed-separators", _among_others(b"X_Forwarded-Host: evil.example"), _WITHOUT),
    row("strip-expect", sized(b"{}", b"Expect: 100-continue"), forwarded(up(_POST, body=b"{}"))),
    row("strip-http2-upgrade-in-post", sized(b"{}", b"HTTP2-Settings: AAMAAABk"), forwarded(up(_POST, body=b"{}"))),
)

_BUT_A: Final[Outcome] = forwarded(up(_GET, b"X-B: 2"))

NOMINATED: Final = group(
    "fields that Connection names",
    row("nominated", get(USERS, b"X-A: 1", b"Connection: X-A", b"X-B: 2"), _BUT_A),
    row("nominated-before", get(USERS, b"Connection: X-A", b"X-A: 1", b"X-B: 2"), _BUT_A),
    row("nominated-in-other-case", get(USERS, b"X-A: 1", b"Connection: x-a", b"X-B: 2"), _BUT_A),
    row("nominated-every-repeat", get(USERS, b"X-A: 1", b"Connection: X-A", b"x-a: 3", b"X-B: 2"), _BUT_A),
    row("nominated-in-a-list", get(USERS, b"X-A: 1", b"Connection: keep-alive ,, X-A ,X-C", b"X-B: 2"), _BUT_A),
    row(
        "nominated-in-a-second-line",
        get(USERS, b"X-A: 1", b"Connection: keep-alive", b"connection: X-A", b"X-B: 2"),
        _BUT_A,
    ),
    row("nominated-in-quotes", get(USERS, b"X-A: 1", b'Connection: "X-A"', b"X-B: 2"), _BUT_A),
    row("nominated-with-underscore", get(USERS, b"X_A: 1", b"Connection: X-A", b"X-B: 2"), _BUT_A),
    row(
        "nominated-and-close",
        get(USERS, b"X-A: 1", b"Connection: close, X-A", b"X-B: 2"),
        forwarded(up(_GET, b"X-B: 2"), closes=True),
    ),
    row("nominated-authorization", get(USERS, b"Connection: Authorization"), forwarded(up(_GET))),
    row("nominated-host", get(USERS, b"Connection: Host"), forwarded(up(_GET))),
    row("nominated-accept", get(USERS, b"Connection: Accept", b"Accept: */*"), forwarded(up(_GET))),
    each(
        {
            "nominated-idempotency-key": b"Connection: Idempotency-Key",
            "nominated-idempotency-key-in-other-case": b"Connection: keep-alive, IDEMPOTENCY-KEY",
            "nominated-idempotency-key-in-a-second-line": b"Connection: keep-alive\r\nConnection: Idempotency-Key",
            "nominated-idempotency-key-in-quotes": b'Connection: "Idempotency-Key"',
            "nominated-idempotency-key-underscore": b"Connection: Idempotency_Key",
            "nominated-idempotency-key-and-tab": b"Connection:\tIdempotency-Key\t",
            "nominated-content-type": b"Connection: Content-Type",
        },
        lambda line: sized(b"{}", line, _KEY, b"Content-Type: application/json"),
        refused(),
    ),
    row("nominated-key-that-is-not-there", get(USERS, b"Connection: Idempotency-Key"), refused()),
    row(
        "nominated-content-type-and-close",
        sized(b"{}", b"Connection: close, Content-Type"),
        refused(closes=True),
    ),
)

KEPT: Final = group(
    "fields that pass to the byte",
    each(
        {
            "kept-case": b"x-LOWER-upper: 1",
            "kept-repeats": b"X-A: 1\r\nX-B: 2\r\nX-A: 3\r\nx-a: 1",
            "kept-empty": b"X-Empty: ",
            "kept-obs-text": b"X-Raw: caf\xe9 \xff\x80",
            "kept-utf-8": "X-Name: Zoë".encode(),
            "kept-inner-blanks": b"X-A: a \t  b",
            "kept-percent-line-end": b"X-A: a%0d%0aX-Injected: 1",
            "kept-colons": b"X-A: a: b: c",
            "kept-ruby-sdk": b'X_mangopay_client_user_agent: {"bindings_version":"3.42.1"}',
            "kept-user-agent": b"User-Agent: Mangopay-SDK/4.2.0 (Python/3.11)",
            "kept-idempotency-key": _KEY,
            "kept-encodings": b"Accept-Encoding: gzip, deflate, br",
            "kept-range": b"Range: bytes=0-1",
            "kept-similar-names": b"X-Forward: 1\r\nProxied: 1\r\nViable: 1\r\nX-Host: x\r\nX-URL: /y\r\nCookies: 1",
            "kept-cors-words": b"Access-Control-Request-Method: POST",
            "kept-fetch-words": b"Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document",
            "kept-sidecar-words": b"X-Sidecar-Note: 1",
            "kept-token-characters": b"!#$%&'*+-.^_`|~09azAZ: 1",
            "kept-long-value": b"X-A: " + b"a" * 8000,
            "kept-100-fields": b"\r\n".join(b"X-%d: %d" % (n, n) for n in range(100)),
        },
        lambda line: get(USERS, line),
        AS_SENT,
    ),
    row("blanks-around-a-value", get(USERS, b"X-A:\t  a \t "), forwarded(up(_GET, b"X-A: a"))),
    row("no-space-behind-colon", get(USERS, b"X-A:a"), forwarded(up(_GET, b"X-A: a"))),
    row("keep-alive-dropped", get(USERS, b"Connection: keep-alive"), forwarded(up(_GET))),
    row("host-is-never-the-callers", request(_GET, host=b"Host: 127.0.0.1:1"), forwarded(up(_GET))),
    row("method-override-in-query", get(USERS + b"?_method=DELETE"), AS_SENT),
    row(
        "callers-key-never-goes-up",
        get(USERS, b"Authorization: Bearer " + CANARY_API_KEY.encode()),
        forwarded(up(_GET)),
    ),
)

CASES: Final[tuple[Case, ...]] = (*STRIPPED, *NOMINATED, *KEPT)
