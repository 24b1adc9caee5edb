"""The command under load: tokens that live for seconds, large bodies, memory."""

from __future__ import annotations

import asyncio
import hashlib
import re
import sys
from pathlib import Path

import pytest

from tests.support.app import request_bytes, running_pair
from tests.support.emulator import running_emulator
from tests.support.raw_client import RawClient, ReceivedResponse
from tests.support.sidecar import Sidecar

MIB = 1024 * 1024
CREDENTIAL_FAULTS = {"token_locked_out": ("lockout token", 503), "credentials_refused": ("invalid-client token", 502)}


async def call(port: int, method: str, target: str, body: bytes | None = None) -> ReceivedResponse:
    with await RawClient.connect(("127.0.0.1", port)) as client:
        await client.send(request_bytes(method, target, body))
        return await client.response()


def resident(pid: int) -> int:
    """Return a process's resident memory in bytes."""
    match = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert match
    return int(match[1]) * 1024


async def test_tokens_of_five_seconds_under_load_for_fifteen() -> None:
    async with running_emulator(expires_in=5, keep_received=0) as emulator:
        with Sidecar(emulator.url) as sidecar:
            loop = asyncio.get_running_loop()
            end = loop.time() + 15
            statuses: list[int] = []

            async def caller() -> None:
                with await RawClient.connect(("127.0.0.1", sidecar.port)) as client:
                    while loop.time() < end:
                        await client.send(request_bytes("GET", "/v2.01/acme/users"))
                        statuses.append((await client.response()).status)
                        await asyncio.sleep(0.02)

            await asyncio.gather(*(caller() for _ in range(8)))
            assert set(statuses) == {200}
            assert len(statuses) > 500
            assert not any(emulator.state.stats.refused_tokens.values())
            # Each token serves for at least 4.5 of its 5 seconds.
            assert 3 <= emulator.state.stats.token_requests <= 5
            assert sidecar.stop() == 0


@pytest.mark.parametrize("code", CREDENTIAL_FAULTS)
async def test_a_locked_account_gets_one_token_request_however_many_calls_come(code: str) -> None:
    fault, status = CREDENTIAL_FAULTS[code]
    async with running_emulator(keep_received=0) as emulator:
        emulator.faults.add(fault)
        with Sidecar(emulator.url) as sidecar:

            async def caller() -> None:
                with await RawClient.connect(("127.0.0.1", sidecar.port)) as client:
                    for _ in range(100):
                        await client.send(request_bytes("GET", "/v2.01/acme/users"))
                        response = await client.response()
                        assert (response.status, response.header("X-Sidecar-Error")) == (status, code.encode())
                        assert response.header("X-Sidecar-Outcome") == b"not-sent"

            await asyncio.gather(*(caller() for _ in range(10)))
            assert emulator.state.stats.token_requests == 1
            assert [line["event"] for line in sidecar.log].count("token.latched") == 1


async def test_seven_megabytes_survive_a_401_byte_for_byte_and_are_executed_once() -> None:
    body = bytes(range(256)) * (7 * MIB // 256)
    async with running_pair() as pair:
        assert (await pair.call("GET", "/v2.01/acme/users")).status == 200
        pair.emulator.state.tokens.revoke()
        response = await pair.call("POST", "/__emulator__/echo", body)
        assert response.status == 200
        assert response.header("X-Sidecar-Recovered") == b"token"
        deliveries = [each for each in pair.emulator.received if each.target == "/__emulator__/echo"]
        assert [hashlib.sha256(each.body).digest() for each in deliveries] == [hashlib.sha256(body).digest()] * 2
        (entry,) = pair.emulator.state.ledger.find(body)
        assert (entry.deliveries, entry.unauthorized, entry.executions) == (2, 1, 1)


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
async def test_fifty_megabytes_stream_through_without_being_held() -> None:
    size = 50 * MIB
    async with running_emulator() as emulator:
        with Sidecar(emulator.url, measured=True) as sidecar:
            assert (await call(sidecar.port, "GET", "/__emulator__/bytes?size=1000")).status == 200
            before = highest = resident(sidecar.pid)
            with await RawClient.connect(("127.0.0.1", sidecar.port)) as client:
                await client.send(request_bytes("GET", f"/__emulator__/bytes?size={size}"))
                received = 0
                while received < size:
                    piece = await client.receive()
                    assert piece, f"cut after {received} bytes"
                    received += len(piece)
                    highest = max(highest, resident(sidecar.pid))
            assert highest - before < 20 * MIB
