"""The whole proxy port without a socket: bytes of a caller go in, and a Mangopay that follows a script is behind it.

Everything between the two transports is the sidecar's own; time and chance are the test's.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, cast

from structlog.testing import capture_logs

from sidecar.core.admission.caller import Callers
from sidecar.core.admission.guard import GuardRules
from sidecar.core.admission.lane import LaneRules
from sidecar.core.admission.policy import Policy
from sidecar.core.client_id import ClientIdRules
from sidecar.core.endpoint import Endpoint
from sidecar.downstream.server import ProxyServer
from sidecar.proxy.about import About
from sidecar.proxy.admission import Admission
from sidecar.proxy.batch_lane import BatchLane, LaneLimits
from sidecar.proxy.body import BodyLimits, BodyReader
from sidecar.proxy.budget import ReplayBudget
from sidecar.proxy.exchange import Exchanger
from sidecar.proxy.forward import Forwarder
from sidecar.proxy.handler import ProxyHandler
from sidecar.proxy.readback import LostResponses
from sidecar.telemetry.metrics import Metrics
from sidecar.telemetry.recorder import CallRecorder
from sidecar.telemetry.request_ids import RequestIds
from sidecar.tokens.credentials import Credentials
from sidecar.upstream.errors import before_a_byte
from sidecar.upstream.pool import Pool
from tests.support.clock import FakeClock
from tests.support.proxy_port import listen_limits
from tests.support.tokens import FakeSource, Managers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from sidecar.core.errors import SidecarError
    from sidecar.core.resend import FailureKind
    from sidecar.telemetry.record import CallRecord
    from sidecar.tokens.manager import TokenManager
    from sidecar.upstream.connection import Connection
    from sidecar.upstream.dialing import Dialer

CLIENT_ID: Final = "acme"
#: Bytes: a larger body is streamed. One below it may still go out in pieces (``upstream.sending.ONE_WRITE_LIMIT``).
REPLAY_MAX_BODY: Final = 128 * 1024
#: Seconds, so that a call that gets no response ends after few steps of the clock.
RESPONSE_TIMEOUT: Final = 4.0


class MemoryTransport(asyncio.Transport):
    """An open connection whose other end is the test."""

    def __init__(self, protocol: asyncio.Protocol, written: Callable[[bytes], None]) -> None:
        super().__init__()
        self._protocol = protocol
        self._written = written
        self._closing = False
        self._lost = False
        #: It was aborted from here: over TCP, the other end would see a reset.
        self.cut = False
        self.paused = False

    def write(self, data: Any) -> None:
        if not self._closing:
            self._written(bytes(data))

    def write_eof(self) -> None:
        pass

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing is kept here: the other end has what was written."""

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            asyncio.get_running_loop().call_soon(self._lose, None)

    def abort(self) -> None:
        self.cut = True
        self.close()

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def get_write_buffer_size(self) -> int:
        return 0

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return SimpleNamespace(setsockopt=lambda *_: None) if name == "socket" else default

    def end(self, error: Exception | None = None) -> None:
        """End the connection from the other side."""
        self._closing = True
        self._lose(error)

    def _lose(self, error: Exception | None) -> None:
        if not self._lost:
            self._lost = True
            self._protocol.connection_lost(error)


# --- Mangopay --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fate:
    """What happens to one attempt of a call."""

    #: Why it gets no connection; None: it gets one.
    fails: FailureKind | None = None
    #: All of the request is taken; else only its head, and the rest waits.
    takes_all: bool = True
    #: What is sent once that much has been taken.
    response: bytes = b""
    #: The connection breaks after that.
    breaks: bool = False


@dataclass
class Delivery:
    """An attempt of a call as Mangopay saw it."""

    head: bytes
    transport: MemoryTransport
    connection: Connection
    body: bytearray = field(default_factory=bytearray)
    #: The whole request has come.
    whole: bool = False

    @property
    def token(self) -> bytes:
        """The access token."""
        return self.head.partition(b"Authorization: Bearer ")[2].partition(b"\r\n")[0]

    @property
    def head_without_token(self) -> bytes:
        """The rest of the head."""
        return self.head.replace(self.token, b"")

    def respond(self, data: bytes) -> None:
        """Send bytes on its connection."""
        self.connection.data_received(data)


class ScriptedMangopay:
    """Follows a script, one :class:`Fate` for each attempt of a call. It stands where a Dialer does.

    Reading back is apart from that: each is answered by the next of :attr:`stored`, 404 when there is none.
    """

    def __init__(self) -> None:
        self.script: deque[Fate] = deque()
        self.stored: deque[bytes] = deque()
        #: Attempts of calls of which a byte came here.
        self.deliveries: list[Delivery] = []
        #: Targets of the read-backs.
        self.read_backs: list[str] = []
        self.dials = 0
        #: The descriptor that is asked whether something waits on a connection; negative: there is none.
        self.descriptor = -1

    async def dial(self, make: Callable[[], Connection], limit: float) -> tuple[Connection, Any]:
        assert limit > 0
        self.dials += 1
        if self.script and (kind := self.script[0].fails) is not None:
            self.script.popleft()
            raise before_a_byte(kind, "as the script says")
        connection = make()
        _Link(self, connection)
        return connection, SimpleNamespace(fileno=lambda: self.descriptor)


