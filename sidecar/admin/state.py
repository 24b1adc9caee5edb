"""What the admin port shows: a protocol for the server, and the snapshot taken of the running parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from sidecar.admin.readiness import readiness
from sidecar.admin.status import CallTotals, CertificateStatus, LastError, PoolStatus, Readiness, Status
from sidecar.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sidecar.core.clock import Clock
    from sidecar.telemetry.exposition import Sample
    from sidecar.telemetry.metrics import Metrics
    from sidecar.telemetry.recent import RecentErrors
    from sidecar.telemetry.record import CallRecord, CallRecorder
    from sidecar.tokens.status import TokenStatus

#: The reasons of a latch, as the metric ``latched`` tells them.
_REASONS: Final = ("lockout", "refused")


class AdminState(Protocol):
    """What the admin server asks for; nothing here may wait or change anything."""

    def readiness(self) -> Readiness:
        """What ``/readyz`` says."""
        ...

    def status(self) -> Status:
        """What ``/status`` says."""
        ...

    def metrics(self) -> bytes:
        """What ``/metrics`` says."""
        ...


class TokenSource(Protocol):
    """A token manager, as far as it is shown."""

    @property
    def ready(self) -> bool:
        """Whether calls can be expected to get a token."""
        ...

    def status(self) -> TokenStatus:
        """A snapshot without the token."""
        ...


@dataclass(frozen=True, slots=True)
class Identity:
    """What does not change while the process lives."""

    environment: str
    base_url: str
    client_id: str
    replay_budget: int
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Parts:
    """The running parts, as far as they are shown; the callables read one number each."""

    phase: Callable[[], str]
    #: The API credential's first.
    tokens: Sequence[TokenSource]
    metrics: Metrics
    recorder: CallRecorder
    errors: RecentErrors
    pool: Callable[[], PoolStatus]
    connections: Callable[[], int]
    replay_bytes: Callable[[], int]
    #: None: there is no client certificate.
    certificate: Callable[[], CertificateStatus | None]


class LiveState:
    """Takes snapshots of the running sidecar."""

    def __init__(self, identity: Identity, parts: Parts, clock: Clock) -> None:
        self._identity = identity
        self._parts = parts
        self._clock = clock
        self._started = clock.now()
        self._connect_gauges()

    def readiness(self) -> Readiness:
        """Judge by the phase and by the API credential's token."""
        source = self._parts.tokens[0]
        judged = readiness(self._parts.phase(), source.status(), token_ready=source.ready)
        certificate = self._parts.certificate()
        if certificate is None:
            return judged
        return msgspec.structs.replace(judged, client_certificate_days_left=certificate.days_left)

    def metrics(self) -> bytes:
        """The Prometheus text."""
        return self._parts.metrics.expose()

    def status(self) -> Status:
        """The whole document."""
        identity, parts, now = self._identity, self._parts, self._clock.now()
        wall = self._clock.wall()
        return Status(
            version=__version__,
            environment=identity.environment,
            base_url=identity.base_url,
            client_id=identity.client_id,
            time=wall,
            uptime_seconds=now - self._started,
            phase=parts.phase(),
            readiness=self.readiness(),
            tokens=tuple(source.status() for source in parts.tokens),
            client_certificate=parts.certificate(),
            rate_limits=parts.metrics.rate_limits.windows(),
            pool=parts.pool(),
            calls=CallTotals(
                **parts.metrics.totals(), in_flight=parts.recorder.in_flight, connections=parts.connections()
            ),
            replay_buffer_bytes=parts.replay_bytes(),
            replay_budget_bytes=identity.replay_budget,
            last_errors=tuple(_last_error(record, wall - now) for record in parts.errors.newest_first()),
            warnings=identity.warnings,
        )

    def _connect_gauges(self) -> None:
        parts, metrics = self._parts, self._parts.metrics
        metrics.gauge("requests_in_flight", lambda: parts.recorder.in_flight)
        metrics.gauge("connections", parts.connections)
        metrics.gauge("replay_buffer_bytes", parts.replay_bytes)
        metrics.gauge("upstream_connections", lambda: parts.pool().open)
        metrics.gauge("upstream_pool_waiting", lambda: parts.pool().waiting)
        metrics.gauge("client_certificate_expiry_timestamp_seconds", self._certificate_expiry)
        metrics.labelled_gauge("token_expiry_timestamp_seconds", self._expiries)
        metrics.labelled_gauge("latched", self._latches)

    def _expiries(self) -> Iterator[Sample]:
        for status in (source.status() for source in self._parts.tokens):
            if status.expires_at is not None:
                yield (status.credential,), status.expires_at

    def _certificate_expiry(self) -> float | None:
        certificate = self._parts.certificate()
        return None if certificate is None else certificate.expires_at

    def _latches(self) -> Iterator[Sample]:
        for status in (source.status() for source in self._parts.tokens):
            for reason in _REASONS:
                yield (status.credential, reason), int(status.latch_reason == reason)


def _last_error(record: CallRecord, wall_offset: float) -> LastError:
    """``wall_offset`` turns ``Clock.now()`` into Unix time."""
    return LastError(
        at=record.started + record.duration + wall_offset,
        id=record.id,
        method=record.method,
        path=record.shown_path,
        status=record.status or None,
        code=record.error.value if record.error is not None else "",
        outcome=record.outcome.value if record.outcome is not None else "",
    )
