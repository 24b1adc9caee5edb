"""A caller's connection without a socket: its phases, what each deadline does, and what it says of itself."""

from __future__ import annotations

import asyncio
import errno
import math
import socket
from typing import TYPE_CHECKING, Any

import pytest

from sidecar.core.errors import ErrorCode, SidecarError
from sidecar.downstream.connection import LINGER, CallerConnection, ConnectionPhase, Handler
from sidecar.downstream.errors import CallerGoneError
from sidecar.downstream.memory import ConnectionMemory
from sidecar.downstream.refusals import too_many_connections
from sidecar.turns import Turns
from tests.support.proxy_port import GET, chunked, get, listen_limits, ok, post

if TYPE_CHECKING:
    from sidecar.downstream.request import CallerRequest
    from sidecar.downstream.response import CallerResponse

_LIMITS = listen_limits(header_timeout=10.0, body_timeout=30.0, keepalive_timeout=75.0, max_body=100_000)
_NOW = 1000.0


class _Transport(asyncio.Transport):
    """Writes down what it is asked to do."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.done: list[str] = []
        self.unsent = 0
        #: What closing one side raises.
        self.error: OSError | None = None

    def write(self, data: Any) -> None:
        self.written += data

    def write_eof(self) -> None:
        if self.error is not None:
            raise self.error
        self.done.append("half close")

    def close(self) -> None:
        self.done.append("close")

    def abort(self) -> None:
        self.done.append("abort")

    def is_closing(self) -> bool:
        return "close" in self.done or "abort" in self.done

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Take any."""

    def pause_reading(self) -> None:
        """Stop."""

    def resume_reading(self) -> None:
        """Go on."""


class _Port:
    """The server's side, which writes down what it is told; a handler waits for its gate."""

    def __init__(self, refusal: SidecarError | None = None) -> None:
        self.limits = _LIMITS
        self.next_deadline_base = _NOW
        self.draining = False
        self.turns = Turns()
        self.memory = ConnectionMemory()
        self.seen: list[str] = []
        self.gate = asyncio.Event()
        self.states: list[str] = []
        self.refused: list[ErrorCode] = []
        self._refusal = refusal
        self.response: CallerResponse = ok()
        self.handler: Handler = self._answer

    async def _answer(self, request: CallerRequest) -> CallerResponse:
        self.seen.append(f"{request.method} {request.raw_path}")
        await self.gate.wait()
        return self.response

    def admit(self, *_: object) -> SidecarError | None:
        return self._refusal

    def forget(self, _: CallerConnection) -> None:
        self.states.append("gone")

    def mark_busy(self, _: CallerConnection) -> None:
        self.states.append("busy")

    def mark_idle(self, _: CallerConnection, gives_way: bool) -> None:
        self.states.append("gives way" if gives_way else "stays")

    def refusal(self, error: SidecarError, request_id: str | None = None) -> bytes:
        self.refused.append(error.code)
        return b"HTTP/1.1 %d \r\n\r\n" % error.status


class _Scene:
    def __init__(self, *, refusal: SidecarError | None = None) -> None:
        self.port = _Port(refusal)
        self.transport = _Transport()
        self.connection = CallerConnection(self.port)
        self.connection.connection_made(self.transport)

    def lose(self) -> None:
        self.connection.connection_lost(None)

    async def settle(self) -> None:
        for _ in range(8):
            await asyncio.sleep(0)

    async def enter(self, phase: ConnectionPhase) -> None:
        """Bring the connection to a phase, as a caller would."""
        connection, port = self.connection, self.port
        if phase is ConnectionPhase.HEAD:
            connection.data_received(GET[:9])
        elif phase is ConnectionPhase.BUSY:
            connection.data_received(post("/a", b"abc")[:-1])
        elif phase is not ConnectionPhase.FRESH and phase is not ConnectionPhase.REFUSED:
            port.gate.set()
            port.response = ok(keep_alive=phase is ConnectionPhase.IDLE)
            connection.data_received(post("/a", b"abc")[:-1] if phase is ConnectionPhase.LINGERING else GET)
        await self.settle()
        assert connection.phase is phase


async def _scene(phase: ConnectionPhase) -> _Scene:
    scene = _Scene(refusal=too_many_connections() if phase is ConnectionPhase.REFUSED else None)
    await scene.enter(phase)
    return scene


async def _end(scene: _Scene) -> None:
    task = scene.connection.task
    scene.port.gate.set()
    scene.lose()
    if task is not None:
        await asyncio.wait([task], timeout=5)
        assert task.exception() is None
    assert scene.port.states[-1] in {"gone", "stays"}


