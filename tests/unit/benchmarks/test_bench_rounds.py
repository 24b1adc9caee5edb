"""How often a measurement is made, and in which order."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, cast

import pytest

from benchmarks.bench import Bench
from benchmarks.measure.results import Sample
from benchmarks.peers.sidecar import SidecarPeer
from benchmarks.rounds import Plan, Rounds
from benchmarks.scenarios import calls


class FakeBench:
    """Starts nothing, and was disturbed as the test says, call by call."""

    def __init__(self, *disturbed: float) -> None:
        self._disturbed = iter(disturbed)
        self.called: list[tuple[str, str]] = []

    def running(self, peer: SidecarPeer) -> Any:
        class Running:
            def __enter__(self) -> str:
                return peer.name

            def __exit__(self, *_: object) -> None:
                pass

        return Running()

    def call(self, running: str, what: calls.Calls, **_: float) -> dict[str, float]:
        self.called.append((what.name, running))
        return {"others_busy": next(self._disturbed, 0.0), "cpu_us": float(len(self.called))}


def rounds(bench: FakeBench, *, names: str = "a", number: int = 1, scenarios: int = 1) -> Rounds:
    plan = Plan(number, 1.0, 0.0, calls.ALL[1 : 1 + scenarios], life=False, start=False, gains=(), pause=0.0)
    peers = [SidecarPeer(name, Path("none")) for name in names]
    return Rounds(cast(Bench, bench), plan, peers, random.Random(7), lambda _: None)


@pytest.mark.parametrize(
    ("disturbed", "calls_made", "kept"),
    [
        ([0.05], 1, 1.0),
        ([0.5, 0.1], 2, 2.0),
        ([0.5, 0.4, 0.3, 0.0], 3, 3.0),
        ([0.5, 0.2, 0.3, 0.0], 3, 2.0),
    ],
)
def test_a_disturbed_measurement_is_made_again_and_the_least_disturbed_is_kept(
    disturbed: list[float], calls_made: int, kept: float
) -> None:
    bench = FakeBench(*disturbed)
    [sample] = rounds(bench).run().samples
    assert len(bench.called) == calls_made
    assert sample == Sample(1, "get-4", "a", {"others_busy": min(disturbed[:calls_made]), "cpu_us": kept})


def test_every_round_has_every_peer_in_every_scenario_in_another_order() -> None:
    bench = FakeBench()
    rounds(bench, names="abcd", number=3, scenarios=4).run()
    orders = [bench.called[start : start + 16] for start in (0, 16, 32)]
    assert len(bench.called) == 48
    assert {frozenset(order) for order in orders} == {frozenset(orders[0])}
    assert len(frozenset(orders[0])) == 16
    assert len({tuple(order) for order in orders}) == 3
    for order in orders:
        assert [order[start][0] for start in (0, 4, 8, 12)] == [order[start + 3][0] for start in (0, 4, 8, 12)], (
            "the peers of one scenario follow each other, so that their ratio is of one moment"
        )
