"""The request line, and the lines around it.

Sources: RFC 9112 sections 2.2, 3 and 3.2, RFC 9110 section 9.3 (CONNECT, TRACE, OPTIONS); the bug list of
narfindustries/http-garden (server bugs 5 to 9, 15, 24 and 40); MDA2AV/Http11Probe; J. Kettle, "Cracking the lens"
(PortSwigger, 2017: absolute form, ``@``); nginx's ``http_uri.t`` and ``http_method.t``; RFC 9113 section 3.4 (preface).
"""

from __future__ import annotations

from typing import Final

from tests.wire.threats.case import (
    AS_SENT,
    PAY,
    REFUSED,
    USERS,
    Case,
    each,
    forwarded,
    get,
    group,
    refused,
    request,
    row,
    up,
)

_HOST: Final = b"\r\nHost: localhost\r\n\r\n"


def _line(line: bytes) -> bytes:
    return line + _HOST


VERSIONS: Final = group(
    "protocol versions",
    each(
        {
            "version-0.9": b"GET " + USERS,
            "version-0.9-space": b"GET " + USERS + b" ",
            "version-0.9-named": b"GET " + USERS + b" HTTP/0.9",
            "version-1.2": b"GET " + USERS + b" HTTP/1.2",
            "version-1.10": b"GET " + USERS + b" HTTP/1.10",
            "version-1.1.1": b"GET " + USERS + b" HTTP/1.1.1",
            "version-01.1": b"GET " + USERS + b" HTTP/01.1",
            "version-1": b"GET " + USERS + b" HTTP/1",
            "version-1.": b"GET " + USERS + b" HTTP/1.",
            "version-2.0": b"GET " + USERS + b" HTTP/2.0",
            "version-2": b"GET " + USERS + b" HTTP/2",
            "version-3.0": b"GET " + USERS + b" HTTP/3.0",
            "version-large": b"GET " + USERS + b" HTTP/4294967297.257",
            "version-negative": b"GET " + USERS + b" HTTP/-1.1",
            "version-lower-case": b"GET " + USERS + b" http/1.1",
            "version-mixed-case": b"GET " + USERS + b" Http/1.1",
            "version-space-inside": b"GET " + USERS + b" HTTP /1.1",
            "version-space-behind-slash": b"GET " + USERS + b" HTTP/ 1.1",
            "version-space-behind": b"GET " + USERS + b" HTTP/1.1 ",
            "version-tab-behind": b"GET " + USERS + b" HTTP/1.1\t",
            "version-nul-behind": b"GET " + USERS + b" HTTP/1.1\x00",
            "version-comma": b"GET " + USERS + b" HTTP/1,1",
            "version-arabic-digit": b"GET " + USERS + " HTTP/1.١".encode(),
            "version-https": b"GET " + USERS + b" HTTPS/1.1",
            "version-rtsp": b"POST " + PAY + b" RTSP/1.0",
            "version-icecast": b"SOURCE " + PAY + b" ICE/1.0",
            "version-sip": b"OPTIONS " + USERS + b" SIP/2.0",
            "version-twice": b"GET " + USERS + b" HTTP/1.1 HTTP/1.1",
        },
        _line,
        REFUSED,
    ),
    row("version-2-preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", REFUSED),
    row(
        "version-1.0",
        request(b"GET " + USERS + b" HTTP/1.0"),
        forwarded(up(b"GET " + USERS + b" HTTP/1.1"), closes=True),
    ),
)

