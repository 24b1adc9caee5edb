"""Shutting down: what is in flight is finished, what is new is told, and whoever is cut knows what to think of it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.support.app import request_bytes
from tests.support.canary import CANARY_API_KEY
from tests.support.emulator import running_emulator
from tests.support.raw_client import RawClient, ReceivedResponse
from tests.support.sidecar import COMMAND, Sidecar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sidecar.emulator.server import Emulator

ECHO = "/__emulator__/echo"
KEY = ("Idempotency-Key", "drain-0123456789")
SHUTDOWN = ("shutdown.started", "shutdown.forced")


async def opened(
    port: int, method: str, target: str, body: bytes | None = None, *headers: tuple[str, str]
) -> RawClient:
    """Send a request on a connection of its own, and do not wait for the response."""
    client = await RawClient.connect(("127.0.0.1", port))
    await client.send(request_bytes(method, target, body, headers=headers))
    return client


async def call(port: int, method: str, target: str, body: bytes | None = None) -> ReceivedResponse:
    with await opened(port, method, target, body) as client:
        return await client.response()


async def until(condition: Callable[[], bool]) -> None:
    """Wait; the test fails by its own time limit."""
    while not condition():
        await asyncio.sleep(0.005)


async def told_to_stop(sidecar: Sidecar, number: signal.Signals = signal.SIGTERM) -> None:
    """Return once the sidecar has begun to shut down."""
    os.kill(sidecar.pid, number)
    await asyncio.to_thread(sidecar.wait_for, "shutdown.started", stream="stderr")


async def readiness(sidecar: Sidecar) -> tuple[int, str]:
    return await asyncio.to_thread(sidecar.admin, "/readyz")


async def exit_code(sidecar: Sidecar) -> int:
    return await asyncio.to_thread(sidecar.wait)


def outcomes(sidecar: Sidecar) -> list[tuple[object, ...]]:
    return [(line["status"], line["error"], line["outcome"]) for line in sidecar.log if "error" in line]


def shutting_down(response: ReceivedResponse) -> bool:
    return (
        response.status,
        response.header("X-Sidecar-Error"),
        response.header("X-Sidecar-Outcome"),
        response.header("Retry-After"),
        response.header("Connection"),
    ) == (503, b"shutting_down", b"not-sent", b"1", b"close")


# --- in flight -------------------------------------------------------------------------------------------------------


async def test_fifty_calls_in_flight_are_all_finished_while_new_ones_are_told_to_retry() -> None:
    async with running_emulator() as emulator:
        emulator.faults.add("pass POST api answer_delay=5")
        with Sidecar(emulator.url) as sidecar, ExitStack() as stack:
            idle = stack.enter_context(await opened(sidecar.port, "GET", "/v2.01/acme/users"))
            assert (await idle.response()).status == 200
            calls = [
                stack.enter_context(await opened(sidecar.port, "POST", ECHO, b"payment %d" % number))
                for number in range(50)
            ]
            await until(lambda: emulator.state.ledger.executions == 50)
            await told_to_stop(sidecar)

            assert (await readiness(sidecar))[0] == 503
            assert sidecar.admin("/healthz")[0] == 200
            assert await idle.ending() == "end"
            for _ in range(10):
                assert shutting_down(await call(sidecar.port, "POST", ECHO, b"a late payment"))

            responses = await asyncio.gather(*(client.response() for client in calls))
            assert [response.status for response in responses] == [200] * 50
            assert {response.header("Connection") for response in responses} == {b"close"}
            assert await exit_code(sidecar) == 0
            assert sidecar.complaints == []
            assert sidecar.log[-1]["event"] == "shutdown.drained"
            assert sidecar.log[-1]["complete"] is True
        assert emulator.state.stats.requests == 52  # with the token's and the first one: no late payment among them
        assert emulator.state.ledger.executions == 50
        assert emulator.ledger.executed_twice() == emulator.ledger.delivered_twice() == []


async def test_a_request_whose_body_is_still_arriving_is_in_flight_too() -> None:
    async with running_emulator() as emulator:
        with Sidecar(emulator.url) as sidecar:
            request = request_bytes("POST", ECHO, b"the first half, the second half")
            with await RawClient.connect(("127.0.0.1", sidecar.port)) as client:
                await client.send(request[:-10])
                await until(lambda: "requests_in_flight 1" in sidecar.admin("/metrics")[1])
                await told_to_stop(sidecar)
                await client.send(request[-10:])
                assert (await client.response()).status == 200
            assert await exit_code(sidecar) == 0


async def test_a_keep_alive_connection_gets_its_response_and_no_further_request() -> None:
    async with running_emulator() as emulator:
        emulator.faults.add("pass GET api answer_delay=2")
        with Sidecar(emulator.url) as sidecar:
            with await opened(sidecar.port, "GET", "/v2.01/acme/users") as client:
                await until(lambda: emulator.state.stats.requests == 2)
                await told_to_stop(sidecar)
                await client.send(request_bytes("GET", "/v2.01/acme/users"))
                response = await client.response()
                assert (response.status, response.header("Connection")) == (200, b"close")
                assert (await client.ending()) in {"end", "reset"}
            assert await exit_code(sidecar) == 0
        assert emulator.state.stats.requests == 2


# --- the delay -------------------------------------------------------------------------------------------------------


async def test_during_the_delay_calls_are_served_but_readiness_is_gone() -> None:
    async with running_emulator() as emulator:
        with Sidecar(emulator.url, shutdown={"delay": 4}) as sidecar:
            sidecar_gone = asyncio.ensure_future(exit_code(sidecar))
            await told_to_stop(sidecar)
            status, body = await readiness(sidecar)
            assert (status, '"draining"' in body) == (503, True)
            assert (await call(sidecar.port, "GET", "/v2.01/acme/users")).status == 200
            with await opened(sidecar.port, "GET", "/v2.01/acme/users") as kept:
                response = await kept.response()
                assert (response.status, response.header("Connection")) == (200, None)
                assert not sidecar_gone.done()
                assert await kept.ending() == "end"
            assert await sidecar_gone == 0


async def test_sigint_skips_the_delay() -> None:
    async with running_emulator() as emulator:
        with Sidecar(emulator.url, shutdown={"delay": 3600}) as sidecar:
            await asyncio.to_thread(sidecar.wait_until_ready)
            await told_to_stop(sidecar, signal.SIGINT)
            assert await exit_code(sidecar) == 0


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_ends_the_delay_at_once(second: signal.Signals) -> None:
    async with running_emulator() as emulator:
        with Sidecar(emulator.url, shutdown={"delay": 3600}) as sidecar:
            await asyncio.to_thread(sidecar.wait_until_ready)
            await told_to_stop(sidecar)
            os.kill(sidecar.pid, second)
            assert await exit_code(sidecar) == 1


@pytest.mark.parametrize("signals", [(signal.SIGTERM, signal.SIGINT), (signal.SIGTERM, signal.SIGTERM)])
async def test_a_second_signal_loses_no_line_of_a_call_that_was_answered(signals: tuple[signal.Signals, ...]) -> None:
    """Calls are logged after they are answered: also those that ended right before the process does."""
    first, second = signals
    async with running_emulator() as emulator:
        with Sidecar(emulator.url, shutdown={"delay": 3600}) as sidecar:
            with await opened(sidecar.port, "GET", "/v2.01/acme/users") as client:
                assert (await client.response()).status == 200
                os.kill(sidecar.pid, first)
                while (await readiness(sidecar))[0] != 503:
                    await asyncio.sleep(0.005)
                for _ in range(3):
                    await client.send(request_bytes("GET", "/v2.01/acme/users"))
                    assert (await client.response()).status == 200
                os.kill(sidecar.pid, second)
                assert await exit_code(sidecar) == 1
            kinds = [line["event"] for line in sidecar.log if line["event"] in {"request", *SHUTDOWN}]
            assert kinds == ["request", SHUTDOWN[0], *["request"] * 3, SHUTDOWN[1]]
            times = [str(line["timestamp"]) for line in sidecar.log]
            assert times == sorted(times)


# --- out of time -----------------------------------------------------------------------------------------------------


async def test_calls_that_the_drain_cuts_off_are_told_whether_mangopay_may_have_them() -> None:
    async with running_emulator() as emulator:
        emulator.faults.add("hang api")
        with Sidecar(emulator.url, shutdown={"drain": 0.5}) as sidecar, ExitStack() as stack:
            sent = [
                stack.enter_context(await opened(sidecar.port, "POST", ECHO, b"x", KEY)),
                stack.enter_context(await opened(sidecar.port, "GET", "/v2.01/acme/users")),
            ]
            half = stack.enter_context(await RawClient.connect(("127.0.0.1", sidecar.port)))
            await half.send(request_bytes("POST", ECHO, b"the first half, the second half")[:-10])
            await until(lambda: "requests_in_flight 3" in sidecar.admin("/metrics")[1])
            await until(lambda: emulator.state.stats.requests == 3)
            await told_to_stop(sidecar)

            for client, outcome in zip([*sent, half], [b"unknown", b"unknown", b"not-sent"], strict=True):
                response = await client.response()
                assert (response.status, response.header("X-Sidecar-Error")) == (502, b"upstream_unreachable")
                assert response.header("X-Sidecar-Outcome") == outcome
                assert b"shut down" in response.body
            assert await exit_code(sidecar) == 0
            assert sorted(map(str, outcomes(sidecar))) == [
                "(502, 'upstream_unreachable', 'not-sent')",
                "(502, 'upstream_unreachable', 'unknown')",
                "(502, 'upstream_unreachable', 'unknown')",
            ]
            keys = {line.get("idempotency_key") for line in sidecar.log if line.get("outcome") == "unknown"}
            assert keys == {KEY[1], None}
            (drained,) = [line for line in sidecar.log if line["event"] == "shutdown.drained"]
            assert drained["complete"] is False


async def test_a_call_that_waits_for_a_token_when_the_drain_ends_was_not_sent() -> None:
    async with running_emulator() as emulator:
        emulator.faults.add("hang token")
        with Sidecar(emulator.url, shutdown={"drain": 0.3}) as sidecar:
            with await opened(sidecar.port, "POST", ECHO, b"x") as client:
                await until(lambda: "requests_in_flight 1" in sidecar.admin("/metrics")[1])
                await until(lambda: emulator.state.stats.requests == 1)
                await told_to_stop(sidecar)
                response = await client.response()
                assert (response.status, response.header("X-Sidecar-Outcome")) == (502, b"not-sent")
            assert await exit_code(sidecar) == 0


async def test_a_response_that_the_drain_cuts_off_never_ends_cleanly() -> None:
    async with running_emulator() as emulator:
        emulator.faults.add("trickle=60 api")
        with Sidecar(emulator.url, shutdown={"drain": 0.3}) as sidecar:
            with await opened(sidecar.port, "GET", "/__emulator__/bytes?size=1000") as client:
                start = await client.receive()
                assert start.startswith(b"HTTP/1.1 200 ")
                await told_to_stop(sidecar)
                try:
                    rest = await client.rest()
                except ConnectionResetError:
                    rest = b""
                head, _, body = (start + rest).partition(b"\r\n\r\n")
                assert b"Content-Length: 1000" in head
                assert len(body) < 1000
            assert await exit_code(sidecar) == 0


async def test_a_second_signal_cuts_calls_off_at_once_and_tells_them_too() -> None:
    async with running_emulator() as emulator:
        emulator.faults.add("hang api")
        with Sidecar(emulator.url, shutdown={"drain": 3600}) as sidecar:
            with await opened(sidecar.port, "POST", ECHO, b"x") as client:
                await until(lambda: emulator.state.stats.requests == 2)
                await told_to_stop(sidecar)
                os.kill(sidecar.pid, signal.SIGTERM)
                response = await client.response()
                assert (response.status, response.header("X-Sidecar-Outcome")) == (502, b"unknown")
            assert await exit_code(sidecar) == 1


# --- descriptors -----------------------------------------------------------------------------------------------------


@contextmanager
def serving(emulator: Emulator) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run the command with its output in pipes that nobody reads yet; yield it and its proxy port."""
    environ = {
        "SIDECAR_MANGOPAY_ENVIRONMENT": "emulator",
        "SIDECAR_MANGOPAY_BASE_URL": emulator.url,
        "SIDECAR_MANGOPAY_CLIENT_ID": "acme",
        "SIDECAR_MANGOPAY_API_KEY": CANARY_API_KEY,
        "SIDECAR_LISTEN_PORT": "0",
        "SIDECAR_ADMIN_PORT": "0",
    }
    process = subprocess.Popen([COMMAND, "run"], env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        ready = process.stdout.readline().decode()
        yield process, int(ready.split()[1].rpartition(":")[2])
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


async def test_calls_are_finished_although_whoever_read_the_log_has_left_meanwhile() -> None:
    async with running_emulator() as emulator:
        emulator.faults.add("pass POST api answer_delay=1")
        with serving(emulator) as (process, port), await opened(port, "POST", ECHO, b"x") as client:
            assert process.stdout is not None
            assert process.stderr is not None
            await until(lambda: emulator.state.ledger.executions == 1)
            process.stdout.close()
            process.stderr.close()
            process.terminate()
            assert (await client.response()).status == 200
            assert await asyncio.to_thread(process.wait) == 0


async def test_nobody_waits_for_a_log_that_is_not_read() -> None:
    """A pipe holds 64 KiB: what is beyond is kept, then dropped, but never in a call's way."""
    async with running_emulator(keep_received=0) as emulator:
        with serving(emulator) as (process, port):
            with await RawClient.connect(("127.0.0.1", port)) as client:
                for _ in range(1000):
                    await client.send(request_bytes("GET", "/v2.01/acme/users"))
                    assert (await client.response()).status == 200
            process.terminate()
            assert await asyncio.to_thread(process.wait) == 0
            assert process.stderr is not None
            assert len(process.stderr.read()) <= 64 * 1024
