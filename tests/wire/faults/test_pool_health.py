"""Connections that die, names that move, servers that hang: what other calls notice of it, which is nothing."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from sidecar.core.name_record import KEPT
from tests.support.app import App, Pair, running_app, running_pair
from tests.support.clock import FakeClock
from tests.support.emulator import new_emulator, running_emulator
from tests.support.ports import free_port
from tests.wire.faults.support import METHODS, call_and_observe, gauges, timed_pair, until, warm

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from sidecar.emulator.server import Emulator

NAME = "mangopay.test"


@pytest.mark.any_loop
@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("method", METHODS)
async def test_a_connection_that_died_in_the_pool_is_noticed_before_it_is_used(method: str, reset: bool) -> None:
    async with running_pair() as pair:
        for _ in range(3):
            await warm(pair)
            pair.emulator.close_connections(reset=reset)
            await until(lambda: not pair.emulator._connections)
            call = await call_and_observe(pair, method)
            call.check()
            assert (call.status, call.outcome, len(call.arrivals)) == (200, None, 1)


@pytest.mark.any_loop
@pytest.mark.parametrize("reset", [False, True])
async def test_many_connections_that_died_at_once_cost_no_call(reset: bool) -> None:
    async with running_pair() as pair:
        pair.emulator.faults.add("pass delay=0.05 api times=30")
        await asyncio.gather(*(call_and_observe(pair, "POST") for _ in range(30)))
        pair.emulator.close_connections(reset=reset)
        await until(lambda: not pair.emulator._connections)
        calls = await asyncio.gather(*(call_and_observe(pair, "POST") for _ in range(30)))
        assert {(call.status, call.executions) for call in calls} == {(200, 1)}


async def test_idle_connections_are_given_up_before_upstream_gives_them_up() -> None:
    async with timed_pair() as pair:
        await warm(pair)
        assert (await gauges(pair.app))["upstream_connections"] == 1
        await pair.advance(31)
        await until(lambda: not pair.emulator._connections)
        assert (await gauges(pair.app))["upstream_connections"] == 0


async def test_what_upstream_says_of_its_patience_is_believed() -> None:
    async with timed_pair() as pair:
        pair.emulator.faults.add("header=Keep-Alive:timeout=5 api")
        await warm(pair)
        await pair.advance(3)
        assert (await gauges(pair.app))["upstream_connections"] == 1
        await pair.advance(2)
        assert (await gauges(pair.app))["upstream_connections"] == 0


# --- a server that hangs ---------------------------------------------------------------------------------------------


async def test_calls_that_hang_do_not_hurt_the_others() -> None:
    async with timed_pair(upstream_pool_size="25", upstream_response_timeout="30s") as pair:
        await warm(pair)
        pair.emulator.faults.add("hang=before PUT api")
        hung = [asyncio.ensure_future(call_and_observe(pair, "PUT")) for _ in range(20)]
        await until(lambda: pair.emulator.ledger.deliveries == 20)
        for _ in range(5):
            others = asyncio.gather(*(call_and_observe(pair, "POST") for _ in range(20)))
            await pair.advance_until(others.done)
            assert {(call.status, call.executions) for call in await others} == {(200, 1)}
            await pair.advance(2)
        assert not any(call.done() for call in hung)
        await pair.advance_until(lambda: all(call.done() for call in hung))
        for call in await asyncio.gather(*hung):
            call.check()
            assert (call.status, call.outcome, len(call.arrivals)) == (504, "unknown", 1)
        held = await gauges(pair.app)
        assert (held["requests_in_flight"], held["upstream_pool_waiting"]) == (0, 0)


async def test_an_upstream_that_hangs_altogether_is_back_as_soon_as_it_answers() -> None:
    async with timed_pair(upstream_pool_size="5", upstream_response_timeout="20s") as pair:
        await warm(pair)
        pair.emulator.faults.add("hang=before api")
        calls = asyncio.gather(*(call_and_observe(pair, "POST") for _ in range(20)))
        await pair.advance_until(calls.done)
        told = sorted((call.status, call.outcome) for call in await calls)
        assert told == [(503, "not-sent")] * 15 + [(504, "unknown")] * 5
        pair.emulator.faults.clear()
        again = await asyncio.gather(*(call_and_observe(pair, "POST") for _ in range(20)))
        assert {(call.status, call.executions) for call in again} == {(200, 1)}


# --- names -----------------------------------------------------------------------------------------------------------


@dataclass
class Names:
    """What the resolver says, and how often it was asked."""

    addresses: list[str] = field(default_factory=list)
    asked: int = 0


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    """Resolve NAME as the test says."""
    names = Names()
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, port: Any, *args: Any, **options: Any) -> Any:
        if host != NAME:
            return real(host, port, *args, **options)
        names.asked += 1
        if not names.addresses:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return [(family(each), socket.SOCK_STREAM, 6, "", (each, port)) for each in names.addresses]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return names


def family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


async def call(app: App) -> int:
    return (await app.call("POST", "/__emulator__/echo", b"{}")).status


async def test_new_connections_share_a_response_for_some_seconds(names: Names) -> None:
    names.addresses = ["127.0.0.1"]
    clock = FakeClock()

    async def call_anew(app: App, emulator: Emulator) -> int:
        emulator.close_connections()
        await until(lambda: not emulator._connections)
        return await call(app)

    async with running_emulator() as emulator, running_app(f"http://{NAME}:{emulator.port}", clock) as app:
        assert await call(app) == 200
        assert await call_anew(app, emulator) == 200
        assert names.asked == 1
        await clock.advance(KEPT)
        assert await call(app) == 200
        assert names.asked == 1, "a connection that is there needs no name"
        assert await call_anew(app, emulator) == 200
        assert names.asked == 2


async def test_a_server_that_moved_is_found(names: Names) -> None:
    async with running_emulator(port=free_port()) as old:
        names.addresses = ["127.0.0.1"]
        async with running_app(f"http://{NAME}:{old.port}") as app:
            assert await call(app) == 200
            port = old.port
            old.close_connections()
            await until(lambda: not old._connections)
            await old.stop()
            async with running_on("127.0.0.2", port) as new:
                names.addresses = ["127.0.0.2"]
                # The new one does not know the token, and gives out another.
                assert await call(app) == 200
                assert new.ledger.executions == 1
                assert new.ledger.delivered_twice() == []


@asynccontextmanager
async def running_on(host: str, port: int) -> AsyncIterator[Emulator]:
    """Run another emulator, on an address of its own."""
    emulator = new_emulator()
    await emulator.start(host, port)
    try:
        yield emulator
    finally:
        await emulator.stop()


async def test_a_name_that_cannot_be_resolved_is_not_sent(names: Names) -> None:
    names.addresses = ["127.0.0.1"]
    clock = FakeClock()
    async with running_emulator() as emulator, running_app(f"http://{NAME}:{emulator.port}", clock) as app:
        pair = Pair(app, emulator)
        await until(lambda: pair.token_requests)
        await clock.advance(KEPT)
        names.addresses = []
        asked = names.asked
        fate = await call_and_observe(pair, "POST")
        fate.check()
        assert (fate.status, fate.error, fate.outcome) == (502, "upstream_unreachable", "not-sent")
        assert names.asked == asked + 2
        names.addresses = ["127.0.0.1"]
        assert (await call_and_observe(pair, "POST")).status == 200


@pytest.fixture
def deaf() -> Iterator[Callable[[int], None]]:
    """Listen where nobody accepts: a connect gets neither a response nor a refusal."""
    sockets: list[socket.socket] = []

    def listen(port: int) -> None:
        listener = socket.socket()
        listener.bind(("127.0.0.3", port))
        listener.listen(0)
        sockets.append(listener)
        for _ in range(4):  # what the system takes on its own
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.3", port))
            sockets.append(filler)

    yield listen
    for each in sockets:
        each.close()


async def test_an_address_that_does_not_answer_holds_nobody_up(names: Names, deaf: Callable[[int], None]) -> None:
    """The next one is tried besides after a quarter of a second (RFC 8305)."""
    names.addresses = ["127.0.0.1"]
    async with running_emulator() as emulator, running_app(f"http://{NAME}:{emulator.port}") as app:
        pair = Pair(app, emulator)
        await until(lambda: pair.token_requests)
        deaf(emulator.port)
        names.addresses = ["127.0.0.3", "127.0.0.1"]
        fate = await call_and_observe(pair, "POST")
        fate.check()
        assert (fate.status, fate.recovered, fate.executions) == (200, None, 1)


async def test_a_family_that_is_not_served_holds_nobody_up(names: Names) -> None:
    names.addresses = ["127.0.0.1"]
    async with running_emulator() as emulator, running_app(f"http://{NAME}:{emulator.port}") as app:
        pair = Pair(app, emulator)
        await until(lambda: pair.token_requests)
        names.addresses = ["::1", "127.0.0.1"]
        fate = await call_and_observe(pair, "POST")
        assert (fate.status, fate.executions) == (200, 1)
