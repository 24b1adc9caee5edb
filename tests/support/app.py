"""The whole sidecar inside a test's own event loop, in front of an emulator or a scripted upstream."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec

from sidecar.app import Sidecar
from sidecar.config import load
from sidecar.core.errors import ErrorCode
from sidecar.lifecycle import Lifecycle
from sidecar.runtime import SystemClock
from sidecar.telemetry.line_format import Line, json_line
from sidecar.telemetry.line_writer import LineWriter
from sidecar.telemetry.log_output import LogOutput
from tests.support import canary
from tests.support.emulator import running_emulator
from tests.support.raw_client import RawClient, ReceivedResponse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sidecar.core.clock import Clock
    from sidecar.emulator.server import Emulator
    from sidecar.telemetry.line_format import Entry


class CollectedLog:
    """A log's output that keeps the entries instead of writing them."""

    def __init__(self, clock: Clock) -> None:
        self.output: Final = LogOutput(LineWriter(None), self._keep, clock, "info")
        self._entries: list[dict[str, object]] = []

    def _keep(self, entry: Entry | Line) -> bytes:
        canary.record("log", json_line(entry))
        if isinstance(entry, Line):
            fields = msgspec.structs.asdict(entry).items()
            entry = {name: value for name, value in fields if value is not None or name == "status"}
        self._entries.append(dict(entry))
        return b""

    @property
    def entries(self) -> list[dict[str, object]]:
        """Every line so far, those of calls that are told a little later as well."""
        self.output.before_event()
        return self._entries

    @property
    def requests(self) -> list[dict[str, object]]:
        """The ``request`` lines."""
        return [entry for entry in self.entries if entry["event"] == "request"]


@dataclass
class App:
    """A running sidecar."""

    sidecar: Sidecar
    port: int
    admin_port: int
    log: CollectedLog

    async def connect(self) -> RawClient:
        return await RawClient.connect(("127.0.0.1", self.port))

    async def call(
        self, method: str, target: str, body: bytes | None = None, *, headers: tuple[tuple[str, str], ...] = ()
    ) -> ReceivedResponse:
        """Make one call on a connection of its own."""
        with await self.connect() as client:
            await client.send(request_bytes(method, target, body, headers=headers))
            response = await client.response(head_only=method == "HEAD")
        canary.record("answer", response.raw[:100_000])
        return response


def request_bytes(
    method: str, target: str, body: bytes | None = None, *, headers: tuple[tuple[str, str], ...] = ()
) -> bytes:
    """Return a plain request as an app sends it."""
    lines = [f"{method} {target} HTTP/1.1", "Host: localhost", *(f"{name}: {value}" for name, value in headers)]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


@asynccontextmanager
async def running_app(upstream: str, clock: Clock | None = None, /, **settings: str) -> AsyncIterator[App]:
    """Run a sidecar in front of ``upstream``; a setting ``listen_port`` is the variable SIDECAR_LISTEN_PORT."""
    environ = {
        "SIDECAR_MANGOPAY_ENVIRONMENT": "emulator",
        "SIDECAR_MANGOPAY_BASE_URL": upstream,
        "SIDECAR_MANGOPAY_CLIENT_ID": "acme",
        "SIDECAR_MANGOPAY_API_KEY": canary.CANARY_API_KEY,
        "SIDECAR_LISTEN_HOST": "127.0.0.1",
        "SIDECAR_LISTEN_PORT": "0",
        "SIDECAR_ADMIN_HOST": "127.0.0.1",
        "SIDECAR_ADMIN_PORT": "0",
        **{f"SIDECAR_{name.upper()}": value for name, value in settings.items()},
    }
    config = load(None, environ)
    clock = clock or SystemClock()
    log = CollectedLog(clock)
    lifecycle = Lifecycle(clock, delay=config.shutdown.delay, drain=config.shutdown.drain)
    sidecar = Sidecar(config, log=log.output, lifecycle=lifecycle, clock=clock, read_config=lambda: load(None, environ))
    async with AsyncExitStack() as stack:
        stack.push_async_callback(sidecar.close)
        ready = await sidecar.start()
        lifecycle.started()
        yield App(sidecar, _port(ready.proxy), _port(ready.admin), log)


def _port(url: str) -> int:
    """Return the port of a URL; 0 for a Unix socket, or if there is none."""
    return int(url.rpartition(":")[2]) if url.startswith("http:") else 0


@dataclass
class Pair:
    """A sidecar and the emulator that it calls Mangopay."""

    app: App
    emulator: Emulator

    async def call(
        self, method: str, target: str, body: bytes | None = None, *, headers: tuple[tuple[str, str], ...] = ()
    ) -> ReceivedResponse:
        return await self.app.call(method, target, body, headers=headers)

    @property
    def token_requests(self) -> int:
        return self.emulator.state.stats.token_requests


@asynccontextmanager
async def running_pair(*, emulator_settings: dict[str, Any] | None = None, **settings: str) -> AsyncIterator[Pair]:
    """Run both."""
    async with (
        running_emulator(**(emulator_settings or {})) as emulator,
        running_app(emulator.url, **settings) as app,
    ):
        yield Pair(app, emulator)


def error_code(response: ReceivedResponse) -> ErrorCode | None:
    """The code of a response that the sidecar made itself."""
    value = response.header("X-Sidecar-Error")
    return None if value is None else ErrorCode(value.decode())
