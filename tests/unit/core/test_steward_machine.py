"""The steward under any order of events: what holds always."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sidecar.core import steward as rules
from sidecar.core.rate_windows import RateWindow
from sidecar.core.steward import FRESH, LONGEST, PATIENCE, Look, Permission, Steward

if TYPE_CHECKING:
    from sidecar.core.steward import Ruling

DATE = 1_733_404_277.0
NUMBERS = st.none() | st.integers(0, 200)
WINDOWS = st.builds(
    RateWindow,
    window=st.none() | st.sampled_from(["15m", "1h", "24h"]),
    used=NUMBERS,
    remaining=NUMBERS,
    reset=st.none() | st.integers(int(DATE) - 100, int(DATE) + 100_000),
)
#: Most often there is one window that is told in full, with little or no room.
TOLD = st.tuples(st.integers(-2, 5), st.integers(1, 900)).map(
    lambda told: RateWindow("15m", 80 - told[0], 20 + told[0], int(DATE) + told[1])
)
ALL_WINDOWS = st.one_of(TOLD.map(lambda window: (window,)), st.lists(WINDOWS, max_size=4).map(tuple))


class Lane(RuleBasedStateMachine):
    """Batch calls that come, go and are answered, and responses to other calls, while time goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.steward = Steward(0.2)
        #: When each call under way was sent.
        self.under_way: list[float] = []

    @property
    def ruling(self) -> Ruling:
        return rules.ruling(self.steward, self.now)

    @rule(seconds=st.sampled_from([0.0, 0.01, FRESH, 1.0, PATIENCE, 60.0, 900.0]))
    def time_goes_on(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def time_goes_on_until_the_next_may_go(self) -> None:
        self.now = max(self.now, self.ruling.until)

    @rule()
    def time_goes_on_nearly_so_far(self) -> None:
        self.now = max(self.now, self.ruling.until - 0.5)

    @precondition(lambda self: self.ruling.permission is Permission.GO)
    @rule()
    def a_batch_call_goes(self) -> None:
        before, unanswered = self.steward, bool(self.under_way)
        for full in before.full.values():
            assert self.now >= full.until
        assert self.now >= before.refused_until
        fresh = before.look is not None and not before.full and self.now - before.look.at <= FRESH
        patient = self.now < before.let_at + PATIENCE
        if unanswered and patient and not before.silent:
            assert fresh, "only one goes alone"
        if before.look is not None and unanswered and not before.full:
            assert len(self.under_way) < before.room, "those under way are counted"
        self.steward = rules.let_through(before, self.now)
        self.under_way.append(self.now)

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def a_batch_call_fails(self, data: st.DataObject) -> None:
        self._taken(data)

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), windows=ALL_WINDOWS)
    def a_batch_call_is_answered(self, data: st.DataObject, windows: tuple[RateWindow, ...]) -> None:
        self._see(self._taken(data), 200, None, windows)

    @rule(
        ago=st.floats(0, 100),
        status=st.sampled_from([200, 404, 429, 502]),
        retry_after=st.none() | st.floats(0, 1e9),
        windows=ALL_WINDOWS,
    )
    def another_call_is_answered(
        self, ago: float, status: int, retry_after: float | None, windows: tuple[RateWindow, ...]
    ) -> None:
        self._see(self.now - ago, status, retry_after, windows)

    @invariant()
    def whoever_waits_knows_until_when(self) -> None:
        ruling = self.ruling
        if ruling.permission is not Permission.GO:
            assert self.now < ruling.until <= self.now + LONGEST

    @invariant()
    def as_many_are_under_way_as_went_and_have_no_answer(self) -> None:
        assert self.steward.under_way == len(self.under_way)

    @invariant()
    def what_is_remembered_is_bounded(self) -> None:
        assert len(self.steward.resets) <= 4
        assert all(len(resets) <= 2 * rules.PARTS + 2 for resets in self.steward.resets.values())
        assert all(list(resets) == sorted(resets) for resets in self.steward.resets.values())

    def _taken(self, data: st.DataObject) -> float:
        sent_at = self.under_way.pop(data.draw(st.integers(0, len(self.under_way) - 1)))
        self.steward = rules.ended(self.steward)
        return sent_at

    def _see(self, sent_at: float, status: int, retry_after: float | None, windows: tuple[RateWindow, ...]) -> None:
        self.steward = rules.seen(self.steward, Look(self.now, sent_at, windows, DATE, status, retry_after))


TestLane = Lane.TestCase
TestLane.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
