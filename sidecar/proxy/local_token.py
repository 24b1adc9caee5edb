"""The token endpoint that apps and SDKs find on the proxy port (contract section 4.1).

Unmodified SDKs insist on fetching a token of their own. They get one here that
is worth nothing upstream: every call's Authorization is replaced anyway.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

from sidecar.core.admission.caller import LIFETIME
from sidecar.downstream.response import json_response

if TYPE_CHECKING:
    from sidecar.core.admission.caller import Callers
    from sidecar.downstream.response import RawResponse

_BODY: Final = b'{"access_token": "%s", "token_type": "Bearer", "expires_in": %d}'


class LocalTokens:
    """Gives out the tokens that callers use towards the sidecar, never towards Mangopay."""

    def __init__(self, callers: Callers) -> None:
        self._callers = callers

    def response(self, *, wall: float, keep_alive: bool) -> RawResponse:
        """Return a fresh local token."""
        token = self._callers.issue(wall, secrets.token_urlsafe(24))
        body = _BODY % (token.encode("ascii"), LIFETIME)
        return json_response(body, keep_alive=keep_alive)
