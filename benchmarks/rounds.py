"""Rounds: every scenario with every peer, in another order each time."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar

from benchmarks.children import ChildError
from benchmarks.load.errors import LoadError
from benchmarks.measure.results import Results, Sample
from benchmarks.scenarios import life

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from benchmarks.bench import Bench, Running
    from benchmarks.peers.site import Peer
    from benchmarks.scenarios.calls import Calls

_T = TypeVar("_T")
#: Cores that others may use during a measurement before it is done again, and how often it is.
_DISTURBED: Final = 0.10
_TRIES: Final = 3


@dataclass(frozen=True)
class Plan:
    """What to do in each round."""

    rounds: int
    seconds: float
    warm_up: float
    calls: Sequence[Calls]
    with_life: bool = True


@dataclass
class Rounds:
    """Carries out a plan, and notes what was found."""

    bench: Bench
    plan: Plan
    peers: Sequence[Peer]
    random: random.Random
    tell: Callable[[str], None]
    results: Results = field(default_factory=Results)

    def run(self) -> Results:
        """Do all rounds."""
        for number in range(1, self.plan.rounds + 1):
            self.tell(f"round {number} of {self.plan.rounds}")
            if self.plan.with_life:
                self._lives(number)
            if self.plan.calls:
                self._calls(number)
        return self.results

    def _shuffled(self, things: Sequence[_T]) -> list[_T]:
        return self.random.sample(things, len(things))

    def _lives(self, number: int) -> None:
        for peer in self._shuffled(self.peers):
            try:
                found = life.live(self.bench, peer, seconds=self.plan.seconds)
            except (ChildError, LoadError, OSError) as error:
                self._note(Sample(number, life.NAME, peer.name, failure=str(error)))
            else:
                self._note(Sample(number, life.NAME, peer.name, found))

    def _calls(self, number: int) -> None:
        with contextlib.ExitStack() as stack:
            running: dict[str, Running] = {}
            for peer in self._shuffled(self.peers):
                try:
                    running[peer.name] = stack.enter_context(self.bench.running(peer))
                except ChildError as error:
                    for calls in self.plan.calls:
                        self._note(Sample(number, calls.name, peer.name, failure=str(error)))
            for calls in self._shuffled(self.plan.calls):
                for name in self._shuffled(list(running)):
                    self._note(self._measure(number, calls, running[name]))

    def _measure(self, number: int, calls: Calls, running: Running) -> Sample:
        best: dict[str, float] = {}
        for _ in range(_TRIES):
            try:
                found = self.bench.call(running, calls, seconds=self.plan.seconds, warm_up=self.plan.warm_up)
            except (ChildError, LoadError, OSError) as error:
                return Sample(number, calls.name, running.peer.name, failure=str(error))
            if not best or found["others_busy"] < best["others_busy"]:
                best = found
            if best["others_busy"] <= _DISTURBED:
                break
            time.sleep(0.5)
        return Sample(number, calls.name, running.peer.name, best)

    def _note(self, sample: Sample) -> None:
        self.results.samples.append(sample)
        shown = sample.failure or "  ".join(f"{name} {value:.4g}" for name, value in sample.figures.items())
        self.tell(f"{sample.round:3} {sample.scenario:16} {sample.peer:12} {shown}")
