"""A call that meets a fault, and the truth about it: what upstream got, what it executed, what was said of it."""

from __future__ import annotations

import asyncio
import itertools
import json
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sidecar.app import Sidecar
from sidecar.config import load
from sidecar.lifecycle import Lifecycle
from tests.support import canary
from tests.support.app import App, CollectedLog, Pair, request_bytes
from tests.support.clock import FakeClock
from tests.support.emulator import NATURAL_USER, new_emulator
from tests.support.prometheus import parse
from tests.support.raw_client import RawClient, ReceivedResponse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from sidecar.emulator.server import Emulator, Received

SAFE: Final = ("GET", "HEAD")
#: OPTIONS may not change anything either, but is never sent twice: nothing is lost by that.
WRITES: Final = ("POST", "PUT", "PATCH", "DELETE", "OPTIONS")
METHODS: Final = (*SAFE, *WRITES)
#: The ledger knows these only.
LEDGER: Final = ("POST", "PUT", "PATCH", "DELETE")

KEY: Final = "0123456789abcdef-key"
KEYED: Final = (("Idempotency-Key", KEY),)
#: Takes every method, behaves as an API call, and changes something each time.
ECHO: Final = "/__emulator__/echo"

#: A path with a ClientId, and what it takes: for what depends on whose the path is.
NATURAL: Final = "/v2.01/acme/users/natural"
USER: Final = json.dumps(NATURAL_USER).encode()

Headers = tuple[tuple[str, str], ...]
_serial = itertools.count(1)


@dataclass
class Outcome:
    """What became of one call, as its caller, the log and the emulator know it."""

    #: None if it was cut off before its end.
    response: ReceivedResponse | None
    #: The ``request`` line.
    line: dict[str, object]
    #: Requests that reached the emulator, those included whose body it never read.
    arrivals: list[Received]
    #: From the ledger; 0 for methods that it does not keep.
    executions: int = 0
    unauthorized: int = 0

    @property
    def status(self) -> int | str:
        return "cut" if self.response is None else self.response.status

    @property
    def outcome(self) -> str | None:
        """What the caller is told, or, where its response was cut, the log."""
        if self.response is None:
            return _text(self.line.get("outcome"))
        value = self.response.header("X-Sidecar-Outcome")
        return None if value is None else value.decode()

    @property
    def recovered(self) -> str | None:
        value = None if self.response is None else self.response.header("X-Sidecar-Recovered")
        return None if value is None else value.decode()

    @property
    def error(self) -> str | None:
        value = None if self.response is None else self.response.header("X-Sidecar-Error")
        return None if value is None else value.decode()

    def check(self) -> None:
        """Assert what holds for every call, whatever happened to it."""
        assert self.line.get("outcome") == self.outcome, "the log and the caller are told different things"
        if self.response is not None:
            assert self.line.get("error") == self.error
            assert (self.error is None) == (self.outcome is None), "every own error says its outcome, and nothing else"
            assert self.line["status"] == self.response.status
            if self.error is not None:
                self._check_own_response(self.response)
        assert (self.line["level"] == "warning") is (self.line.get("error") is not None)
        if self.outcome == "not-sent":
            assert not self.arrivals, "said not-sent, but it arrived"
        if self.outcome == "rejected":
            assert self.executions == 0, "said rejected, but it was executed"
            assert self.arrivals, "said rejected, but it never arrived"
        assert self.executions <= 1, "executed twice"
        assert len(self.arrivals) <= self._deliveries_allowed, "delivered more often than the table of resends allows"
        attempts = self.line["attempts"]
        assert isinstance(attempts, int)
        assert attempts >= len(self.arrivals), "the log counts what was sent, whether it arrived or not"
        assert (attempts == 0) is (self.outcome == "not-sent")

    def _check_own_response(self, response: ReceivedResponse) -> None:
        """Assert the shape of Mangopay's error reports, which SDKs can parse (contract section 7)."""
        assert response.header("WWW-Authenticate") is None
        assert response.header("Content-Type") == b"application/json"
        assert (response.header("Retry-After") is not None) is (response.status == 503)
        if self.line["method"] == "HEAD":
            assert response.body == b""
            return
        report = response.json
        assert sorted(report) == ["Date", "Id", "Message", "Type", "errors"]
        assert (report["Type"], report["Id"], report["errors"]) == (f"sidecar_{self.error}", self.line["id"], None)
        assert isinstance(report["Date"], int)
        assert report["Message"]

    @property
    def _deliveries_allowed(self) -> int:
        # Of OPTIONS the ledger does not tell whether it was answered 401.
        return 2 if self.unauthorized or self.line["method"] not in LEDGER else 1


