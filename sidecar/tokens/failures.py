"""The errors that calls without a token end with."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from sidecar.advice.texts.tokens import explain
from sidecar.core.errors import ErrorCode, SidecarError

if TYPE_CHECKING:
    from sidecar.core.tokens.policy import Fail
    from sidecar.core.tokens.state import Latch

_UNAVAILABLE: Final = (
    "No access token could be had from Mangopay: its token endpoint cannot be reached, or gives no token. "
    "Try again. The log's token.fetch_failed says why."
)


def token_failure(fail: Fail, latch: Latch | None, credential: str, detail: str | None) -> SidecarError:
    """Return the error that a call without a token ends with; ``detail`` goes to the log."""
    message = _UNAVAILABLE if latch is None else explain(latch.cause, credential).told
    return SidecarError(fail.code, message, retry_after=max(1, math.ceil(fail.retry_after)), detail=detail)


def shutting_down(message: str = "The sidecar is shutting down: try again.") -> SidecarError:
    """Return the error of a call that came while the sidecar drains, or still waited for a token when it closed."""
    return SidecarError(ErrorCode.SHUTTING_DOWN, message, retry_after=1, close=True)
