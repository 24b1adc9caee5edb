"""The ``/status`` document: its fields are its schema. Moments are Unix time, durations seconds; no field is a secret.

``/`` and the ``status`` command put the same document into words.
"""

import msgspec

from sidecar.telemetry.rate_limits import RateWindow
from sidecar.tokens.status import TokenStatus


class Readiness(msgspec.Struct, frozen=True, omit_defaults=True):
    """What ``/readyz`` says: 200 if ``ready``, else 503 with the reason."""

    ready: bool
    #: ``ready``, ``starting``, ``draining`` (from the signal on), ``token_pending``, ``token_unavailable``,
    #: ``token_locked_out`` or ``credentials_refused``.
    reason: str
    #: For people: what is wrong, and what to do.
    message: str
    #: Whole days until the mTLS client certificate expires, which is no reason not to be ready. Left out without one.
    client_certificate_days_left: int | None = None


class CertificateStatus(msgspec.Struct, frozen=True):
    """The mTLS client certificate."""

    expires_at: float
    #: Whole days.
    days_left: int


class PoolStatus(msgspec.Struct, frozen=True):
    """Connections to Mangopay."""

    #: ``upstream.pool_size``.
    size: int
    open: int
    #: Calls waiting for one.
    waiting: int


class CallTotals(msgspec.Struct, frozen=True):
    """Counts since the start; ``in_flight`` and ``connections`` are of now."""

    requests: int
    errors: int
    recovered: int
    token_requests: int
    in_flight: int
    #: From callers.
    connections: int


class LastError(msgspec.Struct, frozen=True):
    """A call that the sidecar ended with an error of its own."""

    at: float
    id: str
    method: str
    #: Ids are masked.
    path: str
    #: What the caller saw; None if it had left.
    status: int | None
    code: str
    outcome: str


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """The whole document."""

    version: str
    environment: str
    base_url: str
    client_id: str
    #: The moment of this snapshot.
    time: float
    uptime_seconds: float
    #: Of the life cycle: ``starting``, ``serving``, ``delaying``, ``draining``, ``stopped``.
    phase: str
    readiness: Readiness
    tokens: tuple[TokenStatus, ...]
    #: None: no mTLS.
    client_certificate: CertificateStatus | None = None
    #: As Mangopay's latest answer told them; empty before the first.
    rate_limits: tuple[RateWindow, ...]
    pool: PoolStatus
    calls: CallTotals
    #: Request bodies held in memory, and how many bytes they may take together.
    replay_buffer_bytes: int
    replay_budget_bytes: int
    #: Newest first.
    last_errors: tuple[LastError, ...]
    #: Sentences about the configuration.
    warnings: tuple[str, ...]
