"""An outcome ``unknown`` is in the log before anybody is told of it, whatever stderr is, and whenever a kill comes."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import threading
from contextlib import ExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Final

import pytest

from sidecar.app import Sidecar
from sidecar.config import load
from sidecar.lifecycle import Lifecycle
from sidecar.runtime import SystemClock
from sidecar.telemetry.line_format import json_line
from sidecar.telemetry.line_writer import LineWriter
from sidecar.telemetry.log_output import LogOutput
from tests.e2e.test_cli_run import settings
from tests.support.app import request_bytes
from tests.support.emulator import running_emulator
from tests.support.log_threads import ended_log_threads
from tests.support.raw_client import RawClient
from tests.support.sidecar import COMMAND

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

USER: Final = json.dumps({"FirstName": "A", "LastName": "B", "Email": "a@example.com"}).encode()
TARGET: Final = "/v2.01/acme/users/natural"
PAGE: Final = "/__emulator__/bytes?size=300000"


@asynccontextmanager
async def logging_to(fd: int, upstream: str) -> AsyncIterator[int]:
    """Run a sidecar whose log goes to ``fd``, and give its port."""
    config = load(None, {**settings(upstream), "SIDECAR_LISTEN_HOST": "127.0.0.1", "SIDECAR_ADMIN_PORT": "off"})
    clock = SystemClock()
    log = LogOutput(LineWriter(fd, confirmation=20.0), json_line, clock, "warning")
    log.attach(asyncio.get_running_loop())
    lifecycle = Lifecycle(clock, delay=0, drain=0)
    sidecar = Sidecar(config, log=log, lifecycle=lifecycle, clock=clock)
    with ended_log_threads():
        try:
            ready = await sidecar.start()
            lifecycle.started()
            yield int(ready.proxy.rpartition(":")[2])
        finally:
            await sidecar.close()
            log.close()


@pytest.mark.any_loop
@pytest.mark.parametrize(("fault", "target"), [("reset=after", TARGET), ("truncate", PAGE)])
async def test_nobody_is_told_before_the_file_has_the_line(
    fault: str, target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, entered, write = threading.Event(), threading.Event(), os.write

    def hanging(fd: int, data: bytes) -> int:
        entered.set()
        gate.wait()
        return write(fd, data)

    monkeypatch.setattr(os, "write", hanging)
    with (tmp_path / "log").open("wb") as log:
        async with (
            running_emulator() as emulator,
            logging_to(log.fileno(), emulator.url) as port,
        ):
            method, body = ("GET", None) if "bytes" in target else ("POST", USER)
            emulator.faults.add(f"{fault} {method} {target.partition('?')[0]}")
            with await RawClient.connect(("127.0.0.1", port)) as client:
                await client.send(request_bytes(method, target, body))
                told = asyncio.create_task(outcome(client))
                await asyncio.get_running_loop().run_in_executor(None, entered.wait)
                for _ in range(20):
                    await asyncio.sleep(0.001)
                assert not told.done()
                gate.set()
                assert await told in {"unknown", "cut"}
                [line] = [json.loads(line) for line in (tmp_path / "log").read_bytes().splitlines()]
                assert line["outcome"] == "unknown"


async def outcome(client: RawClient) -> str:
    """Return what a caller learns: the outcome of an error, ``cut``, or ``answered``."""
    try:
        response = await client.response()
    except (EOFError, ConnectionError):
        return "cut"
    value = response.header("X-Sidecar-Outcome")
    return "answered" if value is None else value.decode()


@pytest.mark.parametrize("kind", ["file", "pipe"])
async def test_a_sidecar_that_is_killed_has_logged_each_unknown_that_it_told(kind: str, tmp_path: Path) -> None:
    """It is killed the moment that the last of some callers is told, in the middle of what it does for the others."""
    async with running_emulator() as emulator:
        emulator.faults.add(f"reset=after POST {TARGET} probability=0.5")
        emulator.faults.add("truncate GET /__emulator__/bytes probability=0.5")
        for number, most in enumerate((1, 7, 30)):
            told, log = await killed_after(most, kind, emulator.url, tmp_path / f"log-{number}")
            assert len(told) >= most
            lines = [json.loads(line) for line in log.splitlines() if line.endswith(b"}")]
            logged = {line["x_request_id"] for line in lines if line.get("outcome") == "unknown"}
            assert told <= logged


async def killed_after(most: int, kind: str, upstream: str, path: Path) -> tuple[set[str], bytes]:
    """Kill a sidecar once so many callers were told ``unknown``; return which, and the log."""
    told: set[str] = set()
    with ExitStack() as stack:
        reader, stderr = os.pipe()
        stack.callback(os.close, reader)
        if kind == "file":
            os.close(stderr)
            stderr = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        environ = settings(upstream, SIDECAR_LOG_FORMAT="json", SIDECAR_ADMIN_PORT="off", PATH=os.environ["PATH"])
        process = subprocess.Popen([COMMAND, "run"], env=environ, stdout=subprocess.PIPE, stderr=stderr)
        stack.enter_context(process)
        stack.callback(process.kill)
        os.close(stderr)
        assert process.stdout is not None
        line = await asyncio.to_thread(process.stdout.readline)
        port = int(dict(word.split("=") for word in line.decode().split()[1:])["proxy"].rpartition(":")[2])

        async def caller(number: int) -> None:
            for call in range(1000):
                identifier = f"call-{number}-{call}"
                method, target, body = ("POST", TARGET, USER)
                if call % 3 == 0:
                    method, target, body = "GET", PAGE, b""
                with await RawClient.connect(("127.0.0.1", port)) as client:
                    headers = (("X-Request-Id", identifier),)
                    await client.send(request_bytes(method, target, body or None, headers=headers))
                    found = await outcome(client)
                if process.returncode is not None or len(told) >= most:
                    return
                if found != "answered":
                    told.add(identifier)
                    if len(told) >= most:
                        process.kill()

        try:
            async with asyncio.TaskGroup() as group:
                for number in range(8):
                    group.create_task(caller(number))
        except* ConnectionError:
            pass
        await asyncio.to_thread(process.wait)
        log = path.read_bytes() if kind == "file" else await asyncio.to_thread(_rest, reader)
    return told, log


def _rest(reader: int) -> bytes:
    pieces: list[bytes] = []
    while piece := os.read(reader, 65536):
        pieces.append(piece)
    return b"".join(pieces)
