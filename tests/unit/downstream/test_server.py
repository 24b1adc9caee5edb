"""All connections of a port together, without a socket: the cap, who gives way, and what a drain closes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sidecar.downstream.server import ProxyServer
from tests.support.clock import FakeClock
from tests.support.in_memory import MemoryCaller
from tests.support.proxy_port import GET, listen_limits, ok

if TYPE_CHECKING:
    from sidecar.core.errors import SidecarError
    from sidecar.downstream.request import CallerRequest
    from sidecar.downstream.response import RawResponse

#: Refused connections that may be open at once.
MOST_REFUSED = 64


class Port:
    """A port of ``size`` connections, whose requests wait for :attr:`gate`."""

    def __init__(self, size: int) -> None:
        self.gate = asyncio.Event()
        self.reported: list[str] = []
        self.server = ProxyServer(
            self._handle, limits=listen_limits(max_connections=size), clock=FakeClock(), report=self._report
        )

    async def _handle(self, request: CallerRequest) -> RawResponse:
        await self.gate.wait()
        return ok()

    def _report(self, error: SidecarError) -> str:
        self.reported.append(error.code)
        return "id"

    async def busy(self) -> MemoryCaller:
        """Return a connection whose request is being answered."""
        caller = MemoryCaller(self.server)
        caller.send(GET)
        await FakeClock().settle()
        return caller

    async def close(self) -> None:
        self.gate.set()
        await FakeClock().settle()
        await self.server.close()


async def test_at_the_cap_the_oldest_connection_without_a_request_gives_way() -> None:
    port = Port(2)
    oldest, newer = MemoryCaller(port.server), MemoryCaller(port.server)
    MemoryCaller(port.server)
    await FakeClock().settle()
    assert (oldest.transport.cut, newer.transport.is_closing(), port.server.open_connections) == (True, False, 2)
    await port.close()


async def test_at_the_cap_no_connection_with_a_request_gives_way() -> None:
    port = Port(1)
    first = await port.busy()
    second = MemoryCaller(port.server)
    second.send(GET)
    await FakeClock().settle()
    assert (second.status, second.header("X-Sidecar-Error")) == (503, "overloaded")
    assert not first.transport.is_closing()
    assert port.reported == ["overloaded"]
    await port.close()


async def test_those_that_are_refused_are_bounded_too() -> None:
    """The oldest of them is closed: it was told, or has not spoken."""
    port = Port(1)
    await port.busy()
    refused = [MemoryCaller(port.server) for _ in range(MOST_REFUSED)]
    assert port.server.open_connections == 1 + MOST_REFUSED
    assert not any(each.transport.is_closing() for each in refused)
    MemoryCaller(port.server)
    await FakeClock().settle()
    assert [each.transport.cut for each in refused] == [True] + [False] * (MOST_REFUSED - 1)
    assert port.server.open_connections == 1 + MOST_REFUSED
    await port.close()


async def test_many_that_come_in_one_pass_of_the_loop_are_bounded_too() -> None:
    port = Port(1)
    await port.busy()
    refused = [MemoryCaller(port.server) for _ in range(2 * MOST_REFUSED)]
    assert [each.transport.cut for each in refused] == [True] * MOST_REFUSED + [False] * MOST_REFUSED
    await FakeClock().settle()
    assert port.server.open_connections == 1 + MOST_REFUSED
    await port.close()


async def test_a_drain_closes_idle_connections_and_no_others() -> None:
    port = Port(9)
    port.gate.set()
    idle = await port.busy()
    assert idle.status == 200
    port.gate.clear()
    answering, silent = await port.busy(), MemoryCaller(port.server)
    halfway = MemoryCaller(port.server)
    halfway.send(GET[:10])
    port.server.begin_drain()
    waiting = asyncio.ensure_future(port.server.drained(deadline=1e9))
    await FakeClock().settle()
    assert [each.transport.is_closing() for each in (idle, answering, silent, halfway)] == [True, False, False, False]
    port.gate.set()
    await FakeClock().settle()
    assert answering.status == 200
    assert answering.transport.is_closing()
    assert await waiting
    await port.close()


async def test_a_drain_is_over_when_no_request_is_answered_any_more() -> None:
    port = Port(9)
    await port.busy()
    waiting = asyncio.ensure_future(port.server.drained(deadline=1e9))
    await FakeClock().settle()
    assert not waiting.done()
    port.gate.set()
    assert await waiting
    await port.close()
