"""Who may speak at all: web pages may not, whatever name they come under.

Sources: contract of the proxy port ("Guard"); WHATWG Fetch sections 3.1 and 3.2 (Origin, CORS), W3C Fetch Metadata,
Private Network Access; Jackson et al., "Protecting Browsers from DNS Rebinding" (CCS 2007); T. Ormandy's report on
Transmission (2018) and the "0.0.0.0 day" (Oligo, 2024) for names that lead to loopback; nginx's ``http_host.t``.
"""

from __future__ import annotations

from typing import Final

from sidecar.core.errors import ErrorCode
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
    sized,
    up,
)

_UNKNOWN: Final = refused(ErrorCode.HOST_NOT_ALLOWED)
_BROWSER: Final = refused(ErrorCode.BROWSER_NOT_ALLOWED)
_LINE: Final = b"GET " + USERS + b" HTTP/1.1"
_PASSES: Final = forwarded(up(_LINE))


def _host(value: bytes) -> bytes:
    return request(_LINE, host=b"Host:" + value)


HOSTS: Final = group(
    "Host",
    each(
        {
            "host-localhost": b" localhost",
            "host-localhost-port": b" localhost:8080",
            "host-localhost-any-port": b" localhost:1",
            "host-localhost-capitals": b" LOCALHOST",
            "host-loopback": b" 127.0.0.1:8080",
            "host-loopback-other": b" 127.8.9.10",
            "host-loopback-v6": b" [::1]",
            "host-loopback-v6-port": b" [::1]:8080",
        },
        _host,
        _PASSES,
    ),
    each(
        {
            "host-rebound": b" evil.example",
            "host-rebound-port": b" evil.example:8080",
            "host-looks-like-localhost": b" localhost.evil.example",
            "host-ends-like-localhost": b" evil-localhost",
            "host-localhost-localdomain": b" localhost.localdomain",
            "host-below-localhost": b" evil.localhost",
            "host-trailing-dot": b" localhost.",
            "host-loopback-and-name": b" 127.0.0.1.evil.example",
            "host-loopback-nip-io": b" 127-0-0-1.nip.io",
            "host-loopback-short": b" 127.1",
            "host-loopback-decimal": b" 2130706433",
            "host-loopback-octal": b" 0177.0.0.1",
            "host-loopback-hexadecimal": b" 0x7f000001",
            "host-loopback-zeros": b" 127.000.000.001",
            "host-loopback-five": b" 127.0.0.1.1",
            "host-loopback-too-large": b" 127.0.0.256",
            "host-loopback-letter": b" 127.0.0.x",
            "host-any-address": b" 0.0.0.0",
            "host-zero": b" 0",
            "host-private-address": b" 10.0.0.5:8080",
            "host-metadata-address": b" 169.254.169.254",
            "host-mapped-address": b" [::ffff:127.0.0.1]",
            "host-v6-any": b" [::]",
            "host-v6-long": b" [0:0:0:0:0:0:0:1]",
            "host-v6-zone": b" [::1%25eth0]",
            "host-v6-without-brackets": b" ::1",
            "host-v6-open-bracket": b" [::1",
            "host-v6-letter-for-a-colon": b" [::1]x80",
            "host-v6-text-behind": b" [::1].evil.example",
            "host-port-empty": b" localhost:",
            "host-port-no-number": b" localhost:http",
            "host-port-too-large": b" localhost:65536",
            "host-port-many-zeros": b" localhost:0000000080",
            "host-port-negative": b" localhost:-1",
            "host-port-twice": b" localhost:80:80",
            "host-user": b" evil.example@localhost",
            "host-user-and-port": b" localhost:80@evil.example",
            "host-path": b" localhost/evil.example",
            "host-url": b" http://localhost",
            "host-empty": b"",
            "host-colon": b" :8080",
            "host-space-inside": b" localhost evil.example",
            "host-tab-inside": b" localhost\tevil.example",
            "host-semicolon": b" localhost;evil.example",
            "host-high-bytes": b" \xfflocalhost\xff",
            "host-fullwidth": " ｌocalhost".encode(),
            "host-of-upstream": b" api.sandbox.mangopay.com",
            "host-container-name": b" sidecar.internal",
            "host-very-long": b" localhost." + b"a" * 4000,
        },
        _host,
        _UNKNOWN,
    ),
    row(
        "host-1.0-rebound",
        request(b"GET " + USERS + b" HTTP/1.0", host=b"Host: evil.example"),
        refused(ErrorCode.HOST_NOT_ALLOWED, closes=True),
    ),
    row(
        "host-rebound-post",
        request(b"POST " + PAY + b" HTTP/1.1", b"Content-Length: 2", host=b"Host: evil.example", body=b"{}"),
        _UNKNOWN,
    ),
    row(
        "host-rebound-token-path",
        request(b"POST /v2.01/oauth/token HTTP/1.1", b"Content-Length: 0", host=b"Host: evil.example"),
        _UNKNOWN,
    ),
    # No 100 Continue: the body is not asked for.
    row(
        "host-rebound-expects",
        request(
            b"POST " + PAY + b" HTTP/1.1", b"Expect: 100-continue", b"Content-Length: 2", host=b"Host: evil.example"
        ),
        refused(ErrorCode.HOST_NOT_ALLOWED, closes=True),
    ),
    row("host-rebound-forwarded", request(_LINE, b"X-Forwarded-Host: localhost", host=b"Host: evil.example"), _UNKNOWN),
    row(
        "host-unknown-and-underscore-field",
        request(_LINE, b"HTTP_HOST: localhost", host=b"Host: evil.example"),
        _UNKNOWN,
    ),
    row("host-listed", request(_LINE, host=b"Host: sidecar.internal:8080"), _PASSES, on="named"),
    row("host-listed-in-other-case", request(_LINE, host=b"Host: shop.EXAMPLE"), _PASSES, on="named"),
    row("host-listed-v6", request(_LINE, host=b"Host: [fd00::7]:8080"), _PASSES, on="named"),
    row("host-below-listed", request(_LINE, host=b"Host: evil.sidecar.internal"), _UNKNOWN, on="named"),
    row("host-ends-like-listed", request(_LINE, host=b"Host: evilsidecar.internal"), _UNKNOWN, on="named"),
    row("host-listed-still-localhost", get(), AS_SENT, on="named"),
)

