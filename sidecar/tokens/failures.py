"""Why there is no token, in words: for the caller's response, the log and the status page."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

from sidecar.core.errors import ErrorCode, SidecarError
from sidecar.core.tokens.oauth import Refusal
from sidecar.core.tokens.state import LOCKOUT

if TYPE_CHECKING:
    from sidecar.core.tokens.policy import Fail
    from sidecar.core.tokens.state import Latch

_KEY_VARIABLES: Final = {
    "api": "SIDECAR_MANGOPAY_API_KEY",
    "embedded": "SIDECAR_MANGOPAY_EMBEDDED_API_KEY",
}


class Explanation(NamedTuple):
    """What is wrong, and what a person can do."""

    what: str
    mend: str


#: By the cause of the latch.
_LATCHES: Final = {
    LOCKOUT: Explanation(
        "Mangopay has locked this account for a while, as it does after repeated wrong credentials.",
        "The sidecar tries again by itself; if {key} was wrong, put that right first.",
    ),
    Refusal.CREDENTIALS: Explanation(
        "Mangopay refuses the ClientId or its API key.",
        "Check SIDECAR_MANGOPAY_CLIENT_ID, {key} and SIDECAR_MANGOPAY_ENVIRONMENT: sandbox and production have "
        "different keys.",
    ),
    Refusal.FORBIDDEN: Explanation(
        "Mangopay forbids this sidecar to get a token (403).",
        "Check that the address its calls come from is on the allow-list in the Mangopay Dashboard, and that the "
        "account is active.",
    ),
    Refusal.CERTIFICATE: Explanation(
        "Mangopay does not accept the client certificate.",
        "Check SIDECAR_TLS_CLIENT_CERT_FILE and its dates, or set one if there is none.",
    ),
    Refusal.REQUEST: Explanation(
        "Mangopay refuses the token request.",
        "Check SIDECAR_MANGOPAY_BASE_URL, SIDECAR_MANGOPAY_CLIENT_ID and {key}.",
    ),
}
_UNAVAILABLE: Final = (
    "No access token could be had from Mangopay: its token endpoint cannot be reached, or gives no token. "
    "Try again. The log's token.fetch_failed says why."
)


def explain(cause: str, credential: str) -> Explanation:
    """Return why ``credential`` may not ask for a token while it is latched, by the latch's ``cause``."""
    what, todo = _LATCHES.get(cause, _LATCHES[Refusal.REQUEST])
    return Explanation(what, todo.format(key=_KEY_VARIABLES.get(credential, _KEY_VARIABLES["api"])))


def mend(latch: Latch, credential: str) -> str:
    """Return what is wrong and what to do about it, while ``latch`` keeps ``credential`` from asking for a token."""
    return " ".join(explain(latch.cause, credential))


def token_failure(fail: Fail, latch: Latch | None, credential: str, detail: str | None) -> SidecarError:
    """Return the error that a call without a token ends with; ``detail`` goes to the log."""
    message = _UNAVAILABLE if latch is None else mend(latch, credential)
    return SidecarError(fail.code, message, retry_after=max(1, math.ceil(fail.retry_after)), detail=detail)


def shutting_down(message: str = "The sidecar is shutting down; nothing was sent, try again.") -> SidecarError:
    """Return the error of a call that came while the sidecar drains, or still waited for a token when it closed."""
    return SidecarError(ErrorCode.SHUTTING_DOWN, message, retry_after=1, close=True)
