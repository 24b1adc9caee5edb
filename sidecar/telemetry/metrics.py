"""The sidecar's metrics: plain integers, counted where things happen and put into words only when somebody asks.

Labels are bounded: methods that HTTP does not know count as ``other``, and
paths, ids and callers are never labels. Counters that alerts look at begin at
zero: ``rate()`` and ``increase()`` do not see the step with which a series begins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias, get_args

from sidecar.core.deprecation import DEPRECATIONS
from sidecar.core.errors import ErrorCode, Outcome
from sidecar.telemetry.call_counts import CallCounts
from sidecar.telemetry.exposition import Counter, Gauge, Histogram, LabelledGauge, Metric
from sidecar.telemetry.rate_limits import RateLimits
from sidecar.telemetry.record import Recovery
from sidecar.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from sidecar.core.rate_windows import RateWindow
    from sidecar.telemetry.exposition import Sample
    from sidecar.telemetry.record import Source

#: What can come of a token request.
TOKEN_OUTCOMES: Final = ("ok", "locked_out", "refused", "transient")
#: What a 401 meant: the token, the user's own authentication (SCA), or what a new token does not help.
Unauthorized: TypeAlias = Literal["token", "sca", "futile"]

#: What became of a batch call that had to wait: it was sent, it was refused (``rate_reserved``), its caller hung up, or
#: the sidecar drained.
RateHeld: TypeAlias = Literal["sent", "refused", "gone", "drained"]

#: Seconds. From a response of the sidecar's own to upstream.response_timeout; closer where an API call over the
#: internet lies, and with the 15 s after which the first SDK gives up.
_DURATIONS: Final = (
    *(0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.15, 0.25, 0.35, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0, 15.0, 30.0, 60.0),
)
#: Seconds. token.wait_timeout ends a wait after 10.
_TOKEN_WAITS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

#: The codes whose outcome can be unknown; a timeout's always is. The last three: a body that ends badly on its way.
_UNKNOWN: Final = (
    *(ErrorCode.UPSTREAM_UNREACHABLE, ErrorCode.UPSTREAM_TIMEOUT),
    *(ErrorCode.BAD_REQUEST, ErrorCode.REQUEST_TIMEOUT, ErrorCode.BODY_TOO_LARGE),
)
#: How a call can end whose first delivery was answered with 401.
_REJECTED: Final = (
    *(ErrorCode.CREDENTIALS_REFUSED, ErrorCode.TOKEN_LOCKED_OUT, ErrorCode.TOKEN_UNAVAILABLE),
    *(ErrorCode.UPSTREAM_UNREACHABLE, ErrorCode.OVERLOADED, ErrorCode.SHUTTING_DOWN),
)
#: Of the possible responses, those that alerts look at, or divide by: the methods of Mangopay's API, and its statuses
#: for success and for what is no fault of the request.
_EXPECTED_METHODS: Final = ("GET", "POST", "PUT")
_EXPECTED_STATUSES: Final = (200, 429, 500, 502, 503, 504)


class Reading(NamedTuple):
    """Some counters at one moment, so that two of them can be compared."""

    errors: int
    #: Mangopay's 4xx and 5xx responses.
    client_errors: int
    server_errors: int
    recovered: int
    #: ``request_duration_seconds``: the buckets' upper ends, and how many calls fell into each.
    bounds: tuple[float, ...]
    durations: tuple[int, ...]


class Metrics:
    """What the sidecar counts and measures, each declared once. Not thread-safe: used on the event loop only.

    A gauge shows nothing until somebody who knows the number has set its ``read``.
    """

    def __init__(self) -> None:
        self.build_info = LabelledGauge("build_info", "Always 1; the labels tell the running version.", ("version",))
        self.build_info.read = lambda: [((__version__,), 1)]
        self.requests: Counter[tuple[str, int, Source]] = Counter(
            "requests_total",
            "Calls that are over, by who made the answer; status none: the caller left before it.",
            ("method", "status", "source"),
            [(method, status, "upstream") for method in _EXPECTED_METHODS for status in _EXPECTED_STATUSES],
        )
        self.errors: Counter[tuple[ErrorCode, Outcome]] = Counter(
            "errors_total",
            "Calls that the sidecar ended itself, and whether Mangopay may have received them.",
            ("code", "outcome"),
            [
                *((code, Outcome.NOT_SENT) for code in ErrorCode if code is not ErrorCode.UPSTREAM_TIMEOUT),
                *((code, Outcome.REJECTED) for code in _REJECTED),
                *((code, Outcome.UNKNOWN) for code in _UNKNOWN),
            ],
        )
        self.request_duration = Histogram(
            "request_duration_seconds", "From the request's head to the end of its answer.", _DURATIONS
        )
        self.upstream_duration = Histogram(
            "upstream_duration_seconds",
            "From a call's request being written to the head of Mangopay's answer, all attempts together.",
            _DURATIONS,
        )
        self.requests_in_flight = Gauge("requests_in_flight", "Calls being served now.")
        self.connections = Gauge("connections", "Connections from callers that are open now.")
        self.token_requests: Counter[tuple[str, str]] = Counter(
            "token_requests_total", "Calls to Mangopay's token endpoint.", ("credential", "outcome")
        )
        self.token_expiry = LabelledGauge(
            "token_expiry_timestamp_seconds", "When the current token expires (Unix time).", ("credential",)
        )
        self.token_waits = Histogram(
            "token_wait_seconds", "Time that calls waited for a token, of those that did.", _TOKEN_WAITS
        )
        self.unauthorized_total: Counter[tuple[Unauthorized]] = Counter(
            "unauthorized_total",
            "Responses 401 from Mangopay to calls, each by what it meant.",
            ("kind",),
            [(kind,) for kind in get_args(Unauthorized)],
        )
        self.recovered: Counter[tuple[Recovery]] = Counter(
            "recovered_total",
            "Calls retried, or whose lost answer was read back, without the caller noticing.",
            ("how",),
            [(how,) for how in get_args(Recovery)],
        )
        self.latched = LabelledGauge(
            "latched", "1 while no token is asked for because Mangopay refused.", ("credential", "reason")
        )
        self.rate_limit_remaining = LabelledGauge(
            "rate_limit_remaining", "Calls left in Mangopay's rate window.", ("window",)
        )
        self.rate_limit_reset = LabelledGauge(
            "rate_limit_reset_timestamp_seconds", "When the rate window resets (Unix time).", ("window",)
        )
        self.certificate_expiry = Gauge(
            "client_certificate_expiry_timestamp_seconds", "When the mTLS client certificate expires (Unix time)."
        )
        self.reload_successful = Gauge(
            "config_last_reload_successful", "1 if the last reload took effect, 0 if the old values stayed."
        )
        self.store_up = Gauge("store_up", "1 while the shared token store answers.")
        self.hooks = LabelledGauge(
            "hooks", "Mangopay's hooks as they were last looked at (admin.watch_hooks).", ("status",)
        )
        self.replay_buffer_bytes = Gauge(
            "replay_buffer_bytes", "Request bodies held in memory, so that they can be sent again."
        )
        self.upstream_connections = Gauge("upstream_connections", "Connections to Mangopay that are open now.")
        self.upstream_pool_waiting = Gauge("upstream_pool_waiting", "Calls waiting for a connection to Mangopay.")
        self.rate_held: Counter[tuple[RateHeld]] = Counter(
            "rate_held_total",
            "Batch calls that had to wait for room in a rate window, by what became of them.",
            ("result",),
            [(result,) for result in get_args(RateHeld)],
        )
        self.deprecated_calls: Counter[tuple[str]] = Counter(
            "deprecated_calls_total",
            "Calls to endpoints that Mangopay calls deprecated.",
            ("what",),
            [(row.what,) for row in DEPRECATIONS],
        )

        #: Counts a call that is over.
        self.observe_call: Final = CallCounts(
            self.requests,
            self.errors,
            self.recovered,
            self.deprecated_calls,
            call=self.request_duration.buckets,
            upstream=self.upstream_duration.buckets,
        ).observe
        self.rate_limits: Final = RateLimits()
        self.rate_limit_remaining.read = self._rate_limit_remaining
        self.rate_limit_reset.read = self._rate_limit_reset

    def __iter__(self) -> Iterator[Metric]:
        """Every metric, in the order of their declaration."""
        return (each for each in vars(self).values() if isinstance(each, Metric))

    def expect_token_requests(self, credential: str) -> None:
        """Begin the counters of ``credential`` (``api``, ``embedded``) at zero."""
        for outcome in TOKEN_OUTCOMES:
            self.token_requests[credential, outcome] += 0

    def token_request(self, credential: str, outcome: str) -> None:
        """Count a call to the token endpoint, by credential and what came of it (:data:`TOKEN_OUTCOMES`)."""
        self.token_requests[credential, outcome] += 1

    def token_wait(self, seconds: float) -> None:
        """Note that a call waited for a token."""
        self.token_waits.observe(seconds)

    def unauthorized(self, kind: Unauthorized) -> None:
        """Count a 401 from Mangopay, once: ``token`` if it asks for a new token, ``sca``, or ``futile``.

        ``futile``: it started no refresh, or came in spite of one.
        """
        self.unauthorized_total[(kind,)] += 1

    def expose(self) -> bytes:
        """The exposition (content type: ``exposition.CONTENT_TYPE``); metrics without a sample are left out."""
        lines = [line for metric in self for line in metric.expose()]
        return "\n".join([*lines, ""]).encode()

    def reading(self) -> Reading:
        """Return some counters as they are now."""
        return Reading(
            errors=sum(self.errors.values()),
            client_errors=self._answered_by_mangopay(400, 500),
            server_errors=self._answered_by_mangopay(500, 1000),
            recovered=sum(self.recovered.values()),
            bounds=self.request_duration.buckets.bounds,
            durations=tuple(self.request_duration.buckets.counts),
        )

    def totals(self) -> dict[str, int]:
        """Counters in a few numbers, for the status page."""
        return {
            "requests": sum(self.requests.values()),
            "client_errors": self._answered_by_mangopay(400, 500),
            "server_errors": self._answered_by_mangopay(500, 1000),
            "errors": sum(self.errors.values()),
            "recovered": sum(self.recovered.values()),
            "token_requests": sum(self.token_requests.values()),
        }

    def _answered_by_mangopay(self, lowest: int, beyond: int) -> int:
        """Count Mangopay's own responses with a status from ``lowest`` on, and below ``beyond``."""
        return sum(
            count
            for (_, status, source), count in self.requests.items()
            if source == "upstream" and lowest <= status < beyond
        )

    def _rate_limit_remaining(self) -> Iterable[Sample]:
        return self._rate_limit(lambda window: window.remaining)

    def _rate_limit_reset(self) -> Iterable[Sample]:
        return self._rate_limit(lambda window: window.reset)

    def _rate_limit(self, read: Callable[[RateWindow], int | None]) -> Iterable[Sample]:
        """Return one number of each window that has a name: for any other there must be no alert."""
        for each in self.rate_limits.windows():
            value = read(each)
            if each.window is not None and value is not None:
                yield (each.window,), value
