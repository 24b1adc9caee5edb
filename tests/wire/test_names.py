"""Names are resolved once for all who wait, each party apart, and no lookup that hangs holds up anything else."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import pytest

from sidecar.core.name_record import KEPT, MOST, PATIENCE
from sidecar.core.resend import FailureKind
from sidecar.network import connecting
from sidecar.network.connecting import connect, reach
from sidecar.network.resolver import Resolver, look_up
from sidecar.upstream.byte_protocol import ByteProtocol
from sidecar.upstream.dialing import Dialer
from sidecar.upstream.errors import UpstreamError
from tests.support.clock import FakeClock
from tests.support.ports import free_port
from tests.support.upstreams import OK, ScriptedNames, answering, hang, serve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sidecar.network.resolver import Addresses

pytestmark = pytest.mark.any_loop

NAME: Final = "api.test"


class Lookups:
    """What the system is asked, on threads; each lookup goes on when the test lets it."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.hosts: list[str] = []
        self.responses: list[Addresses | Exception] = []
        self._begun = threading.Semaphore(0)
        self._gates: list[threading.Event] = []

    def ask(self, host: str, port: int) -> Addresses:
        gate = threading.Event()
        self.hosts.append(host)
        self._gates.append(gate)
        self._begun.release()
        assert gate.wait(60)
        response = self.responses.pop(0)
        if isinstance(response, Exception):
            raise response
        return response

    async def begun(self, count: int = 1) -> None:
        """Wait until so many more lookups are under way."""
        for _ in range(count):
            while not self._begun.acquire(blocking=False):
                await asyncio.sleep(0.001)

    def let_go(self, *responses: Addresses | Exception) -> None:
        """Let the oldest lookups come back, with these responses."""
        for response in responses:
            self.responses.append(response)
            self._gates.pop(0).set()

    def resolver(self) -> Resolver:
        return Resolver("a test", self.clock, ask=self.ask)


@pytest.fixture
def lookups() -> Iterator[Lookups]:
    lookups = Lookups()
    yield lookups
    lookups.let_go(*(OSError("the test is over") for _ in lookups._gates[:]))


def at(port: int, host: str = "127.0.0.1") -> Addresses:
    return look_up(host, port, socket.AI_NUMERICHOST)


