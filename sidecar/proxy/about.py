"""What the proxy port says of itself at ``GET /`` (contract section 4.2).

Somebody who opens the port's address wants to know what it is and how to call
it. Whoever has not proven the caller key learns no more than that there is one,
and that calls lead to an emulator, if they do: there is no money to protect then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from sidecar.config import MangopayEnvironment
from sidecar.downstream.response import json_response
from sidecar.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.downstream.response import RawResponse


class About(msgspec.Struct, frozen=True):
    """What may be told to anybody who passes the guard; neither the ClientId nor a secret is here."""

    environment: str
    #: What stands for the ClientId in an example.
    client_segment: str
    #: The URL of the page of the admin port, once it listens; None: it is off.
    admin: Callable[[], str | None]
    needs_caller_key: bool

    def response(self, *, head_only: bool, keep_alive: bool) -> RawResponse:
        """Return the response to ``GET /``, or to ``HEAD /``."""
        body = msgspec.json.format(msgspec.json.encode(self._facts()), indent=2) + b"\n"
        return json_response(body, head_only=head_only, keep_alive=keep_alive)

    def _facts(self) -> dict[str, str]:
        if self.needs_caller_key:
            known = {"environment": self.environment} if self.environment == MangopayEnvironment.EMULATOR else {}
            return {
                "name": "mangopay-sidecar",
                "what": "A proxy for callers that have its key (listen.caller_key).",
                "call": "Fetch a token at POST /v2.01/oauth/token with the key as the password, as Mangopay's SDKs do.",
                **known,
            }
        return {
            "name": "mangopay-sidecar",
            "version": __version__,
            "what": "A proxy: it adds an access token to each request, and forwards it to Mangopay.",
            "environment": self.environment,
            "call": f"GET /v2.01/{self.client_segment}/users?per_page=1 lists a user. Give SDKs this address as their "
            "base URL.",
            "page": self.admin() or "off",
        }