async def call_and_observe(
    pair: Pair, method: str, *, target: str = ECHO, headers: Headers = (), body: bytes | None = None
) -> Outcome:
    """Make one call that can be told from all others, and return its fate."""
    number = next(_serial)
    path = f"{target}?n={number}"
    if body is None and method not in SAFE:
        body = b'{"n": %d}' % number
    headers = (*headers, ("X-Request-Id", f"call-{number}"))
    response = await try_call(pair.app, method, path, body, headers=headers)
    line = await line_of(pair.app, f"call-{number}")
    arrivals = [each for each in pair.emulator.received if each.target == path]
    entries = pair.emulator.ledger.find(body or b"", method)
    return Outcome(
        response,
        line,
        arrivals,
        executions=sum(entry.executions for entry in entries),
        unauthorized=sum(entry.unauthorized for entry in entries),
    )


async def try_call(
    app: App, method: str, target: str, body: bytes | None = None, *, headers: Headers = ()
) -> ReceivedResponse | None:
    """Return the response, or None if it broke off before its end."""
    try:
        return await app.call(method, target, body, headers=headers)
    except (EOFError, ConnectionError):
        return None


async def line_of(app: App, identifier: str) -> dict[str, object]:
    """Wait for the log line of the call with this ``X-Request-Id``; there must be one only."""
    await until(lambda: any(line.get("x_request_id") == identifier for line in app.log.requests))
    (line,) = [line for line in app.log.requests if line.get("x_request_id") == identifier]
    return line


async def until(condition: Callable[[], object]) -> None:
    """Wait until ``condition`` holds; the test's own time limit is the only other end."""
    while not condition():
        await asyncio.sleep(0.001)


async def warm(pair: Pair) -> None:
    """Leave a connection idle in the pool, so that the next call reuses one."""
    assert (await pair.call("GET", f"{ECHO}?warm")).status == 200


async def gauges(app: App) -> dict[str, float]:
    """What the sidecar says it holds: calls in flight, upstream connections, callers waiting, bytes."""
    with await RawClient.connect(("127.0.0.1", app.admin_port)) as client:
        await client.send(request_bytes("GET", "/metrics"))
        families = parse((await client.response()).body.decode())
    names = ("requests_in_flight", "upstream_connections", "upstream_pool_waiting", "replay_buffer_bytes")
    return {name: families[f"mangopay_sidecar_{name}"].value() for name in names}


# --- time moved by hand ----------------------------------------------------------------------------------------------


@dataclass
class TimedPair(Pair):
    """A sidecar and an emulator, each on a clock of its own that the test moves; they may differ."""

    clock: FakeClock = field(default_factory=FakeClock)
    emulator_clock: FakeClock = field(default_factory=FakeClock)

    async def advance(self, seconds: float) -> None:
        """Move both clocks forward."""
        await asyncio.gather(self.clock.advance(seconds), self.emulator_clock.advance(seconds))

    async def advance_until(self, condition: Callable[[], object], *, step: float = 0.5, limit: float = 120.0) -> None:
        """Move time forward, in steps between which sockets get their turn, until ``condition`` holds."""
        passed = 0.0
        while not condition():
            assert passed < limit, f"not within {limit} s"
            await self.advance(step)
            passed += step
            for _ in range(3):
                await asyncio.sleep(0.001)

    async def arrived(self, target: str, count: int = 1) -> None:
        """Wait, without moving time, until so many requests for ``target`` have reached the emulator."""
        await until(lambda: sum(each.target == target for each in self.emulator.received) >= count)


@asynccontextmanager
async def running_app_on(clock: FakeClock, upstream: str, **settings: str) -> AsyncIterator[App]:
    """Run a sidecar on a clock that the test moves."""
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
    log = CollectedLog(clock)
    lifecycle = Lifecycle(clock, delay=config.shutdown.delay, drain=config.shutdown.drain)
    sidecar = Sidecar(config, log=log.output, lifecycle=lifecycle, clock=clock)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(sidecar.close)
        ready = await sidecar.start()
        lifecycle.started()
        port, admin_port = (int(url.rpartition(":")[2]) for url in (ready.proxy, ready.admin))
        yield App(sidecar, port, admin_port, log)


@asynccontextmanager
async def timed_pair(
    *, skew: float = 0.0, emulator_settings: dict[str, Any] | None = None, **settings: str
) -> AsyncIterator[TimedPair]:
    """Run both; the emulator's calendar is ``skew`` seconds ahead of the sidecar's."""
    clock, emulator_clock = FakeClock(), FakeClock()
    emulator_clock.step_wall(skew)
    emulator = new_emulator(emulator_clock, **(emulator_settings or {}))
    await emulator.start("127.0.0.1", 0)
    try:
        async with running_app_on(clock, emulator.url, **settings) as app:
            yield TimedPair(app, emulator, clock, emulator_clock)
    finally:
        await emulator.stop()


def executions(emulator: Emulator, body: bytes, method: str = "POST") -> int:
    """How often the write with this body changed something."""
    return sum(entry.executions for entry in emulator.ledger.find(body, method))


def _text(value: object) -> str | None:
    return None if value is None else str(value)
