"""Rounds: every scenario with every peer, in another order each time."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar

from benchmarks.children import ChildError
from benchmarks.load.errors import LoadError
from benchmarks.measure.results import Results, Sample
from benchmarks.peers.sidecar import InstalledSidecar, SidecarPeer
from benchmarks.scenarios import curve, gain, life, start

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from benchmarks.bench import Bench, Running
    from benchmarks.peers.site import Peer
    from benchmarks.scenarios.calls import Calls

#: Cores that others may use during a measurement before it is done again.
DISTURBED: Final = 0.10
_T = TypeVar("_T")


@dataclass(frozen=True)
class Plan:
    """How much to do of what."""

    rounds: int
    #: Of load in each measurement, and before it.
    seconds: float
    warm_up: float
    calls: Sequence[Calls]
    life: bool = True
    start: bool = True
    #: Round trips in milliseconds.
    gains: Sequence[int] = gain.ROUND_TRIPS
    #: Rounds of curves, which take longest, and the peers whose curves are drawn besides the sidecar's.
    curves: int = 0
    curves_of: frozenset[str] = frozenset({"Envoy"})
    #: How often a measurement is made at most until one is not disturbed, and seconds between two tries.
    tries: int = 3
    pause: float = 0.5

    def app_calls(self, round_trip: int) -> int:
        """Return how many calls the app makes to see what it gains: fewer where each takes a while."""
        return max(10, round(self.seconds * (16 if round_trip else 160)))


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
            if self.plan.start:
                self._starts(number)
            if self.plan.life:
                for peer in self._shuffled(self.peers):
                    self._note(number, life.NAME, peer.name, life.live, self.bench, peer, self.plan.seconds)
            if self.plan.calls:
                self._calls(number)
            for round_trip in self.plan.gains:
                try:
                    self._gains(number, round_trip)
                except ChildError as error:  # the relay's
                    self._fail(number, gain.name(round_trip), gain.DIRECT, error)
            if number <= self.plan.curves:
                self._curves(number)
        return self.results

    @property
    def _sidecars(self) -> list[SidecarPeer]:
        return [peer for peer in self.peers if isinstance(peer, SidecarPeer)]

    def _shuffled(self, things: Sequence[_T]) -> list[_T]:
        return self.random.sample(things, len(things))

    # --- the scenarios -----------------------------------------------------------------------------------------------

    def _starts(self, number: int) -> None:
        sidecars = self._sidecars
        if number == 1:
            # Whoever comes first would otherwise pay for the bytecode and for what is not yet in memory.
            for sidecar in sidecars:
                with contextlib.suppress(ChildError):
                    start.start(self.bench, sidecar)
                    start.bare_import(self.bench, sidecar.command.with_name("python"))
        names = [each.name for each in sidecars]
        for each, bare in self._shuffled([(each, bare) for each in sidecars for bare in (True, False)]):
            if bare:
                python = each.command.with_name("python")
                self._note(number, start.NAME, start.bare(each.name, names), start.bare_import, self.bench, python)
            else:
                self._note(number, start.NAME, each.name, start.start, self.bench, each)

    def _calls(self, number: int) -> None:
        with contextlib.ExitStack() as stack:
            running: dict[str, Running] = {}
            for peer in self._shuffled(self.peers):
                try:
                    running[peer.name] = stack.enter_context(self.bench.running(peer))
                except ChildError as error:
                    for calls in self.plan.calls:
                        self._fail(number, calls.name, peer.name, error)
            for calls in self._shuffled(self.plan.calls):
                for name in self._shuffled([*running, *([gain.DIRECT] if calls.callers == 1 else [])]):
                    self._note(number, calls.name, name, self._undisturbed, calls, running.get(name))

    def _undisturbed(self, calls: Calls, running: Running | None) -> dict[str, float]:
        """Measure until nobody else was on the cores, or often enough; return the least disturbed."""
        how = {"seconds": self.plan.seconds, "warm_up": self.plan.warm_up}
        tried: list[dict[str, float]] = []
        while not tried or (len(tried) < self.plan.tries and tried[-1]["others_busy"] > DISTURBED):
            time.sleep(self.plan.pause if tried else 0)
            if running is None:
                tried.append(self.bench.call_directly(calls, **how))
            else:
                tried.append(self.bench.call(running, calls, **how))
        return min(tried, key=lambda found: found["others_busy"])

    def _gains(self, number: int, round_trip: int) -> None:
        calls = self.plan.app_calls(round_trip)
        with gain.distance(self.bench, round_trip) as port:
            for peer in self._shuffled([None, *self._sidecars]):
                if peer is None:
                    self._note(number, gain.name(round_trip), gain.DIRECT, gain.direct, self.bench, port, calls)
                else:
                    self._note(number, gain.name(round_trip), peer.name, gain.through, self.bench, peer, port, calls)

    def _curves(self, number: int) -> None:
        # How a cost grows is the code's doing, and takes longest to see: so in one build and on one Python only.
        ours = [peer for peer in self._sidecars if not isinstance(peer, InstalledSidecar)]
        peers = [peer for peer in self.peers if peer in ours or peer.name in self.plan.curves_of]
        for point in self._shuffled(curve.POINTS):
            for peer in self._shuffled(peers):
                self._note(number, point.name, peer.name, curve.measure, self.bench, peer, point, self.plan.seconds)

    # --- what is noted -----------------------------------------------------------------------------------------------

    def _note(
        self, number: int, scenario: str, peer: str, measure: Callable[..., dict[str, float]], *arguments: object
    ) -> None:
        try:
            found = measure(*arguments)
        except (ChildError, LoadError, OSError) as error:
            self._fail(number, scenario, peer, error)
        else:
            self.results.samples.append(Sample(number, scenario, peer, found))
            shown = "  ".join(f"{name} {value:.4g}" for name, value in found.items())
            self.tell(f"{number:3} {scenario:16} {peer:12} {shown}")

    def _fail(self, number: int, scenario: str, peer: str, error: Exception) -> None:
        self.results.samples.append(Sample(number, scenario, peer, failure=str(error)))
        self.tell(f"{number:3} {scenario:16} {peer:12} FAILED: {error}")