# --- what it says of itself ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", ConnectionPhase, ids=lambda phase: phase.name)
async def test_it_says_in_which_phase_it_is(phase: ConnectionPhase) -> None:
    scene = await _scene(phase)
    assert repr(scene.connection) == f"<CallerConnection [{phase.name}, 0 queued]>"
    await _end(scene)
    last = phase if phase is ConnectionPhase.BUSY else ConnectionPhase.CLOSING
    assert repr(scene.connection) == f"<CallerConnection [{last.name}, not connected]>"


async def test_it_says_how_many_requests_wait_and_that_it_is_not_connected_yet() -> None:
    assert repr(CallerConnection(_Port())) == "<CallerConnection [FRESH, not connected]>"
    scene = _Scene()
    scene.connection.data_received(GET * 3)
    await scene.settle()
    assert repr(scene.connection) == "<CallerConnection [BUSY, 2 queued]>"
    await _end(scene)


# --- phases and deadlines --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("phase", "seconds", "gives_way", "then", "told"),
    [
        (ConnectionPhase.FRESH, 10.0, True, ["close"], []),
        (ConnectionPhase.HEAD, 10.0, True, ["half close"], [ErrorCode.REQUEST_TIMEOUT]),
        (ConnectionPhase.IDLE, 75.0, True, ["close"], []),
        (ConnectionPhase.REFUSED, LINGER, False, ["abort"], []),
        (ConnectionPhase.LINGERING, LINGER, True, ["half close", "abort"], []),
        (ConnectionPhase.CLOSING, 30.0, False, ["close", "abort"], []),
        (ConnectionPhase.BUSY, math.inf, False, [], []),
    ],
    ids=lambda value: value.name if isinstance(value, ConnectionPhase) else "",
)
async def test_each_phase_has_its_deadline_and_what_happens_then(
    phase: ConnectionPhase, seconds: float, gives_way: bool, then: list[str], told: list[ErrorCode]
) -> None:
    scene = await _scene(phase)
    assert scene.connection.deadline == _NOW + seconds
    assert scene.port.states[-1] == ("busy" if phase is ConnectionPhase.BUSY else "gives way" if gives_way else "stays")
    scene.connection.sweep(_NOW + min(seconds, 1e9) - 0.001)
    assert scene.transport.done == then[:-1] or phase is ConnectionPhase.HEAD
    assert scene.port.refused == []
    if phase is not ConnectionPhase.BUSY:
        scene.connection.sweep(_NOW + seconds)
    assert (scene.transport.done, scene.port.refused) == (then, told)
    await _end(scene)


async def test_a_pause_within_a_body_fails_its_reader_and_nothing_more_is_read() -> None:
    scene = _Scene()
    scene.connection.data_received(post("/a", b"abc")[:-1])
    await scene.settle()
    scene.connection.start_body_timer()
    scene.connection.sweep(_NOW + 29.9)
    content = scene.connection._reader._current
    assert content is not None
    assert content.exception() is None
    scene.connection.sweep(_NOW + 30.0)
    error = content.exception()
    assert isinstance(error, SidecarError)
    assert (error.code, scene.connection.body_deadline) == (ErrorCode.REQUEST_TIMEOUT, math.inf)
    await _end(scene)


async def test_a_wait_for_memory_fails_and_the_body_is_left_alone() -> None:
    scene = _Scene()
    scene.connection.data_received(chunked("/a") + b"2\r\nab\r\n")
    await scene.settle()
    waiter = asyncio.get_running_loop().create_future()
    scene.connection.start_body_timer(waiter)
    scene.connection.sweep(_NOW + 30.0)
    error = waiter.exception()
    assert isinstance(error, SidecarError)
    assert error.code is ErrorCode.OVERLOADED
    assert scene.connection._reader._current is not None
    assert scene.connection._reader._current.exception() is None
    await _end(scene)


async def test_a_body_timer_that_was_stopped_does_nothing() -> None:
    scene = _Scene()
    scene.connection.data_received(post("/a", b"abc")[:-1])
    await scene.settle()
    scene.connection.start_body_timer()
    scene.connection.stop_body_timer()
    scene.connection.sweep(_NOW + 1e9)
    assert scene.connection._reader._current is not None
    assert scene.connection._reader._current.exception() is None
    await _end(scene)


# --- callers that leave ----------------------------------------------------------------------------------------------


async def test_a_caller_that_leaves_before_its_request_was_looked_at_gets_nothing_executed() -> None:
    scene = _Scene()
    scene.connection.data_received(GET)
    scene.lose()
    await scene.settle()
    task = scene.connection.task
    assert task is not None
    assert (task.done(), task.exception(), scene.port.seen) == (True, None, [])
    assert scene.port.states[-1] == "stays"


