"""Which 401s burn a token, which refreshes are futile, and when that stops counting."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from sidecar.core import unauthorized as api
from sidecar.core.unauthorized import Burn, Burns, Ruling, Standing

HELD = Standing(generation=1, burnt=False, expired=False, fetching=False)


class Story:
    """The 401s of one credential, told step by step."""

    def __init__(self) -> None:
        self.now = 100.0
        self.burns = Burns()
        self.standing = HELD

    def refused(self, generation: int | None = None, path: str = "/a") -> tuple[Ruling, Burn]:
        """A first attempt gets a 401."""
        generation = self.standing.generation if generation is None else generation
        self.burns, ruling = api.rule(self.burns, self.standing, generation, path, self.now)
        if ruling is Ruling.BURN:
            self.standing = replace(self.standing, burnt=True)
        return ruling, Burn(generation, path, judge=api.judges(self.burns, generation))

    def requested(self) -> None:
        """The token request is sent."""
        self.standing = replace(self.standing, fetching=True)
        self.burns = api.token_requested(self.burns)

    def renewed(self) -> None:
        """The new token arrives."""
        self.standing = replace(HELD, generation=self.standing.generation + 1)
        self.burns = api.token_renewed(self.burns, self.now)

    def refresh(self) -> None:
        self.requested()
        self.renewed()

    def resent(self, burn: Burn, *, unauthorized: bool) -> None:
        self.burns = api.resent(self.burns, burn, self.standing.generation, unauthorized=unauthorized)

    def accepted(self) -> None:
        self.burns = api.accepted(self.burns, self.standing.generation)

    def futile_refresh(self) -> None:
        ruling, burn = self.refused()
        assert ruling is Ruling.BURN
        self.refresh()
        self.resent(burn, unauthorized=True)

    @property
    def penalty(self) -> float:
        return max(self.burns.penalty_until - self.now, 0.0)


def test_a_401_on_the_current_generation_burns_it() -> None:
    story = Story()
    ruling, burn = story.refused()
    assert ruling is Ruling.BURN
    assert burn == Burn(1, "/a", judge=True)


@pytest.mark.parametrize("penalty", [False, True])
def test_a_401_on_an_older_generation_is_resent_and_burns_nothing(penalty: bool) -> None:
    story = Story()
    story.futile_refresh() if penalty else story.refresh()
    ruling, burn = story.refused(generation=1)
    assert ruling is Ruling.RESEND
    assert not burn.judge


def test_a_generation_that_was_never_given_out_is_passed_through() -> None:
    assert Story().refused(generation=7)[0] is Ruling.PASS


def test_all_401s_before_the_token_request_is_sent_judge_it_and_later_ones_do_not() -> None:
    story = Story()
    first = story.refused()
    second = story.refused()
    story.requested()
    third = story.refused()
    assert [ruling for ruling, _ in (first, second, third)] == [Ruling.BURN, Ruling.RESEND, Ruling.RESEND]
    assert [burn.judge for _, burn in (first, second, third)] == [True, True, False]


def test_after_a_failed_token_request_nobody_becomes_a_judge_any_more() -> None:
    """That request may have ended the old token by itself, though its answer was lost."""
    story = Story()
    story.refused()
    story.requested()
    story.standing = replace(story.standing, fetching=False)
    assert not story.refused()[1].judge


def test_a_refresh_that_a_401_caused_is_futile_until_a_judge_says_otherwise() -> None:
    story = Story()
    _, burn = story.refused()
    story.refresh()
    assert story.penalty == 10.0
    story.resent(burn, unauthorized=False)
    assert story.penalty == 0.0


def test_one_useful_judge_is_enough() -> None:
    story = Story()
    _, bad = story.refused(path="/bad")
    _, good = story.refused(path="/good")
    story.refresh()
    story.resent(bad, unauthorized=True)
    story.resent(good, unauthorized=False)
    story.resent(bad, unauthorized=True)
    assert story.penalty == 0.0


def test_who_is_no_judge_lifts_no_penalty() -> None:
    story = Story()
    story.refused()
    story.requested()
    _, late = story.refused()
    story.renewed()
    story.resent(late, unauthorized=False)
    assert story.penalty == 10.0


def test_a_judge_of_an_earlier_refresh_lifts_no_penalty() -> None:
    story = Story()
    _, first = story.refused()
    story.refresh()
    story.now += 10
    story.refused()
    story.refresh()
    story.resent(first, unauthorized=False)
    assert story.penalty == 20.0


def test_a_refresh_that_no_401_caused_is_no_trial() -> None:
    story = Story()
    story.refresh()
    assert story.penalty == 0.0


def test_a_401_while_another_refresh_is_on_its_way_burns_but_starts_no_trial() -> None:
    """That refresh may itself have ended the token: then every refresh would look useful."""
    story = Story()
    story.requested()
    ruling, burn = story.refused()
    assert (ruling, burn.judge) == (Ruling.BURN, False)
    story.renewed()
    assert story.penalty == 0.0


def test_the_penalty_doubles_up_to_a_minute_and_a_useful_refresh_resets_it() -> None:
    story = Story()
    penalties = []
    for _ in range(5):
        story.futile_refresh()
        penalties.append(story.penalty)
        story.now += story.penalty
    assert penalties == [10, 20, 40, 60, 60]
    _, burn = story.refused()
    story.refresh()
    story.resent(burn, unauthorized=False)
    story.futile_refresh()
    assert story.penalty == 10


def test_during_the_penalty_a_401_is_passed_through_and_burns_nothing() -> None:
    story = Story()
    story.futile_refresh()
    story.now += 9.99
    assert story.refused()[0] is Ruling.PASS
    assert not story.standing.burnt
    story.now += 0.01
    assert story.refused()[0] is Ruling.BURN


def test_during_the_penalty_a_401_waits_for_a_refresh_that_is_on_its_way_anyway() -> None:
    story = Story()
    story.futile_refresh()
    story.requested()
    assert story.refused()[0] is Ruling.RESEND
    assert not story.standing.burnt


@pytest.mark.parametrize("penalty", [False, True])
def test_a_401_on_an_expired_token_is_no_trial(penalty: bool) -> None:
    story = Story()
    if penalty:
        story.futile_refresh()
    before = story.penalty
    story.standing = replace(story.standing, expired=True)
    assert story.refused()[0] is Ruling.RESEND
    story.refresh()
    assert story.penalty == before


def escape(*steps: str) -> Ruling:
    """After a futile refresh, "ok" is an accepted call, and a path is a 401; return the last one's ruling."""
    story = Story()
    story.futile_refresh()
    story.now += 1
    ruling = Ruling.PASS
    for step in steps:
        if step == "ok":
            story.accepted()
        else:
            ruling = story.refused(path=step)[0]
    return ruling


