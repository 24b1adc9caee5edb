"""A checkout and batch jobs at full speed, over two minutes of simulated time: who gets what of the window.

Sidecars that know nothing of each other share one account, whose window the emulator's own rates count. Events are in
order of time, latencies are drawn from a seed: each run is the same.
"""

from __future__ import annotations

import heapq
import itertools
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from sidecar.core import steward as rules
from sidecar.core.rate_windows import RateWindow
from sidecar.core.steward import Look, Permission, Steward
from sidecar.emulator.rates import Rates, Window

if TYPE_CHECKING:
    from collections.abc import Callable

SECONDS = 120.0
WINDOW = Window(10, 100)
#: Unix seconds at the start; not a whole second.
START = 1_733_404_277.3


@dataclass
class Result:
    """Calls that were answered, and those that met a 429."""

    checkout: int = 0
    checkout_refused: int = 0
    batch: int = 0
    batch_refused: int = 0
    #: Of the window: what remained at worst.
    least: int = WINDOW.limit

    @property
    def share(self) -> float:
        """What the jobs got of that which the checkout left."""
        made = self.checkout + self.checkout_refused
        return self.batch / (WINDOW.limit * SECONDS / WINDOW.length - made)


class Member:
    """One sidecar, with the calls that wait in it."""

    def __init__(self, reserve: float) -> None:
        self.steward = Steward(reserve) if reserve else None
        self.waiting = 0
        self.wakes_at = float("inf")


class Simulation:
    """Everything that happens, in order of time."""

    def __init__(self, members: int, *, reserve: float, workers: int, latency: float, turns: bool) -> None:
        self.now = 0.0
        self.result = Result()
        self._random = random.Random(18)
        self._latency = latency
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._order = itertools.count()
        self._rates = Rates()
        self._members = [Member(reserve) for _ in range(members)]
        #: The checkout calls through one sidecar after another, or always through the first.
        self._turns = turns
        for member in self._members:
            for _ in range(workers):
                self._at(0.0, self._ask, member)
        self._at(0.37, self._check_out, 0)

    def run(self) -> Result:
        while self._events[0][0] < SECONDS:
            self.now, _, act, arguments = heapq.heappop(self._events)
            act(*arguments)
        return self.result

    def _at(self, moment: float, act: Callable[..., None], *arguments: Any) -> None:
        heapq.heappush(self._events, (moment, next(self._order), act, arguments))

    def _way(self) -> float:
        """Half of a latency, more or less."""
        return self._latency * self._random.uniform(0.25, 0.75)

    def _check_out(self, number: int) -> None:
        self._send(self._members[number % len(self._members) if self._turns else 0], batch=False)
        self._at(self.now + 1.0, self._check_out, number + 1)

    def _ask(self, member: Member) -> None:
        member.waiting += 1
        self._serve(member)

    def _serve(self, member: Member) -> None:
        while member.waiting:
            if member.steward is not None:
                ruling = rules.ruling(member.steward, self.now)
                if ruling.permission is not Permission.GO:
                    until = max(ruling.until, self.now + 0.001)
                    if until < member.wakes_at or member.wakes_at <= self.now:
                        member.wakes_at = until
                        self._at(until, self._serve, member)
                    return
                member.steward = rules.let_through(member.steward, self.now)
            member.waiting -= 1
            self._send(member, batch=True)

    def _send(self, member: Member, *, batch: bool) -> None:
        self._at(self.now + self._way(), self._arrive, member, batch, self.now)

    def _arrive(self, member: Member, batch: bool, sent_at: float) -> None:
        wall = START + self.now
        within = self._rates.count(wall, (WINDOW,))
        headers = dict(self._rates.headers(wall, (WINDOW,), "lines"))
        used, remaining = int(headers[b"X-RateLimit"]), int(headers[b"X-RateLimit-Remaining"])
        self.result.least = min(self.result.least, WINDOW.limit - used)
        window = RateWindow(None, used, remaining, int(headers[b"X-RateLimit-Reset"]))
        look = Look(0.0, sent_at, (window,), float(int(wall)), 200 if within else 429)
        self._at(self.now + self._way(), self._answer, member, batch, within, look)

    def _answer(self, member: Member, batch: bool, within: bool, look: Look) -> None:
        name = f"{'batch' if batch else 'checkout'}{'' if within else '_refused'}"
        setattr(self.result, name, getattr(self.result, name) + 1)
        if member.steward is not None:
            told = Look(self.now, look.sent_at, look.windows, look.date, look.status)
            member.steward = rules.seen(member.steward, told)
        if batch:
            if member.steward is not None:
                member.steward = rules.ended(member.steward)
            # A worker that meets a 429 keeps quiet for a moment.
            self._at(self.now + (0.0 if within else 0.05), self._ask, member)
        self._serve(member)


def simulate(members: int, *, reserve: float, workers: int = 16, latency: float = 0.05, turns: bool = False) -> Result:
    return Simulation(members, reserve=reserve, workers=workers, latency=latency, turns=turns).run()


@pytest.mark.parametrize("turns", [False, True], ids=["through one", "through all"])
@pytest.mark.parametrize("workers", [2, 16, 64])
@pytest.mark.parametrize("latency", [0.005, 0.05])
@pytest.mark.parametrize("members", [1, 4])
def test_with_a_reserve_the_checkout_meets_no_429_and_the_jobs_get_the_most_of_the_rest(
    members: int, latency: float, workers: int, turns: bool
) -> None:
    result = simulate(members, reserve=0.2, workers=workers, latency=latency, turns=turns)
    assert (result.checkout, result.checkout_refused, result.batch_refused) == (120, 0, 0)
    assert result.share >= 0.7


def test_slow_responses_cost_the_jobs_no_more_than_time() -> None:
    """With a latency of 0.3 s and a window of 10 s, one sidecar near the reserve is limited by its latency."""
    result = simulate(4, reserve=0.2, latency=0.3)
    assert (result.checkout_refused, result.batch_refused) == (0, 0)
    assert result.share >= 0.7
    assert simulate(1, reserve=0.2, latency=0.3).share >= 0.55


def test_eight_sidecars_take_more_of_the_reserve_and_not_all() -> None:
    result = simulate(8, reserve=0.2)
    assert (result.checkout_refused, result.share >= 0.7) == (0, True)


@pytest.mark.parametrize("members", [1, 4])
def test_without_a_reserve_the_checkout_fails(members: int) -> None:
    result = simulate(members, reserve=0.0)
    assert result.checkout_refused > 100