async def test_a_caller_that_leaves_between_two_requests_gets_the_second_one_not_executed() -> None:
    scene = await _scene(ConnectionPhase.IDLE)
    scene.connection.data_received(post("/pay", b"{}"))
    scene.lose()
    await scene.settle()
    task = scene.connection.task
    assert task is not None
    assert (task.done(), task.exception(), scene.port.seen) == (True, None, ["GET /a"])


async def test_a_caller_that_leaves_while_it_is_answered_is_told_to_all_that_wait_for_it() -> None:
    scene = _Scene()
    told: list[str] = []
    scene.connection.data_received(post("/a", b"abc")[:-1])
    await scene.settle()
    scene.connection.on_caller_gone = lambda: told.append("gone")
    waiter = asyncio.get_running_loop().create_future()
    scene.connection.start_body_timer(waiter)
    content = scene.connection._reader._current
    assert content is not None
    scene.lose()
    assert isinstance(content.exception(), CallerGoneError)
    assert isinstance(waiter.exception(), CallerGoneError)
    assert (told, scene.connection.phase) == (["gone"], ConnectionPhase.BUSY)  # the call runs on: its handler decides
    await _end_of_task(scene)
    assert scene.port.states[-2:] == ["gone", "stays"]


async def _end_of_task(scene: _Scene) -> None:
    scene.port.gate.set()
    task = scene.connection.task
    assert task is not None
    await asyncio.wait([task], timeout=5)
    assert task.exception() is None


async def test_a_connection_that_says_nothing_has_no_task() -> None:
    scene = await _scene(ConnectionPhase.HEAD)
    assert scene.connection.task is None
    await _end(scene)


# --- the last request ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wire", "draining", "last"),
    [
        (GET, False, False),
        (GET, True, True),
        (get("/a", "Connection: close"), False, True),
        (GET + get("/b", "Connection: close"), False, False),
    ],
)
async def test_it_knows_its_last_request(wire: bytes, draining: bool, last: bool) -> None:
    scene = _Scene()
    scene.port.draining = draining
    scene.connection.data_received(wire)
    await scene.settle()
    assert scene.connection.last_request is last
    await _end(scene)


async def test_what_lingers_is_thrown_away_up_to_the_largest_body() -> None:
    scene = await _scene(ConnectionPhase.LINGERING)
    scene.connection.data_received(b"x" * _LIMITS.max_body)
    assert scene.transport.done == ["half close"]
    scene.connection.data_received(b"x")
    assert scene.transport.done == ["half close", "abort"]
    await _end(scene)


async def test_a_refused_connection_is_told_when_it_speaks() -> None:
    scene = await _scene(ConnectionPhase.REFUSED)
    assert scene.transport.written == b""
    scene.connection.data_received(GET)
    assert scene.transport.written.startswith(b"HTTP/1.1 503 ")
    assert (scene.connection.phase, scene.port.refused, scene.port.seen) == (
        ConnectionPhase.LINGERING,
        [ErrorCode.OVERLOADED],
        [],
    )
    await _end(scene)


# --- the socket ------------------------------------------------------------------------------------------------------


@pytest.mark.any_loop
async def test_a_tcp_connection_is_kept_alive_and_sends_at_once() -> None:
    loop = asyncio.get_running_loop()
    made: list[CallerConnection] = []

    def factory() -> CallerConnection:
        made.append(CallerConnection(_Port()))
        return made[-1]

    server = await loop.create_server(factory, "127.0.0.1", 0)
    with socket.create_connection(server.sockets[0].getsockname()) as caller:
        async with asyncio.timeout(5):
            while not made or made[0]._transport is None:
                await asyncio.sleep(0)
        raw = made[0]._transport.get_extra_info("socket")
        assert raw.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        caller.close()
        async with asyncio.timeout(5):
            while "not connected" not in repr(made[0]):
                await asyncio.sleep(0)
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize("phase", [ConnectionPhase.LINGERING, ConnectionPhase.HEAD], ids=lambda phase: phase.name)
async def test_a_caller_that_resets_just_before_its_response_ends_breaks_nothing(phase: ConnectionPhase) -> None:
    """asyncio's transport shuts the socket down at once, and the system may say that there is no connection."""
    scene = _Scene()
    scene.transport.error = OSError(errno.ENOTCONN, "Transport endpoint is not connected")
    await scene.enter(phase)
    scene.connection.sweep(_NOW + LINGER + 10.0)
    scene.connection.sweep(_NOW + LINGER + 20.0)
    assert set(scene.transport.done) == {"abort"}
    await _end(scene)
