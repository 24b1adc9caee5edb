"""Status documents and their parts, for tests that look at what is made of them."""

from __future__ import annotations

from typing import Any, Final

from sidecar.admin.status import (
    CallTotals,
    PoolStatus,
    ProxyStatus,
    Readiness,
    RecentCall,
    ReloadStatus,
    Snapshot,
    Status,
    UpstreamStatus,
)
from sidecar.tokens.status import TokenStatus

#: When these documents are of (Unix time).
NOW: Final = 1_733_404_277.0
READY: Final = Readiness(ready=True, reason="ready", message="calls are served")


def token(**fields: Any) -> TokenStatus:
    """Return a valid token that is used, but for ``fields``."""
    defaults: dict[str, Any] = {
        "credential": "api",
        "state": "valid",
        "valid": True,
        "generation": 1,
        "fetched_at": NOW - 177,
        "expires_at": NOW + 1023,
        "refresh_at": NOW + 900,
        "latch_reason": None,
        "latch_cause": None,
        "latched_since": None,
        "latched_until": None,
        "next_attempt_at": NOW + 900,
        "failures": 0,
        "last_error": None,
        "last_failure": None,
        "paused_paths": (),
        "paused_until": None,
    }
    return TokenStatus(**{**defaults, **fields})


def no_token(**fields: Any) -> TokenStatus:
    """Return what is known of a token that is not there."""
    nothing = {"valid": False, "fetched_at": None, "expires_at": None, "refresh_at": None, "next_attempt_at": None}
    return token(**{"state": "empty", **nothing, **fields})


def latched(cause: str, **fields: Any) -> TokenStatus:
    """Return a latched credential that has no token."""
    reason = "lockout" if cause == "lockout" else "refused"
    latch = {"latch_reason": reason, "latch_cause": cause, "latched_since": NOW - 5, "latched_until": NOW + 65}
    return no_token(**{"state": f"latched_{reason}", **latch, **fields})


_FACTS: Final[dict[str, Any]] = {
    "version": "1.2.3",
    "environment": "sandbox",
    "base_url": "https://api.sandbox.mangopay.com",
    "client_id": "acme",
    "time": NOW,
    "uptime_seconds": 7500.0,
    "phase": "serving",
    "readiness": READY,
    "findings": (),
    "tokens": (token(),),
    "store": None,
    "tracing": None,
    "client_certificate": None,
    "rate_limits": (),
    "batch_lane": None,
    "deprecated_calls": (),
    "pool": PoolStatus(size=100, open=1, idle=1, waiting=0),
    "upstream": UpstreamStatus(answered_at=NOW - 1, failures=0, last_failure=None, failures_last_minute={}),
    "calls": CallTotals(
        requests=1204,
        client_errors=0,
        server_errors=0,
        errors=0,
        recovered=0,
        token_requests=2,
        in_flight=0,
        connections=1,
        max_connections=1000,
    ),
    "last_mended": None,
    "foreign_calls": None,
    "proxy": ProxyStatus(addresses=("http://127.0.0.1:18080",), needs_caller_key=False, client_segment="_"),
    "replay_buffer_bytes": 0,
    "replay_budget_bytes": 67108864,
    "read_back_forbidden": False,
    "hooks": None,
    "reload": ReloadStatus(successful=True, error=""),
    "last_errors": (),
    "warnings": (),
    "slow_seconds": 1.0,
}


def snapshot(**fields: Any) -> Snapshot:
    """Return the facts of a healthy sidecar, but for ``fields``."""
    return Snapshot(**{**_FACTS, **fields})


def status(**fields: Any) -> Status:
    """Return the whole document of a healthy sidecar, but for ``fields``."""
    return Status(**{**_FACTS, "recent_calls": (), "history": (), **fields})


def call(number: int, **fields: Any) -> RecentCall:
    """Return a call that Mangopay answered, one second after the one with the number before."""
    defaults: dict[str, Any] = {
        "at": NOW + number,
        "id": f"call-{number:06}",
        "method": "GET",
        "path": "/v2.01/{client}/users/{id}",
        "status": 200,
        "duration_seconds": 0.02,
        "upstream_seconds": 0.015,
        "deliveries": 1,
    }
    return RecentCall(**{**defaults, **fields})
