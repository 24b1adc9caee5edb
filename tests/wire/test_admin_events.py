"""Server-sent events of the admin port: what is told, to how many, and that nobody is held up by anybody."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import TYPE_CHECKING, Any

import pytest

from sidecar.admin.events import MOST_STREAMS, MOST_UNREAD, EventStreams, Feed
from sidecar.admin.server import AdminServer
from sidecar.admin.status import HistorySample
from sidecar.core.admission.guard import GuardRules
from sidecar.runtime import Tasks
from tests.support import canary
from tests.support.clock import FakeClock
from tests.support.raw_client import RawClient
from tests.support.status import NOW, call, status
from tests.wire.test_admin_server import State

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

REQUEST = b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n"
SAMPLE = HistorySample(NOW, 5.0, 3, 0, 1, 0, 0, 0.01, 0.02)


class Listener:
    """A page's end of the stream."""

    def __init__(self, client: RawClient) -> None:
        self._client = client
        self._text = ""
        self.head = b""

    async def opened(self) -> Listener:
        self.head = await self._client._until(b"\r\n\r\n")
        return self

    async def event(self) -> tuple[str, Any]:
        """Return the next event's name and data; raises EOFError at the end of the stream."""
        while True:
            block, end, rest = self._text.partition("\n\n")
            if not end:
                data = await self._client.receive()
                if not data:
                    raise EOFError
                canary.record("events", data)
                self._text += data.decode()
                continue
            self._text = rest
            fields = dict(line.split(": ", 1) for line in block.split("\n"))
            if "event" in fields:
                assert set(fields) == {"event", "data"}
                return fields["event"], json.loads(fields["data"])
            assert fields == {"retry": "2000"}

    async def events(self, number: int) -> list[tuple[str, Any]]:
        return [await self.event() for _ in range(number)]

    async def ended(self) -> None:
        """Return once the stream has ended, whatever is told before."""
        await self._client.rest()

    def close(self) -> None:
        self._client.close()


