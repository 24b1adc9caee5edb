"""Which credential authenticates which call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.core.admission.target_verdict import Route
from sidecar.core.errors import ErrorCode, SidecarError

if TYPE_CHECKING:
    from sidecar.tokens.manager import TokenManager

# Read for each call: Python 3.11 finds a global of the module faster than a member of an enum.
_EMBEDDED_TOKEN: Final = Route.EMBEDDED_TOKEN


class Credentials:
    """Who authenticates which calls: the API key, and the dedicated key for embedded tokens if there is one."""

    __slots__ = ("api", "embedded")

    def __init__(self, api: TokenManager, embedded: TokenManager | None) -> None:
        self.api: Final = api
        self.embedded: Final = embedded

    def for_route(self, route: Route) -> TokenManager:
        """Return the manager of the token for ``route``; raise SidecarError ``embedded_key_missing``."""
        if route is not _EMBEDDED_TOKEN:
            return self.api
        if self.embedded is None:
            raise SidecarError(
                ErrorCode.EMBEDDED_KEY_MISSING,
                "Tokens for embedded experiences need a dedicated API key: set SIDECAR_MANGOPAY_EMBEDDED_API_KEY "
                "(Mangopay gives it out on request).",
            )
        return self.embedded
