"""Name servers that are slow or silent, around whole processes: whom they delay, and that they delay no exit.

The process resolves by a function of the test's in place of getaddrinfo(3): a name that begins with ``hangs`` never
comes back, one with ``slow`` after some seconds.
"""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import pytest

from tests.support.app import request_bytes
from tests.support.canary import CANARY_API_KEY
from tests.support.emulator import running_emulator
from tests.support.forward_proxy import forward_proxy
from tests.support.raw_client import RawClient, ReceivedResponse
from tests.support.sidecar import ABSENT, program_prefix

if TYPE_CHECKING:
    from collections.abc import Iterator

_PROGRAM: Final = """
import os, socket, sys, threading, time
real = socket.getaddrinfo

def getaddrinfo(host, *rest, **options):
    if isinstance(host, bytes):  # a numeric address
        return real(host, *rest, **options)
    if host.startswith("hangs"):
        threading.Event().wait()
    if host.startswith("slow"):
        time.sleep(float(os.environ["LOOKUP"]))
        host = "127.0.0.1"
    return real(host, *rest, **options)

socket.getaddrinfo = getaddrinfo
from sidecar.cli import main
main()
"""
#: Seconds; a process that hangs does so for ever.
_PATIENCE: Final = 30


class Process:
    """A sidecar with that resolver."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self._process = process
        self.port = port

    async def call(self) -> ReceivedResponse:
        with await RawClient.connect(("127.0.0.1", self.port)) as client:
            await client.send(request_bytes("GET", "/v2.01/acme/users"))
            return await client.response()

    def signal(self, number: signal.Signals = signal.SIGTERM) -> None:
        self._process.send_signal(number)

    async def until_logged(self, event: str) -> None:
        """Read the log up to a line of ``event``."""
        assert self._process.stderr is not None
        while line := await asyncio.to_thread(self._process.stderr.readline):
            if json.loads(line)["event"] == event:
                return
        pytest.fail(f"the log ends without {event}")

    async def exit_code(self) -> int:
        return await asyncio.to_thread(self._process.wait, _PATIENCE)


@contextmanager
def running(base_url: str, loop: str = "uvloop", **settings: str) -> Iterator[Process]:
    """Run it; ``lookup`` is how many seconds a slow lookup takes."""
    environ = {
        "LOOKUP": settings.pop("lookup", ""),
        "SIDECAR_MANGOPAY_ENVIRONMENT": "emulator",
        "SIDECAR_MANGOPAY_BASE_URL": base_url,
        "SIDECAR_MANGOPAY_CLIENT_ID": "acme",
        "SIDECAR_MANGOPAY_API_KEY": CANARY_API_KEY,
        "SIDECAR_LISTEN_PORT": "0",
        "SIDECAR_ADMIN_PORT": "off",
        "SIDECAR_LOG_FORMAT": "json",
        "SIDECAR_SHUTDOWN_DRAIN": "200ms",
        **{f"SIDECAR_{name.upper()}": value for name, value in settings.items()},
    }
    is_ready = not settings.get("listen_host", "").startswith("hangs")
    command = [sys.executable, "-c", program_prefix(loop) + _PROGRAM, "run"]
    process = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        port = int(process.stdout.readline().split()[1].rpartition(b":")[2]) if is_ready else 0
        yield Process(process, port)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


@pytest.mark.parametrize("loop", ABSENT)
@pytest.mark.parametrize("lookup", [0.2, 1.5, 5])
async def test_slow_lookups_cost_no_call_of_a_burst(lookup: float, loop: str) -> None:
    async with running_emulator() as emulator:
        with running(f"http://slow.test:{emulator.port}", loop, lookup=str(lookup)) as sidecar:
            responses = await asyncio.gather(*(sidecar.call() for _ in range(60)))
            assert [response.status for response in responses] == [200] * 60
            sidecar.signal()
            assert await sidecar.exit_code() == 0


@pytest.mark.parametrize(
    "settings",
    [
        {"mangopay_base_url": "http://hangs.test:1"},
        {"upstream_egress_proxy": "http://hangs.test:3128"},
        {"mangopay_base_url": "http://hangs.test:1", "token_store": "redis://hangs-too.test"},
    ],
    ids=["Mangopay", "egress proxy", "Mangopay and store"],
)
@pytest.mark.parametrize("loop", ABSENT)
@pytest.mark.parametrize("second", [False, True], ids=["drained", "second signal"])
async def test_the_exit_waits_for_no_lookup(settings: dict[str, str], second: bool, loop: str) -> None:
    drain = "1h" if second else "200ms"
    with running("http://127.0.0.1:1", loop, shutdown_drain=drain, **settings) as sidecar:
        calls = [asyncio.ensure_future(sidecar.call()) for _ in range(12)]
        if second:
            await asyncio.sleep(0.1)
            sidecar.signal()
            await sidecar.until_logged("shutdown.started")
        sidecar.signal()
        assert await sidecar.exit_code() == (1 if second else 0)
        await asyncio.gather(*calls, return_exceptions=True)


@pytest.mark.parametrize("loop", ABSENT)
async def test_a_store_whose_name_hangs_costs_no_call(loop: str) -> None:
    async with running_emulator() as emulator:
        with running(emulator.url, loop, token_store="rediss://hangs.test") as sidecar:
            responses = await asyncio.gather(*(sidecar.call() for _ in range(60)))
            assert [response.status for response in responses] == [200] * 60
            sidecar.signal()
            assert await sidecar.exit_code() == 0


async def test_a_store_whose_name_hangs_costs_no_call_behind_an_egress_proxy() -> None:
    async with running_emulator() as emulator, forward_proxy() as proxy:
        # Mangopay's own name is for the proxy to resolve: this machine does not even ask.
        with running(emulator.url, upstream_egress_proxy=proxy.url, token_store="redis://hangs.test") as sidecar:
            assert (await sidecar.call()).status == 200
            sidecar.signal()
            assert await sidecar.exit_code() == 0


async def test_a_name_to_listen_on_that_hangs_does_not_keep_a_process_that_is_told_to_end() -> None:
    with running("http://127.0.0.1:1", listen_host="hangs.test") as sidecar:
        await sidecar.until_logged("config.emulator")
        sidecar.signal()
        assert await sidecar.exit_code() == 0
