"""A thousand sidecars' token managers in front of one Redis and one emulator: how many token calls do they make?

``python -m benchmarks.fleet``. The managers are spread over some processes, each with its own Redis client, fetcher
and clock; Redis is a real server, the emulator a process of its own. Prints a table; the exit status is 1 if a bound
is broken. docs/scale.md tells the figures.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.fleet_stage import PATIENCE, Fleet, Plan, Row, Stage
from tests.support.redis_server import RedisServer
from tests.support.sidecar import Command

if TYPE_CHECKING:
    from collections.abc import Callable

#: The account's first pause after a lockout is at least so long, and each further one twice as long (contract 5.6).
_FIRST_PROBE: Final = 30.0 * 0.8
HEAD: Final = f"{'':<7}{'scenario':<32}{'requests':>9}  {'bound':<16}{'calls':>7}{'failed':>7}{'Redis':>9}"


@dataclass
class Report:
    """All scenarios, and what Redis was like at its busiest."""

    plan: Plan
    rows: list[Row] = field(default_factory=list)
    redis: dict[str, float] = field(default_factory=dict)

    @property
    def wrong(self) -> list[str]:
        """The scenarios that broke a bound."""
        return [row.name for row in self.rows if row.broken]


# --- the scenarios ---------------------------------------------------------------------------------------------------


async def cold_start(stage: Stage, fleet: Fleet) -> Row:
    """Start all managers at once, with nothing in the store."""
    stage.set_life(3600)
    stage.begin(empty=True)
    seen = await fleet.start()
    notes = f"all had it after {seen['seconds']:.1f} s"
    row = stage.end("cold start at once", 1, notes=notes)
    row.broken |= len(seen["tokens"]) != 1 or "none" in seen["tokens"]
    return row


async def revocation(stage: Stage, fleet: Fleet) -> Row:
    """Revoke the token under load."""
    await fleet.call(stage.plan.rate)
    await asyncio.sleep(stage.plan.warm_up)
    await fleet.report()
    stage.begin()
    stage.emulate("POST", "revoke")
    seen = await _until_one_token(fleet)
    notes = f"longest call {seen['longest']:.1f} s"
    return stage.end("revocation under load", 1, calls=seen["calls"], failed=seen["failed"], notes=notes)


async def expiry(stage: Stage, fleet: Fleet) -> Row:
    """Let the token expire under load, some times."""
    plan = stage.plan
    stage.set_life(plan.life)
    stage.emulate("POST", "revoke")  # the next one lives shorter
    await _until_one_token(fleet)
    stage.begin()
    await asyncio.sleep(plan.life * plan.periods)
    seen = await fleet.report()
    # A token is renewed when a tenth of its life is left.
    most = int(plan.periods / 0.9) + 1
    notes = f"longest call {seen['longest']:.1f} s"
    name = f"{plan.periods} lives of a token under load"
    return stage.end(name, most, f"{most}, one a period", calls=seen["calls"], failed=seen["failed"], notes=notes)


async def mass_restart(stage: Stage, fleet: Fleet) -> Row:
    """Kill every process, and start as many again, with a token in the store."""
    stage.set_life(3600)
    stage.emulate("POST", "revoke")
    await _until_one_token(fleet)
    await fleet.call(0)
    stage.begin()
    await fleet.kill()
    seen = await fleet.start()
    row = stage.end("mass restart after SIGKILL", 0, notes=f"all had it after {seen['seconds']:.1f} s")
    row.broken |= len(seen["tokens"]) != 1 or "none" in seen["tokens"]
    return row


async def outage(stage: Stage, fleet: Fleet) -> Row:
    """Kill Redis under load, so that the token expires meanwhile, and start it again, empty."""
    plan = stage.plan
    # The token is renewed once meanwhile, after nine tenths of this; a second time only if the outage were much longer.
    life = plan.outage * 0.9
    stage.set_life(life)
    stage.emulate("POST", "revoke")
    await fleet.call(plan.rate)
    before = (await _until_one_token(fleet))["tokens"]
    await _until_one_token(fleet, unlike=before)  # so that its age is known
    stage.begin()
    stage.redis.kill()
    await asyncio.sleep(plan.outage)
    during = await fleet.report()
    gone = stage.token_requests() - stage.requests_before
    assert stage.redis.start()
    await asyncio.sleep(life)
    seen = await fleet.report()
    stage.commands_before = 0  # it counts from its start
    longest = max(during["longest"], seen["longest"])
    row = stage.end(
        f"Redis gone for {plan.outage:g} s, and back",
        plan.managers + 5,
        "0 failed calls",
        calls=during["calls"] + seen["calls"],
        failed=during["failed"] + seen["failed"],
        notes=f"{gone} requests while gone, by {during['down']} alone; longest call {longest:.1f} s",
    )
    end = asyncio.get_running_loop().time() + PATIENCE
    while (await fleet.report())["down"]:
        row.broken |= asyncio.get_running_loop().time() > end
        if row.broken:
            break
        await asyncio.sleep(0.2)
    return row


async def lockout(stage: Stage) -> Row:
    """Lock the account for a while, in fast time, with every manager asked for tokens all the time."""
    plan = stage.plan
    stage.emulate("POST", "lockout")
    stage.begin(empty=True)
    fleet = Fleet(stage, speed=plan.speed)
    try:
        await fleet.start()
        await fleet.call(plan.rate)
        await asyncio.sleep(plan.lockout / plan.speed)
        moments = stage.token_moments()
        gaps = [(later - earlier) * plan.speed for earlier, later in pairwise(moments)]
        stage.emulate("POST", "lockout", clear=True)
        seen = await fleet.report()
        # All of what it took, since processes that are slow to answer go on asking.
        most = _most_probes((time.time() - min(moments, default=time.time())) * plan.speed)
        row = stage.end(
            f"lockout of {plan.lockout / 60:g} min",
            most,
            f"{most}, a period each",
            calls=seen["calls"],
            notes=f"pauses {', '.join(f'{gap:.0f}' for gap in gaps[:8])} s; calls answered {dict(seen['failed'])}",
        )
        # Real milliseconds of a busy machine are seconds here.
        row.broken |= any(gap < 0.95 * _FIRST_PROBE * 2.0**number for number, gap in enumerate(gaps))
        row.broken |= set(seen["failed"]) != {"token_locked_out"}
        return row
    finally:
        await fleet.kill()


def _most_probes(seconds: float) -> int:
    """Return how many token requests a lockout of so many seconds allows, the first one included."""
    moment, probes, pause = 0.0, 1, _FIRST_PROBE
    while moment + pause < seconds:
        moment, probes, pause = moment + pause, probes + 1, min(pause * 2, 900.0 * 0.8)
    return probes


async def _until_one_token(
    fleet: Fleet, within: float = PATIENCE, unlike: Counter[str] | None = None
) -> dict[str, Any]:
    """Return what was seen until all managers have the same token again; ``unlike``: another than this."""
    seen: dict[str, Any] = {"calls": 0, "failed": Counter(), "longest": 0.0}
    end = asyncio.get_running_loop().time() + within
    while True:
        await asyncio.sleep(0.2)
        more = await fleet.report()
        seen = {
            **more,
            "calls": seen["calls"] + more["calls"],
            "failed": seen["failed"] + more["failed"],
            "longest": max(seen["longest"], more["longest"]),
        }
        if (len(more["tokens"]) == 1 and more["tokens"] != unlike) or asyncio.get_running_loop().time() > end:
            return seen


async def run(plan: Plan, tell: Callable[[str], None] = lambda line: None) -> Report:
    """Play all scenarios; ``tell`` gets each row once it is there."""
    report = Report(plan)

    def note(row: Row) -> None:
        report.rows.append(row)
        tell(row.line())

    tell(HEAD)
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        redis = stack.enter_context(RedisServer(directory, "maxclients 20000"))
        emulator = stack.enter_context(Command("emulator", "--port", "0", measured=True))
        stage = Stage(plan, redis, emulator.wait_for(r"^ready emulator=(.*)$")[1])
        fleet = Fleet(stage)
        stack.push_async_callback(fleet.kill)
        note(await cold_start(stage, fleet))
        note(await revocation(stage, fleet))
        note(await expiry(stage, fleet))
        note(await mass_restart(stage, fleet))
        report.redis = stage.redis_cost()
        note(await outage(stage, fleet))
        await fleet.close()
        note(await lockout(stage))
    return report


def main() -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet", description=__doc__.partition("\n")[0])
    parser.add_argument("--managers", type=int, default=Plan.managers)
    parser.add_argument("--processes", type=int, default=Plan.processes)
    parser.add_argument("--rate", type=float, default=Plan.rate, help="calls a second, of all together")
    given = parser.parse_args()
    plan = Plan(managers=given.managers, processes=given.processes, rate=given.rate)
    report = asyncio.run(run(plan, lambda line: print(line, flush=True)))
    print("Redis: " + ", ".join(f"{name} {value:.1f}" for name, value in report.redis.items()) + " (µs a command; MB)")
    return 1 if report.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
