"""Whether calls can be expected to succeed, and why not (contract section 8). Mangopay is never asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.admin.status import Readiness
from sidecar.advice.texts.tokens import explain
from sidecar.core.tokens.state import LOCKOUT

if TYPE_CHECKING:
    from sidecar.tokens.status import TokenStatus

SERVING: Final = "serving"
#: The reasons of a sidecar that is latched.
LOCKED_OUT: Final = "token_locked_out"
_REFUSED: Final = "credentials_refused"
LATCHED: Final = frozenset((LOCKED_OUT, _REFUSED))

_READY: Final = Readiness(ready=True, reason="ready", message="calls are served")
_STARTING: Final = Readiness(ready=False, reason="starting", message="the sidecar is starting")
_DRAINING: Final = Readiness(ready=False, reason="draining", message="the sidecar is shutting down")
_UNAVAILABLE: Final = Readiness(
    ready=False, reason="token_unavailable", message="no token could be fetched; the sidecar tries again by itself"
)
_PENDING: Final = Readiness(ready=False, reason="token_pending", message="the first token is being fetched")


def readiness(phase: str, token: TokenStatus, *, token_ready: bool) -> Readiness:
    """Judge by the life cycle's phase and the API credential's token.

    ``token_ready`` is the token manager's own judgement; ``token`` tells the reason if it is no.
    """
    if phase != SERVING:
        return _STARTING if phase == "starting" else _DRAINING
    if token_ready:
        return _READY
    if token.latch_cause is not None:
        reason = LOCKED_OUT if token.latch_cause == LOCKOUT else _REFUSED
        return Readiness(ready=False, reason=reason, message=explain(token.latch_cause, token.credential).told)
    return _UNAVAILABLE if token.failures else _PENDING
