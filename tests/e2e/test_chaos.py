"""Payments in a storm (issue: reliability): the short form of ``python -m benchmarks.chaos``."""

from __future__ import annotations

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
