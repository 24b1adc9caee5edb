"""Forty sidecars' tokens on one Redis: the short form of ``python -m benchmarks.fleet``."""

from __future__ import annotations

import pytest

from benchmarks.fleet import run
from benchmarks.fleet_stage import Plan

PLAN = Plan(
    managers=40,
    processes=2,
    life=2.0,
    periods=2,
    rate=300.0,
    outage=3.0,
    lockout=60.0,
    speed=20.0,
    warm_up=0.2,
)


@pytest.mark.timeout(180)
async def test_forty_sidecars_ask_once_whatever_happens() -> None:
    report = await run(PLAN, print)
    assert not report.wrong
    start, revocation, lives, restart, outage, lockout = report.rows
    assert (start.requests, revocation.requests, restart.requests) == (1, 1, 0)
    assert lives.requests >= PLAN.periods
    assert lockout.requests >= 2, "it was probed"
    for row in (revocation, lives, outage):
        assert row.calls > 0
