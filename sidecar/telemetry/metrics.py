"""The sidecar's metrics: plain integers, counted where things happen and put into words only when somebody asks.

Labels are bounded: methods that HTTP does not know count as ``other``, and
paths, ids and callers are never labels. Counters that alerts look at begin at
zero: ``rate()`` and ``increase()`` do not see the step with which a series begins.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias, get_args

from sidecar.core.errors import ErrorCode, Outcome
from sidecar.telemetry.exposition import Family, Histogram, Sample, header, sample
from sidecar.telemetry.rate_limits import RateLimits
from sidecar.telemetry.record import Recovery
from sidecar.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from sidecar.telemetry.record import CallRecord, Source

PREFIX: Final = "mangopay_sidecar_"

#: What can come of a token request.
TOKEN_OUTCOMES: Final = ("ok", "locked_out", "refused", "transient")
#: What a 401 meant: the token, the user's own authentication (SCA), or nothing that a new token mends.
Unauthorized: TypeAlias = Literal["token", "sca", "futile"]

_FAMILIES: Final = (
    Family("build_info", "gauge", "Always 1; the labels tell the running version.", ("version",)),
    Family(
        "requests_total",
        "counter",
        "Calls that are over, by who made the answer; status none: the caller left before it.",
        ("method", "status", "source"),
    ),
    Family(
        "errors_total",
        "counter",
        "Calls that the sidecar ended itself, and whether Mangopay may have received them.",
        ("code", "outcome"),
    ),
    Family("request_duration_seconds", "histogram", "From the request's head to the end of its answer."),
    Family(
        "upstream_duration_seconds",
        "histogram",
        "From a call's request being written to the head of Mangopay's answer, all attempts together.",
    ),
    Family("requests_in_flight", "gauge", "Calls being served now."),
    Family("connections", "gauge", "Connections from callers that are open now."),
    Family("token_requests_total", "counter", "Calls to Mangopay's token endpoint.", ("credential", "outcome")),
    Family("token_expiry_timestamp_seconds", "gauge", "When the current token expires (Unix time).", ("credential",)),
    Family("token_wait_seconds", "histogram", "Time that calls waited for a token, of those that did."),
    Family("unauthorized_total", "counter", "Answers 401 from Mangopay to calls, each by what it meant.", ("kind",)),
    Family("recovered_total", "counter", "Calls mended without the caller noticing.", ("how",)),
    Family("latched", "gauge", "1 while no token is asked for because Mangopay refused.", ("credential", "reason")),
    Family("rate_limit_remaining", "gauge", "Calls left in Mangopay's rate window.", ("window",)),
    Family("rate_limit_reset_timestamp_seconds", "gauge", "When the rate window starts anew (Unix time).", ("window",)),
    Family(
        "client_certificate_expiry_timestamp_seconds", "gauge", "When the mTLS client certificate expires (Unix time)."
    ),
    Family("config_last_reload_successful", "gauge", "1 if the last reload took effect, 0 if the old values stayed."),
    Family("store_up", "gauge", "1 while the shared token store answers."),
    Family("replay_buffer_bytes", "gauge", "Request bodies held in memory, so that they can be sent again."),
    Family("upstream_connections", "gauge", "Connections to Mangopay that are open now."),
    Family("upstream_pool_waiting", "gauge", "Calls waiting for a connection to Mangopay."),
)

#: The families by their short names; their own names carry the prefix.
FAMILIES: Final[Mapping[str, Family]] = {
    family.name: Family(PREFIX + family.name, family.kind, family.help, family.labels) for family in _FAMILIES
}

#: Methods that are a label of their own (RFC 9110 section 9, RFC 5789).
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

#: Seconds. From an answer of the sidecar's own to upstream.response_timeout; closer where an API call over the
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
#: Of the answers that can be, those that alerts look at, or divide by: the methods of Mangopay's API, and its statuses
#: for success and for what is no fault of the request.
_EXPECTED_METHODS: Final = ("GET", "POST", "PUT")
_EXPECTED_STATUSES: Final = (200, 429, 500, 502, 503, 504)


class Reading(NamedTuple):
    """Some counters at one moment, so that two of them can be compared."""

    errors: int
    #: Answers 5xx from Mangopay.
    server_errors: int
    recovered: int
    #: ``request_duration_seconds``: the buckets' upper ends, and how many calls fell into each.
    bounds: tuple[float, ...]
    durations: tuple[int, ...]


class Metrics:
    """What the sidecar counts. Not thread-safe: used on the event loop only."""

    def __init__(self) -> None:
        self._requests: defaultdict[tuple[str, int, Source], int] = defaultdict(
            int, {(method, status, "upstream"): 0 for method in _EXPECTED_METHODS for status in _EXPECTED_STATUSES}
        )
        self._errors: defaultdict[tuple[ErrorCode, Outcome], int] = defaultdict(
            int,
            [((code, Outcome.NOT_SENT), 0) for code in ErrorCode if code is not ErrorCode.UPSTREAM_TIMEOUT]
            + [((code, Outcome.REJECTED), 0) for code in _REJECTED]
            + [((code, Outcome.UNKNOWN), 0) for code in _UNKNOWN],
        )
        self._recovered: Final[dict[Recovery, int]] = dict.fromkeys(get_args(Recovery), 0)
        self._unauthorized: Final[dict[Unauthorized, int]] = dict.fromkeys(get_args(Unauthorized), 0)
        self._token_requests: defaultdict[tuple[str, str], int] = defaultdict(int)
        self._durations = Histogram(_DURATIONS)
        self._upstream_durations = Histogram(_DURATIONS)
        self._token_waits = Histogram(_TOKEN_WAITS)
        self.rate_limits: Final = RateLimits()
        self._histograms: Final = {
            "request_duration_seconds": self._durations,
            "upstream_duration_seconds": self._upstream_durations,
            "token_wait_seconds": self._token_waits,
        }
        self._readers: Final[dict[str, Callable[[], Iterable[Sample]]]] = {
            "build_info": lambda: [((__version__,), 1)],
            "requests_total": lambda: [
                ((m, str(status or "none"), s), n) for (m, status, s), n in self._requests.items()
            ],
            "errors_total": lambda: [((code.value, outcome.value), n) for (code, outcome), n in self._errors.items()],
            "token_requests_total": self._token_requests.items,
            "unauthorized_total": lambda: [((kind,), n) for kind, n in self._unauthorized.items()],
            "recovered_total": lambda: [((how,), n) for how, n in self._recovered.items()],
            "rate_limit_remaining": self._rate_limit_remaining,
            "rate_limit_reset_timestamp_seconds": self._rate_limit_reset,
        }

    def observe_call(self, record: CallRecord) -> None:
        """Count a call that is over."""
        method = record.method
        self._requests[method if method in _METHODS else "other", record.status, record.source] += 1
        self._durations.observe(record.duration)
        if record.attempts:
            self._upstream_durations.observe(record.upstream_seconds)
        if record.recovered:
            for how in record.recovered:
                self._recovered[how] += 1
        if record.error is not None:
            self._errors[record.error, record.outcome or Outcome.NOT_SENT] += 1

    def expect_token_requests(self, credential: str) -> None:
        """Begin the counters of ``credential`` (``api``, ``embedded``) at zero."""
        for outcome in TOKEN_OUTCOMES:
            self._token_requests[credential, outcome] += 0

    def token_request(self, credential: str, outcome: str) -> None:
        """Count a call to the token endpoint, by credential and what came of it (:data:`TOKEN_OUTCOMES`)."""
        self._token_requests[credential, outcome] += 1

    def token_wait(self, seconds: float) -> None:
        """Note that a call waited for a token."""
        self._token_waits.observe(seconds)

    def unauthorized(self, kind: Unauthorized) -> None:
        """Count a 401 from Mangopay, once: ``token`` if it asks for a new token, ``sca``, or ``futile``.

        ``futile``: it started no refresh, or came in spite of one.
        """
        self._unauthorized[kind] += 1

    def gauge(self, name: str, read: Callable[[], float | None]) -> None:
        """Have ``read`` asked for the gauge ``name`` (without prefix) at each scrape; None: not shown.

        Raises ValueError if there is no such gauge without labels.
        """

        def samples() -> Iterable[Sample]:
            value = read()
            return () if value is None else (((), value),)

        self._register(name, samples, labelled=False)

    def labelled_gauge(self, name: str, read: Callable[[], Iterable[Sample]]) -> None:
        """Have ``read`` asked for all samples of the gauge ``name``: pairs of label values and value.

        Raises ValueError if there is no such gauge with labels.
        """
        self._register(name, read, labelled=True)

    def _register(self, name: str, read: Callable[[], Iterable[Sample]], *, labelled: bool) -> None:
        family = FAMILIES.get(name)
        if family is None or family.kind != "gauge" or bool(family.labels) != labelled:
            message = f"no {'labelled' if labelled else 'plain'} gauge is called {name}"
            raise ValueError(message)
        self._readers[name] = read

    def expose(self) -> bytes:
        """The exposition (content type: ``exposition.CONTENT_TYPE``); families without a sample are left out."""
        lines: list[str] = []
        for name, family in FAMILIES.items():
            if (histogram := self._histograms.get(name)) is not None:
                samples = list(histogram.lines(family.name))
            elif (read := self._readers.get(name)) is not None:
                samples = [sample(family, labels, value) for labels, value in read()]
            else:
                continue
            if samples:
                lines += header(family)
                lines += samples
        lines.append("")
        return "\n".join(lines).encode()

    def reading(self) -> Reading:
        """Return some counters as they are now."""
        return Reading(
            errors=sum(self._errors.values()),
            server_errors=sum(
                count for (_, status, source), count in self._requests.items() if status >= 500 and source == "upstream"
            ),
            recovered=sum(self._recovered.values()),
            bounds=self._durations.bounds,
            durations=self._durations.counts,
        )

    def totals(self) -> dict[str, int]:
        """Counters in a few numbers, for the status page: calls, own errors, recovered calls, token requests."""
        return {
            "requests": sum(self._requests.values()),
            "errors": sum(self._errors.values()),
            "recovered": sum(self._recovered.values()),
            "token_requests": sum(self._token_requests.values()),
        }

    def _rate_limit_remaining(self) -> Iterable[Sample]:
        return [((each.window,), each.remaining) for each in self.rate_limits.windows() if each.remaining is not None]

    def _rate_limit_reset(self) -> Iterable[Sample]:
        return [((each.window,), each.reset) for each in self.rate_limits.windows() if each.reset is not None]
