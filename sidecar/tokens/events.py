"""Log events of the token's life. No value of a token or a response is in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog

from sidecar.advice.texts.tokens import explain
from sidecar.core.tokens import policy
from sidecar.core.tokens.oauth import Fetched, FetchResult, LockedOut, Refused, Transient

if TYPE_CHECKING:
    from sidecar.core.tokens.state import State

_log = structlog.get_logger()

#: What came of a token request, as the metric ``token_requests_total`` tells it.
OUTCOMES: Final = {Fetched: "ok", LockedOut: "locked_out", Refused: "refused", Transient: "transient"}


def describe_result(result: FetchResult) -> str:
    """Return what went wrong with a fetch that brought no token to use."""
    return "the token had expired when it arrived" if isinstance(result, Fetched) else result.detail


def log_fetch_result(credential: str, before: State, after: State, result: FetchResult, now: float) -> None:
    """Log what came of a fetch, which led from one state to the other at ``now`` (``Clock.now``)."""
    pause = round(max(policy.allowed_at(after) - now, 0.0), 1)
    if isinstance(result, Fetched) and after.generation > before.generation:
        for warning in result.warnings:
            _log.warning("token.expires_in_odd", credential=credential, warning=warning)
        if before.latch is not None and after.latch is None:
            _log.info("token.unlatched", credential=credential, reason=before.latch.cause)
        _log.info(
            "token.refreshed",
            credential=credential,
            generation=after.generation,
            expires_in=result.expires_in,
            shared=result.shared,
        )
    elif isinstance(result, LockedOut | Refused) and (latch := after.latch) is not None:
        _log.error(
            "token.latched",
            credential=credential,
            reason=latch.cause,
            detail=result.detail,
            pause=pause,
            mend=explain(latch.cause, credential).told,
        )
    else:
        _log.warning(
            "token.fetch_failed",
            credential=credential,
            detail=describe_result(result),
            failures=after.failures,
            pause=pause,
        )


def log_futile_refresh(credential: str, before: State, after: State, now: float) -> None:
    """Log that a refresh turned out futile at ``now`` (``Clock.now``), once for each; the path is masked."""
    faults = after.burns.faults
    if not faults:
        return
    path, fault = list(faults.items())[-1]
    if any(fault.trial == each.trial for each in before.burns.faults.values()):
        return
    pause = round(fault.until - now) if fault.pauses(now) else 0
    _log.warning("token.futile", credential=credential, generation=after.generation, path=path, pause=pause)
