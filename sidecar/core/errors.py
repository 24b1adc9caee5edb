"""The sidecar's own errors, as a caller meets them (contract: "Errors of the sidecar's own").

One exception carries everything that a response, a log line and a metric need::

    SidecarError
    ├── code         what went wrong, one of ErrorCode; STATUS gives its HTTP status
    ├── message      for a person: what is wrong and what to do; never request bytes, never a secret
    ├── outcome      what is known of the request: whether Mangopay may have executed it
    └── retry_after  seconds, for every 503 and 429
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Outcome(StrEnum):
    """What is known of the request, as ``X-Sidecar-Outcome`` says it."""

    #: No byte of it was written to Mangopay.
    NOT_SENT = "not-sent"
    #: Mangopay answered it with 401 and executed nothing.
    REJECTED = "rejected"
    #: It may have been executed.
    UNKNOWN = "unknown"


class ErrorCode(StrEnum):
    """What went wrong, as ``X-Sidecar-Error`` says it."""

    BAD_REQUEST = "bad_request"
    HOST_NOT_ALLOWED = "host_not_allowed"
    BROWSER_NOT_ALLOWED = "browser_not_allowed"
    POLICY_DENIED = "policy_denied"
    CALLER_NOT_ALLOWED = "caller_not_allowed"
    CLIENT_ID_MISMATCH = "client_id_mismatch"
    RATE_RESERVED = "rate_reserved"
    REQUEST_TIMEOUT = "request_timeout"
    BODY_TOO_LARGE = "body_too_large"
    EXPECTATION_FAILED = "expectation_failed"
    HEADERS_TOO_LARGE = "headers_too_large"
    EMBEDDED_KEY_MISSING = "embedded_key_missing"
    CREDENTIALS_REFUSED = "credentials_refused"
    UPSTREAM_UNREACHABLE = "upstream_unreachable"
    TOKEN_LOCKED_OUT = "token_locked_out"  # noqa: S105 - a code, not a password
    TOKEN_UNAVAILABLE = "token_unavailable"  # noqa: S105 - a code, not a password
    OVERLOADED = "overloaded"
    SHUTTING_DOWN = "shutting_down"
    UPSTREAM_TIMEOUT = "upstream_timeout"


STATUS: Final[dict[ErrorCode, int]] = {
    ErrorCode.BAD_REQUEST: 400,
    ErrorCode.HOST_NOT_ALLOWED: 403,
    ErrorCode.BROWSER_NOT_ALLOWED: 403,
    ErrorCode.POLICY_DENIED: 403,
    ErrorCode.CALLER_NOT_ALLOWED: 403,
    ErrorCode.CLIENT_ID_MISMATCH: 403,
    ErrorCode.RATE_RESERVED: 429,
    ErrorCode.REQUEST_TIMEOUT: 408,
    ErrorCode.BODY_TOO_LARGE: 413,
    ErrorCode.EXPECTATION_FAILED: 417,
    ErrorCode.HEADERS_TOO_LARGE: 431,
    ErrorCode.EMBEDDED_KEY_MISSING: 501,
    ErrorCode.CREDENTIALS_REFUSED: 502,
    ErrorCode.UPSTREAM_UNREACHABLE: 502,
    ErrorCode.TOKEN_LOCKED_OUT: 503,
    ErrorCode.TOKEN_UNAVAILABLE: 503,
    ErrorCode.OVERLOADED: 503,
    ErrorCode.SHUTTING_DOWN: 503,
    ErrorCode.UPSTREAM_TIMEOUT: 504,
}


class SidecarError(Exception):
    """A request that the sidecar answers by itself.

    ``message`` is shown to the caller and logged; it must hold no request
    bytes and no secret. ``detail`` is logged only.
    """

    def __init__(
        self,
        code: ErrorCode,
        message: str,
        *,
        outcome: Outcome = Outcome.NOT_SENT,
        retry_after: float | None = None,
        detail: str | None = None,
        close: bool = False,
    ) -> None:
        super().__init__(message)
        self.code: Final = code
        self.message: Final = message
        self.outcome: Final = outcome
        self.retry_after: Final = retry_after
        self.detail: Final = detail
        #: The connection's framing is in doubt, or its body unread: close it after the response.
        self.close: Final = close

    @property
    def status(self) -> int:
        """The HTTP status of the response."""
        return STATUS[self.code]
