"""One call, as the log line, the metrics and the status page will tell it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from sidecar.core.http.header_index import HeaderIndex, RawHeaders, index_of, select
from sidecar.core.redact import mask_path

if TYPE_CHECKING:
    from sidecar.core.admission.lane import Lane
    from sidecar.core.deprecation import Deprecation
    from sidecar.core.error_report import ErrorReport
    from sidecar.core.errors import ErrorCode, Outcome, SidecarError
    from sidecar.core.http.trace_context import CallTrace
    from sidecar.telemetry.attempt import Attempt

Source: TypeAlias = Literal["upstream", "sidecar"]
Recovery: TypeAlias = Literal["token", "connection", "idempotency"]

#: A correlation header longer than this is not kept: both known kinds are far shorter.
_MAX_CORRELATION: Final = 128
_CORRELATING: Final = frozenset((b"traceparent", b"x-request-id"))
_CORRELATION: Final = select(lambda name: name.lower() if name.lower() in _CORRELATING else b"")


class CallRecord:
    """What is known of one call. The handler fills it in while the call runs.

    It holds no body, no query and no header but the two for correlation; its
    ``path`` is masked when it is shown. Times are seconds.
    """

    __slots__ = (
        "bytes_in",
        "bytes_out",
        "caller",
        "caller_request_id",
        "deliveries",
        "deprecation",
        "detail",
        "duration",
        "ended_at",
        "error",
        "foreign",
        "futile",
        "held_seconds",
        "id",
        "idempotency_key",
        "lane",
        "masked",
        "method",
        "outcome",
        "own_failure",
        "path",
        "recovered",
        "report",
        "source",
        "started",
        "status",
        "timeline",
        "token_wait_seconds",
        "trace",
        "traceparent",
        "upstream_seconds",
    )

    def __init__(self, request_id: str, started: float, method: str, path: str) -> None:
        #: The id of the log line and of an own error's ``Id``.
        self.id: Final = request_id
        #: ``Clock.now()`` when the request's head was there.
        self.started: Final = started
        self.method: Final = method
        #: The target's path without the query, as the caller wrote it; never shown as it is.
        self.path = path
        #: The path as it may be shown, once it is worked out.
        self.masked = ""
        #: Status sent to the caller, or that it would have got if it had not left; 0 while there is none.
        self.status = 0
        #: Who made the response: Mangopay ("upstream") or the sidecar.
        self.source: Source = "upstream"
        self.duration = 0.0
        #: When the call was over (``Clock.wall``).
        self.ended_at = 0.0
        #: From the request written to the head of upstream's response (an upload included), all attempts together.
        self.upstream_seconds = 0.0
        self.token_wait_seconds = 0.0
        #: Times that at least one byte of the request was written; 0: nothing went to Mangopay.
        self.deliveries = 0
        self.recovered: tuple[Recovery, ...] = ()
        #: In the order in which they ended.
        self.timeline: tuple[Attempt, ...] = ()
        #: Body bytes from the caller and to the caller.
        self.bytes_in = 0
        self.bytes_out = 0
        self.error: ErrorCode | None = None
        self.outcome: Outcome | None = None
        #: For the operator, never for the caller; free of secrets and request bytes.
        self.detail: str | None = None
        #: The sidecar could not go on by itself: if upstream had responded, it is no failure of upstream's.
        self.own_failure = False
        self.idempotency_key: str | None = None
        self.caller: Literal["gone"] | None = None
        #: The call ended with a 401 that a new token did not help, or that started no refresh.
        self.futile = False
        #: The path names another ClientId than ours (contract section 4.2).
        self.foreign = False
        #: The call's lane, if it is not the normal one, and how long it was held there.
        self.lane: Lane | None = None
        self.held_seconds = 0.0
        #: The path is one that Mangopay calls deprecated.
        self.deprecation: Deprecation | None = None
        #: What upstream's response from 400 on tells for support.
        self.report: ErrorReport | None = None
        #: As the caller sent it; with traces, that of the call's own span.
        self.traceparent: str | None = None
        self.caller_request_id: str | None = None
        #: The spans of the call; None without traces.
        self.trace: CallTrace | None = None

    @property
    def ended(self) -> float:
        """When the call was over (``Clock.now``)."""
        return self.started + self.duration

    @property
    def shown_path(self) -> str:
        """The path as it may be shown: ids masked; ``-`` if there is none, or what came is none."""
        return self.masked or (mask_path(self.path) if self.path.startswith("/") else "-")

    def add_recovered(self, how: Recovery) -> None:
        """Note that the call was recovered; each way counts once."""
        if how not in self.recovered:
            self.recovered = (*self.recovered, how)

    def failed(self, error: SidecarError) -> None:
        """Note that the sidecar ended the call with ``error``: by its own response, or by cutting upstream's short."""
        self.error = error.code
        self.outcome = error.outcome
        self.detail = error.detail
        if not self.status:
            self.status = error.status
            self.source = "sidecar"

    def traced(self, trace: CallTrace) -> None:
        """Note the call's spans; from now on its ``traceparent`` names the call's own."""
        self.trace, self.traceparent = trace, trace.traceparent

    def correlate(self, raw: RawHeaders, header_index: HeaderIndex | None = None) -> None:
        """Keep the caller's ``traceparent`` and ``X-Request-Id``, if they are short printable ASCII.

        ``raw`` is the request's raw headers, ``header_index`` theirs, where the caller has it.
        """
        for field, index in (index_of(raw) if header_index is None else header_index)[_CORRELATION]:
            value = _printable(raw[index][1])
            if field == b"traceparent":
                self.traceparent = value
            else:
                self.caller_request_id = value


def _printable(value: bytes) -> str | None:
    if not value or len(value) > _MAX_CORRELATION or not value.isascii():
        return None
    text = value.decode("ascii")
    return text if text.isprintable() else None
