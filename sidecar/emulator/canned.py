"""Responses that a fault gives in place of the real one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sidecar.emulator.fault_rules import NO_BODY, Rule
from sidecar.emulator.messages import EmulatedResponse, json_response
from sidecar.emulator.phrases import BODILESS, phrase
from sidecar.emulator.reports import Reports, invalid_client, locked_out, oauth_error

_HTML: Final = b"text/html; charset=utf-8"
_PAGE: Final = b"<html><head><title>Maintenance</title></head><body>Please come back later.</body></html>"
#: The default size of ``oversized``, in bytes: above what a token response may have.
_OVERSIZED: Final = 70_000
_EDGE_HTML: Final = b"text/html; charset=UTF-8"
_EDGE_PAGE: Final = """\
<!DOCTYPE html>
<html lang="en-US">
<head><title>api.mangopay.com | {status}: {phrase}</title></head>
<body>
<h1>Error {status}: {phrase}</h1>
<p>Ray ID: {ray}</p>
<p>Performance &amp; security by Cloudflare</p>
</body>
</html>
"""

Canned = Callable[[Rule, Reports, str], EmulatedResponse]


def response(
    rule: Rule, reports: Reports, unauthorized_type: str, *, for_token: bool, sca_url: str = ""
) -> EmulatedResponse:
    """Return the response of an answering rule; the token endpoint's errors are OAuth's.

    ``sca_url``: where the user authenticates that ``sca`` asks for.
    """
    if rule.action == "sca":
        return reports.sca_required(sca_url, body=rule.value != NO_BODY)
    if rule.action == "status":
        return _status(rule, reports, for_token=for_token)
    return _RESPONSES[rule.action](rule, reports, unauthorized_type)


def _status(rule: Rule, reports: Reports, *, for_token: bool) -> EmulatedResponse:
    status = int(rule.number(500))
    if status in BODILESS:
        return EmulatedResponse(status)
    if rule.body is not None:
        return EmulatedResponse(status, rule.body.encode())
    words = phrase(status)
    if for_token:
        return oauth_error(status, _as_type(words))
    if status == 429:
        return reports.rate_limit()
    return reports.error(status, _as_type(words), words)


def _as_type(words: str) -> str:
    return words.lower().replace(" ", "_")


def _edge(rule: Rule, reports: Reports, unauthorized_type: str) -> EmulatedResponse:
    """Return a page of what stands in front of Mangopay: HTML, and no error report or OAuth error."""
    del unauthorized_type
    status = int(rule.number(502))
    ray = reports.ray()
    headers = ((b"Server", b"cloudflare"), (b"CF-Ray", ray.encode()), (b"Cache-Control", b"no-store"))
    if status in BODILESS:
        return EmulatedResponse(status, headers=headers)
    page = _EDGE_PAGE.format(status=status, phrase=phrase(status), ray=ray.partition("-")[0])
    body = page.encode() if rule.body is None else rule.body.encode()
    return EmulatedResponse(status, body, _EDGE_HTML, headers)


def _redirect(rule: Rule, reports: Reports, unauthorized_type: str) -> EmulatedResponse:
    del reports, unauthorized_type
    location = str(rule.value or "https://example.com/elsewhere").encode()
    return EmulatedResponse(302, b"", _HTML, ((b"Location", location),))


def _oversized(rule: Rule, reports: Reports, unauthorized_type: str) -> EmulatedResponse:
    del reports, unauthorized_type
    return json_response(200, {"access_token": "x" * int(rule.number(_OVERSIZED)), "token_type": "Bearer"})


_RESPONSES: Final[dict[str, Canned]] = {
    "unauthorized": lambda rule, reports, kind: reports.unauthorized(str(rule.value or kind)),
    "rate-limit": lambda rule, reports, kind: reports.rate_limit(),
    "forbidden": lambda rule, reports, kind: reports.forbidden(),
    "redirect": _redirect,
    "not-json": lambda rule, reports, kind: EmulatedResponse(200, _PAGE, _HTML),
    "oversized": _oversized,
    "empty": lambda rule, reports, kind: EmulatedResponse(200),
    "invalid-client": lambda rule, reports, kind: invalid_client(),
    "lockout": lambda rule, reports, kind: locked_out(),
    "edge": _edge,
}
