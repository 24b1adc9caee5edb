"""Hooks as an app receives them: what stands on the wire, and what is made of its answers."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import pytest

from sidecar.emulator.hooks import Outcome
from sidecar.emulator.loopback import Trusted
from tests.support.clock import FakeClock
from tests.support.emulator import new_emulator, running_emulator
from tests.support.emulator import request as bytes_of
from tests.support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sidecar.emulator.server import Emulator

OK: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
EVENT: Final = "KYC_SUCCEEDED"
pytestmark = pytest.mark.any_loop


class App:
    """Receives hooks, and answers each with the next of ``responses``; None is no answer at all."""

    def __init__(self, *responses: bytes | None) -> None:
        self.responses = list(responses)
        self.received: list[bytes] = []
        self.port = 0
        self.asked = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.received.append(await reader.readuntil(b"\r\n\r\n"))
        response = self.responses.pop(0)
        self.asked.set()
        if response is None:
            await reader.read()
        else:
            writer.write(response)
        writer.close()


@asynccontextmanager
async def listening(*responses: bytes | None) -> AsyncIterator[App]:
    app = App(*responses)
    server = await asyncio.start_server(app.serve, "127.0.0.1", 0)
    app.port = server.sockets[0].getsockname()[1]
    try:
        yield app
    finally:
        server.close()
        await server.wait_closed()


def register(emulator: Emulator, url: str) -> None:
    from sidecar.emulator.engine import acts
    from sidecar.emulator.resources.hooks import HOOK

    client = emulator.state.client("acme")
    hook = acts.build(HOOK, client, 0)
    hook.update(Url=url, EventType=EVENT)
    acts.keep(client, hook)


def tell(emulator: Emulator, identifier: str = "kyc_1") -> None:
    emulator.state.client("acme").tell(EVENT, identifier, 1_700_000_000)


async def logged(emulator: Emulator, count: int) -> list[tuple[Outcome, str]]:
    while len(emulator.outbox.log) < count:
        await asyncio.sleep(0.001)
    return [(each.outcome, each.detail) for each in emulator.outbox.log]


async def test_a_hook_is_an_unsigned_get() -> None:
    async with listening(OK) as app, running_emulator() as emulator:
        register(emulator, f"http://localhost:{app.port}/hooks/mangopay?a=1")
        tell(emulator)
        assert await logged(emulator, 1) == [(Outcome.DELIVERED, "200")]
    head, *lines = app.received[0].decode().split("\r\n")
    assert head == f"GET /hooks/mangopay?a=1&RessourceId=kyc_1&EventType={EVENT}&Date=1700000000 HTTP/1.1"
    assert f"Host: localhost:{app.port}" in lines
    assert [line for line in lines if line.lower().startswith(("authorization", "x-"))] == []


async def test_whom_it_trusts_is_called_by_a_container_too() -> None:
    async with listening(OK) as app, running_emulator(trusted=Trusted(["127.0.0.0/30"])) as emulator:
        emulator.outbox.calling = False  # as if it listened on an address that others reach
        for host in ("127.0.0.4", "localhost", "127.0.0.1"):
            register(emulator, f"http://{host}:{app.port}/")
        tell(emulator)
        assert [outcome for outcome, _ in await logged(emulator, 3)] == [
            Outcome.REFUSED,
            Outcome.REFUSED,
            Outcome.DELIVERED,
        ]


@pytest.mark.parametrize(
    ("response", "detail"),
    [
        (b"HTTP/1.1 500 Oops\r\n\r\n", "status 500"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "status 204"),
        (b"220 mail.example.com\r\n", "no HTTP response"),
        (b"", "no HTTP response"),
        (b"HTTP/1.1 200" + b" " * 100_000, ""),
    ],
)
async def test_anything_but_200_is_tried_again(response: bytes, detail: str) -> None:
    async with listening(response, OK) as app, running_emulator(hook_retries=(0.0,)) as emulator:
        register(emulator, f"http://127.0.0.1:{app.port}/")
        tell(emulator)
        (failed, told), delivered = await logged(emulator, 2)
        assert (failed, delivered[0]) == (Outcome.RETRIED, Outcome.DELIVERED)
        assert detail in told
        assert len(app.received) == 2


async def test_a_response_after_two_seconds_is_none() -> None:
    clock = FakeClock()
    async with listening(None, OK) as app, running_emulator(clock) as emulator:
        register(emulator, f"http://127.0.0.1:{app.port}/")
        tell(emulator)
        await app.asked.wait()
        emulator.clock.advance(2)
        assert await logged(emulator, 1) == [(Outcome.RETRIED, "no response within 2 s")]
        emulator.clock.advance(1)
        assert (await logged(emulator, 2))[1] == (Outcome.DELIVERED, "200")


async def test_an_emulator_that_others_can_reach_calls_nobody() -> None:
    async with listening() as app:
        emulator = new_emulator()
        await emulator.start("0.0.0.0", 0)
        try:
            register(emulator, f"http://127.0.0.1:{app.port}/")
            tell(emulator)
            ((outcome, _),) = await logged(emulator, 1)
        finally:
            await emulator.stop()
        assert (outcome, app.received) == (Outcome.REFUSED, [])


async def test_nobody_listens() -> None:
    async with running_emulator(hook_retries=()) as emulator:
        register(emulator, f"http://127.0.0.1:{free_port()}/")
        tell(emulator)
        ((outcome, _),) = await logged(emulator, 1)
        assert outcome is Outcome.FAILED


async def test_an_emulator_that_stops_breaks_a_call_off() -> None:
    async with listening(None) as app:
        async with running_emulator() as emulator:
            register(emulator, f"http://127.0.0.1:{app.port}/")
            tell(emulator)
            await app.asked.wait()
        assert list(emulator.outbox.log) == []


async def test_a_call_of_the_api_calls_the_hook() -> None:
    async with listening(OK) as app, running_emulator() as emulator:
        register(emulator, f"http://127.0.0.1:{app.port}/")
        body = f'{{"client_id": "acme", "event": "{EVENT}", "id": "7"}}'.encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", emulator.port)
        writer.write(bytes_of("POST", "/__emulator__/trigger", [], body))
        assert (await reader.readline()).split()[1] == b"200"
        assert await logged(emulator, 1) == [(Outcome.DELIVERED, "200")]
        writer.close()
        await writer.wait_closed()
    assert b"RessourceId=7&" in app.received[0]
