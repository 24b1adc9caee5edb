"""When a batch call may go: with room, without, at a reset, and when nothing is known."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from sidecar.core import steward as rules
from sidecar.core.rate_windows import RateWindow
from sidecar.core.steward import FRESH, PATIENCE, REFUSED, Look, Permission, Ruling, Steward

GO, TURN, ROOM = Permission.GO, Permission.TURN, Permission.ROOM
#: The upstream's clock is far from ours: only distances count.
DATE = 1_733_404_277.0


def window(
    remaining: int | None, *, limit: int = 100, reset: float | None = 10.0, name: str | None = "15m"
) -> RateWindow:
    """Return a window of which so much remains, with its reset in so many seconds."""
    used = None if remaining is None else limit - remaining
    return RateWindow(name, used, remaining, None if reset is None else int(DATE + reset))


class Story:
    """One sidecar's batch lane, told step by step."""

    def __init__(self, reserve: float = 0.2) -> None:
        self.now = 1000.0
        self.steward = Steward(reserve)

    @property
    def ruling(self) -> Ruling:
        return rules.ruling(self.steward, self.now)

    @property
    def permission(self) -> Permission:
        return self.ruling.permission

    def go(self) -> float:
        """Let a batch call through, which has to be allowed; return when it was sent."""
        assert self.permission is GO
        self.steward = rules.let_through(self.steward, self.now)
        return self.now

    def go_on(self) -> int:
        """Let as many through as may go; return how many."""
        count = 0
        while self.permission is GO:
            self.go()
            count += 1
            assert count < 1000
        return count

    def see(self, *windows: RateWindow, sent_at: float | None = None, **look: Any) -> None:
        """Get a response to a call that was sent just now, or then."""
        sent_at = self.now if sent_at is None else sent_at
        self.steward = rules.seen(self.steward, Look(self.now, sent_at, windows, DATE, **look))

    def end(self, count: int = 1) -> None:
        for _ in range(count):
            self.steward = rules.ended(self.steward)

    def warm_up(self, remaining: int = 100) -> None:
        """See the window so often that its room alone decides."""
        for _ in range(20):
            self.see(window(remaining))

    def later(self, seconds: float) -> None:
        self.now += seconds


# --- with room -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("remaining", "allowed"),
    [(100, 10), (99, 9), (36, 2), (35, 1), (28, 1), (21, 1), (20, 0), (19, 0), (0, 0)],
)
def test_an_eighth_of_the_room_may_be_under_way_and_one_call_at_least(remaining: int, allowed: int) -> None:
    story = Story()
    story.warm_up(remaining)
    assert story.go_on() == allowed


def test_the_least_room_of_all_windows_counts() -> None:
    story = Story()
    for _ in range(20):
        story.see(window(90), window(500, limit=1000, name="1h"), window(250, limit=1000, name="24h"))
    assert story.steward.room == 50
    assert story.go_on() == 6


@pytest.mark.parametrize(
    ("limit", "reserve", "calls"), [(100, 0.2, 20), (101, 0.2, 21), (2300, 0.1, 230), (7, 0.99, 7)]
)
def test_the_reserve_is_at_least_the_share(limit: int, reserve: float, calls: int) -> None:
    assert rules.reserved_calls(limit, reserve) == calls


def test_a_window_of_which_something_is_not_told_does_not_count() -> None:
    story = Story()
    story.see(window(50), window(None, name="1h"), RateWindow("24h", None, 3, None))
    assert story.steward.room == 30


def test_calls_under_way_are_not_forgotten_at_the_next_look() -> None:
    story = Story()
    story.warm_up(100)
    assert story.go_on() == 10
    story.see(window(60))
    assert story.permission is TURN
    story.end(5)
    assert story.permission is TURN
    story.end(1)
    assert story.go_on() == 1


def test_after_a_start_each_look_allows_one_more() -> None:
    story = Story()
    assert [story.go_on(), story.permission] == [1, TURN]
    seen = []
    for _ in range(5):
        story.end()
        story.see(window(100))
        seen.append(story.go_on())
    assert seen == [1, 2, 2, 2, 2]
    assert story.steward.under_way == 5


# --- when nothing is known -------------------------------------------------------------------------------------------


def test_a_look_grows_stale_and_then_one_goes_alone() -> None:
    story = Story()
    story.warm_up()
    story.later(FRESH)
    story.go()
    assert story.permission is GO
    story.later(0.01)
    assert story.permission is TURN
    story.end()
    assert story.go_on() == 1
    story.end()
    story.see(window(100))
    assert story.go_on() == 1, "others may have used the room: it begins anew"


