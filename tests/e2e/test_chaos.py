"""Payments in a storm (issue: reliability): the short form of ``python -m benchmarks.chaos``."""

from __future__ import annotations

import random

import pytest

from benchmarks.chaos import FAULTS, Plan, run


async def test_two_thousand_payments_in_a_storm_are_executed_once_at_most_and_told_right() -> None:
    report = await run(Plan(posts=2_000, share=0.05, seed=1))
    print(*report.lines(), sep="\n")
    assert not report.wrong
    # It was a storm.
    expected = report.plan.posts * report.plan.share * len(FAULTS)
    assert 0.8 * expected < report.faulted < 1.2 * expected
    assert report.counts["answered 200, recovered: idempotency"] > 100
    assert report.token_requests == 2


async def test_after_a_storm_reconcile_tells_each_unknown_as_the_ledger_has_it() -> None:
    """The short form of ``python -m benchmarks.chaos --reconcile``."""
    report = await run(Plan(posts=300, seed=1, reconcile=True))
    print(*report.lines(), sep="\n")
    assert not report.wrong
    told = {name.rpartition(" ")[2]: count for name, count in report.counts.items() if "told by reconcile" in name}
    assert told.keys() == {"executed", "refused", "not_there"}
    assert min(told.values()) >= 3
    assert sum(told.values()) > 50


@pytest.mark.parametrize("seed", range(8))
async def test_a_sidecar_that_is_killed_in_a_storm_has_logged_every_unknown_that_it_told(seed: int) -> None:
    moment = random.Random(seed).randrange(1, 300)
    report = await run(Plan(posts=2_000, share=0.05, seed=seed, kill_after=moment))
    print(*report.lines(), sep="\n")
    assert not report.wrong
    told = sum(report.counts.values())
    assert moment <= told < report.plan.posts / 2, "it was in the middle of it"
    assert any("unknown" in what for what in report.counts)