@pytest.mark.parametrize(
    ("steps", "burns"),
    [
        (("ok", "/a", "/b", "/a"), True),
        (("ok", "/a", "/a", "/b"), True),
        (("ok", "/a", "/b"), False),
        (("ok", "/a", "/a", "/a", "/a"), False),
        (("/a", "/b", "/c", "/d"), False),
        (("ok", "/a", "/b", "ok", "/a"), False),
        (("ok", "/a", "ok", "/b", "ok", "/c"), False),
        (("ok", "/a", "/b", "ok", "/a", "/b", "/c"), True),
    ],
)
def test_three_401s_running_on_two_paths_burn_a_generation_that_was_accepted(
    steps: tuple[str, ...], burns: bool
) -> None:
    assert escape(*steps) is (Ruling.BURN if burns else Ruling.PASS)


def test_401s_on_resends_count_towards_an_escape_and_burn_nothing_themselves() -> None:
    story = Story()
    story.futile_refresh()
    story.accepted()
    for path in ("/a", "/b", "/c"):
        story.resent(Burn(1, path, judge=False), unauthorized=True)
    assert not story.standing.burnt
    assert story.refused(path="/a")[0] is Ruling.BURN


def test_401s_on_an_older_generation_do_not_count_towards_an_escape() -> None:
    story = Story()
    story.futile_refresh()
    story.accepted()
    for path in ("/a", "/b", "/c"):
        story.refused(generation=1, path=path)
    assert story.refused(path="/a")[0] is Ruling.PASS


def test_a_late_401_on_a_resend_with_an_older_generation_does_not_count_either() -> None:
    story = Story()
    story.futile_refresh()
    story.accepted()
    before = story.burns
    assert api.resent(before, Burn(0, "/a", judge=False), 1, unauthorized=True) == before


def test_an_accepted_resend_counts_as_acceptance() -> None:
    story = Story()
    story.futile_refresh()
    story.resent(Burn(1, "/a", judge=False), unauthorized=False)
    story.refused(path="/a")
    story.refused(path="/b")
    assert story.refused(path="/c")[0] is Ruling.BURN


def test_escapes_are_ten_seconds_apart_at_least() -> None:
    story = Story()
    story.futile_refresh()
    escapes = []
    for _ in range(400):
        story.accepted()
        for path in ("/a", "/b", "/c"):
            if story.refused(path=path)[0] is Ruling.BURN:
                escapes.append(story.now)
                story.refresh()
        story.now += 0.1
    pauses = [later - earlier for earlier, later in pairwise(escapes)]
    assert len(escapes) >= 3
    assert min(pauses) >= 10


def test_a_late_answer_to_an_older_generation_changes_nothing() -> None:
    story = Story()
    story.refresh()
    story.accepted()
    before = story.burns
    assert api.accepted(before, 1) is before
    assert api.accepted(before, 2) is before