def test_a_call_that_is_not_answered_does_not_stop_the_lane() -> None:
    story = Story()
    sent = story.go()
    assert story.ruling == Ruling(TURN, sent + PATIENCE)
    story.later(PATIENCE)
    story.go()
    assert story.permission is TURN


def test_nor_does_it_take_a_place_that_is_reserved() -> None:
    story = Story()
    for _ in range(3):
        story.see(window(22))
        story.go_on()
        story.later(PATIENCE)
    assert story.steward.under_way == 2
    story.see(window(22))
    assert story.ruling == Ruling(TURN, story.now + PATIENCE)


@pytest.mark.parametrize("status", [400, 502])
def test_a_server_that_tells_no_windows_has_none_to_keep(status: int) -> None:
    story = Story()
    story.go()
    story.see(status=status)
    assert story.permission is TURN, "that was no success"
    story.see(status=200)
    for _ in range(50):
        story.go()


def test_until_it_tells_some() -> None:
    story = Story()
    story.see()
    story.go()
    story.see(window(10))
    assert story.permission is ROOM
    story.see()
    assert story.permission is ROOM, "a response without windows changes nothing"


def test_a_response_that_was_overtaken_is_no_news_unless_it_tells_of_less() -> None:
    story = Story()
    story.warm_up(50)
    newest = story.steward
    for remaining in (90, 50):
        story.see(window(remaining), sent_at=story.now - 1)
        assert story.steward is newest
    assert story.steward.room == 30
    story.see(window(40), sent_at=story.now - 1)
    assert story.steward.room == 20
    story.see(window(45), sent_at=story.now - 0.5)
    assert story.steward.room == 20, "the newest call is still the one from before"
    story.see(window(45))
    assert story.steward.room == 25


# --- without room ----------------------------------------------------------------------------------------------------


def test_without_room_calls_are_held_until_the_reset() -> None:
    story = Story()
    story.see(window(20, reset=7))
    assert story.ruling == Ruling(ROOM, story.now + 7, "15m")
    story.later(6.9)
    assert story.permission is ROOM
    story.later(0.1)
    story.go()
    assert story.permission is TURN, "one at a time, to see anew"


def test_only_windows_without_room_hold_calls() -> None:
    story = Story()
    story.see(window(90), window(20, name="1h", reset=300), window(21, name="24h", reset=9000))
    assert story.steward.full.keys() == {"1h"}
    assert story.ruling == Ruling(ROOM, story.now + 300, "1h")


def test_the_last_reset_of_the_full_windows_counts() -> None:
    story = Story()
    story.see(window(20, reset=700), window(10, limit=400, reset=300, name="1h"), window(90, name="24h", reset=9000))
    assert story.ruling == Ruling(ROOM, story.now + 700, "15m")


def test_an_answer_to_any_call_tells_of_room() -> None:
    story = Story()
    story.see(window(20))
    assert story.permission is ROOM
    story.later(2)
    story.see(window(60))
    assert story.go_on() == 2


def test_a_reset_moves_on_with_each_look_and_the_first_that_was_told_counts() -> None:
    """Mangopay's windows slide: each response tells a reset that is a whole window away."""
    story = Story()
    story.see(window(20))
    first = story.now + 10
    for _ in range(5):
        story.later(1)
        story.see(window(19))
    assert story.ruling.until == first


def test_resets_from_before_the_window_was_full_count_too() -> None:
    story = Story()
    story.see(window(90))
    told = story.now + 10
    story.later(4)
    story.see(window(50))
    story.later(4)
    story.see(window(20))
    assert story.ruling.until == told, "what was counted by then has left"
    story.later(2)
    story.go()
    story.see(window(30))
    story.end()
    story.see(window(20))
    assert story.ruling.until == told + 4


def test_resets_are_remembered_a_sixteenth_of_the_window_apart() -> None:
    story = Story()
    for _ in range(100):
        story.see(window(90, reset=16))
        story.later(0.1)
    resets = story.steward.resets["15m"]
    assert len(resets) == 10
    assert min(b - a for a, b in pairwise(resets)) >= 0.99


def test_a_reset_that_is_just_a_sixteenth_later_is_remembered() -> None:
    story = Story()
    story.see(window(90, reset=16))
    story.later(1)
    story.see(window(90, reset=16))
    assert story.steward.resets["15m"] == (story.now + 15, story.now + 16)


