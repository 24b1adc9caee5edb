"""Mangopay's error bodies, in the words of its documentation (error report, authentication, rate limiting)."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

import msgspec

from sidecar.emulator.messages import EmulatedResponse, Headers, json_response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sidecar.core.clock import Clock

LOCKED_OUT: Final = "This account has been temporarily locked for security reasons. Please try again later."
_INCORRECT: Final = (
    "One or several required parameters are missing or incorrect. "
    "An incorrect resource ID also raises this kind of error."
)


def oauth_error(status: int, error: str, description: str | None = None) -> EmulatedResponse:
    """Return an error of the token endpoint (RFC 6749 section 5.2)."""
    body = {"error": error}
    if description is not None:
        body["error_description"] = description
    return json_response(status, body)


def locked_out() -> EmulatedResponse:
    """Return what an account gets that is locked after too many bad credentials."""
    return oauth_error(400, "unauthorized_client", LOCKED_OUT)


def invalid_client() -> EmulatedResponse:
    """Return what wrong credentials get."""
    return oauth_error(401, "invalid_client", "Client authentication failed.")


class Reports:
    """Makes error reports: ``Message``, ``Type``, ``Id``, ``Date`` (Unix seconds) and ``errors``."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._serial = itertools.count(1)

    def error(
        self,
        status: int,
        kind: str,
        message: str,
        errors: Mapping[str, str] | None = None,
        headers: Headers = (),
    ) -> EmulatedResponse:
        """Return an error report with ``Type`` ``kind``."""
        date = int(self._clock.wall())
        report = {
            "Message": message,
            "Type": kind,
            "Id": f"e{next(self._serial):07x}-0000-4000-8000-000000000000#{date}",
            "Date": date,
            "errors": errors,
        }
        return json_response(status, report, headers)

    def unauthorized(self, kind: str) -> EmulatedResponse:
        """Return the 401 of a token that is not accepted; ``kind`` is its ``Type``.

        The documented body has neither ``Id`` nor ``errors``.
        """
        body = {"Message": "The authorization credentials are not valid", "Type": kind, "Date": int(self._clock.wall())}
        return json_response(401, body)

    def sca_required(self, url: str, *, body: bool = True) -> EmulatedResponse:
        """Return the 401 that asks for strong customer authentication at ``url``: the token is fine.

        Mangopay sends it without a body as well: ``body``.
        """
        headers = ((b"WWW-Authenticate", f"PendingUserAction RedirectUrl={url}".encode()),)
        if not body:
            return EmulatedResponse(401, headers=headers)
        return self.error(401, "sca_required", "SCA required to perform this action.", None, headers)

    def ray(self) -> str:
        """Return a new ``CF-Ray``: 16 hexadecimal digits and the airport of the edge."""
        return f"{0x8F2B_1C00_0000_0000 + next(self._serial):016x}-CDG"

    def incorrect(self, errors: Mapping[str, str], *, v3: bool = False) -> EmulatedResponse:
        """Return the 400 of a request that does not validate; ``errors`` are by field.

        The splits of V3.0 have a capital letter at ``Errors`` (the SDKs' own tests read it there).
        """
        report = self.error(400, "param_error", _INCORRECT, errors)
        return json_response(400, {**msgspec.json.decode(report.body), "Errors": errors}) if v3 else report

    def no_stored_response(self) -> EmulatedResponse:
        """Return the 400 of an ``Idempotency-Key`` under which no response is kept."""
        return self.error(400, "correlationid_not_found", "There is no response for this Idempotency Key")

    def not_found(self, name: str, identifier: str) -> EmulatedResponse:
        """Return the 404 of a resource, with Mangopay's own spelling of the type."""
        errors = {"RessourceNotFound": f"Cannot found the ressource {name} with the id={identifier}"}
        return self.error(404, "ressource_not_found", "The ressource does not exist", errors)

    def conflict(self) -> EmulatedResponse:
        """Return the 409 of an ``Idempotency-Key`` that was used before."""
        message = "A resource has already been created with this Idempotency Key"
        return self.error(409, "idempotent_creation_conflict", message)

    def rate_limit(self) -> EmulatedResponse:
        """Return the 429 of too many calls; as Mangopay often does, without ``Retry-After``."""
        return self.error(429, "rate_limit", "Rate limit exceeded. Please contact support for more assistance")

    def forbidden(self) -> EmulatedResponse:
        """Return the 403 of a missing permission or scope, or of an IP address that is not on the list."""
        return self.error(403, "forbidden_ressource", "This endpoint is not available for your account")

    def server_error(self) -> EmulatedResponse:
        """Return a failure of Mangopay's own."""
        return self.error(500, "server_error", "An error occurred. Please try again later.")

    def not_emulated(self, method: str, nearest: str | None = None) -> EmulatedResponse:
        """Return the 501 of a resource that Mangopay may have and the emulator has not; ``nearest`` is like it."""
        hint = "see docs/emulator.md" if nearest is None else f"did you mean {nearest}?"
        return self.error(501, "not_emulated", f"The emulator has no {method} on this path: {hint}")