BROWSERS: Final = group(
    "web pages",
    each(
        {
            "origin-foreign": b"Origin: https://evil.example",
            "origin-null": b"Origin: null",
            "origin-localhost": b"Origin: http://localhost:8080",
            "origin-own": b"Origin: http://127.0.0.1:8080",
            "origin-empty": b"Origin:",
            "origin-lower-case": b"origin: https://evil.example",
            "origin-capitals": b"ORIGIN: x",
            "origin-extension": b"Origin: chrome-extension://abc",
            "fetch-site-cross": b"Sec-Fetch-Site: cross-site",
            "fetch-site-same-site": b"Sec-Fetch-Site: same-site",
            "fetch-site-same-origin": b"Sec-Fetch-Site: same-origin",
            "fetch-site-unknown": b"Sec-Fetch-Site: x",
            "fetch-site-empty": b"Sec-Fetch-Site:",
            "fetch-site-capital": b"Sec-Fetch-Site: None",
            "fetch-site-list": b"Sec-Fetch-Site: none, cross-site",
            "fetch-site-lower-case-name": b"sec-fetch-site: cross-site",
        },
        lambda line: get(USERS, line),
        _BROWSER,
    ),
    row("origin-twice", get(USERS, b"Origin: null", b"Origin: null"), _BROWSER),
    row("fetch-site-none-then-cross", get(USERS, b"Sec-Fetch-Site: none", b"Sec-Fetch-Site: cross-site"), _BROWSER),
    row("fetch-site-none", get(USERS, b"Sec-Fetch-Site: none"), AS_SENT),
    row("form-post", sized(b"a=b", b"Origin: https://evil.example", b"Content-Type: text/plain"), _BROWSER),
    row("origin-at-the-token-path", sized(b"", b"Origin: null", target=b"/v2.01/oauth/token"), _BROWSER),
    row(
        "preflight",
        request(
            b"OPTIONS " + PAY + b" HTTP/1.1", b"Origin: https://evil.example", b"Access-Control-Request-Method: POST"
        ),
        _BROWSER,
    ),
    row(
        "preflight-private-network",
        request(b"OPTIONS " + PAY + b" HTTP/1.1", b"Origin: null", b"Access-Control-Request-Private-Network: true"),
        _BROWSER,
    ),
    row(
        "websocket-from-a-page",
        get(USERS, b"Connection: Upgrade", b"Upgrade: websocket", b"Origin: https://evil.example"),
        refused(ErrorCode.BROWSER_NOT_ALLOWED, closes=True),
    ),
    # What browsers send that know no Sec-Fetch-Site, or send none to a plain http:// name: as captured from each.
    row(
        "old-safari",
        get(
            USERS,
            b"Accept: image/webp,image/avif,*/*;q=0.8",
            b"Accept-Language: en-GB,en;q=0.9",
            b"User-Agent: Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605 Version/16.3 Safari/605",
        ),
        _BROWSER,
    ),
    row(
        "firefox-to-a-name",
        get(
            USERS,
            b"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
            b"accept-language: en-US,en;q=0.5",
        ),
        _BROWSER,
    ),
    row("powershell", get(USERS, b"User-Agent: Mozilla/5.0 (Windows NT; en-US) WindowsPowerShell/5.1.1"), AS_SENT),
    row("a-client-with-a-language", get(USERS, b"User-Agent: python-requests/2.32", b"Accept-Language: fr"), AS_SENT),
    row(
        "typed-into-a-browser",
        get(USERS, b"Sec-Fetch-Site: none", b"User-Agent: Mozilla/5.0 (X11)", b"Accept-Language: en"),
        AS_SENT,
    ),
    row("unknown-host-before-origin", request(_LINE, b"Origin: null", host=b"Host: evil.example"), _UNKNOWN),
    row("page-head", request(b"HEAD " + USERS + b" HTTP/1.1", b"Origin: null"), _BROWSER),
)

#: Refused as malformed before the guard looks at anything.
MALFORMED: Final = group(
    "Host",
    row("host-comma", _host(b" localhost,evil.example"), REFUSED),
    row("host-nul-behind", _host(b" localhost\x00"), REFUSED),
)

CASES: Final[tuple[Case, ...]] = (*HOSTS, *BROWSERS, *MALFORMED)
