"""A hundred sidecars' tokens on one Redis: the short form of ``python -m benchmarks.fleet``."""

from __future__ import annotations

import pytest

from benchmarks.fleet import Plan, run

PLAN = Plan(
    managers=100,
    processes=2,
    life=2.5,
    periods=2,
    rate=300.0,
    outage=3.0,
    lockout=120.0,
    speed=30.0,
    warm_up=0.5,
)


@pytest.mark.timeout(180)
async def test_a_hundred_sidecars_ask_once_whatever_happens() -> None:
    report = await run(PLAN, print)
    assert not report.wrong
    start, revocation, lives, restart, outage, lockout = report.rows
    assert (start.requests, revocation.requests, restart.requests) == (1, 1, 0)
    assert lives.requests >= PLAN.periods
    assert lockout.requests >= 2, "it was probed"
    for row in (revocation, lives, outage):
        assert row.calls > 0
