"""Field lines that are none, or that hide another one.

Sources: RFC 9112 sections 5, 5.1 and 5.2 (no space before the colon, obs-fold), RFC 9110 sections 5.1, 5.5 and 7.2;
CWE-113; the bug list of narfindustries/http-garden (server bugs 2 to 4, 8, 13, 14, 18, 20, 27, 28, 30, 34 to 37,
transducer bugs 6, 10, 12 and 14); nginx's ``ignore_invalid_headers.t``; "Host of Troubles" (Chen et al., CCS 2016).
"""

from __future__ import annotations

from typing import Final

from tests.wire.threats.case import (
    REFUSED,
    SILENT,
    USERS,
    Case,
    each,
    get,
    group,
    request,
    row,
)


def _with(line: bytes) -> bytes:
    return get(USERS, line)


LINES: Final = group(
    "field lines",
    each(
        {
            "fold-space": b"X-A: a\r\n b",
            "fold-tab": b"X-A: a\r\n\tb",
            "fold-empty": b"X-A: a\r\n ",
            "fold-of-an-empty-value": b"X-A:\r\n b",
            "fold-hides-a-field": b"X-A: a\r\n Authorization: Bearer x",
            "fold-by-bare-lf": b"X-A: a\n b",
            "space-before-colon": b"X-A : b",
            "tab-before-colon": b"X-A\t: b",
            "space-before-name": b" X-A: b",
            "no-colon": b"X-A b",
            "no-colon-at-all": b"garbage",
            "empty-name": b": b",
            "colon-alone": b":",
            "space-for-a-name": b" : b",
            "bare-cr-in-value": b"X-A: a\rb",
            "bare-cr-injects": b"X-A: a\rAuthorization: Bearer x",
            "bare-lf-injects": b"X-A: a\nAuthorization: Bearer x",
            "bare-cr-before-line": b"\rX-A: b",
            "bare-cr-in-name": b"X\rA: b",
            "cr-cr-lf": b"X-A: b\r",
            "nul-in-value": b"X-A: a\x00b",
            "nul-at-the-end": b"X-A: a\x00",
            "nul-in-name": b"X\x00A: b",
            "vertical-tab-in-value": b"X-A: a\x0bb",
            "form-feed-in-value": b"X-A: a\x0cb",
            "backspace-in-value": b"X-A: a\x08b",
            "escape-in-value": b"X-A: \x1b[2J",
            "delete-in-value": b"X-A: a\x7fb",
            "high-byte-in-name": b"X\xefA: b",
            "next-line-byte-in-name": b"X-A\x85: b",
            "utf-8-in-name": "Xé: b".encode(),
        },
        _with,
        REFUSED,
    ),
    each(
        {f"name-with-{name}": b"X%bA: b" % character for name, character in {
            "space": b" ", "quote": b'"', "bracket": b"(", "comma": b",", "slash": b"/", "semicolon": b";",
            "less": b"<", "equals": b"=", "question": b"?", "at": b"@", "square": b"[", "brace": b"{",
            "backslash": b"\\",
        }.items()},
        _with,
        REFUSED,
    ),
)  # fmt: skip

HOSTS: Final = group(
    "one Host",
    row("host-missing", request(b"GET " + USERS + b" HTTP/1.1", host=None), REFUSED),
    row("host-missing-1.0", request(b"GET " + USERS + b" HTTP/1.0", host=None), REFUSED),
    row("host-twice", get(USERS, b"Host: localhost"), REFUSED),
    row("host-twice-other", get(USERS, b"Host: evil.example"), REFUSED),
    row(
        "host-twice-other-first",
        request(b"GET " + USERS + b" HTTP/1.1", b"Host: localhost", host=b"host: evil.example"),
        REFUSED,
    ),
    row("host-twice-1.0", request(b"GET " + USERS + b" HTTP/1.0", b"Host: localhost"), REFUSED),
    row("host-list", request(b"GET " + USERS + b" HTTP/1.1", host=b"Host: localhost, evil.example"), REFUSED),
    row("host-folded", request(b"GET " + USERS + b" HTTP/1.1", host=b"Host:\r\n localhost"), REFUSED),
    row("host-space-before-colon", request(b"GET " + USERS + b" HTTP/1.1", host=b"Host : localhost"), REFUSED),
    row(
        "host-first-line-indented",
        request(b"GET " + USERS + b" HTTP/1.1", b"Host: localhost", host=b" Host: evil.example"),
        REFUSED,
    ),
    row("host-nul", request(b"GET " + USERS + b" HTTP/1.1", host=b"Host: localhost\x00.evil.example"), REFUSED),
)

TRUNCATED: Final = group(
    "requests that stop short",
    *[
        row(title, sent, SILENT, half_closes=True)
        for title, sent in {
            "cut-request-line": b"GET /v2.01",
            "cut-head": get()[:-2],
            "cut-body": request(b"POST " + USERS + b" HTTP/1.1", b"Content-Length: 10", body=b"abc"),
            "cut-chunk": request(b"POST " + USERS + b" HTTP/1.1", b"Transfer-Encoding: chunked", body=b"a\r\nabc"),
            "cut-before-last-chunk": request(
                b"POST " + USERS + b" HTTP/1.1", b"Transfer-Encoding: chunked", body=b"3\r\nabc\r\n"
            ),
            "cut-trailer": request(
                b"POST " + USERS + b" HTTP/1.1", b"Transfer-Encoding: chunked", body=b"3\r\nabc\r\n0\r\n"
            ),
        }.items()
    ],
)

CASES: Final[tuple[Case, ...]] = (*LINES, *HOSTS, *TRUNCATED)