def test_a_reset_that_has_passed_or_is_too_far_is_forgotten() -> None:
    story = Story()
    story.see(window(90, reset=1000))
    story.later(1)
    story.see(window(90, reset=10))
    assert story.steward.resets["15m"] == (story.now + 10,)
    story.later(10)
    story.see(window(90, reset=10))
    assert story.steward.resets["15m"] == (story.now + 10,)


def test_windows_without_a_name_are_told_by_their_place() -> None:
    story = Story()
    story.see(window(20, name=None), window(90, name=None))
    assert story.ruling == Ruling(ROOM, story.now + 10, None)
    story.later(10)
    story.see(window(20, name=None), window(15, name=None, reset=4))
    assert story.ruling == Ruling(ROOM, story.now + 4, None)


@pytest.mark.parametrize(
    ("reset", "seconds"), [(None, 60), (-5, rules.SHORTEST), (10**9, rules.LONGEST), (86_400, rules.LONGEST)]
)
def test_an_odd_reset_holds_nobody_for_ever(reset: float | None, seconds: float) -> None:
    story = Story()
    story.see(window(0, reset=reset))
    assert story.ruling.until == story.now + seconds


# --- probes ----------------------------------------------------------------------------------------------------------


def probe(story: Story, remaining: int, reset: float = 16.0) -> float:
    """Wait for the reset, let a call through that finds so much; return for how long the next one waits then."""
    story.now = max(story.now, story.ruling.until)
    story.go()
    story.later(0.1)
    story.see(window(remaining, reset=reset), sent_at=story.now - 0.1)
    story.end()
    return story.ruling.until - story.now


def test_each_probe_that_finds_no_room_makes_the_next_pause_longer() -> None:
    story = Story()
    story.see(window(20, reset=16))
    assert [round(probe(story, 19), 3) for _ in range(6)] == [1, 2, 4, 8, 16, 16]
    assert story.ruling.window == "15m"
    assert probe(story, 21) < 0, "there is room for one"
    assert story.steward.vain == 0


def test_a_pause_is_not_shorter_than_a_quarter_of_a_second() -> None:
    story = Story()
    story.see(window(20, reset=-1))
    assert [round(probe(story, 19, reset=-1), 3) for _ in range(3)] == [0.25, 0.25, 0.25]


def test_a_probe_is_judged_by_responses_to_calls_that_were_sent_after_it() -> None:
    story = Story()
    story.see(window(20))
    story.later(10)
    before = story.now - 0.1
    story.go()
    story.see(window(19), sent_at=before)
    assert (story.steward.vain, story.permission) == (0, TURN)
    story.see(window(19))
    assert (story.steward.vain, story.permission) == (1, ROOM)
    story.see(window(18))
    assert story.steward.vain == 1, "once"


def test_a_probe_that_gets_no_answer_makes_way_for_the_next() -> None:
    story = Story()
    story.see(window(20))
    story.later(10)
    story.go()
    assert story.permission is TURN
    story.end()
    assert story.permission is GO


# --- 429 -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("retry_after", "seconds"), [(None, REFUSED), (42.0, 42.0), (1e9, rules.LONGEST)])
@pytest.mark.parametrize("windows", [(), (window(90),)])
def test_a_429_holds_the_lane_whatever_the_windows_say(
    windows: tuple[RateWindow, ...], retry_after: float | None, seconds: float
) -> None:
    story = Story()
    story.see(*windows, status=429, retry_after=retry_after)
    assert story.ruling == Ruling(ROOM, story.now + seconds)
    story.later(seconds)
    assert story.go_on() == 1


def test_a_429_with_a_window_that_is_full_holds_until_its_reset() -> None:
    story = Story()
    story.see(window(0), status=429)
    assert story.ruling == Ruling(ROOM, story.now + 10, "15m")


def test_and_for_its_retry_after() -> None:
    story = Story()
    story.see(window(0), status=429, retry_after=30.0)
    assert story.ruling == Ruling(ROOM, story.now + 30)
    story.later(30)
    assert story.permission is GO


def test_a_better_answer_ends_what_a_429_began() -> None:
    story = Story()
    story.see(window(90), status=429)
    story.later(1)
    story.see()
    assert story.permission is ROOM, "that tells nothing"
    story.see(window(90))
    assert story.permission is GO
