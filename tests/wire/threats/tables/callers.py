"""The caller key, and the token path that the sidecar answers itself.

Sources: contract of the proxy port ("Local token path", "Callers"); RFC 6749 section 2.3.1, RFC 6750 section 2,
RFC 7617 section 2; RFC 3986 section 6 for the spellings of one path; OWASP WSTG-ATHN-04.
"""

from __future__ import annotations

import base64
from typing import Final

from sidecar.core.admission.caller import Callers
from sidecar.core.errors import ErrorCode
from sidecar.core.secret import Secret
from tests.support.canary import CANARY_CALLER_KEY
from tests.support.recording_upstream import EMBEDDED_TOKEN
from tests.wire.threats.case import (
    AS_SENT,
    CHUNKED,
    LOCAL_TOKEN,
    USERS,
    Case,
    Echo,
    Forwarded,
    LocalToken,
    Outcome,
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

_TURNED_AWAY: Final = refused(ErrorCode.CALLER_NOT_ALLOWED)
_KEY: Final = CANARY_CALLER_KEY.encode()
_PASSES: Final = forwarded(up(b"GET " + USERS + b" HTTP/1.1"))
_TOKEN: Final = b"/v2.01/oauth/token"


def _basic(credentials: bytes) -> bytes:
    return b"Authorization: Basic " + base64.b64encode(credentials)


#: Unix seconds: the year 2100, so that what is issued then has not expired.
_LATER: Final = 4_102_444_800.0


def _bearer(now: float, key: str = CANARY_CALLER_KEY) -> bytes:
    """Return a token as the sidecar's token path gave it out at ``now``."""
    return Callers(Secret(key)).issue(now, "nonce").encode()


KEY: Final = group(
    "the caller key",
    each(
        {
            "key-nothing": b"X-A: 1",
            "key-empty": b"Authorization:",
            "key-scheme-alone": b"Authorization: Bearer",
            "key-basic-alone": b"Authorization: Basic",
            "key-other-bearer": b"Authorization: Bearer x",
            "key-bearer-is-the-key": b"Authorization: Bearer " + _KEY,
            "key-placeholder-bearer": b"Authorization: Bearer sidecar_x",
            "key-forged-bearer": b"Authorization: Bearer sidecar_9999999999.nonce.c2lnbmF0dXJl",
            "key-unsigned-bearer": b"Authorization: Bearer sidecar_9999999999.nonce.",
            "key-bearer-no-number": b"Authorization: Bearer sidecar_x.y.z",
            "key-expired-bearer": b"Authorization: Bearer " + _bearer(now=0),
            "key-bearer-of-another-key": b"Authorization: Bearer " + _bearer(now=_LATER, key="another caller key"),
            "key-own-bearer-changed": b"Authorization: Bearer " + _bearer(now=_LATER).replace(b"nonce", b"Nonce"),
            "key-bearer-of-upstream": b"Authorization: Bearer cAnArYtOkEn-api",
            "key-jwt-without-algorithm": b"Authorization: Bearer eyJhbGciOiJub25lIn0.e30.",
            "key-other-scheme": b"Authorization: Digest " + _KEY,
            "key-raw": b"Authorization: " + _KEY,
            "key-wrong": _basic(b"acme:wrong"),
            "key-cut-off": _basic(b"acme:" + _KEY[:-1]),
            "key-longer": _basic(b"acme:" + _KEY + b"x"),
            "key-other-case": _basic(b"acme:" + _KEY.lower()),
            "key-as-user": _basic(_KEY + b":"),
            "key-without-colon": _basic(_KEY),
            "key-empty-password": _basic(b"acme:"),
            "key-not-encoded": b"Authorization: Basic acme:" + _KEY,
            "key-not-base64": b"Authorization: Basic !!!!",
            "key-base64-and-more": _basic(b"acme:" + _KEY) + b" x",
            "key-base64-with-noise": _basic(b"acme:" + _KEY).replace(b"Basic ", b"Basic !"),
            "key-base64-padded-more": _basic(b"acme:" + _KEY) + b"====",
            "key-twice": _basic(b"acme:" + _KEY) + b"\r\n" + _basic(b"acme:" + _KEY),
            "key-then-wrong": _basic(b"acme:" + _KEY) + b"\r\n" + _basic(b"acme:wrong"),
            "key-in-another-field": b"X-API-Key: " + _KEY,
            "key-for-a-proxy": b"Proxy-" + _basic(b"acme:" + _KEY),
            "key-in-a-cookie": b"Cookie: Authorization=" + _KEY,
            "key-underscore-field": b"HTTP_" + _basic(b"acme:" + _KEY),
        },
        lambda line: get(USERS, line),
        _TURNED_AWAY,
        on="keyed",
    ),
    row(
        "key-missing-expects",
        post(b"Expect: 100-continue", b"Content-Length: 2"),
        refused(ErrorCode.CALLER_NOT_ALLOWED, closes=True),
        on="keyed",
    ),
    row("key-in-the-query", get(USERS + b"?access_token=" + _KEY), _TURNED_AWAY, on="keyed"),
    row("key-in-the-body", sized(b"client_secret=" + _KEY), _TURNED_AWAY, on="keyed"),
    row("key-basic", get(USERS, _basic(b"acme:" + _KEY)), _PASSES, on="keyed"),
    row("key-own-bearer", get(USERS, b"Authorization: Bearer " + _bearer(now=_LATER)), _PASSES, on="keyed"),
    row("key-own-bearer-other-case", get(USERS, b"Authorization: bearer " + _bearer(now=_LATER)), _PASSES, on="keyed"),
    row("key-basic-any-user", get(USERS, _basic(b":" + _KEY)), _PASSES, on="keyed"),
    row("key-basic-other-case", get(USERS, _basic(b"acme:" + _KEY).replace(b"Basic", b"bASIC")), _PASSES, on="keyed"),
    row("key-at-the-token-path", sized(b"", _basic(b"acme:" + _KEY), target=_TOKEN), LOCAL_TOKEN, on="keyed"),
    row("key-missing-at-the-token-path", sized(b"", target=_TOKEN), _TURNED_AWAY, on="keyed"),
    row("key-wrong-at-the-token-path", sized(b"", _basic(b"acme:wrong"), target=_TOKEN), _TURNED_AWAY, on="keyed"),
    row(
        "key-bearer-at-the-token-path",
        sized(b"", b"Authorization: Bearer sidecar_x", target=_TOKEN),
        _TURNED_AWAY,
        on="keyed",
    ),
    row(
        "key-own-bearer-at-the-token-path",
        sized(b"", b"Authorization: Bearer " + _bearer(now=_LATER), target=_TOKEN),
        _TURNED_AWAY,
        on="keyed",
    ),
    row(
        "key-as-bearer-at-the-token-path",
        sized(b"", _basic(b"acme:" + _KEY).replace(b"Basic", b"Bearer"), target=_TOKEN),
        _TURNED_AWAY,
        on="keyed",
    ),
    row("key-in-the-body-of-the-token-path", sized(b"client_secret=" + _KEY, target=_TOKEN), _TURNED_AWAY, on="keyed"),
    row("key-not-asked-for", get(USERS, b"Authorization: Bearer whatever"), _PASSES),
)

_NOT_SERVED: Final = refused()

TOKEN_PATH: Final = group(
    "spellings of the token path",
    each(
        {
            "token-plain": _TOKEN,
            "token-trailing-slash": b"/v2.01/oauth/token/",
            "token-capitals": b"/V2.01/OAuth/TOKEN",
            "token-version-underscore": b"/v2_01/oauth/token",
            "token-other-version": b"/v3.0/oauth/token",
            "token-any-first-segment": b"/x/oauth/token",
            "token-query": b"/v2.01/oauth/token?x=1",
        },
        lambda target: sized(b"grant_type=client_credentials", target=target),
        LOCAL_TOKEN,
    ),
    each(
        {
            "token-letter-encoded": b"/v2.01/%6fauth/token",
            "token-capital-encoded": b"/v2.01/%4FAUTH/token",
            "token-all-encoded": b"/v2.01/oauth/%74%6f%6b%65%6e",
            "token-slash-encoded": b"/v2.01/oauth%2ftoken",
            "token-slash-encoded-capital": b"/v2.01%2Foauth/token",
            "token-backslash-encoded": b"/v2.01/oauth%5ctoken",
            "token-encoded-twice": b"/v2.01/oauth%252ftoken",
            "token-encoded-three-times": b"/v2.01/oauth/%252574oken",
            "token-encoded-nine-times": b"/v2.01/oauth/%" + b"25" * 8 + b"74oken",
            "token-empty-segment": b"/v2.01//oauth/token",
            "token-empty-segment-inside": b"/v2.01/oauth//token",
            "token-two-slashes-behind": b"/v2.01/oauth/token//",
            "token-below": b"/v2.01/oauth/token/x",
            "token-below-embedded": b"/v2.01/oauth/token/embedded",
            "token-below-embedded-other": b"/v2.01/oauth/token/embedded/other",
            "token-parameter": b"/v2.01/oauth/token;x=y",
            "token-parameter-inside": b"/v2.01/oauth;x/token",
            "token-semicolon-encoded": b"/v2.01/oauth/token%3bx",
            "token-space": b"/v2.01/oauth/token%20",
            "token-nul": b"/v2.01/oauth/token%00",
            "token-nul-and-more": b"/v2.01/oauth/token%00.json",
            "token-line-end": b"/v2.01/oauth/token%0d%0a",
            "token-question-mark-encoded": b"/v2.01/oauth/token%3fx",
            "token-dot-encoded-twice": b"/v2.01/%252e/oauth/token",
            "token-fragment-encoded": b"/v2.01/oauth/token%23x",
            "token-overlong-slash": b"/v2.01/oauth%c0%aftoken",
            "token-kelvin-sign": b"/v2.01/oauth/to%E2%84%AAen",
            "token-dot": b"/v2.01/oauth/./token",
            "token-traversal": b"/v2.01/acme/../oauth/token",
            "token-traversal-encoded": b"/v2.01/acme/%2e%2e/oauth/token",
            "token-traversal-encoded-twice": b"/v2.01/acme/%252e%252e/oauth/token",
        },
        lambda target: sized(b"grant_type=client_credentials", target=target),
        _NOT_SERVED,
    ),
    row("token-get", get(_TOKEN), _NOT_SERVED),
    row("token-get-question-mark-before", get(b"/v2.01%3fx/%6fauth/token"), _NOT_SERVED),
    row("token-get-fragment-before", get(b"/v2.01%23x/%6fauth/token"), _NOT_SERVED),
    row("token-head", request(b"HEAD " + _TOKEN + b" HTTP/1.1"), _NOT_SERVED),
    row("token-put", request(b"PUT " + _TOKEN + b" HTTP/1.1", b"Content-Length: 0"), _NOT_SERVED),
    row("token-delete", request(b"DELETE " + _TOKEN + b" HTTP/1.1"), _NOT_SERVED),
    row("token-options", request(b"OPTIONS " + _TOKEN + b" HTTP/1.1"), _NOT_SERVED),
    row("token-get-with-override", get(_TOKEN, b"X-HTTP-Method-Override: POST"), _NOT_SERVED),
    row(
        "token-chunked",
        post(CHUNKED, body=b"2\r\nab\r\n0\r\n\r\n", target=_TOKEN),
        Outcome((LocalToken(),), closes=True),
    ),
    row(
        "token-then-call",
        sized(b"{}", target=_TOKEN) + get(),
        Outcome((LocalToken(), Echo(0)), (up(b"GET " + USERS + b" HTTP/1.1"),)),
    ),
    row("token-body-with-a-secret", sized(b"client_secret=" + _KEY, target=_TOKEN), LOCAL_TOKEN),
    row("token-longer-name", sized(b"{}", target=b"/v2.01/oauth/tokens"), refused(ErrorCode.CLIENT_ID_MISMATCH)),
    row("token-other-place", sized(b"{}", target=b"/v2.01/acme/oauth/token"), AS_SENT),
    row("token-in-the-query", get(USERS + b"?next=/v2.01/oauth/token"), AS_SENT),
)

_RECIPIENT: Final = b"/v2.01/oauth/token/embedded/recipient"
_CHECKOUT: Final = b"/V2_01/oauth/token/embedded/checkout"


def _with_embedded_token(target: bytes) -> Outcome:
    return forwarded(Forwarded(b"POST " + target + b" HTTP/1.1", body=b"{}", token=EMBEDDED_TOKEN))


EMBEDDED: Final = group(
    "which key is for whom",
    row("embedded-recipient", sized(b"{}", target=_RECIPIENT), _with_embedded_token(_RECIPIENT), on="embedded"),
    row("embedded-checkout", sized(b"{}", target=_CHECKOUT), _with_embedded_token(_CHECKOUT), on="embedded"),
    row("embedded-others-have-the-main-key", get(), AS_SENT, on="embedded"),
    row("embedded-get", get(_RECIPIENT), _NOT_SERVED, on="embedded"),
    row(
        "embedded-encoded", sized(b"{}", target=b"/v2.01/oauth/token/embedded%2frecipient"), _NOT_SERVED, on="embedded"
    ),
    row("embedded-below", sized(b"{}", target=_RECIPIENT + b"/x"), _NOT_SERVED, on="embedded"),
    row("embedded-parameter", sized(b"{}", target=_RECIPIENT + b";x"), _NOT_SERVED, on="embedded"),
    row("embedded-without-key", sized(b"{}", target=_RECIPIENT), refused(ErrorCode.EMBEDDED_KEY_MISSING)),
)

CASES: Final[tuple[Case, ...]] = (*KEY, *TOKEN_PATH, *EMBEDDED)
