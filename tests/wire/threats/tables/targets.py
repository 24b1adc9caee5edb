"""The target: to the byte as it was sent, or not at all.

Sources: RFC 3986 sections 2.1, 3.3, 5.2.4 and 6.2.2, RFC 9112 section 3.2, RFC 3629 section 10 (overlong UTF-8);
O. Tsai, "Breaking Parser Logic" (Black Hat USA 2018: ``/..;/``, off by one slash) and "A New Era of SSRF" (2017);
CVE-2021-41773 and CVE-2021-42013 (Apache, ``.%2e`` and ``%%32%65``); OWASP's list of path traversals; SEI CERT IDS00;
the OpenAPI paths of Mangopay for what must pass. Where ``@`` is in a path it is an ordinary character there.
"""

from __future__ import annotations

from typing import Final

from sidecar.core.errors import ErrorCode
from tests.wire.threats.case import (
    ABOUT,
    AS_SENT,
    REFUSED,
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

_A: Final = b"/v2.01/acme/"


def _below(path: bytes) -> bytes:
    return get(_A + path)


TRAVERSALS: Final = group(
    "traversals",
    each(
        {
            "dots": b"../other/users",
            "dots-at-the-end": b"users/..",
            "dots-then-slash": b"users/../",
            "dot": b"./users",
            "dot-at-the-end": b"users/.",
            "dots-many": b"a/b/c/../../../../../../etc/passwd",
            "dots-encoded": b"%2e%2e/other/users",
            "dots-encoded-capitals": b"%2E%2E/other/users",
            "dots-first-encoded": b"%2e./other/users",
            "dots-second-encoded": b".%2e/other/users",
            "dot-encoded": b"%2e/users",
            "dots-encoded-slash": b"..%2fother",
            "dots-encoded-slash-capitals": b"..%2Fother",
            "dots-all-encoded": b"%2e%2e%2fother",
            "slash-encoded-dots": b"users%2f..%2fother",
            "slash-encoded-dots-at-the-end": b"users%2f..",
            "dots-encoded-backslash": b"..%5cother",
            "dots-encoded-backslash-capitals": b"users%5C..%5Cother",
            "dots-semicolon": b"..;/other",
            "dots-semicolon-parameter": b"..;a=b/other",
            "dots-encoded-semicolon": b"%2e%2e;/other",
            "dots-semicolon-encoded": b"..%3b/other",
            "dots-semicolon-encoded-parameter": b"..%3Ba=b/other",
            "dots-nul": b"..%00/other",
            "dots-nul-text": b"..%00.json",
            "dots-space": b"..%20/other",
            "dots-tab": b"..%09/other",
            "dots-line-feed": b"..%0a/other",
            "dots-carriage-return": b"..%0d/other",
            "dots-overlong-two-bytes": b"%c0%ae%c0%ae/other",
            "dots-overlong-three-bytes": b"%e0%80%ae%e0%80%ae/other",
            "dots-overlong-one-of-two": b".%c0%ae/other",
            "slash-overlong": b"..%c0%afother",
            "slash-overlong-three-bytes": b"..%e0%80%afother",
            "backslash-overlong": b"..%c1%9cother",
            "backslash-overlong-three-bytes": b"..%e0%81%9cother",
            "dots-before-query": b"..?x=1",
            "dots-right-after-version": b"users/%2e%2e%2f%2e%2e%2f%2e%2e%2fv3.0",
        },
        _below,
        refused(),
    ),
    row(
        "dots-expect",
        post(b"Expect: 100-continue", b"Content-Length: 2", target=_A + b"../x"),
        refused(closes=True),
    ),
    row("dots-at-the-root", get(b"/../v2.01/acme/users"), refused()),
    row("dots-alone", get(b"/.."), refused()),
    row("dots-after-version", get(b"/v2.01/../v3.0/acme"), refused()),
    row("dots-in-a-post", sized(b"{}", target=_A + b"%2e%2e/transfers"), refused()),
    row("dots-before-the-alias", get(b"/v2.01/%2e/_/users"), refused()),
)

CHARACTERS: Final = group(
    "characters of the target",
    each(
        {
            "backslash": b"users\\1",
            "backslash-at-the-end": b"users\\",
            "fragment": b"users#fragment",
            "fragment-with-question-mark": b"users#?x",
            "fragment-in-query": b"users?x=1#y",
            "backslash-in-query": b"users?x=\\y",
        },
        _below,
        refused(),
    ),
    each(
        {
            "tab": b"users\t1",
            "control-character": b"users\x01",
            "nul": b"users\x00",
            "delete": b"users\x7f",
            "bare-cr": b"users\rX",
            "utf-8": "usérs".encode(),
            "latin-1": b"us\xe9rs",
            "high-byte": b"users\xff",
            "next-line-byte": b"users\x85",
            "no-break-space": b"users\xa0",
            "utf-8-in-query": "users?name=é".encode(),
            "fullwidth-dots": "．．/other".encode(),
            "fraction-slash": "..\u2215other".encode(),
        },
        _below,
        REFUSED,
    ),
)

UNTOUCHED: Final = group(
    "targets that pass to the byte",
    each(
        {
            "plain": b"users",
            "trailing-slash": b"users/",
            "query": b"users?per_page=1&page=2",
            "query-trailing-question-mark": b"users?",
            "query-empty-values": b"users?a=&b&=c&&",
            "query-plus-and-space": b"users?a=b+c%20d",
            "query-semicolons": b"users?a=1;b=2",
            "query-question-marks": b"users?a=?b=?",
            "query-slashes-and-dots": b"users?next=/../..//x/./y",
            "query-url": b"users?next=http://evil.example/",
            "query-brackets": b"users?a[]=1&b[x]=2",
            "query-bad-percent": b"users?a=%zz&b=%",
            "query-utf-8-encoded": b"users?name=%C3%A9",
            "query-lower-hex": b"users?name=%c3%a9",
            "encoded-unreserved": b"%75sers/%7e%41",
            "encoded-lower-hex": b"users/a%2fb",
            "encoded-upper-hex": b"users/a%2Fb",
            "encoded-slash-two": b"users/a%2f%2fb",
            "encoded-backslash": b"users/a%5cb",
            "encoded-percent": b"users/%25",
            "encoded-twice": b"users/%252e%252e/x",
            "encoded-nul": b"users/a%00b",
            "encoded-line-end": b"users/a%0d%0aX-Injected:%201",
            "encoded-question-mark": b"users/a%3fb",
            "encoded-fragment": b"users/a%23b",
            "encoded-space": b"users/a%20b",
            "bad-percent": b"users/%zz",
            "bad-percent-at-the-end": b"users/%",
            "utf-16-percent": b"users/%u002e%u002e",
            "semicolon": b"users;a=b",
            "semicolon-alone": b"users/;",
            "parameters-everywhere": b"users;a=b/1;c",
            "at-sign": b"users/@evil.example",
            "at-and-port": b"users/x@127.0.0.1:{elsewhere}/y",
            "colon": b"users/a:b",
            "comma": b"users/a,b",
            "sub-delimiters": b"users/!$&'()*+,=",
            "brackets": b"users/[1]",
            "braces": b"users/{id}",
            "pipe-caret-backtick-quote": b'users/|^`"<>',
            "tilde": b"users/~1",
            "three-dots": b"users/...",
            "dots-in-a-name": b"users/a..b",
            "dot-before-a-name": b"users/.well-known",
            "dots-before-a-name": b"users/..x",
            "empty-segment": b"users//1",
            "empty-segments-at-the-end": b"users///",
            "long-path": b"users/" + b"a" * 4000,
        },
        _below,
        AS_SENT,
    ),
    row("root-post", sized(b"{}", target=b"/"), AS_SENT),
    row("other-version", get(b"/V3.0/acme/users"), AS_SENT),
    row("no-version", get(b"/x/y"), AS_SENT),
)

_LINE: Final = b"GET /v2.01/acme/users HTTP/1.1"

_FOREIGN: Final = refused(ErrorCode.CLIENT_ID_MISMATCH)

ALIASES: Final = group(
    "the ClientId and its aliases",
    row("alias-underscore", get(b"/v2.01/_/users"), forwarded(up(_LINE))),
    row("alias-braces", get(b"/v2.01/{ClientId}/users"), forwarded(up(_LINE))),
    row("alias-braces-encoded", get(b"/v2.01/%7BClientId%7d/users"), forwarded(up(_LINE))),
    row("alias-underscore-encoded", get(b"/v2.01/%5f/users"), forwarded(up(_LINE))),
    row("alias-last-segment", get(b"/v2.01/_"), forwarded(up(b"GET /v2.01/acme HTTP/1.1"))),
    row("alias-query", get(b"/V2_01/_?x=_"), forwarded(up(b"GET /V2_01/acme?x=_ HTTP/1.1"))),
    row("alias-not-there", get(b"/v2.01/acme/_/users"), AS_SENT),
    row("alias-without-version", get(b"/x/_/users"), AS_SENT),
    row("alias-behind-another-word", get(b"/v2x/_/users"), AS_SENT),
    row("alias-version-encoded", get(b"/v2%2e01/_/users"), forwarded(up(b"GET /v2%2e01/acme/users HTTP/1.1"))),
    row("alias-encoded-twice", get(b"/v2.01/%255f/users"), _FOREIGN),
    row("alias-in-other-case", get(b"/v2.01/{clientid}/users"), _FOREIGN),
    row("prefix", get(_A + b"users?x"), forwarded(up(b"GET /mango/pay/v2.01/acme/users?x HTTP/1.1")), on="prefixed"),
    row("prefix-cannot-be-left", get(b"/../v2.01/acme/users"), refused(), on="prefixed"),
    row("prefix-cannot-be-left-encoded", get(b"/%2e%2e/admin"), refused(), on="prefixed"),
    row("prefix-cannot-be-left-parameter", get(b"/..;/admin"), refused(), on="prefixed"),
    row(
        "prefix-at",
        get(b"/@127.0.0.1:{elsewhere}/"),
        forwarded(up(b"GET /mango/pay/@127.0.0.1:{elsewhere}/ HTTP/1.1")),
        on="prefixed",
    ),
)

OTHERS: Final = group(
    "another ClientId",
    each(
        {
            "another-client-id": b"/v2.01/another/users",
            "another-client-id-alone": b"/v2.01/another",
            "another-client-id-query": b"/v2.01/another?x=/v2.01/acme/",
            "another-client-id-v3": b"/V3.0/another/users",
            "another-client-id-underscore": b"/V2_01/another/users",
            "another-client-id-encoded": b"/v2.01/%61nother/users",
            "another-client-id-version-encoded": b"/v2%2e01/another/users",
            "another-client-id-slash-encoded": b"/v2.01/acme%2fusers",
            "another-client-id-parameter": b"/v2.01/acme;x/users",
            "another-client-id-longer": b"/v2.01/acme2/users",
            "another-client-id-empty": b"/v2.01//acme/users",
            "another-client-id-behind-oauth": b"/v2.01/oauth/users",
            "another-client-id-behind-oauth-alone": b"/v2.01/oauth",
            "disguised-slash": b"/v2.01%2Fanother/users",
            "disguised-slashes": b"/v2.01%2Fanother%2Fusers",
            "disguised-slash-before": b"/%2Fv2.01/another/users",
            "disguised-slash-ours-behind": b"/v2.01%2Fanother/acme/users",
            "disguised-slash-twice-encoded": b"/v2.01%252Fanother/acme/users",
            "disguised-slash-overlong": b"/v2.01%c0%afanother/users",
            "disguised-backslashes": b"/v2.01%5Canother%5Cusers",
            "disguised-backslash-ours-behind": b"/v2.01%5Canother/acme/users",
            "disguised-parameter": b"/v2.01;x/another/users",
            "disguised-space": b"/v2.01%20/another/users",
            "disguised-space-segment": b"/%20/v2.01/another/users",
            "disguised-nul": b"/v2.01%00/another/users",
            "disguised-twice-encoded": b"/v2%252e01/another/users",
            "disguised-wide-letter": b"/%EF%BD%962.01/another/users",
            "disguised-alias": b"/v2.01;x/_/users",
        },
        get,
        _FOREIGN,
    ),
    row("client-id-in-other-case", get(b"/v2.01/ACME/users"), AS_SENT),
    row("client-id-encoded", get(b"/v2.01/%61cme/users"), AS_SENT),
    row("client-id-behind-a-parameter", get(b"/v2.01;x/ACME/users"), AS_SENT),
    row("no-version-encoded", get(b"/another%20one/users"), AS_SENT),
    row("no-client-id", get(b"/v2.01/countries/authorizations"), AS_SENT),
    row("no-client-id-version", get(b"/v2.01"), AS_SENT),
)

PORT: Final = group(
    "the port itself",
    each({"root": b"/", "root-query": b"/?x", "root-question-mark": b"/?"}, get, ABOUT),
    row("root-head", request(b"HEAD / HTTP/1.1"), ABOUT),
)

CASES: Final[tuple[Case, ...]] = (*TRAVERSALS, *CHARACTERS, *UNTOUCHED, *ALIASES, *OTHERS, *PORT)
