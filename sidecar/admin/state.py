"""What the admin port shows: a protocol for the server, and the snapshot taken of the running parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from sidecar.admin.readiness import readiness
from sidecar.admin.status import SLOW_SECONDS, CallTotals, ReloadStatus, Snapshot, Status
from sidecar.admin.views import (
    deprecated_calls,
    foreign_calls,
    history_sample,
    last_error,
    recent_call,
    recovered_call,
    upstream_status,
)
from sidecar.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sidecar.admin.status import (
        BatchLane,
        HistorySample,
        PoolStatus,
        ProxyStatus,
        Readiness,
        RecentCall,
    )
    from sidecar.core.clock import Clock
    from sidecar.core.hooks import HooksStatus
    from sidecar.telemetry.exposition import Sample
    from sidecar.telemetry.history import History
    from sidecar.telemetry.metrics import Metrics
    from sidecar.telemetry.recent import RecentCalls
    from sidecar.telemetry.recorder import CallRecorder
    from sidecar.tokens.status import StoreStatus, TokenStatus
    from sidecar.tracing.status import TracingStatus
    from sidecar.upstream.expiry import CertificateStatus

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

    def snapshot(self) -> Snapshot:
        """The status document without the lists of past calls and samples."""
        ...

    @property
    def calls_ended(self) -> int:
        """How many calls have ended since the start."""
        ...

    def recent_calls(self, most: int | None = None) -> tuple[RecentCall, ...]:
        """Return the last calls, or the last ``most`` of them, newest first."""
        ...

    @property
    def samples_taken(self) -> int:
        """How many samples the history has got since the start."""
        ...

    def history(self) -> tuple[HistorySample, ...]:
        """Return the samples of the last minutes, oldest first."""
        ...

    def metrics(self) -> bytes:
        """What ``/metrics`` says."""
        ...


class TokenStatusSource(Protocol):
    """A token manager, as far as it is shown."""

    @property
    def ready(self) -> bool:
        """Whether calls can be expected to get a token."""
        ...

    def status(self) -> TokenStatus:
        """A snapshot without the token."""
        ...


class Identity(msgspec.Struct, frozen=True):
    """What does not change while the process lives."""

    environment: str
    base_url: str
    client_id: str
    replay_budget: int
    max_connections: int
    warnings: tuple[str, ...]


class Parts(msgspec.Struct, frozen=True):
    """The running parts, as far as they are shown; the callables read one number each."""

    phase: Callable[[], str]
    #: The API credential's first.
    tokens: Sequence[TokenStatusSource]
    metrics: Metrics
    recorder: CallRecorder
    recent: RecentCalls
    history: History
    pool: Callable[[], PoolStatus]
    proxy: Callable[[], ProxyStatus]
    connections: Callable[[], int]
    replay_bytes: Callable[[], int]
    #: None: there is no client certificate.
    certificate: Callable[[], CertificateStatus | None]
    #: Why the last reload failed; the empty string if it did not. None: nothing can be reloaded.
    reload_error: Callable[[], str | None]
    #: Whether the API key may not read stored responses.
    read_back_forbidden: Callable[[], bool]
    #: None: tokens are kept in memory.
    store: Callable[[], StoreStatus | None] = lambda: None
    #: None: nobody looks at the hooks.
    hooks: Callable[[], HooksStatus | None] = lambda: None
    #: Told what turns ``Clock.now()`` into Unix time. None: nothing is reserved.
    batch_lane: Callable[[float], BatchLane | None] = lambda offset: None
    #: None: there are no traces.
    tracing: Callable[[], TracingStatus | None] = lambda: None


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
        self._parts.recorder.flush()
        return self._parts.metrics.expose()

    def status(self) -> Status:
        """The whole document."""
        snapshot = self.snapshot()
        facts = {name: getattr(snapshot, name) for name in Snapshot.__struct_fields__}
        return Status(**facts, recent_calls=self.recent_calls(), history=self.history())

    @property
    def calls_ended(self) -> int:
        """How many calls have ended since the start."""
        self._parts.recorder.flush()
        return self._parts.recent.total

    def recent_calls(self, most: int | None = None) -> tuple[RecentCall, ...]:
        """The last calls, newest first."""
        self._parts.recorder.flush()
        offset = self._wall_offset()
        return tuple(recent_call(record, offset) for record in self._parts.recent.newest_first(most))

    @property
    def samples_taken(self) -> int:
        """How many samples the history has got since the start."""
        return self._parts.history.taken

    def history(self) -> tuple[HistorySample, ...]:
        """The last ten minutes, oldest first."""
        offset = self._wall_offset()
        return tuple(history_sample(sample, offset) for sample in self._parts.history.samples())

    def snapshot(self) -> Snapshot:
        """The facts of this moment, and what they mean."""
        from sidecar.admin.findings import findings  # most processes are never asked for them

        facts = self._facts()
        return msgspec.structs.replace(facts, findings=findings(facts))

    def _facts(self) -> Snapshot:
        self._parts.recorder.flush()
        identity, parts, now = self._identity, self._parts, self._clock.now()
        wall = self._clock.wall()
        offset = wall - now
        return Snapshot(
            version=__version__,
            environment=identity.environment,
            base_url=identity.base_url,
            client_id=identity.client_id,
            time=wall,
            uptime_seconds=now - self._started,
            phase=parts.phase(),
            readiness=self.readiness(),
            findings=(),
            tokens=tuple(source.status() for source in parts.tokens),
            store=parts.store(),
            tracing=parts.tracing(),
            client_certificate=parts.certificate(),
            rate_limits=parts.metrics.rate_limits.windows(),
            batch_lane=parts.batch_lane(offset),
            deprecated_calls=deprecated_calls(parts.recent.deprecated, offset),
            pool=parts.pool(),
            upstream=upstream_status(parts.recent.health(now), offset),
            calls=CallTotals(
                **parts.metrics.totals(),
                in_flight=parts.recorder.in_flight,
                connections=parts.connections(),
                max_connections=identity.max_connections,
            ),
            last_mended=recovered_call(parts.recent.recovered, offset),
            foreign_calls=foreign_calls(parts.recent.foreign, offset),
            proxy=parts.proxy(),
            replay_buffer_bytes=parts.replay_bytes(),
            replay_budget_bytes=identity.replay_budget,
            reload=self._reload(),
            read_back_forbidden=parts.read_back_forbidden(),
            hooks=parts.hooks(),
            last_errors=tuple(last_error(record, offset) for record in parts.recent.errors_newest_first()),
            warnings=identity.warnings,
            slow_seconds=SLOW_SECONDS,
        )

    def _reload(self) -> ReloadStatus | None:
        error = self._parts.reload_error()
        return None if error is None else ReloadStatus(successful=not error, error=error)

    def _wall_offset(self) -> float:
        """What turns ``Clock.now()`` into Unix time."""
        return self._clock.wall() - self._clock.now()

    def _connect_gauges(self) -> None:
        parts, metrics = self._parts, self._parts.metrics
        metrics.requests_in_flight.read = lambda: parts.recorder.in_flight
        metrics.connections.read = parts.connections
        metrics.replay_buffer_bytes.read = parts.replay_bytes
        metrics.upstream_connections.read = lambda: parts.pool().open
        metrics.upstream_pool_waiting.read = lambda: parts.pool().waiting
        metrics.certificate_expiry.read = self._certificate_expiry
        metrics.store_up.read = self._store_up
        metrics.token_expiry.read = self._expiries
        metrics.latched.read = self._latches

    def _expiries(self) -> Iterator[Sample]:
        for status in (source.status() for source in self._parts.tokens):
            if status.expires_at is not None:
                yield (status.credential,), status.expires_at

    def _certificate_expiry(self) -> float | None:
        certificate = self._parts.certificate()
        return None if certificate is None else certificate.expires_at

    def _store_up(self) -> float | None:
        store = self._parts.store()
        return None if store is None or store.up is None else int(store.up)

    def _latches(self) -> Iterator[Sample]:
        for status in (source.status() for source in self._parts.tokens):
            for reason in _REASONS:
                yield (status.credential, reason), int(status.latch_reason == reason)