class Admin:
    """The admin port, its time, and what it shows."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.state = State()
        self.server = AdminServer(self.state, GuardRules(frozenset()), clock=self.clock)
        self.port = 0

    @property
    def streams(self) -> EventStreams:
        return self.server._streams

    async def client(self, request: bytes = REQUEST, **options: Any) -> RawClient:
        client = await RawClient.connect(("127.0.0.1", self.port), **options)
        await client.send(request)
        return client

    async def listen(self) -> Listener:
        """Open a stream, and take what a new listener is told."""
        listener = await Listener(await self.client()).opened()
        assert [name for name, _ in await listener.events(3)] == ["status", "calls", "history"]
        return listener

    async def tick(self, seconds: float = 1.0) -> None:
        await self.clock.advance(seconds)

    async def until(self, number: int) -> None:
        """Wait until so many listeners are left."""
        while len(self.streams) != number:
            await asyncio.sleep(0.001)


@pytest.fixture
async def admin() -> AsyncIterator[Admin]:
    admin = Admin()
    sock = socket.create_server(("127.0.0.1", 0), backlog=200)
    # So that the kernel does not take megabytes on behalf of those who do not read; connections inherit it.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16 * 1024)
    listener = await asyncio.get_running_loop().create_server(admin.server, sock=sock)
    admin.port = sock.getsockname()[1]
    yield admin
    listener.close()
    await admin.server.close()


# --- what is told ----------------------------------------------------------------------------------------------------


@pytest.mark.any_loop
async def test_a_new_listener_is_told_everything(admin: Admin) -> None:
    admin.state.calls = [call(number) for number in range(250)]
    admin.state.samples = [SAMPLE]
    listener = await Listener(await admin.client()).opened()
    status, calls, history = await listener.events(3)
    assert status[0] == "status"
    assert status[1]["client_id"] == "acme"
    assert "recent_calls" not in status[1]
    assert (calls[0], calls[1]["reset"], calls[1]["skipped"]) == ("calls", True, 0)
    assert [each["id"] for each in calls[1]["calls"]] == [f"call-{number:06}" for number in range(50, 250)]
    assert history[0] == "history"
    assert [sample["calls"] for sample in history[1]] == [3]
    listener.close()


async def test_each_second_it_is_told_what_is_new_and_nothing_twice(admin: Admin) -> None:
    admin.state.calls = [call(1)]
    listener = await admin.listen()
    await admin.tick()
    assert [name for name, _ in await listener.events(1)] == ["status"]
    admin.state.calls += [call(2), call(3)]
    admin.state.samples.append(SAMPLE)
    await admin.tick()
    _, calls, history = await listener.events(3)
    assert calls[1]["reset"] is False
    assert [each["id"] for each in calls[1]["calls"]] == ["call-000002", "call-000003"]
    assert history[0] == "history"
    await admin.tick()
    assert [name for name, _ in await listener.events(1)] == ["status"]
    listener.close()


async def test_of_more_than_200_calls_in_a_second_the_newest_are_told_and_the_others_counted(admin: Admin) -> None:
    listener = await admin.listen()
    admin.state.calls = [call(number) for number in range(1000)]
    await admin.tick()
    _, (_, calls) = await listener.events(2)
    assert (calls["skipped"], len(calls["calls"])) == (800, 200)
    assert calls["calls"][-1]["id"] == "call-000999"
    listener.close()


async def test_whoever_joins_in_between_misses_nothing_and_makes_nobody_hear_twice(admin: Admin) -> None:
    first = await admin.listen()
    admin.state.calls = [call(1)]
    second = await admin.listen()  # is told of the call at once, and so is the first
    assert [name for name, _ in await first.events(2)] == ["status", "calls"]
    admin.state.calls.append(call(2))
    await admin.tick()
    for listener in (first, second):
        _, (_, calls) = await listener.events(2)
        assert [each["id"] for each in calls["calls"]] == ["call-000002"]
        listener.close()


async def test_news_are_encoded_once_for_all(admin: Admin) -> None:
    asked = 0

    class Counting(State):
        def recent_calls(self, most: int | None = None) -> Any:
            nonlocal asked
            asked += 1
            return super().recent_calls(most)

    counting = Counting()
    admin.streams._feed._state = counting  # type: ignore[misc]
    listeners = [await admin.listen() for _ in range(4)]
    asked = 0
    counting.calls.append(call(1))
    await admin.tick()
    for listener in listeners:
        while (await listener.event())[0] != "calls":
            pass
        listener.close()
    assert asked == 1


def test_a_feed_skips_what_is_told_otherwise() -> None:
    state = State()
    state.calls = [call(1)]
    feed = Feed(state)
    feed.skip()
    assert b"event: calls" not in feed.news()
    state.calls.append(call(2))
    news = feed.news()
    assert news.count(b"event: calls") == 1
    assert b"call-000001" not in news


# --- the ticker ------------------------------------------------------------------------------------------------------


async def test_nothing_runs_while_nobody_listens(admin: Admin) -> None:
    assert len(admin.server._tasks) == 0
    listener = await admin.listen()
    assert len(admin.server._tasks) == 1
    listener.close()
    await admin.until(0)
    await admin.tick()
    assert len(admin.server._tasks) == 0
    again = await admin.listen()
    assert len(admin.server._tasks) == 1
    again.close()


async def test_a_document_that_cannot_be_made_ends_the_streams_and_the_next_page_begins_anew(admin: Admin) -> None:
    """A page that hears nothing says so; one that hears nothing and sees an open stream could not."""
    listener = await admin.listen()
    admin.state.broken = True
    await admin.tick()
    with pytest.raises(EOFError):
        await listener.event()
    listener.close()
    admin.state.broken = False
    again = await admin.listen()
    await admin.tick()
    await again.event()
    again.close()


async def test_a_clock_that_leaps_costs_one_tick(admin: Admin) -> None:
    """The machine slept."""
    listener = await admin.listen()
    admin.clock._now += 36_000
    await admin.tick(0)
    await admin.tick(0.5)
    assert [name for name, _ in await listener.events(1)] == ["status"]
    listener.close()


# --- who may listen, and how many ------------------------------------------------------------------------------------


async def test_the_response_s_head_is_that_of_a_stream_which_nobody_may_keep(admin: Admin) -> None:
    listener = await admin.listen()
    head = listener.head.decode().split("\r\n")
    assert head[0] == "HTTP/1.1 200 OK"
    assert "Content-Type: text/event-stream" in head
    assert "Cache-Control: no-store" in head
    assert "Cross-Origin-Resource-Policy: same-origin" in head
    assert "Connection: close" in head
    listener.close()


async def test_head_gets_the_head_alone_and_becomes_no_listener(admin: Admin) -> None:
    with await admin.client(REQUEST.replace(b"GET", b"HEAD")) as client:
        response = await client.rest()
    assert response.startswith(b"HTTP/1.1 200 OK\r\n")
    assert response.endswith(b"\r\n\r\n")
    assert len(admin.streams) == 0


async def test_one_listener_too_many_is_told_when_to_come_again(admin: Admin) -> None:
    listeners = [await admin.listen() for _ in range(MOST_STREAMS)]
    with await admin.client() as client:
        response = await client.response()
    assert (response.status, response.header("Retry-After")) == (503, b"5")
    assert response.json["error"] == "overloaded"
    listeners.pop().close()
    await admin.until(MOST_STREAMS - 1)
    listeners.append(await admin.listen())
    for listener in listeners:
        listener.close()


@pytest.mark.any_loop
async def test_a_listener_that_leaves_is_forgotten_at_once(admin: Admin) -> None:
    listener = await admin.listen()
    listener.close()
    await admin.until(0)


# --- slow readers ----------------------------------------------------------------------------------------------------


@pytest.mark.any_loop
async def test_a_listener_that_does_not_read_is_dropped_and_holds_nobody_up(admin: Admin) -> None:
    """And what is kept for it stays bounded: what it may leave unread, and one tick."""
    admin.state.calls = [call(number) for number in range(200)]
    slow = await admin.client(receive_buffer=4096)
    await admin.until(1)
    quick = await admin.listen()
    most = 0
    (first, *_) = list(admin.streams._streams)
    for _ in range(2000):
        admin.state.calls = admin.state.calls + [call(number) for number in range(200)]
        await admin.tick()
        await quick.events(2)
        most = max(most, first._transport.get_write_buffer_size())
        if len(admin.streams) == 1:
            break
    assert len(admin.streams) == 1
    assert MOST_UNREAD < most < MOST_UNREAD + 128 * 1024
    await admin.tick()
    await quick.event()
    quick.close()
    slow.close()


# --- the end ---------------------------------------------------------------------------------------------------------


@pytest.mark.any_loop
async def test_streams_end_at_shutdown_without_delaying_it(admin: Admin, monkeypatch: pytest.MonkeyPatch) -> None:
    """What requests in progress may take at the end, streams do not."""
    monkeypatch.setattr("sidecar.admin.server._GOODBYE", 300.0)
    listeners = [await admin.listen() for _ in range(3)]
    async with asyncio.timeout(20):
        await admin.server.close()
    for listener in listeners:
        await listener.ended()
        listener.close()
    assert len(admin.server._tasks) == 0


async def test_after_the_end_no_stream_begins() -> None:
    tasks = Tasks()
    streams = EventStreams(State(), clock=FakeClock(), tasks=tasks)
    streams.close()
    assert streams.full
    await tasks.close()


# --- others ----------------------------------------------------------------------------------------------------------


@pytest.mark.any_loop
async def test_probes_are_answered_beside_full_streams_and_a_flood_of_idle_connections(admin: Admin) -> None:
    listeners = [await admin.listen() for _ in range(MOST_STREAMS)]
    idle = [socket.create_connection(("127.0.0.1", admin.port)) for _ in range(80)]
    with await admin.client(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n") as probe:
        assert (await probe.response()).status == 200
    assert len(admin.streams) == MOST_STREAMS
    for each in idle:
        each.close()
    for listener in listeners:
        listener.close()


@pytest.mark.any_loop
async def test_probes_are_answered_whoever_does_not_read_what_was_asked_for(admin: Admin) -> None:
    """A large answer that is not read keeps its request in progress: those connections give way too."""
    admin.state.document = status(recent_calls=tuple(call(number) for number in range(2000)))
    request = b"GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n"
    greedy = [await admin.client(request, receive_buffer=4096) for _ in range(64)]
    while not all(each._request_in_progress for each in admin.server.connections):
        await asyncio.sleep(0.001)
    with await admin.client(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n") as probe:
        assert (await probe.response()).status == 200
    for each in greedy:
        each.close()
