"""Reason phrases, those of the edge in front of Mangopay included."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

#: Statuses without a body and without Content-Length (RFC 9110 section 8.6).
BODILESS: Final = frozenset({204, 304})

#: Cloudflare's own (its documentation: "Cloudflare 5xx errors").
_EDGE: Final = {
    520: "Web server is returning an unknown error",
    521: "Web server is down",
    522: "Connection timed out",
    523: "Origin is unreachable",
    524: "A timeout occurred",
    525: "SSL handshake failed",
    526: "Invalid SSL certificate",
    530: "Origin DNS error",
}
_PHRASES: Final = {**{status.value: status.phrase for status in HTTPStatus}, **_EDGE}


def phrase(status: int) -> str:
    """Return the reason phrase of ``status``."""
    return _PHRASES.get(status, "Unknown")
