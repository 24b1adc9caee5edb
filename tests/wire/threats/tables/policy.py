"""The policy, and every way round it that is known.

Three sidecars: ``denying`` (``deny = * /v2.01/*/payouts/**, DELETE /v2.01/*/users/*``),
``allowing`` (``allow = GET /v2.01/*/users/**``) and
``reading`` (``read_only``). Sources: contract of the proxy port ("Guard"); O. Tsai, "Breaking Parser Logic" (2018);
CVE-2020-17523 (Shiro, ``%20``), CVE-2022-32532 (Shiro, line ends), CVE-2023-20860 and the bypasses of Spring Security
by trailing slashes; OWASP WSTG-ATHZ-02; RFC 9110 section 9.1 (methods are case-sensitive, servers are not always).
"""

from __future__ import annotations

from typing import Final

from sidecar.core.errors import ErrorCode
from tests.wire.threats.case import (
    ABOUT,
    AS_SENT,
    LOCAL_TOKEN,
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

_DENIED: Final = refused(ErrorCode.POLICY_DENIED)


def _payout(target: bytes) -> bytes:
    return sized(b"{}", target=target)


DENY: Final = group(
    "policy.deny",
    each(
        {
            "deny-plain": b"/v2.01/acme/payouts",
            "deny-below": b"/v2.01/acme/payouts/bankwire",
            "deny-query": b"/v2.01/acme/payouts?x=/v2.01/acme/users",
            "deny-trailing-slash": b"/v2.01/acme/payouts/",
            "deny-trailing-slashes": b"/v2.01/acme/payouts//",
            "deny-capitals": b"/v2.01/acme/PAYOUTS",
            "deny-mixed-case": b"/v2.01/acme/PayOuts/bankwire",
            "deny-version-capital": b"/V2.01/acme/payouts",
            "deny-version-underscore": b"/v2_01/acme/payouts",
            "deny-version-both": b"/V2_01/acme/payouts",
            "deny-version-encoded": b"/v2%2e01/acme/payouts",
            "deny-version-underscore-encoded": b"/%562%5f01/acme/payouts",
            "deny-alias": b"/v2.01/_/payouts",
            "deny-alias-braces": b"/v2.01/{ClientId}/payouts",
            "deny-alias-encoded": b"/v2.01/%7bClientId%7d/payouts",
            "deny-other-client": b"/v2.01/other/payouts",
            "deny-letter-encoded": b"/v2.01/acme/%70ayouts",
            "deny-all-encoded": b"/v2.01/acme/%70%61%79%6f%75%74%73",
            "deny-capital-encoded": b"/v2.01/acme/%50AYOUTS",
            "deny-encoded-twice": b"/v2.01/acme/%2570ayouts",
            "deny-slash-encoded": b"/v2.01/acme%2fpayouts",
            "deny-slash-encoded-below": b"/v2.01/acme/payouts%2fbankwire",
            "deny-backslash-encoded": b"/v2.01/acme%5cpayouts",
            "deny-empty-segment": b"/v2.01/acme//payouts",
            "deny-empty-segment-first": b"/v2.01//payouts",
            "deny-parameter": b"/v2.01/acme/payouts;x=y",
            "deny-parameter-before": b"/v2.01/acme;x/payouts",
            "deny-semicolon": b"/v2.01/acme/payouts;",
            "deny-semicolon-encoded": b"/v2.01/acme/payouts%3bx",
            "deny-nul": b"/v2.01/acme/payouts%00",
            "deny-space": b"/v2.01/acme/payouts%20",
            "deny-space-before": b"/v2.01/acme/%20payouts",
            "deny-tab": b"/v2.01/acme/payouts%09",
            "deny-line-end": b"/v2.01/acme/payouts%0d%0a",
            "deny-dot": b"/v2.01/acme/payouts.",
            "deny-dot-below": b"/v2.01/acme/payouts./bankwire",
            "deny-question-mark-encoded": b"/v2.01/acme/payouts%3fx",
            "deny-fragment-encoded": b"/v2.01/acme/payouts%23x",
            "deny-long-s": b"/v2.01/acme/payout%C5%BF",
            "deny-overlong": b"/v2.01/acme/%c1%b0ayouts",
            "deny-high-byte": b"/v2.01/acme/payouts%ff",
            "deny-everything-at-once": b"/V2_01/{ClientId}/%50aYOUTS/",
        },
        _payout,
        _DENIED,
        on="denying",
    ),
    row("deny-get", get(b"/v2.01/acme/payouts/1"), _DENIED, on="denying"),
    row("deny-head", request(b"HEAD /v2.01/acme/payouts HTTP/1.1"), _DENIED, on="denying"),
    row("deny-put", request(b"PUT /v2.01/acme/payouts HTTP/1.1", b"Content-Length: 0"), _DENIED, on="denying"),
    row("deny-options", request(b"OPTIONS /v2.01/acme/payouts HTTP/1.1"), _DENIED, on="denying"),
    row("deny-method-in-lower-case", request(b"post /v2.01/acme/payouts HTTP/1.1"), REFUSED, on="denying"),
    row("deny-exact", request(b"DELETE " + USERS + b"/1 HTTP/1.1"), _DENIED, on="denying"),
    row("deny-exact-trailing-slash", request(b"DELETE " + USERS + b"/1/ HTTP/1.1"), _DENIED, on="denying"),
    row("deny-exact-deeper-passes", request(b"DELETE " + USERS + b"/1/x HTTP/1.1"), AS_SENT, on="denying"),
    row(
        "deny-expects",
        request(b"POST /v2.01/acme/payouts HTTP/1.1", b"Expect: 100-continue", b"Content-Length: 2"),
        refused(ErrorCode.POLICY_DENIED, closes=True),
        on="denying",
    ),
    row("deny-traversal", _payout(b"/v2.01/acme/users/../payouts"), refused(), on="denying"),
    row("deny-traversal-encoded", _payout(b"/v2.01/acme/users/%2e%2e/payouts"), refused(), on="denying"),
    row("deny-traversal-parameter", _payout(b"/v2.01/acme/users/..;/payouts"), refused(), on="denying"),
    row("deny-absolute-form", _payout(b"http://localhost/v2.01/acme/payouts"), refused(), on="denying"),
    row(
        "deny-rewritten-url",
        get(USERS, b"X-Original-URL: /v2.01/acme/payouts", b"X-Rewrite-URL: /v2.01/acme/payouts"),
        forwarded(up(b"GET " + USERS + b" HTTP/1.1")),
        on="denying",
    ),
    row("deny-others-pass", get(), AS_SENT, on="denying"),
    row("deny-longer-name-passes", get(b"/v2.01/acme/payouts-x"), AS_SENT, on="denying"),
    row("deny-other-place-passes", get(b"/v2.01/acme/users/payouts"), AS_SENT, on="denying"),
    row("deny-local-token-exempt", sized(b"", target=b"/v2.01/oauth/token"), LOCAL_TOKEN, on="denying"),
)

ALLOW: Final = group(
    "policy.allow",
    row("allow-get", get(), AS_SENT, on="allowing"),
    row("allow-below", get(USERS + b"/1/kyc"), AS_SENT, on="allowing"),
    row("allow-capitals", get(b"/V2_01/acme/Users"), AS_SENT, on="allowing"),
    row("allow-alias", get(b"/v2.01/_/users"), forwarded(up(b"GET " + USERS + b" HTTP/1.1")), on="allowing"),
    row("allow-encoded", get(b"/v2.01/acme/%75sers"), AS_SENT, on="allowing"),
    row("allow-other-method", sized(b"{}", target=USERS), _DENIED, on="allowing"),
    row("allow-head-is-not-get", request(b"HEAD " + USERS + b" HTTP/1.1"), _DENIED, on="allowing"),
    row("allow-other-path", get(b"/v2.01/acme/wallets"), _DENIED, on="allowing"),
    row("allow-prefix-is-not-enough", get(b"/v2.01/acme/userslist"), _DENIED, on="allowing"),
    row("allow-root", sized(b"", target=b"/"), _DENIED, on="allowing"),
    row("allow-root-get", get(b"/"), ABOUT, on="allowing"),
    row("allow-shorter", get(b"/v2.01/users"), _DENIED, on="allowing"),
    row("allow-other-version", get(b"/v3.0/acme/users"), _DENIED, on="allowing"),
    row("allow-slash-encoded", get(b"/v2.01/acme/users%2f1"), _DENIED, on="allowing"),
    row("allow-parameter", get(USERS + b";x/1"), _DENIED, on="allowing"),
    row("allow-traversal", get(USERS + b"/../wallets"), refused(), on="allowing"),
    row("allow-traversal-slash-encoded", get(USERS + b"%2f..%2fwallets"), refused(), on="allowing"),
    row(
        "allow-method-override",
        get(USERS, b"X-HTTP-Method-Override: DELETE", b"X_Method_Override: DELETE"),
        forwarded(up(b"GET " + USERS + b" HTTP/1.1")),
        on="allowing",
    ),
)

READ_ONLY: Final = group(
    "policy.read_only",
    row("read-get", get(), AS_SENT, on="reading"),
    row("read-head", request(b"HEAD " + USERS + b" HTTP/1.1"), AS_SENT, on="reading"),
    row("read-local-token-exempt", sized(b"", target=b"/v2.01/oauth/token"), LOCAL_TOKEN, on="reading"),
    row("read-post", sized(b"{}"), _DENIED, on="reading"),
    row(
        "read-post-chunked-is-not-read",
        request(b"POST " + USERS + b" HTTP/1.1", b"Transfer-Encoding: chunked", body=b"2\r\n{}\r\n0\r\n\r\n"),
        refused(ErrorCode.POLICY_DENIED, closes=True),
        on="reading",
    ),
    row("read-put", request(b"PUT " + USERS + b"/1 HTTP/1.1", b"Content-Length: 2", body=b"{}"), _DENIED, on="reading"),
    row(
        "read-patch",
        request(b"PATCH " + USERS + b"/1 HTTP/1.1", b"Content-Length: 2", body=b"{}"),
        _DENIED,
        on="reading",
    ),
    row("read-delete", request(b"DELETE " + USERS + b"/1 HTTP/1.1"), _DENIED, on="reading"),
    row("read-options", request(b"OPTIONS " + USERS + b" HTTP/1.1"), _DENIED, on="reading"),
    row("read-propfind", request(b"PROPFIND " + USERS + b" HTTP/1.1"), _DENIED, on="reading"),
    row("read-post-with-override", sized(b"{}", b"X-HTTP-Method-Override: GET"), _DENIED, on="reading"),
    row(
        "read-get-with-override",
        get(USERS, b"X-HTTP-Method: POST", b"X-Method-Override: POST"),
        forwarded(up(b"GET " + USERS + b" HTTP/1.1")),
        on="reading",
    ),
)

CASES: Final[tuple[Case, ...]] = (*DENY, *ALLOW, *READ_ONLY)
