"""What the scenarios of ``benchmarks.fleet`` are played with: the fleet's processes, Redis, the emulator, counts."""

from __future__ import annotations

import asyncio
import http.client
import json
import sys
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from tests.support.canary import CANARY_API_KEY

if TYPE_CHECKING:
    from tests.support.redis_server import RedisServer

#: Seconds that a step of the fleet may take.
PATIENCE: Final = 120.0


@dataclass(frozen=True)
class Plan:
    """How many, and for how long (seconds)."""

    managers: int = 1000
    processes: int = 4
    #: Of a token, where it is to expire under load, and how often it does.
    life: float = 20.0
    periods: int = 3
    #: Calls a second, of all managers together.
    rate: float = 200.0
    outage: float = 30.0
    lockout: float = 600.0
    #: How much faster than real the time of the lockout goes.
    speed: float = 20.0
    #: Before a token is revoked under load.
    warm_up: float = 2.0


@dataclass
class Row:
    """What one scenario cost."""

    name: str
    requests: int
    #: What may be.
    bound: str
    broken: bool = False
    calls: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    #: Commands that Redis carried out.
    commands: int = 0
    notes: str = ""

    def line(self) -> str:
        """Return the row for people."""
        verdict = "FAILED" if self.broken else "ok"
        failed = sum(self.failed.values())
        kinds = f"; failed: {dict(self.failed)}" if failed else ""
        return (
            f"{verdict:<7}{self.name:<32}{self.requests:>9}  {self.bound:<16}{self.calls:>7}{failed:>7}"
            f"{self.commands:>9}  {self.notes}{kinds}"
        )


class Fleet:
    """The processes, told what to do by one line each."""

    def __init__(self, stage: Stage, speed: float = 1.0) -> None:
        self._stage = stage
        self._speed = speed
        self._processes: list[asyncio.subprocess.Process] = []

    async def start(self) -> dict[str, Any]:
        """Start every process, and then all managers at once; tell what they got."""
        plan, stage = self._stage.plan, self._stage
        share, rest = divmod(plan.managers, plan.processes)
        for number in range(plan.processes):
            settings = {
                "environ": stage.environ,
                "count": share + (number < rest),
                "speed": self._speed,
                "origin": stage.origin,
            }
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "benchmarks.fleet_member"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=1 << 20,
            )
            self._processes.append(process)
            self._send(process, settings)
        await asyncio.gather(*(self._answer(process) for process in self._processes))
        responses = await self._tell(do="start", timeout=PATIENCE)
        return {**_added(responses), "seconds": max(response["seconds"] for response in responses)}

    async def call(self, rate: float) -> None:
        """Have all managers together make ``rate`` calls a second."""
        await self._tell(do="call", rate=rate / self._stage.plan.managers)

    async def report(self) -> dict[str, Any]:
        """Tell what they saw since the last time."""
        responses = await self._tell(do="report")
        return {**_added(responses), "longest": max(response["longest"] for response in responses)}

    async def close(self) -> None:
        """End in order."""
        await self._tell(do="close")
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.close()
            await process.wait()
        self._processes.clear()

    async def kill(self) -> None:
        """End as SIGKILL does."""
        for process in self._processes:
            if process.returncode is None:
                process.kill()
            await process.wait()
        self._processes.clear()

    async def _tell(self, **command: Any) -> list[dict[str, Any]]:
        for process in self._processes:
            self._send(process, command)
        return await asyncio.gather(*(self._answer(process) for process in self._processes))

    def _send(self, process: asyncio.subprocess.Process, line: object) -> None:
        assert process.stdin is not None
        process.stdin.write(json.dumps(line).encode() + b"\n")

    async def _answer(self, process: asyncio.subprocess.Process) -> dict[str, Any]:
        assert process.stdout is not None
        async with asyncio.timeout(PATIENCE + 60):
            response: dict[str, Any] = json.loads(await process.stdout.readline())
            return response


def _added(responses: list[dict[str, Any]]) -> dict[str, Any]:
    """Add up what the processes said."""
    total: dict[str, Any] = {
        name: sum((Counter(response.get(name, {})) for response in responses), Counter())
        for name in ("tokens", "states", "failed")
    }
    return total | {name: sum(response.get(name, 0) for response in responses) for name in ("calls", "down")}


class Stage:
    """Redis, the emulator, and what they counted."""

    def __init__(self, plan: Plan, redis: RedisServer, emulator_url: str) -> None:
        self.plan = plan
        self.redis = redis
        seconds, microseconds = redis.send("TIME")
        self.origin = float(seconds) + microseconds / 1e6
        self.environ = {
            "SIDECAR_MANGOPAY_ENVIRONMENT": "emulator",
            "SIDECAR_MANGOPAY_BASE_URL": emulator_url,
            "SIDECAR_MANGOPAY_CLIENT_ID": "acme",
            "SIDECAR_MANGOPAY_API_KEY": CANARY_API_KEY,
            "SIDECAR_TOKEN_STORE": redis.url,
        }
        self._address = emulator_url.removeprefix("http://")
        self.requests_before = 0
        self.commands_before = 0

    def emulate(self, method: str, route: str, **body: Any) -> Any:
        """Ask a control route of the emulator."""
        connection = http.client.HTTPConnection(self._address, timeout=30)
        try:
            connection.request(method, f"/__emulator__/{route}", json.dumps(body) if body else None)
            response = connection.getresponse()
            content = json.loads(response.read())
        finally:
            connection.close()
        assert response.status == 200, content
        return content

    def set_life(self, seconds: float) -> None:
        """Have tokens live for so long from the next one on."""
        self.emulate("POST", "settings", expires_in=seconds)

    def begin(self, *, empty: bool = False) -> None:
        """Begin a scenario; ``empty``: with nothing in Redis."""
        if empty:
            self.redis.send("FLUSHALL")
        self.requests_before, self.commands_before = self.token_requests(), self._redis_commands()

    def end(self, name: str, most: int, bound: str | None = None, **seen: Any) -> Row:
        """End a scenario: at most so many token requests, and no failed call."""
        requests = self.token_requests() - self.requests_before
        failed = seen.pop("failed", Counter())
        return Row(
            name,
            requests,
            bound or f"{most}",
            broken=requests > most or bool(failed),
            failed=failed,
            commands=max(self._redis_commands() - self.commands_before, 0),
            **seen,
        )

    def token_moments(self) -> list[float]:
        """Return when token requests arrived since the beginning of the scenario (Unix time)."""
        return [call["at"] for call in self.emulate("GET", "stats")["token_calls"]][self.requests_before :]

    def token_requests(self) -> int:
        return int(self.emulate("GET", "stats")["token_requests"])

    def _redis_commands(self) -> int:
        """Count what the fleet had Redis do; our own questions are left out."""
        with self.redis.admin() as admin:
            stats: dict[str, dict[str, int]] = admin.info("commandstats")
        wanted = ("cmdstat_get", "cmdstat_evalsha", "cmdstat_time", "cmdstat_script|load")
        return sum(stats[name]["calls"] for name in wanted if name in stats)

    def redis_cost(self) -> dict[str, float]:
        """Tell what Redis has done and needed so far."""
        with self.redis.admin() as admin:
            stats: dict[str, Any] = admin.info("commandstats")
            memory: dict[str, Any] = admin.info("memory")
        costs = {
            name.removeprefix("cmdstat_"): entry["usec"] / entry["calls"]
            for name, entry in stats.items()
            if name in ("cmdstat_get", "cmdstat_evalsha", "cmdstat_time")
        }
        return {**costs, "peak_memory": memory["used_memory_peak"] / 1e6}