class _Link:
    """One connection to Mangopay."""

    def __init__(self, mangopay: ScriptedMangopay, connection: Connection) -> None:
        self._mangopay = mangopay
        self._connection = connection
        self._transport = MemoryTransport(connection, self._take)
        self._held = b""
        self._delivery: Delivery | None = None
        self._fate = Fate()
        connection.connection_made(self._transport)

    def _take(self, data: bytes) -> None:
        if self._delivery is None:
            self._held += data
            head, end, data = self._held.partition(b"\r\n\r\n")
            if not end:
                return
            self._held = b""
            if b"/responses/" in head.partition(b"\r\n")[0]:
                self._read_back(head)
                return
            assert self._mangopay.script, f"one delivery too many: {head[:40]!r}"
            self._fate = self._mangopay.script.popleft()
            self._delivery = Delivery(head + end, self._transport, self._connection)
            self._mangopay.deliveries.append(self._delivery)
            if not self._fate.takes_all:
                self._connection.pause_writing()
                self._soon(self._act)
        delivery = self._delivery
        delivery.body += data
        if _is_whole(delivery):
            delivery.whole = True
            self._delivery = None
            self._soon(self._act)

    def _read_back(self, head: bytes) -> None:
        self._mangopay.read_backs.append(head.split(b" ")[1].decode())
        stored = self._mangopay.stored
        data = stored.popleft() if stored else respond(404, b"{}")
        self._send(data)

    def _send(self, data: bytes) -> None:
        """Send in pieces, as a socket would bring them: one in each pass of the loop."""
        if data and not self._transport.is_closing():
            self._soon(lambda: self._connection.data_received(data[:65_536]))
            self._soon(lambda: self._send(data[65_536:]))

    def _act(self) -> None:
        if self._fate.response and not self._transport.is_closing():
            self._connection.data_received(self._fate.response)
        if self._fate.breaks:
            self._transport.end(ConnectionResetError())

    @staticmethod
    def _soon(act: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_soon(act)


def _is_whole(delivery: Delivery) -> bool:
    lines = delivery.head.lower().split(b"\r\n")
    if b"transfer-encoding: chunked" in lines:
        return delivery.body.endswith(b"0\r\n\r\n")
    lengths = [int(line.partition(b":")[2]) for line in lines if line.startswith(b"content-length:")]
    return len(delivery.body) >= sum(lengths)


def respond(status: int, body: bytes = b"", *headers: str, length: int | None = None) -> bytes:
    """Return a response with a length: that of its body, unless ``length`` is another."""
    lines = [f"HTTP/1.1 {status} Status", *headers]
    if status != 204:
        lines.append(f"Content-Length: {len(body) if length is None else length}")
    return "\r\n".join([*lines, "", ""]).encode() + body


# --- the proxy -------------------------------------------------------------------------------------------------------


class MemoryCaller:
    """A caller's connection."""

    def __init__(self, server: ProxyServer, *, on_unix_socket: bool = False) -> None:
        self.received = b""
        self._connection = server.unix_factory(None)() if on_unix_socket else server()
        self.transport = MemoryTransport(self._connection, self._take)
        self._connection.connection_made(self.transport)

    def send(self, data: bytes) -> None:
        for start in range(0, len(data), 65_536):
            self._connection.data_received(data[start : start + 65_536])

    def leave(self) -> None:
        """Hang up."""
        self.transport.end()

    def stop_reading(self) -> None:
        """Take no more: the transport holds enough from the next write on."""
        self._connection.pause_writing()

    def read_on(self) -> None:
        """Take everything again."""
        self._connection.resume_writing()

    def _take(self, data: bytes) -> None:
        self.received += data

    @property
    def status(self) -> int:
        """The response's status; 0 without one."""
        return int(self.received[9:12]) if self.received else 0

    def header(self, name: str) -> str | None:
        """Return the response's header; None if it has none of the name."""
        head = self.received.partition(b"\r\n\r\n")[0].decode("latin-1")
        fields = [line.split(": ", 1) for line in head.split("\r\n")[1:]]
        values = [value for key, value in fields if key.lower() == name.lower()]
        assert len(values) <= 1
        return values[0] if values else None

    @property
    def body(self) -> bytes:
        """What came behind the response's head, framing included."""
        return self.received.partition(b"\r\n\r\n")[2]


@dataclass
class MemoryProxy:
    """A proxy port, and what was seen on either side of it."""

    clock: FakeClock
    server: ProxyServer
    handler: ProxyHandler
    mangopay: ScriptedMangopay
    source: FakeSource
    metrics: Metrics
    lost_responses: LostResponses
    tokens: TokenManager
    pool: Pool
    #: None: nothing is reserved.
    lane: BatchLane | None
    recorder: CallRecorder
    #: Of the calls that are over.
    records: list[CallRecord]
    #: Log events.
    logs: list[Any]

    async def warm(self) -> None:
        """Make a call, so that there are a token and an idle connection; it is not remembered."""
        self.mangopay.script.append(Fate(response=respond(200, b"warm")))
        caller = await self.call(b"GET /v2.01/acme/warm HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert caller.status == 200
        self.mangopay.deliveries.clear()
        self.records.clear()

    async def call(self, request: bytes, *fates: Fate) -> MemoryCaller:
        """Send a request, which meets ``fates``, and move the clock until its call is over."""
        caller = self.begin(request, *fates)
        await self.over()
        return caller

    def begin(self, request: bytes, *fates: Fate, on_unix_socket: bool = False) -> MemoryCaller:
        """Send a request, which meets ``fates``."""
        self.mangopay.script.extend(fates)
        caller = MemoryCaller(self.server, on_unix_socket=on_unix_socket)
        caller.send(request)
        return caller

    async def over(self, seconds: float = 30.0) -> CallRecord:
        """Move the clock until a call is over; return its record."""
        before, end = len(self.records), self.clock.now() + seconds
        await self.clock.settle()
        while len(self.records) == before:
            assert self.clock.now() < end, "the call does not end"
            await self.clock.advance(0.25)
        await self.clock.settle()
        return self.records[-1]

    @property
    def record(self) -> CallRecord:
        """That of the only call."""
        (record,) = self.records
        return record

    def unauthorized(self) -> dict[str, int]:
        """Return what the metric ``unauthorized_total`` has counted, zeros left out."""
        return {kind: count for (kind,), count in self.metrics.unauthorized_total.items() if count}


@contextlib.asynccontextmanager
async def in_memory(
    *,
    token: bool = True,
    resolve_conflicts: bool = False,
    reserve: float = 0.0,
    batch: Sequence[str] = (),
    wait: float = 0.0,
    most_waiting: int = 500,
) -> AsyncIterator[MemoryProxy]:
    """Serve; ``token``: one has been fetched; the rest as the settings of those names."""
    clock, metrics, mangopay = FakeClock(), Metrics(), ScriptedMangopay()
    managers = Managers(clock)
    tasks = managers.tasks
    source = FakeSource(clock)
    manager = managers.start(source)
    records: list[CallRecord] = []
    recorder = CallRecorder(RequestIds(bytes(5)), clock, (metrics.observe_call, records.append))
    pool = Pool(cast("Dialer", mangopay), size=2, clock=clock, tasks=tasks)
    endpoint = Endpoint.parse("https://api.example.com")
    exchanger = Exchanger(pool, clock)
    lost_responses = LostResponses(exchanger, endpoint=endpoint, client_id=CLIENT_ID, clock=clock, metrics=metrics)
    lane = None
    if reserve:
        lane = BatchLane(
            LaneRules(batch), LaneLimits(reserve, wait, most_waiting), clock=clock, tasks=tasks, metrics=metrics
        )
    handler = ProxyHandler(
        Admission(
            guard=GuardRules(frozenset()),
            unix_guard=GuardRules(frozenset(), check_host=False),
            client_ids=ClientIdRules(CLIENT_ID, ("_",), forward_foreign=True),
            callers=Callers(None),
            policy=Policy.compile(False, ("* /**",), ()),
            endpoint=endpoint,
            batch=lane,
        ),
        Credentials(api=manager, embedded=None),
        BodyReader(BodyLimits(1024 * 1024, REPLAY_MAX_BODY), ReplayBudget(1024 * 1024)),
        Forwarder(
            exchanger,
            lost_responses,
            response_timeout=RESPONSE_TIMEOUT,
            resolve_conflicts=resolve_conflicts,
            clock=clock,
            metrics=metrics,
            batch=lane,
        ),
        About("sandbox", "_", lambda: None, False),
        recorder=recorder,
        clock=clock,
    )

    def report(error: SidecarError) -> str:
        raise AssertionError(f"no handler saw {error.code}")

    server = ProxyServer(handler, limits=listen_limits(), clock=clock, report=report)
    with capture_logs() as logs:
        try:
            if token:
                await manager.take(clock.now() + 1)
            yield MemoryProxy(
                clock,
                server,
                handler,
                mangopay,
                source,
                metrics,
                lost_responses,
                manager,
                pool,
                lane,
                recorder,
                records,
                cast("list[Any]", logs),
            )
        finally:
            await server.close()
            await pool.close()
            await managers.close()