@contextmanager
def no_lookup(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail whoever uses the event loop's own lookups, or a thread."""

    def fail(*_: Any, **__: Any) -> Any:
        pytest.fail("a lookup, or a thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        patch.setattr(asyncio.BaseEventLoop, "getaddrinfo", fail)
        yield


# --- one for all -----------------------------------------------------------------------------------------------------


async def test_one_lookup_serves_all_who_wait_and_late_comers(lookups: Lookups) -> None:
    names = lookups.resolver()
    waiting = [asyncio.ensure_future(names.resolve(NAME, 1)) for _ in range(60)]
    await lookups.begun()
    lookups.let_go(at(1))
    assert await asyncio.gather(*waiting) == [at(1)] * 60
    await lookups.clock.advance(KEPT - 0.001)
    assert await names.resolve(NAME, 1) == at(1)
    assert lookups.hosts == [NAME]


async def test_a_response_that_comes_after_all_have_given_up_is_kept(lookups: Lookups) -> None:
    names = lookups.resolver()
    waiting = [asyncio.ensure_future(names.resolve(NAME, 1)) for _ in range(3)]
    await lookups.begun()
    for each in waiting:
        each.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    joined = asyncio.ensure_future(names.resolve(NAME, 1))
    await asyncio.sleep(0)
    joined.cancel()
    lookups.let_go(at(1))
    while names._names[NAME, 1].record.result is None:
        await asyncio.sleep(0.001)
    assert await names.resolve(NAME, 1) == at(1)
    assert lookups.hosts == [NAME]


async def test_an_old_response_is_not_used(lookups: Lookups) -> None:
    names = lookups.resolver()
    for port in (1, 2):
        waiting = asyncio.ensure_future(names.resolve(NAME, 0))
        await lookups.begun()
        lookups.let_go(at(port))
        assert await waiting == at(port)
        await lookups.clock.advance(KEPT)


async def test_all_who_wait_get_the_failure_and_the_next_one_asks_again(lookups: Lookups) -> None:
    names = lookups.resolver()
    waiting = [asyncio.ensure_future(names.resolve(NAME, 1)) for _ in range(5)]
    await lookups.begun()
    lookups.let_go(socket.gaierror(socket.EAI_NONAME, "unknown"))
    failures = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(each) for each in failures] == [socket.gaierror] * 5
    again = asyncio.ensure_future(names.resolve(NAME, 1))
    await lookups.begun()
    lookups.let_go(at(1))
    assert await again == at(1)


async def test_beside_a_lookup_that_hangs_another_serves_everybody(lookups: Lookups) -> None:
    names = lookups.resolver()
    first = asyncio.ensure_future(names.resolve(NAME, 1))
    await lookups.begun()
    await lookups.clock.advance(PATIENCE)
    second = asyncio.ensure_future(names.resolve(NAME, 1))
    await lookups.begun()
    hanging = lookups._gates.pop(0)
    lookups.let_go(at(1))
    assert await first == await second == at(1)
    lookups.responses.append(OSError("late"))
    hanging.set()


async def test_lookups_that_all_hang_take_few_threads(lookups: Lookups) -> None:
    names, waiting = lookups.resolver(), []
    for _ in range(3 * MOST):
        waiting.append(asyncio.ensure_future(names.resolve(NAME, 1)))
        await lookups.clock.advance(PATIENCE)
    await lookups.begun(MOST)
    assert len(lookups.hosts) == MOST
    lookups.let_go(at(1))
    assert await asyncio.gather(*waiting) == [at(1)] * (3 * MOST)
    for _ in range(MOST - 1):
        lookups.let_go(OSError("late"))


async def test_a_system_without_a_thread_left_is_an_error_like_others(
    lookups: Lookups, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    names = lookups.resolver()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        with pytest.raises(OSError, match="temporarily unavailable"):
            await names.resolve(NAME, 1)
    again = asyncio.ensure_future(names.resolve(NAME, 1))
    await lookups.begun()
    lookups.let_go(at(1))
    assert await again == at(1)


# --- each party apart ------------------------------------------------------------------------------------------------


async def test_a_party_whose_name_hangs_holds_up_no_other(lookups: Lookups) -> None:
    """More lookups of the store's name hang than any event loop has threads for them."""
    store, hanging = lookups.resolver(), []
    for _ in range(MOST):
        hanging.append(asyncio.ensure_future(store.resolve("store.test", 6379)))
        await lookups.clock.advance(PATIENCE)
    await lookups.begun(MOST)
    mangopay = Resolver("Mangopay")
    assert await mangopay.resolve("localhost", 1)
    async with serve(answering(OK)) as upstream:
        (await connect(at(upstream.port))).close()
    for each in hanging:
        each.cancel()
    await asyncio.gather(*hanging, return_exceptions=True)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
async def test_numeric_addresses_need_no_thread(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    address = (host.removeprefix("::ffff:"), 0)
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with socket.create_server(address, family=family) as listener, no_lookup(monkeypatch):
        raw = await reach(Resolver("a test"), host, listener.getsockname()[1])
        assert raw.getpeername()[0] == host
        raw.close()


async def test_a_cancellation_while_the_race_ends_is_heeded(monkeypatch: pytest.MonkeyPatch) -> None:
    """aiohappyeyeballs takes one that comes while it waits for its losers for theirs."""
    monkeypatch.setattr(connecting, "_HAPPY_EYEBALLS_DELAY", 0.001)
    reach_it = connecting._Connecting.sock_connect
    sockets: list[socket.socket] = []

    async def slow_at_first(self: connecting._Connecting, sock: socket.socket, address: Any) -> None:
        sockets.append(sock)
        if len(sockets) > 1:
            await reach_it(self, sock, address)
            return
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            outer.cancel()
            raise

    monkeypatch.setattr(connecting._Connecting, "sock_connect", slow_at_first)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        outer = asyncio.ensure_future(connect([*at(free_port()), *at(listener.getsockname()[1])]))
        with pytest.raises(asyncio.CancelledError):
            await outer
    assert len(sockets) == 2
    assert [each.fileno() for each in sockets] == [-1, -1]


async def test_the_race_of_families_asks_the_event_loop_for_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """aiohappyeyeballs connects by what it is given for an event loop, and by nothing else of it."""
    closed = free_port()
    with socket.create_server(("127.0.0.1", 0)) as listener, no_lookup(monkeypatch):
        raw = await connect([*at(closed, "::1"), *at(closed), *at(listener.getsockname()[1])])
        raw.close()


async def test_a_socket_that_gives_up_connecting_is_watched_no_more() -> None:
    loop = asyncio.get_running_loop()
    watched: list[int] = []
    real = loop.remove_writer

    def remove_writer(descriptor: int) -> bool:
        watched.append(descriptor)
        return real(descriptor)

    with Blackhole() as hole, pytest.MonkeyPatch.context() as patch:
        if isinstance(loop, asyncio.SelectorEventLoop):  # uvloop's methods cannot be replaced
            patch.setattr(loop, "remove_writer", remove_writer)
        waiting = asyncio.ensure_future(connect(hole))
        await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert len(watched) == int(isinstance(loop, asyncio.SelectorEventLoop))


# --- dialing ---------------------------------------------------------------------------------------------------------


async def test_a_lookup_later_than_the_connect_timeout_serves_the_next_dial(lookups: Lookups) -> None:
    async with serve(hang) as upstream:
        upstream.address = NAME
        dialer = Dialer(upstream.endpoint, connect_timeout=0.01, ssl_context=None, names=(names := lookups.resolver()))
        with pytest.raises(UpstreamError) as caught:
            await dialer.dial(ByteProtocol, 60)
        assert caught.value.failure.kind is FailureKind.RESOLVE
        await lookups.begun()
        lookups.let_go(at(upstream.port))
        while names._names[NAME, upstream.port].record.result is None:
            await asyncio.sleep(0.001)
        link, _ = await Dialer(upstream.endpoint, connect_timeout=5, ssl_context=None, names=names).dial(
            ByteProtocol, 60
        )
        link.abort_transport()
    assert lookups.hosts == [NAME]


async def test_a_response_that_leads_nowhere_is_asked_for_again(lookups: Lookups) -> None:
    """Mangopay moved to another address a moment ago."""
    closed = free_port()
    async with serve(hang) as upstream:
        upstream.address = NAME
        dialer = Dialer(upstream.endpoint, connect_timeout=5, ssl_context=None, names=lookups.resolver())
        first = asyncio.ensure_future(dialer.dial(ByteProtocol, 60))
        await lookups.begun()
        lookups.let_go(at(closed))
        with pytest.raises(UpstreamError) as caught:
            await first
        assert caught.value.failure.kind is FailureKind.CONNECT
        second = asyncio.ensure_future(dialer.dial(ByteProtocol, 60))
        await lookups.begun()
        lookups.let_go(at(upstream.port))
        link, _ = await second
        link.abort_transport()
    assert lookups.hosts == [NAME] * 2


class Blackhole:
    """An address that takes no connection and refuses none: a listener whose backlog is full."""

    def __enter__(self) -> Addresses:
        self._sockets = [socket.socket() for _ in range(5)]
        listener = self._sockets[0]
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for each in self._sockets[1:]:
            each.setblocking(False)
            each.connect_ex(listener.getsockname())
        return at(listener.getsockname()[1])

    def __exit__(self, *_: object) -> None:
        for each in self._sockets:
            each.close()


@pytest.mark.parametrize("slow", [False, True], ids=["quick lookup", "slow lookup"])
async def test_an_address_that_does_not_answer_is_doubted_unless_the_lookup_took_the_time(slow: bool) -> None:
    """Else lookups of almost the connect timeout would begin again and again, and no call would ever get through."""
    limit = 0.4 if slow else 2.0  # what a busy machine takes for a quick lookup must remain far below

    async def resolve(host: str, port: int) -> Addresses:
        await asyncio.sleep(0.6 * limit if slow else 0)
        return hole

    with Blackhole() as hole:
        async with serve(hang) as upstream:
            names = ScriptedNames(resolve)
            dialer = Dialer(upstream.endpoint, connect_timeout=limit, ssl_context=None, names=names)
            with pytest.raises(UpstreamError):
                await dialer.dial(ByteProtocol, 60)
        assert names.doubted == ([] if slow else [hole])


# --- the end ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_process_ends_while_lookups_hang(loop: str) -> None:
    program = f"""
import asyncio, threading, {loop}
from sidecar.network.resolver import Resolver

async def main():
    names = Resolver("a test", ask=lambda host, port: threading.Event().wait())
    waiting = [asyncio.ensure_future(names.resolve("x", 1)) for _ in range(9)]
    await asyncio.wait(waiting, timeout=0.01)
    print("given up")

with asyncio.Runner(loop_factory={loop}.new_event_loop) as runner:
    runner.run(main())
"""
    command = [sys.executable, "-c", program]
    assert subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout == "given up\n"
