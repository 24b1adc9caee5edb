"""The ``/status`` document: its fields are its schema. Moments are Unix time, durations seconds; no field is a secret.

docs/status.schema.json is this as a JSON Schema, and docs/observability.md tells
each field in words; tests hold both. The page and the ``status`` command show the
same document.
"""

from typing import Final, Literal

import msgspec

from sidecar.admin.finding import Finding
from sidecar.core.hooks import HooksStatus
from sidecar.core.rate_windows import RateWindow
from sidecar.telemetry.attempt import Attempt
from sidecar.tokens.status import StoreStatus, TokenStatus
from sidecar.tracing.status import TracingStatus
from sidecar.upstream.expiry import CertificateStatus

#: Seconds from which on a call counts as slow. Mangopay's own responses take some hundred milliseconds.
SLOW_SECONDS: Final = 1.0


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


class PoolStatus(msgspec.Struct, frozen=True):
    """Connections to Mangopay."""

    #: ``upstream.pool_size``.
    size: int
    open: int
    #: Of the open ones, those that no call uses.
    idle: int
    #: Calls waiting for one.
    waiting: int


class UpstreamFailure(msgspec.Struct, frozen=True):
    """A call that Mangopay did not answer as it should."""

    at: float
    #: ``resolve``, ``connect``, ``egress``, ``tls``, ``no_slot``, ``dead_before_write``, ``lost``, ``timeout``,
    #: ``broken``, ``server_error`` (5xx), ``rate_limited`` (429) or ``edge_page`` (either, with a web page).
    kind: str
    #: The call's id.
    id: str
    #: None if there was no response.
    status: int | None
    #: Why, where the sidecar knows more.
    detail: str


class UpstreamStatus(msgspec.Struct, frozen=True):
    """How Mangopay answers, as the last calls tell."""

    #: The newest response other than a 5xx or a 429.
    answered_at: float | None
    #: Calls that failed since then, running.
    failures: int
    last_failure: UpstreamFailure | None
    #: By ``kind``; 100 at most are counted.
    failures_last_minute: dict[str, int]


class CallTotals(msgspec.Struct, frozen=True):
    """Counts since the start; ``in_flight`` and ``connections`` are of now."""

    requests: int
    #: Mangopay's 4xx and 5xx responses.
    client_errors: int
    server_errors: int
    #: Of the sidecar's own.
    errors: int
    recovered: int
    token_requests: int
    in_flight: int
    #: From callers.
    connections: int
    #: ``listen.max_connections``, or what the limit of open files leaves of it.
    max_connections: int


class RecoveredCall(msgspec.Struct, frozen=True):
    """The newest call that was retried, or whose lost answer was read back, without its caller noticing."""

    at: float
    #: The call's id.
    id: str
    #: ``token``, ``connection``, ``idempotency``.
    how: tuple[str, ...]


class ForeignCalls(msgspec.Struct, frozen=True):
    """Calls whose path names another ClientId, less than five minutes between one and the next."""

    calls: int
    since: float
    #: Of the newest: when it ended, its id, method and path, ids masked.
    at: float
    id: str
    method: str
    path: str
    #: Refused here with ``client_id_mismatch``; else forwarded.
    refused: bool


class BatchLane(msgspec.Struct, frozen=True):
    """What is kept of Mangopay's rate windows for calls that cannot wait, and who waits for that."""

    #: ``limits.reserve``: a share of each window, above 0 and below 1.
    reserve: float
    #: Batch calls that are held now.
    waiting: int
    #: When the next may go to look for room, if no answer tells of any before; None: one may go now.
    room_at: float | None
    #: The window that they wait for; None: none is full, or it cannot be told which one it is.
    window: str | None
    #: When a batch call was last refused with ``rate_reserved``.
    refused_at: float | None


class DeprecatedCalls(msgspec.Struct, frozen=True):
    """Calls to one endpoint that Mangopay calls deprecated."""

    #: As in the metric ``deprecated_calls_total``.
    what: str
    #: Method and path, from behind the ClientId on.
    endpoint: str
    #: Since the start.
    calls: int
    #: When the newest one ended.
    at: float
    #: A date (``2025-11-17``): Mangopay has called it deprecated since then.
    since: str
    #: What happens to it, as the end of a sentence.
    announced: str
    #: What to call instead; empty: there is nothing.
    successor: str
    #: The page of Mangopay's documentation that says so.
    source: str


class ProxyStatus(msgspec.Struct, frozen=True):
    """How an app on this machine reaches the proxy port."""

    #: ``http://127.0.0.1:18080``, ``unix:/run/sidecar.sock``.
    addresses: tuple[str, ...]
    #: Callers must prove ``listen.caller_key``.
    needs_caller_key: bool
    #: What may stand in a path where Mangopay wants the ClientId.
    client_segment: str


