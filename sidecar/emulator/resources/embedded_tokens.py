"""Tokens for embedded experiences: for the dedicated key alone, at paths without a ClientId."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.emulator.engine.routes import Emulated, does
from sidecar.emulator.messages import json_response

if TYPE_CHECKING:
    from sidecar.emulator.engine.calls import Call
    from sidecar.emulator.messages import EmulatedResponse

#: The prefixes and scopes of the tokens, and their life in seconds.
_EMBEDDED: Final = {
    "recipient": ("rec_", "bankaccounts:r bankaccounts:w"),
    "checkout": ("chk_", "checkout.session:r checkout.session:w"),
}
_LIFE: Final = 900


def issue(call: Call) -> EmulatedResponse:
    """Give out a token for one user."""
    body = call.body()
    claims = body.get("claims")
    if body.get("clientId") != call.client.client_id:
        raise call.incorrect("clientId", "The clientId must be that of the API key.")
    if not isinstance(claims, dict) or not claims.get("userId"):
        raise call.incorrect("userId", "The userId claim is required.")
    prefix, scope = _EMBEDDED[call.route.pattern.rpartition("/")[2]]
    token = {"access_token": prefix + call.token_hex(16), "token_type": "Bearer"}
    return json_response(200, {**token, "expires_in": _LIFE, "scope": scope})


EMULATED: Final = Emulated(
    routes=tuple(does("POST", f"oauth/token/embedded/{name}", issue, client=False) for name in _EMBEDDED)
)