SPACES: Final = group(
    "spaces and line ends of the request line",
    each(
        {
            "two-spaces-before-target": b"GET  " + USERS + b" HTTP/1.1",
            "two-spaces-behind-target": b"GET " + USERS + b"  HTTP/1.1",
            "many-spaces": b"GET" + b" " * 50 + USERS + b" HTTP/1.1",
            "tab-before-target": b"GET\t" + USERS + b" HTTP/1.1",
            "tab-behind-target": b"GET " + USERS + b"\tHTTP/1.1",
            "vertical-tab-before-target": b"GET\x0b" + USERS + b" HTTP/1.1",
            "form-feed-behind-target": b"GET " + USERS + b"\x0cHTTP/1.1",
            "bare-cr-behind-target": b"GET " + USERS + b"\rHTTP/1.1",
            "bare-lf-behind-target": b"GET " + USERS + b"\nHTTP/1.1",
            "no-break-space-behind-target": b"GET " + USERS + b"\xa0HTTP/1.1",
            "space-before-method": b" GET " + USERS + b" HTTP/1.1",
            "tab-before-method": b"\tGET " + USERS + b" HTTP/1.1",
            "nul-before-method": b"\x00GET " + USERS + b" HTTP/1.1",
            "bare-cr-before-method": b"\rGET " + USERS + b" HTTP/1.1",
            "bare-lf-before-method": b"\nGET " + USERS + b" HTTP/1.1",
            "space-in-target": b"GET " + USERS + b" /x HTTP/1.1",
            "no-target": b"GET HTTP/1.1",
            "no-method": USERS + b" HTTP/1.1",
            "empty-target": b"GET  HTTP/1.1",
        },
        _line,
        REFUSED,
    ),
    row("bare-lf-everywhere", b"GET " + USERS + b" HTTP/1.1\nHost: localhost\n\n", REFUSED),
    row("bare-cr-everywhere", b"GET " + USERS + b" HTTP/1.1\rHost: localhost\r\r", REFUSED, half_closes=True),
    row("bare-lf-behind-version", b"GET " + USERS + b" HTTP/1.1\nHost: localhost\r\n\r\n", REFUSED),
    row("bare-lf-behind-host", b"GET " + USERS + b" HTTP/1.1\r\nHost: localhost\n\r\n", REFUSED),
    row("bare-lf-ends-the-head", b"GET " + USERS + b" HTTP/1.1\r\nHost: localhost\r\n\n", REFUSED),
    row(
        "bare-cr-ends-the-head",
        b"GET " + USERS + b" HTTP/1.1\r\nHost: localhost\r\n\rXGET /smuggled: HTTP/1.1\r\n\r\n",
        REFUSED,
    ),
    row("empty-line-before", b"\r\n" + get(), forwarded(up(b"GET " + USERS + b" HTTP/1.1"))),
    row("empty-lines-without-end", b"\r\n" * 100 + get(), REFUSED),
    row("binary", b"\x00\x01\x02\x03\xff\xfe\r\n\r\n", REFUSED),
    row("tls-hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(40), REFUSED),
    row("socks-greeting", b"\x05\x01\x00\r\n\r\n", REFUSED),
    row("proxy-protocol", b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n" + get(), REFUSED),
    row("memcached", b"stats\r\nget a\r\n\r\n", REFUSED),
    row("response-as-request", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", REFUSED),
)

METHODS: Final = group(
    "methods",
    each(
        {
            "method-lower-case": b"get " + USERS + b" HTTP/1.1",
            "method-mixed-case": b"Post " + PAY + b" HTTP/1.1",
            "method-unknown": b"FROB " + PAY + b" HTTP/1.1",
            "method-delimiters": b'G=":<>(e),[T];?" ' + USERS + b" HTTP/1.1",
            "method-nul": b"GET\x00 " + USERS + b" HTTP/1.1",
            "method-high-byte": b"G\xc9T " + USERS + b" HTTP/1.1",
            "method-slash": b"GET/" + USERS + b" HTTP/1.1",
            "method-prefix-of-another": b"GE " + USERS + b" HTTP/1.1",
            "method-longer-than-another": b"GETT " + USERS + b" HTTP/1.1",
            "method-of-8-kib": b"G" * 8192 + b" " + USERS + b" HTTP/1.1",
            "connect-authority": b"CONNECT api.mangopay.com:443 HTTP/1.1",
            "connect-path": b"CONNECT " + USERS + b" HTTP/1.1",
            "connect-loopback": b"CONNECT 127.0.0.1:{elsewhere} HTTP/1.1",
            "trace": b"TRACE " + USERS + b" HTTP/1.1",
        },
        _line,
        REFUSED,
    ),
    row("options", request(b"OPTIONS " + USERS + b" HTTP/1.1"), AS_SENT),
    row("patch", request(b"PATCH " + USERS + b"/1 HTTP/1.1", b"Content-Length: 2", body=b"{}"), AS_SENT),
    row("options-asterisk", request(b"OPTIONS * HTTP/1.1"), refused()),
    row("get-asterisk", request(b"GET * HTTP/1.1"), REFUSED),
)

# What does not begin as a target can is refused by the parser, which cannot go on from there; the rest is our own rule.
FORMS: Final = group(
    "forms of the target",
    each(
        {
            "absolute-elsewhere": b"http://127.0.0.1:{elsewhere}/v2.01/acme/users",
            "absolute-elsewhere-credentials": b"http://localhost@127.0.0.1:{elsewhere}/v2.01/acme/users",
            "absolute-localhost": b"http://localhost/v2.01/acme/users",
            "absolute-https": b"https://api.mangopay.com/v2.01/acme/users",
            "absolute-capitals": b"HTTP://localhost/v2.01/acme/users",
            "absolute-gopher": b"gopher://127.0.0.1:{elsewhere}/_GET",
            "two-slashes": b"//127.0.0.1:{elsewhere}/v2.01/acme/users",
            "three-slashes": b"///v2.01/acme/users",
            "slash-backslash": b"/\\127.0.0.1:{elsewhere}/v2.01/acme/users",
        },
        get,
        refused(),
    ),
    each(
        {
            "absolute-file": b"file:///etc/passwd",
            "authority": b"127.0.0.1:{elsewhere}",
            "authority-and-path": b"127.0.0.1:{elsewhere}/v2.01/acme/users",
            "at-elsewhere": b"@127.0.0.1:{elsewhere}/v2.01/acme/users",
            "colon-at-elsewhere": b":x@127.0.0.1:{elsewhere}/v2.01/acme/users",
            "dot-elsewhere": b".evil.example/v2.01/acme/users",
            "no-slash": b"v2.01/acme/users",
            "query-alone": b"?per_page=1",
            "fragment-alone": b"#x",
            "form-colon-alone": b":{elsewhere}/v2.01",
            "backslashes": b"\\\\127.0.0.1:{elsewhere}\\v2.01",
        },
        get,
        REFUSED,
    ),
)

CASES: Final[tuple[Case, ...]] = (*VERSIONS, *SPACES, *METHODS, *FORMS)
