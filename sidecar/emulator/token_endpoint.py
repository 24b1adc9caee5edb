"""The token endpoint: client credentials for an access token (RFC 6749 section 4.4)."""

from __future__ import annotations

import base64
import binascii
from typing import Any, Final
from urllib.parse import parse_qs

import msgspec

from sidecar.emulator.messages import EmulatedResponse, Request, json_response
from sidecar.emulator.reports import invalid_client, locked_out, oauth_error
from sidecar.emulator.settings import KeyKind
from sidecar.emulator.state import State, TokenRequest

_GRANT: Final = "client_credentials"
_NO_STORE: Final = ((b"Cache-Control", b"no-store"), (b"Pragma", b"no-cache"))


class TokenEndpoint:
    """Answers ``POST /v2.01/oauth/token``."""

    def __init__(self, state: State) -> None:
        self._state = state

    def response(self, request: Request) -> EmulatedResponse:
        """Return the token response or an OAuth error; count the call."""
        response = self._decide(request, _basic(request.header(b"authorization")))
        self.note(request, response.status)
        return response

    def note(self, request: Request, status: int) -> None:
        """Count a token request, also one that a fault answers; status 0: it got no response."""
        credentials = _basic(request.header(b"authorization"))
        client_id = None if credentials is None else credentials[0]
        stats = self._state.stats
        stats.token_requests += 1
        stats.token_calls.append(TokenRequest(self._state.clock.wall(), client_id, status))

    def _decide(self, request: Request, credentials: tuple[str, str] | None) -> EmulatedResponse:
        state, settings = self._state, self._state.settings
        now = state.clock.now()
        if state.lockout.active(now):
            return locked_out()
        if request.method != "POST":
            return oauth_error(405, "invalid_request", "The token endpoint takes POST.")
        kind = None if credentials is None else state.credentials.kind(*credentials)
        if credentials is None or kind is None:
            state.lockout.failed(now, limit=settings.lockout_after, seconds=settings.lockout_seconds)
            return invalid_client()
        grant = read_grant_type(request.body)
        if grant != _GRANT:
            error = "invalid_request" if grant is None else "unsupported_grant_type"
            return oauth_error(400, error, "The grant_type must be client_credentials.")
        state.lockout.succeeded()
        return self._issue(*credentials, embedded=kind is KeyKind.EMBEDDED, now=now)

    def _issue(self, client_id: str, key: str, *, embedded: bool, now: float) -> EmulatedResponse:
        tokens, settings = self._state.tokens, self._state.settings
        permissions = self._state.credentials.permissions(key)
        if settings.invalidates_older:
            tokens.revoke(client_id=client_id, embedded=embedded)
        expires_at = now + settings.expires_in
        value = tokens.issue(client_id, embedded=embedded, expires_at=expires_at, permissions=permissions)
        seconds = int(settings.expires_in) if settings.expires_in % 1 == 0 else settings.expires_in
        told: dict[str, Any] = {"access_token": value, "token_type": "Bearer", "expires_in": seconds}
        told.update(settings.token_answer)
        return json_response(200, {name: value for name, value in told.items() if value is not None}, _NO_STORE)


def _basic(authorization: bytes | None) -> tuple[str, str] | None:
    """Return the ClientId and the API key of Basic credentials (RFC 7617), or None."""
    scheme, _, encoded = (authorization or b"").partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        client_id, colon, key = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return (client_id, key) if colon else None


def read_grant_type(body: bytes) -> str | None:
    """Return the ``grant_type`` in any of the forms that the official SDKs send, or None.

    All of them are labelled as a form. Python sends JSON, PHP multipart, .NET a mix
    of them, the others a form.
    """
    start = body.lstrip()[:2]
    if start[:1] == b"{":
        try:
            value = msgspec.json.decode(body)
        except (ValueError, RecursionError):  # of msgspec's, or of what is no UTF-8
            return None
        grant = value.get("grant_type") if isinstance(value, dict) else None
        return grant if isinstance(grant, str) else None
    if start == b"--":
        _, _, after = body.partition(b'name="grant_type"')
        lines = after.split()
        return lines[0].decode("latin-1") if lines else None
    values = parse_qs(body.decode("latin-1")).get("grant_type")
    if values:
        return values[-1]
    return _GRANT if _GRANT.encode() in body else None
