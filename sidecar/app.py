"""The composition root: the only place that builds the parts and wires them."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from contextlib import AsyncExitStack, ExitStack
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog

from sidecar.admin.server import AdminServer
from sidecar.admin.state import Identity, LiveState, Parts
from sidecar.admin.status import BatchLane as BatchLaneStatus
from sidecar.admin.status import PoolStatus, ProxyStatus
from sidecar.authenticated_upstream import AuthenticatedUpstream
from sidecar.config import ConfigError, MangopayEnvironment
from sidecar.core import descriptors
from sidecar.core.admission.caller import Callers
from sidecar.core.admission.guard import GuardRules
from sidecar.core.admission.policy import Policy
from sidecar.core.client_id import ANY, ClientIdRules
from sidecar.downstream.addresses import ListenError
from sidecar.downstream.inherited import Inherited
from sidecar.downstream.limits import ConnectionLimits
from sidecar.downstream.server import ProxyServer
from sidecar.lifecycle import EXIT_BAD_CONFIG, Lifecycle, StartError
from sidecar.patience import AttendedClock
from sidecar.ports import Ports
from sidecar.proxy.about import About
from sidecar.proxy.admission import Admission
from sidecar.proxy.body import BodyLimits, BodyReader
from sidecar.proxy.budget import ReplayBudget
from sidecar.proxy.exchange import Exchanger
from sidecar.proxy.forward import Forwarder
from sidecar.proxy.handler import ProxyHandler
from sidecar.proxy.readback import LostResponses
from sidecar.runtime import SystemClock, Tasks, allow_descriptors
from sidecar.telemetry.history import History
from sidecar.telemetry.metrics import Metrics
from sidecar.telemetry.recent import RecentCalls
from sidecar.telemetry.record import CallRecord
from sidecar.telemetry.recorder import CallRecorder
from sidecar.telemetry.request_ids import RequestIds
from sidecar.telemetry.request_log import RequestLog
from sidecar.terminal import on_sighup
from sidecar.tracing.opening import open_traces

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Set as AbstractSet

    from sidecar.admin.status import Readiness
    from sidecar.config import Config
    from sidecar.core.clock import Clock
    from sidecar.core.errors import SidecarError
    from sidecar.ports import Ready
    from sidecar.proxy.batch_lane import BatchLane
    from sidecar.proxy.hook_watch import HookWatch
    from sidecar.telemetry.log_output import LogOutput
    from sidecar.tracing.traces import Traces

#: Bodies that may be streamed beyond as many as there are connections to stream them on.
SPARE_STREAMS: Final = 28

_log = structlog.get_logger()


class Sidecar:
    """The parts of one sidecar, wired; :meth:`start` opens its ports, :meth:`close` ends everything."""

    def __init__(  # noqa: PLR0913 - what differs between run, demo and wrap
        self,
        config: Config,
        *,
        log: LogOutput,
        lifecycle: Lifecycle,
        clock: Clock,
        read_config: Callable[[], Config] | None = None,
        inherited: Inherited | None = None,
        unset_ports: AbstractSet[str] = frozenset(),
        own_emulator: bool = False,
    ) -> None:
        """Wire the parts. With ``read_config`` keys and certificates can change. Raises StartError.

        ``inherited`` and ``unset_ports``: see Ports. ``own_emulator``: upstream is an emulator in this process, so
        there is nothing to warn of.
        """
        self._config: Final = config
        self._clock: Final = clock
        self._tasks: Final = Tasks()
        self._metrics: Final = Metrics()
        self._recent: Final = RecentCalls()
        self._traces: Final = self._open_traces()
        request_log = RequestLog(
            log,
            environment=config.mangopay.environment,
            errors_only=config.log.requests == "errors",
        )
        self._recorder: Final = CallRecorder(
            RequestIds(os.urandom(8)),
            clock,
            (request_log.write, self._metrics.observe_call, *self._watchers()),
            confirm=log.confirm,
            later=_call_later,
        )
        # Whatever reads what the observers keep, or tells what happened since, has them told before.
        log.before_event = self._recorder.flush
        self._history: Final = History(self._metrics, clock, self._recorder.flush)
        self._attended: Final = AttendedClock(clock)
        self._upstream: Final = AuthenticatedUpstream(
            config,
            clock=clock,
            tasks=self._tasks,
            metrics=self._metrics,
            read_config=read_config,
            attended=self._attended,
        )
        self._credentials: Final = self._upstream.credentials
        self._budget: Final = ReplayBudget(config.replay.budget)
        self._exchanger: Final = Exchanger(self._upstream.pool, clock, self._attended)
        self._lost_responses: Final = LostResponses(
            self._exchanger,
            endpoint=config.mangopay.endpoint,
            client_id=config.mangopay.client_id,
            clock=clock,
            metrics=self._metrics,
        )
        listen, pool_size = config.listen, config.upstream.pool_size
        self._wanted_descriptors: Final = descriptors.wanted(listen.max_connections, pool_size)
        self._allowed_descriptors: Final = allow_descriptors(self._wanted_descriptors)
        self._descriptors: Final = descriptors.share_out(self._allowed_descriptors, listen.max_connections, pool_size)
        self._ports: Final = Ports(config, inherited or Inherited(), unset_ports)
        self._batch: Final = self._make_batch_lane()
        self._handler: Final = self._make_handler()
        self._server: Final = self._make_server()
        self._state: Final = self._make_state(lifecycle)
        self._admin_server: Final = AdminServer(
            self._state,
            GuardRules(frozenset(config.listen.allowed_hosts), for_browsers=True),
            clock=clock,
            most_connections=self._descriptors.admin,
        )
        self._hook_watch: Final = self._make_hook_watch() if config.admin.watch_hooks else None
        self._own_emulator: Final = own_emulator

    # --- life --------------------------------------------------------------------------------------------------------

    async def start(self) -> Ready:
        """Open the ports and begin to fetch a token. Raises StartError."""
        config = self._config
        for warning in config.warnings:
            _log.warning("config.warning", message=warning)
        if config.mangopay.environment is MangopayEnvironment.EMULATOR and not self._own_emulator:
            _log.warning(
                "config.emulator",
                message="environment is 'emulator': credentials may travel unencrypted, never use it for money",
            )
        self._check_descriptors()
        self._tasks.spawn(self._attended.watch(), name="standstill.watch")
        self._upstream.start()
        self._server.run(self._tasks)
        if config.admin.port is not None:
            self._tasks.spawn(self._history.run(), name="history.sampler")
        if self._hook_watch is not None:
            self._tasks.spawn(self._hook_watch.run(), name="hooks.watch")
        try:
            ready = await self._ports.open(self._server, self._admin_server)
        except ListenError as error:
            raise StartError(str(error)) from None
        _log.info("listener.ready", proxy=ready.proxy, admin=ready.admin)
        return ready

    def _check_descriptors(self) -> None:
        """Warn if not every connection that the configuration allows can be opened: fewer are taken then."""
        if self._allowed_descriptors < self._wanted_descriptors:
            _log.warning(
                "descriptors.scarce",
                allowed=self._allowed_descriptors,
                wanted=self._wanted_descriptors,
                connections=self._descriptors.connections,
                message="fewer connections of callers are taken than SIDECAR_LISTEN_MAX_CONNECTIONS says: raise the "
                "limit of open files (ulimit -n), or lower it or SIDECAR_UPSTREAM_POOL_SIZE",
            )

    async def close(self) -> None:
        """Stop everything; calls that still run are answered with what is known of them."""
        async with AsyncExitStack() as stack:
            if self._traces is not None:
                stack.push_async_callback(self._traces.close)  # last: it waits for what flush has begun below
            stack.push_async_callback(self._tasks.close)
            stack.push_async_callback(self._upstream.pool.close)
            stack.push_async_callback(self._upstream.close_store)
            for manager in self._upstream.managers:
                stack.push_async_callback(manager.close)
            stack.callback(self._ports.close)
            stack.push_async_callback(self._admin_server.close)
            stack.callback(self._recorder.flush)  # first of all: what hangs below must not cost a line
            self._ports.close_to_callers()
            self._handler.cut_short()
            await self._server.close()
            if self._traces is not None:
                self._recorder.flush()  # the last calls are told of before what is left is sent
                self._traces.flush()

    def readiness(self) -> Readiness:
        """Return what ``/readyz`` says, also where there is no admin port."""
        return self._state.readiness()

    def reload(self) -> None:
        """Read keys and certificates anew, and use those that changed and are good."""
        self._upstream.reload()

    # --- what the life cycle asks ------------------------------------------------------------------------------------

    def begin_drain(self) -> None:
        """Answer new requests 503 ``shutting_down`` from now on."""
        self._handler.draining = True
        if self._batch is not None:
            self._batch.close()
        self._server.begin_drain()

    async def drained(self, deadline: float) -> bool:
        """Return True once no call is in flight, or False at ``deadline`` (``Clock.now``)."""
        return await self._server.drained(deadline)

    # --- wiring ------------------------------------------------------------------------------------------------------

    def _make_handler(self) -> ProxyHandler:
        config, clock = self._config, self._clock
        endpoint, client_id = config.mangopay.endpoint, config.mangopay.client_id
        hosts = frozenset(config.listen.allowed_hosts)
        admission = Admission(
            guard=GuardRules(hosts),
            unix_guard=GuardRules(hosts, check_host=False),
            client_ids=ClientIdRules(
                client_id,
                config.mangopay.client_id_aliases,
                forward_foreign=config.mangopay.foreign_client_ids == "forward",
            ),
            callers=Callers(config.listen.caller_key),
            policy=Policy.compile(config.policy.read_only, config.policy.allow, config.policy.deny),
            endpoint=endpoint,
            batch=self._batch,
        )
        forwarder = Forwarder(
            self._exchanger,
            self._lost_responses,
            response_timeout=config.upstream.response_timeout,
            resolve_conflicts=config.replay.resolve_conflicts,
            clock=clock,
            metrics=self._metrics,
            batch=self._batch,
        )
        limits = BodyLimits(config.listen.max_body, config.replay.max_body, config.upstream.pool_size + SPARE_STREAMS)
        bodies = BodyReader(limits, self._budget)
        return ProxyHandler(
            admission,
            self._credentials,
            bodies,
            forwarder,
            self._make_about(),
            recorder=self._recorder,
            clock=clock,
            correlate=CallRecord.correlate if self._traces is None else self._traces.correlate,
        )

    def _make_batch_lane(self) -> BatchLane | None:
        """Return the lane that holds batch calls; None if ``limits.reserve`` is 0%."""
        limits = self._config.limits
        if not limits.reserve:
            return None
        from sidecar.core.admission.lane import LaneRules
        from sidecar.proxy.batch_lane import BatchLane, LaneLimits

        return BatchLane(
            LaneRules(limits.batch),
            LaneLimits(limits.reserve, limits.wait, max(1, self._descriptors.connections // 2)),
            clock=self._clock,
            tasks=self._tasks,
            metrics=self._metrics,
        )

    def _open_traces(self) -> Traces | None:
        try:
            return open_traces(self._config, clock=self._clock, chance=random.getrandbits)
        except ConfigError as error:
            raise StartError(str(error), EXIT_BAD_CONFIG) from None

    def _make_server(self) -> ProxyServer:
        try:
            return ProxyServer(
                self._handler,
                limits=self._connection_limits(),
                clock=self._clock,
                report=self._report,
                most_refused=self._descriptors.refused,
            )
        except ListenError as error:
            raise StartError(str(error)) from None

    def _make_about(self) -> About:
        return About(
            environment=self._config.mangopay.environment,
            client_segment=self._client_segment(or_else="YOUR-CLIENT-ID"),
            admin=lambda: self._ports.admin_url,
            needs_caller_key=self._config.listen.caller_key is not None,
        )

    def _make_hook_watch(self) -> HookWatch:
        from sidecar.proxy.hook_watch import HookWatch

        return HookWatch(
            self._exchanger,
            self._credentials.api,
            endpoint=self._config.mangopay.endpoint,
            client_id=self._config.mangopay.client_id,
            clock=self._clock,
            chance=random.random,
            metrics=self._metrics,
            turn=None if self._batch is None else self._batch.turn,
        )

    def _client_segment(self, *, or_else: str) -> str:
        """What an app can always write for the ClientId."""
        return "_" if {"_", ANY} & set(self._config.mangopay.client_id_aliases) else or_else

    def _connection_limits(self) -> ConnectionLimits:
        listen = self._config.listen
        return ConnectionLimits(
            header_timeout=listen.header_timeout,
            body_timeout=listen.body_timeout,
            keepalive_timeout=listen.keepalive_timeout,
            max_connections=self._descriptors.connections,
            max_body=listen.max_body,
        )

    def _watchers(self) -> tuple[Callable[[CallRecord], None], ...]:
        """Return who keeps calls for the status document, if there is an admin port, and who sends their traces."""
        kept = () if self._config.admin.port is None else (self._recent.observe,)
        return kept if self._traces is None else (*kept, self._traces.observe)

    def _report(self, error: SidecarError) -> str:
        """Record a refusal that no handler saw: bytes that are no request."""
        record = self._recorder.open("-", "-")
        record.failed(error)
        self._recorder.close(record)
        return record.id

    def _make_state(self, lifecycle: Lifecycle) -> LiveState:
        config = self._config
        identity = Identity(
            environment=config.mangopay.environment,
            base_url=config.mangopay.endpoint.origin + config.mangopay.endpoint.prefix,
            client_id=config.mangopay.client_id,
            replay_budget=config.replay.budget,
            max_connections=self._descriptors.connections,
            warnings=config.warnings,
        )
        parts = Parts(
            phase=lambda: lifecycle.phase.value,
            tokens=self._upstream.managers,
            metrics=self._metrics,
            recorder=self._recorder,
            recent=self._recent,
            history=self._history,
            pool=self._pool_status,
            proxy=self._proxy_status,
            connections=lambda: self._server.open_connections,
            replay_bytes=lambda: self._budget.used,
            certificate=lambda: self._upstream.certificate,
            reload_error=lambda: self._upstream.reload_error,
            read_back_forbidden=lambda: self._lost_responses.forbidden,
            hooks=lambda: None if self._hook_watch is None else self._hook_watch.status,
            store=lambda: self._upstream.store,
            batch_lane=self._batch_lane_status,
            tracing=lambda: None if self._traces is None else self._traces.status(),
        )
        return LiveState(identity, parts, self._clock)

    def _pool_status(self) -> PoolStatus:
        pool = self._upstream.pool
        return PoolStatus(size=self._config.upstream.pool_size, open=pool.open, idle=pool.idle, waiting=pool.waiting)

    def _batch_lane_status(self, offset: float) -> BatchLaneStatus | None:
        lane = self._batch
        if lane is None:
            return None
        from sidecar.core.steward import Permission

        ruling = lane.ruling()
        return BatchLaneStatus(
            reserve=lane.limits.reserve,
            waiting=lane.waiting,
            room_at=ruling.until + offset if ruling.permission is Permission.ROOM else None,
            window=ruling.window,
            refused_at=None if lane.refused_at is None else lane.refused_at + offset,
        )

    def _proxy_status(self) -> ProxyStatus:
        return ProxyStatus(
            addresses=self._ports.addresses,
            needs_caller_key=self._config.listen.caller_key is not None,
            client_segment=self._client_segment(or_else=self._config.mangopay.client_id),
        )


def _call_later(seconds: float, function: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_later(seconds, function)


async def serve(  # noqa: PLR0913 - what differs between run and demo
    config: Config,
    *,
    log: LogOutput,
    on_ready: Callable[[Ready], None],
    read_config: Callable[[], Config] | None = None,
    inherited: Callable[[], Inherited] = Inherited,
    unset_ports: AbstractSet[str] = frozenset(),
    own_emulator: bool = False,
    leave: Callable[[int], None] | None = None,
) -> int:
    """Serve until a signal, drain, and return the exit status. Raises StartError.

    ``read_config`` reads the configuration anew: when a file of a key or certificate changes, and on SIGHUP.
    ``inherited`` gives the sockets that a service manager has opened already; for ``unset_ports`` and ``own_emulator``
    see Sidecar.
    ``leave`` is told the exit status when only closing is left, see Lifecycle.
    """
    clock = SystemClock()
    lifecycle = Lifecycle(clock, delay=config.shutdown.delay, drain=config.shutdown.drain, leave=leave)
    with lifecycle.signals(), ExitStack() as stack:
        try:
            sockets = inherited()
        except ListenError as error:
            raise StartError(str(error)) from None
        sidecar = Sidecar(
            config,
            log=log,
            lifecycle=lifecycle,
            clock=clock,
            read_config=read_config,
            inherited=sockets,
            unset_ports=unset_ports,
            own_emulator=own_emulator,
        )
        if read_config is not None:
            stack.enter_context(on_sighup(sidecar.reload, partial(lifecycle.receive, signal.SIGHUP)))
        try:
            ready = await sidecar.start()
            lifecycle.started()
            on_ready(ready)
            return await lifecycle.run(sidecar)
        finally:
            await sidecar.close()