class ReloadStatus(msgspec.Struct, frozen=True):
    """Whether the last reading of keys and certificates took effect."""

    successful: bool
    #: One line: what is wrong, where, the mend. Empty if it took effect.
    error: str


class LastError(msgspec.Struct, frozen=True):
    """A call that the sidecar ended with an error of its own."""

    at: float
    id: str
    method: str
    #: Ids are masked.
    path: str
    #: What the caller saw, or would have seen if it had not left; None if it left before there was one.
    status: int | None
    code: str
    outcome: str


class RecentCall(msgspec.Struct, frozen=True, omit_defaults=True):
    """One call, as the request log tells it; what has its default is left out. No query and no body."""

    #: When its head was there.
    at: float
    id: str
    method: str
    #: Ids are masked.
    path: str
    #: What the caller saw, or would have seen if it had not left; None if it left before there was one.
    status: int | None
    #: Who made the response.
    source: Literal["upstream", "sidecar"] = "upstream"
    duration_seconds: float = 0.0
    #: The part of it spent on Mangopay: from the request written to the head of the response, all attempts together.
    upstream_seconds: float = 0.0
    token_wait_seconds: float = 0.0
    #: How often the request, or a part of it, went to Mangopay.
    deliveries: int = 0
    attempts: tuple[Attempt, ...] = ()
    recovered: tuple[str, ...] = ()
    bytes_in: int = 0
    bytes_out: int = 0
    #: Of the sidecar's own errors.
    error: str = ""
    outcome: str = ""
    detail: str = ""
    #: Only if the outcome is unknown, to look the payment up by.
    idempotency_key: str = ""
    caller_gone: bool = False
    #: Ended with a 401 that a new token did not help, or that started no refresh.
    futile: bool = False
    #: Its path names another ClientId.
    foreign: bool = False
    #: ``batch``, or ``unknown`` if its header names no lane; and for how long it was held there.
    lane: str = ""
    held_seconds: float = 0.0
    #: The endpoint is deprecated: the word of the metric.
    deprecated: str = ""
    #: What Mangopay's support asks for: ``Id`` and ``Type`` of its error report, and the edge's ``CF-Ray``.
    mangopay_id: str = ""
    mangopay_type: str = ""
    cf_ray: str = ""
    traceparent: str = ""
    x_request_id: str = ""


class HistorySample(msgspec.Struct, frozen=True):
    """What ended within some seconds."""

    #: The end of the sample, and its length.
    at: float
    seconds: float
    calls: int
    errors: int
    #: Mangopay's 4xx and 5xx responses.
    client_errors: int
    server_errors: int
    recovered: int
    #: Half of the calls, and 19 of 20, took less; as exact as the histogram's buckets. None without a call.
    p50_seconds: float | None
    p95_seconds: float | None


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known at one moment, less the lists of the past."""

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
    #: The worst first; never empty.
    findings: tuple[Finding, ...]
    tokens: tuple[TokenStatus, ...]
    #: None: tokens are kept in memory.
    store: StoreStatus | None
    #: None: there are no traces.
    tracing: TracingStatus | None
    #: None: no mTLS.
    client_certificate: CertificateStatus | None
    #: As Mangopay's latest response told them; empty before the first.
    rate_limits: tuple[RateWindow, ...]
    #: None: ``limits.reserve`` is 0%, and no call is held.
    batch_lane: BatchLane | None
    #: The newest first.
    deprecated_calls: tuple[DeprecatedCalls, ...]
    pool: PoolStatus
    upstream: UpstreamStatus
    calls: CallTotals
    #: None before the first.
    last_mended: RecoveredCall | None
    #: None before the first.
    foreign_calls: ForeignCalls | None
    proxy: ProxyStatus
    #: Request bodies held in memory, and how many bytes they may take together.
    replay_buffer_bytes: int
    replay_budget_bytes: int
    #: None: nothing can be reloaded.
    reload: ReloadStatus | None
    #: Mangopay answered 403 when a lost response was last read back: the API key lacks the scope.
    read_back_forbidden: bool
    #: None: nobody looks at them (``admin.watch_hooks``).
    hooks: HooksStatus | None
    #: Newest first.
    last_errors: tuple[LastError, ...]
    #: Sentences about the configuration.
    warnings: tuple[str, ...]
    #: A call that takes this long counts as slow.
    slow_seconds: float


class Status(Snapshot, frozen=True, kw_only=True):
    """The whole document."""

    #: Newest first.
    recent_calls: tuple[RecentCall, ...]
    #: Oldest first.
    history: tuple[HistorySample, ...]


class CallsEvent(msgspec.Struct, frozen=True):
    """What ``/events`` says of calls: those that ended since the last time, newest last."""

    #: These are all that there are: forget the others.
    reset: bool
    #: So many more ended, and are not shown.
    skipped: int
    calls: tuple[RecentCall, ...]
