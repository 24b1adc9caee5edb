"""Answers that a fault gives in place of the real one."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from sidecar.emulator.faults import Rule
from sidecar.emulator.messages import Answer, json_answer
from sidecar.emulator.reports import Reports, invalid_client, locked_out, oauth_error

_HTML: Final = b"text/html; charset=utf-8"
_PAGE: Final = b"<html><head><title>Maintenance</title></head><body>Please come back later.</body></html>"
#: The default size of ``oversized``, in bytes: above what a token answer may have.
_OVERSIZED: Final = 70_000

Canned = Callable[[Rule, Reports, str], Answer]


def answer(rule: Rule, reports: Reports, unauthorized_type: str, *, for_token: bool) -> Answer:
    """Return the answer of an answering rule; the token endpoint's errors are OAuth's."""
    if rule.action == "status":
        return _status(rule, reports, for_token=for_token)
    return _ANSWERS[rule.action](rule, reports, unauthorized_type)


def _status(rule: Rule, reports: Reports, *, for_token: bool) -> Answer:
    status = int(rule.number(500))
    if rule.body is not None:
        return Answer(status, rule.body.encode())
    if status in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED):
        return Answer(status)
    phrase = HTTPStatus(status).phrase
    if for_token:
        return oauth_error(status, phrase.lower().replace(" ", "_"))
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return reports.rate_limit()
    return reports.error(status, phrase.lower().replace(" ", "_"), phrase)


def _redirect(rule: Rule, reports: Reports, unauthorized_type: str) -> Answer:
    del reports, unauthorized_type
    location = str(rule.value or "https://example.com/elsewhere").encode()
    return Answer(302, b"", _HTML, ((b"Location", location),))


def _oversized(rule: Rule, reports: Reports, unauthorized_type: str) -> Answer:
    del reports, unauthorized_type
    return json_answer(200, {"access_token": "x" * int(rule.number(_OVERSIZED)), "token_type": "Bearer"})


_ANSWERS: Final[dict[str, Canned]] = {
    "unauthorized": lambda rule, reports, kind: reports.unauthorized(str(rule.value or kind)),
    "sca": lambda rule, reports, kind: reports.sca_required(),
    "rate-limit": lambda rule, reports, kind: reports.rate_limit(),
    "forbidden": lambda rule, reports, kind: reports.forbidden(),
    "redirect": _redirect,
    "not-json": lambda rule, reports, kind: Answer(200, _PAGE, _HTML),
    "oversized": _oversized,
    "empty": lambda rule, reports, kind: Answer(200),
    "invalid-client": lambda rule, reports, kind: invalid_client(),
    "lockout": lambda rule, reports, kind: locked_out(),
}
