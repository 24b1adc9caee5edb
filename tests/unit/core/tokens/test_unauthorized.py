"""Which 401s burn a token, whose fault a futile refresh is, and when that stops counting."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from sidecar.core.tokens import unauthorized as rules
from sidecar.core.tokens.unauthorized import (
    MOST_PATHS,
    Burns,
    OpenVerdict,
    ResendPermit,
    Ruling,
    Stage,
    TokenFacts,
    Trial,
)

HELD = TokenFacts(generation=1, burnt=False, expired=False, fetching=False)
PASS, RESEND, BURN = Ruling.PASS, Ruling.RESEND, Ruling.BURN


class Story:
    """The 401s of one credential, told step by step."""

    def __init__(self) -> None:
        self.now = 100.0
        self.burns = Burns()
        self.facts = HELD

    def refused(self, path: str = "/a", generation: int | None = None) -> tuple[Ruling, ResendPermit | None]:
        """A first delivery gets a 401."""
        generation = self.facts.generation if generation is None else generation
        self.burns, ruling, permit = rules.rule(self.burns, self.facts, generation, path, self.now)
        assert (permit is None) is (ruling is PASS)
        if ruling is BURN:
            self.facts = replace(self.facts, burnt=True)
        return ruling, permit

    def ruling(self, path: str = "/a", generation: int | None = None) -> Ruling:
        return self.refused(path, generation)[0]

    def leave(self, path: str = "/a", generation: int | None = None) -> ResendPermit:
        permit = self.refused(path, generation)[1]
        assert permit is not None
        return permit

    def requested(self) -> None:
        """The token request is sent."""
        self.burns = rules.token_requested(self.burns, self.now, burnt=self.facts.burnt)
        self.facts = replace(self.facts, fetching=True)

    def renewed(self, *, age: float = 0.0, shared: bool = False) -> None:
        """The new token arrives."""
        self.burns = rules.token_renewed(self.burns, self.now - age, burnt=self.facts.burnt, shared=shared)
        self.facts = replace(HELD, generation=self.facts.generation + 1)

    def refresh(self) -> None:
        self.requested()
        self.renewed()

    def resent(self, permit: ResendPermit, *, ok: bool) -> None:
        self.burns = rules.resent(self.burns, permit, self.facts.generation, self.now, unauthorized=not ok)

    def withdrawn(self, permit: ResendPermit) -> None:
        self.burns = rules.withdrawn(self.burns, permit)

    def accepted(self, path: str = "/a", generation: int | None = None) -> None:
        generation = self.facts.generation if generation is None else generation
        self.burns = rules.accepted(self.burns, generation, path, self.now)

    def mended(self, path: str = "/a") -> None:
        """A revocation, and its useful refresh."""
        permit = self.leave(path)
        assert permit.judge
        self.refresh()
        self.resent(permit, ok=True)

    def futile(self, path: str = "/a") -> None:
        permit = self.leave(path)
        assert permit.judge
        self.refresh()
        self.resent(permit, ok=False)

    def pause(self, path: str = "/a") -> float:
        return rules.paused_paths(self.burns, self.now).get(path, self.now) - self.now


def word(number: int) -> str:
    """A path of its own for each number, which is no id."""
    return f"/{chr(97 + number // 26)}{chr(97 + number % 26)}"


@pytest.fixture
def story() -> Story:
    return Story()


# --- what is burnt, and who is resent --------------------------------------------------------------------------------


def test_a_401_on_the_current_generation_burns_it(story: Story) -> None:
    assert story.refused() == (BURN, ResendPermit(1, "/a", judge=True))


@pytest.mark.parametrize("paused", [False, True])
def test_a_401_on_an_older_generation_is_resent_and_burns_nothing(story: Story, paused: bool) -> None:
    story.futile() if paused else story.refresh()
    assert story.refused(generation=1) == (RESEND, ResendPermit(1, "/a", judge=False))


def test_a_generation_that_was_never_given_out_is_passed_through(story: Story) -> None:
    assert story.ruling(generation=7) is PASS


@pytest.mark.parametrize("paused", [False, True])
def test_a_401_on_an_expired_token_is_resent_and_is_no_trial(story: Story, paused: bool) -> None:
    if paused:
        story.futile()
    before = story.burns
    story.facts = replace(story.facts, expired=True)
    assert story.ruling() is RESEND
    assert story.burns is before


def test_a_401_from_a_path_in_its_pause_is_resent_if_the_token_is_burnt_already(story: Story) -> None:
    story.futile("/bad")
    assert story.ruling("/good") is BURN
    assert story.ruling("/bad") is RESEND


def test_a_401_from_a_path_in_its_pause_waits_for_no_token_that_others_do_without(story: Story) -> None:
    """That request may fail, or wait for a store that is down; the token at hand is good meanwhile."""
    story.futile()
    story.requested()
    assert story.refused() == (PASS, None)
    assert not story.facts.burnt


def test_a_401_while_another_refresh_is_on_its_way_burns_but_starts_no_trial(story: Story) -> None:
    """That refresh may itself have ended the token: then every refresh would look useful."""
    story.requested()
    assert story.refused() == (BURN, ResendPermit(1, "/a", judge=False))
    story.renewed()
    assert story.burns.trial is None


# --- judges ----------------------------------------------------------------------------------------------------------


def test_all_401s_before_the_token_request_is_sent_judge_it_and_later_ones_do_not(story: Story) -> None:
    burns = [story.leave(), story.leave(), story.leave("/b")]
    story.requested()
    burns.append(story.leave())
    assert [permit.judge for permit in burns] == [True, True, True, False]


def test_a_401_on_an_older_generation_does_not_judge_the_refresh_that_the_current_one_needs(story: Story) -> None:
    story.refresh()
    story.leave("/a")
    assert not story.leave("/b", generation=1).judge
    assert story.burns.trial == Trial(2, 100.0, ("/a",))


def test_after_a_failed_token_request_nobody_becomes_a_judge_any_more(story: Story) -> None:
    """That request may have ended the old token by itself, though its response was lost."""
    story.refused()
    story.requested()
    story.facts = replace(story.facts, fetching=False)
    assert not story.leave().judge


def test_nothing_is_held_against_anybody_until_a_judge_is_answered(story: Story) -> None:
    permit = story.leave()
    story.refresh()
    assert story.pause() == 0
    story.resent(permit, ok=False)
    assert story.pause() == 10


@pytest.mark.parametrize("bad_first", [False, True])
def test_one_useful_judge_is_enough(story: Story, bad_first: bool) -> None:
    bad, good, also_bad = story.leave("/bad"), story.leave("/good"), story.leave("/bad")
    story.refresh()
    if bad_first:
        story.resent(bad, ok=False)
        assert story.pause("/bad") == 10
    story.resent(good, ok=True)
    story.resent(also_bad, ok=False)
    assert not story.burns.faults


def test_each_path_whose_calls_judged_it_is_at_fault_once(story: Story) -> None:
    burns = [story.leave(path) for path in ("/a", "/b", "/a")]
    story.refresh()
    for permit in burns:
        story.resent(permit, ok=False)
    assert {path: fault.count for path, fault in story.burns.faults.items()} == {"/a": 1, "/b": 1}


def test_who_is_no_judge_decides_nothing(story: Story) -> None:
    first = story.leave()
    story.requested()
    late = story.leave()
    story.renewed()
    for ok in (False, True):
        story.resent(late, ok=ok)
        assert story.burns.trial == Trial(1, 100.0, ("/a",), judges=1, stage=Stage.TRIED, doubted=("/a",))
    story.resent(first, ok=False)
    story.resent(late, ok=False)
    assert story.burns.trial == Trial(1, 100.0, ("/a",), judges=0, stage=Stage.FUTILE, failed=("/a",), doubted=("/a",))


def test_a_resend_that_judges_nothing_ends_the_pause_of_its_path_as_any_other_response_does(story: Story) -> None:
    judge = story.leave()
    story.requested()
    late = story.leave()
    story.renewed()
    story.resent(judge, ok=False)
    assert story.pause() == 10
    story.resent(late, ok=True)
    assert story.pause() == 0


def test_a_second_judge_that_is_helped_is_a_response_like_any_other(story: Story) -> None:
    """It tells nothing new of the refresh: what came since stays. But it ends a pause, and closes an open verdict."""
    story.accepted("/proven")
    first, second = story.leave("/a"), story.leave("/b")
    story.refresh()
    story.resent(first, ok=True)
    story.futile("/b")
    story.futile("/proven")
    assert (story.pause("/b"), story.pause("/proven")) == (10, 0), "the second verdict is open"
    story.resent(second, ok=True)
    assert (story.pause("/b"), story.pause("/proven")) == (0, 10)


def test_a_useful_refresh_takes_no_verdict_that_is_still_to_come_and_no_proof(story: Story) -> None:
    story.accepted("/proven")
    bad = story.leave("/bad")
    story.refresh()
    story.mended("/good")
    assert list(story.burns.proven) == ["/proven", "/good"]
    story.resent(bad, ok=False)
    assert story.pause("/bad") == 10


def test_a_judge_of_an_earlier_refresh_that_was_useful_ends_all_pauses_once(story: Story) -> None:
    burns = [story.leave(path) for path in ("/a", "/b", "/b")]
    story.refresh()
    story.resent(burns[0], ok=False)
    story.now += 10
    story.futile()
    assert story.pause() == 20
    story.resent(burns[1], ok=True)
    assert not story.burns.faults
    story.futile("/bad")
    story.resent(burns[2], ok=True)
    assert story.pause("/bad") == 10, "the same refresh, which tells nothing new"


def test_the_judges_of_an_earlier_refresh_may_all_withdraw(story: Story) -> None:
    story.accepted()
    first = story.leave()
    story.refresh()
    story.now += 0.4
    second = story.leave()
    story.refresh()
    story.withdrawn(first)
    assert not story.burns.earlier
    story.resent(first, ok=False)
    story.withdrawn(first)
    assert story.burns.open_verdict is None, "its trial is forgotten"
    story.resent(second, ok=False)
    assert story.burns.open_verdict == OpenVerdict(2, "/a")


def test_a_judge_that_withdraws_from_an_earlier_refresh_leaves_the_judges_of_the_others(story: Story) -> None:
    permits = []
    for path in ("/a", "/b", "/c"):
        permits.append(story.leave(path))
        story.refresh()
    story.withdrawn(permits[0])
    assert [trial.paths for trial in story.burns.earlier] == [("/b",)]
    story.resent(permits[1], ok=False)
    assert story.pause("/b") == 10


def test_a_refresh_that_no_401_caused_is_no_trial(story: Story) -> None:
    story.refresh()
    assert story.burns == Burns()


# --- nobody could judge ----------------------------------------------------------------------------------------------


def unjudged(story: Story, *paths: str) -> None:
    """A refresh whose judges all go away: the token endpoint failed for longer than they could wait."""
    burns = [story.leave(path) for path in paths or ("/a",)]
    story.requested()
    for permit in burns:
        story.withdrawn(permit)
    story.renewed()


def test_a_refresh_that_nobody_could_judge_is_not_futile(story: Story) -> None:
    unjudged(story)
    assert not story.burns.faults
    assert rules.is_news(story.burns, "/b")


@pytest.mark.parametrize("ok", [False, True])
def test_if_nobody_could_judge_the_first_response_on_a_judge_s_path_decides(story: Story, ok: bool) -> None:
    unjudged(story)
    if ok:
        story.accepted()
        assert story.burns.trial is not None
        assert story.burns.trial.stage is Stage.USEFUL
        assert dict(story.burns.trusted) == {"/a": rules.EXCUSES}
    else:
        assert story.ruling() is PASS
    assert story.pause() == (0 if ok else 10)


@pytest.mark.parametrize("ok", [False, True])
def test_a_late_resend_may_be_the_first_response_too(story: Story, ok: bool) -> None:
    permit = story.leave()
    story.requested()
    late = story.leave()
    story.withdrawn(permit)
    story.renewed()
    story.resent(late, ok=ok)
    assert story.pause() == (0 if ok else 10)


def test_a_response_on_another_path_or_to_the_old_token_decides_nothing(story: Story) -> None:
    """Else one upload that always gets 401 would look useful beside calls that succeed, and be a storm."""
    unjudged(story, "/upload")
    trial = story.burns.trial
    story.accepted("/good")
    story.accepted("/upload", generation=1)
    assert story.burns.trial == trial


def test_while_a_judge_is_waited_for_other_responses_decide_nothing(story: Story) -> None:
    burns = [story.leave(), story.leave()]
    story.refresh()
    story.withdrawn(burns[0])
    trial = story.burns.trial
    story.accepted()
    assert story.burns.trial == trial


def test_after_trouble_at_the_token_endpoint_a_second_revocation_is_mended_at_once(story: Story) -> None:
    for _ in range(5):
        unjudged(story, "/a", "/b")
        story.accepted("/b")
        story.now += 0.5


# --- pauses ----------------------------------------------------------------------------------------------------------


def test_the_pause_doubles_up_to_a_minute_and_a_useful_refresh_resets_it(story: Story) -> None:
    pauses = []
    for _ in range(5):
        story.futile()
        pauses.append(story.pause())
        story.now += pauses[-1]
    assert pauses == [10, 20, 40, 60, 60]
    story.mended()
    story.now += rules.TRUST
    for _ in range(2):
        story.futile()
    assert story.burns.faults["/a"].count == 1


def test_during_its_pause_a_path_s_401_is_passed_through_and_burns_nothing(story: Story) -> None:
    story.futile()
    story.now += 9.99
    assert story.ruling() is PASS
    assert not story.facts.burnt
    story.now += 0.01
    assert story.ruling() is BURN


def test_a_fault_names_the_refresh_that_it_is_for(story: Story) -> None:
    """The log tells of each once."""
    for generation in (1, 2):
        story.futile()
        assert story.burns.faults["/a"].trial == generation
        story.now += 10
    story.accepted("/b")
    story.futile("/b")
    story.accepted("/c")
    assert story.burns.faults["/b"].trial == 3, "its verdict was open until then"


def test_paths_are_masked_as_the_log_masks_them(story: Story) -> None:
    story.futile("/v2.01/acme/users/12345")
    assert rules.paused_paths(story.burns, story.now) == {"/v2.01/{client}/users/{id}": 110.0}
    assert story.ruling("/v2.01/other/users/9") is PASS
    story.accepted("/v2.01/acme/users/77")
    assert not rules.paused_paths(story.burns, story.now)


def test_a_useful_refresh_resets_the_pauses_of_all_paths(story: Story) -> None:
    story.futile("/bad")
    story.mended("/good")
    assert not story.burns.faults


def test_another_response_ends_the_pause_of_its_own_path_only(story: Story) -> None:
    bad, worse = story.leave("/bad"), story.leave("/worse")
    story.refresh()
    story.resent(bad, ok=False)
    story.resent(worse, ok=False)
    story.accepted("/bad")
    story.accepted("/bad")
    assert (story.pause("/bad"), story.pause("/worse")) == (0, 10)
    assert story.ruling("/worse") is PASS
    assert story.ruling("/bad") is BURN


def test_another_response_after_the_pause_forgets_the_fault(story: Story) -> None:
    story.futile()
    story.now += 10
    story.accepted()
    assert not story.burns.faults
    for _ in range(2):
        story.futile()
    assert story.burns.faults["/a"].count == 1


@pytest.mark.parametrize("proven", [False, True])
def test_an_id_that_is_always_refused_among_others_that_are_not_makes_no_storm(story: Story, proven: bool) -> None:
    """They share a masked path, so that the pause is ended again and again: then the brake is left."""
    burnt_at = []
    if proven:
        story.accepted("/v2.01/acme/users/2")
    for _ in range(1000):
        ruling, permit = story.refused("/v2.01/acme/users/1")
        if ruling is BURN and permit is not None:
            burnt_at.append(story.now - 100)
            story.refresh()
            story.resent(permit, ok=False)
        story.accepted("/v2.01/acme/users/2")
        story.now += 0.1
    assert len([moment for moment in burnt_at if moment < 20]) == 3
    assert len(burnt_at) <= 12


def test_the_verdict_on_a_proven_path_is_open_for_once(story: Story) -> None:
    """The first refresh may have met the next revocation, too."""
    for path in ("/a", "/b"):
        story.accepted(path)
    story.futile()
    assert not story.burns.faults
    story.futile("/b")
    assert story.pause("/b") == 10, "one open verdict for all paths together"
    story.futile()
    assert story.pause() == 10
    assert story.burns.open_verdict is None


def test_a_useful_refresh_forgets_an_open_verdict(story: Story) -> None:
    story.accepted()
    story.futile()
    story.mended()
    assert story.burns.open_verdict is None
    story.accepted("/b")
    assert not story.burns.faults


@pytest.mark.parametrize(("path", "pause"), [("/a", 0), ("/b", 10)])
def test_a_response_to_a_newer_token_closes_an_open_verdict(story: Story, path: str, pause: float) -> None:
    """Tokens are good, so it was the path's fault; the response may be one of its own, and end the pause."""
    story.accepted()
    story.accepted("/b")
    story.futile()
    story.accepted(path, generation=1)
    assert not story.burns.faults, "it tells nothing of newer tokens"
    story.accepted(path)
    assert story.burns.faults["/a"].count == 1
    assert story.burns.open_verdict is None
    assert story.pause() == pause


def test_two_stray_401s_of_an_id_under_a_shared_mask_hold_up_no_revocation(story: Story) -> None:
    good, bad = "/v2.01/acme/users/1", "/v2.01/acme/users/2"
    story.accepted(good)
    for seconds in (3600, 2):
        story.futile(bad)
        story.accepted(good)
        story.now += seconds
    story.mended(good)


# --- the brake -------------------------------------------------------------------------------------------------------


def test_a_revocation_during_a_pause_is_mended_at_once_for_who_polls_a_single_other_path(story: Story) -> None:
    for _ in range(4):
        story.futile("/bad")
        story.now += story.pause("/bad")
    story.futile("/bad")
    story.now += 1
    assert story.pause("/bad") == 59
    assert story.ruling("/good") is BURN


def test_other_paths_start_one_refresh_in_ten_seconds_as_long_as_a_path_pauses(story: Story) -> None:
    for _ in range(5):
        story.futile("/bad")
        story.now += story.pause("/bad")
    story.now -= 60
    started = []
    for number in range(120):
        ruling, permit = story.refused(word(number))
        if ruling is BURN and permit is not None:
            started.append(number / 2)
            story.requested()
            story.withdrawn(permit)
            story.renewed()
        story.now += 0.5
    assert started == [0, 10, 20, 30, 40, 50]


def test_a_request_that_was_held_up_counts_for_the_brake_from_when_it_was_sent(story: Story) -> None:
    """The token endpoint fails for 15 s while a path pauses."""
    story.futile("/bad")
    story.now += 10
    story.futile("/bad")
    story.now += 0.1
    story.refused("/a")
    story.requested()
    story.now += 15
    story.facts = replace(story.facts, fetching=False)
    story.refresh()
    story.now += 0.2
    assert story.ruling("/b") is PASS
    story.now += 9.8
    assert story.ruling("/b") is BURN


@pytest.mark.parametrize(("shared", "ruling"), [(False, PASS), (True, BURN)])
def test_a_request_that_waited_for_a_lock_counts_from_when_it_left(story: Story, shared: bool, ruling: Ruling) -> None:
    """Unless another sidecar sent it."""
    for _ in range(2):
        story.futile("/bad")
        story.now += 10 if story.pause("/bad") == 10 else 1
    permit = story.leave("/a")
    story.requested()
    story.now += 12
    story.renewed(shared=shared)
    story.withdrawn(permit)
    assert story.pause("/bad") > 0
    assert story.ruling("/b") is ruling


def test_a_refresh_that_began_before_the_pause_and_is_sent_in_it_counts_for_the_brake(story: Story) -> None:
    bad = story.leave("/bad")
    story.refresh()
    story.refused("/a")
    story.resent(bad, ok=False)
    story.refresh()
    assert story.ruling("/b") is PASS


def test_a_refresh_that_waits_for_a_lock_until_a_pause_has_begun_counts_for_the_brake(story: Story) -> None:
    bad = story.leave("/bad")
    story.refresh()
    story.refused("/a")
    story.requested()
    story.now += 1
    story.resent(bad, ok=False)
    story.now += 1
    story.renewed()
    assert story.ruling("/b") is PASS


def test_a_token_request_that_was_sent_before_the_pause_does_not_count_for_the_brake(story: Story) -> None:
    bad = story.leave("/bad")
    story.refresh()
    story.refused("/a")
    story.requested()
    story.now += 1
    story.resent(bad, ok=False)
    story.now += 1
    story.renewed(age=2)
    assert story.ruling("/b") is BURN


@pytest.mark.parametrize(("verdict_at", "ruling"), [(108, PASS), (110, BURN)])
def test_a_late_verdict_makes_a_pause_longer_and_at_its_end_begins_another(
    story: Story, verdict_at: float, ruling: Ruling
) -> None:
    """A request that was held up left at 105: it counts as long as the pause of then lasts."""
    late = story.leave("/bad")
    story.refresh()
    story.leave("/slow")
    bad = story.leave("/bad")
    story.refresh()
    story.resent(bad, ok=False)
    assert story.pause("/bad") == 10
    story.now = 102
    story.leave("/a")
    story.requested()
    story.now = verdict_at
    story.resent(late, ok=False)
    assert story.pause("/bad") == 20
    story.renewed(age=verdict_at - 105)
    story.now = 113
    assert story.ruling("/b") is ruling


def test_the_brake_is_off_once_the_time_of_the_pause_is_over(story: Story) -> None:
    story.futile("/bad")
    story.now = 105
    story.leave("/a")
    story.refresh()
    story.now = 109.9
    assert story.ruling("/b") is PASS
    story.now = 110
    assert story.ruling("/b") is BURN


def test_a_refresh_ahead_during_a_pause_does_not_count_for_the_brake(story: Story) -> None:
    story.futile("/bad")
    story.refresh()
    assert story.ruling("/a") is BURN


def test_a_burn_while_a_refresh_ahead_is_on_its_way_counts_for_the_brake(story: Story) -> None:
    story.futile("/bad")
    story.requested()
    assert story.ruling("/a") is BURN
    story.renewed()
    assert story.ruling("/b") is PASS


def test_a_useful_refresh_releases_the_brake(story: Story) -> None:
    for _ in range(20):
        story.futile("/bad")
        story.mended("/good")
        story.now += 0.5


# --- refreshes that overlap ------------------------------------------------------------------------------------------


def test_a_path_that_awaits_a_verdict_holds_up_no_other(story: Story) -> None:
    for path in ("/slow", "/a", "/b", "/c"):
        assert story.ruling(path) is BURN
        story.refresh()
    assert story.ruling("/slow") is PASS


def test_a_path_that_has_only_ever_said_401_waits_for_the_verdict_for_ten_seconds_at_most(story: Story) -> None:
    """However long its resend takes: another call may have its 401 before."""
    assert story.ruling() is BURN
    story.refresh()
    story.now += 9.9
    assert story.ruling() is PASS
    story.now += 0.1
    assert story.ruling() is BURN


def test_healthy_calls_of_a_slow_api_are_all_resent_though_tokens_are_revoked_twice_a_second(story: Story) -> None:
    """A response comes after 5 s, and by then ten more tokens have been revoked."""
    story.accepted()
    permits = []
    for number in range(40):
        permits.append(story.leave())
        story.refresh()
        story.now += 0.5
        if number >= 9:
            story.resent(permits[number - 9], ok=True)


def test_a_verdict_that_comes_after_the_next_refresh_counts(story: Story) -> None:
    """A proven path that says 401 from now on: a second call had its response before the resend of the first."""
    story.accepted()
    first = story.leave()
    story.refresh()
    story.now += 0.4
    second = story.leave()
    story.refresh()
    assert story.ruling() is PASS
    story.resent(first, ok=False)
    assert story.burns.open_verdict == OpenVerdict(1, "/a")
    story.resent(second, ok=False)
    assert story.pause() == 10
    story.resent(first, ok=False)
    assert story.pause() == 10


def test_a_verdict_that_is_there_is_awaited_no_more_though_other_judges_are_silent(story: Story) -> None:
    bad, _ = story.leave("/bad"), story.leave("/slow")
    story.refresh()
    assert story.ruling("/slow") is PASS
    story.resent(bad, ok=False)
    assert story.ruling("/slow") is BURN


def test_after_its_pause_a_path_waits_for_the_verdict_of_its_next_refresh(story: Story) -> None:
    story.futile()
    story.now += 10
    assert story.ruling() is BURN
    story.refresh()
    story.now += 9.9
    assert story.ruling() is PASS
    story.now += 0.1
    assert story.ruling() is BURN


def test_a_proven_path_whose_judges_stay_silent_starts_twelve_refreshes_and_then_one_in_ten_seconds(
    story: Story,
) -> None:
    story.accepted()
    started = []
    for eighth in range(200):
        if story.ruling() is BURN:
            started.append(eighth)
            story.refresh()
        story.now += 0.125
    assert started == [0, 4, 7, 10, 13, 16, 20, 23, 26, 29, 32, 36, 116, 196]


@pytest.mark.parametrize("trusted", [False, True])
def test_a_trusted_path_that_awaits_a_verdict_may_start_one_refresh_at_once(story: Story, trusted: bool) -> None:
    story.mended()
    story.now += 0 if trusted else rules.TRUST
    story.leave()
    story.refresh()
    assert story.ruling() is (BURN if trusted else PASS)
    story.now += rules.AWAITED_INTERVAL
    story.refresh()
    assert story.ruling() is BURN


@pytest.mark.parametrize("proven", [False, True])
def test_a_proven_path_goes_on_no_more_once_a_resend_that_judges_nothing_got_401(story: Story, proven: bool) -> None:
    story.accepted("/a" if proven else "/other")
    story.refused()
    story.requested()
    late = story.leave()
    story.renewed()
    assert late.judge is False
    if not proven:
        assert story.ruling() is PASS
        return
    story.now += 0.4
    assert story.ruling() is BURN
    story.refresh()
    story.now += 0.4
    story.resent(late, ok=False)
    assert story.ruling() is PASS
    assert story.ruling("/other") is BURN


def test_thirty_two_earlier_refreshes_are_remembered(story: Story) -> None:
    for number in range(rules.MOST_EARLIER + 2):
        story.refused(word(number))
        story.refresh()
    assert [trial.generation for trial in story.burns.earlier] == list(range(2, rules.MOST_EARLIER + 2))


# --- tokens that are revoked again and again -------------------------------------------------------------------------


def test_a_path_whose_pause_was_ended_by_another_response_need_not_await_the_verdicts_before(story: Story) -> None:
    story.accepted()
    slow = story.leave()
    story.refresh()
    story.now += 0.4
    story.accepted("/b")
    story.futile("/b")
    story.futile()
    assert story.ruling() is PASS
    story.accepted()
    assert story.ruling() is BURN
    story.refresh()
    assert story.ruling() is PASS, "the brake"
    story.resent(slow, ok=True)
    assert not story.burns.faults


def test_once_the_time_of_its_ended_pause_is_over_a_path_awaits_verdicts_until_it_answers_otherwise_again(
    story: Story,
) -> None:
    """Its fault is not forgotten yet, and no brake holds it back any more."""
    story.futile()
    story.accepted()
    story.now = 105
    story.leave()
    story.refresh()
    story.now = 110
    assert story.ruling() is PASS
    story.now = 115
    assert story.ruling() is BURN


def test_a_futile_refresh_ends_the_proof(story: Story) -> None:
    story.accepted()
    story.accepted("/b")
    story.futile()
    assert list(story.burns.proven) == ["/a", "/b"], "the verdict is open"
    story.futile()
    assert list(story.burns.proven) == ["/b"]
    story.accepted()
    assert list(story.burns.proven) == ["/b", "/a"]


def test_three_futile_refreshes_are_not_held_against_a_path_that_was_just_helped(story: Story) -> None:
    story.mended()
    for _ in range(rules.EXCUSES):
        story.futile()
        assert story.burns.open_verdict is None
    story.futile()
    assert story.burns.open_verdict is not None


def test_trust_ends_after_ten_seconds(story: Story) -> None:
    story.mended()
    story.now += rules.TRUST
    story.futile()
    assert story.burns.open_verdict is not None
    story.mended("/b")
    assert dict(story.burns.trusted) == {"/b": rules.EXCUSES}


def test_only_paths_that_were_helped_are_trusted(story: Story) -> None:
    burns = [story.leave("/a"), story.leave("/b"), story.leave("/bad")]
    story.refresh()
    for permit in burns:
        story.resent(permit, ok=permit.path != "/bad")
    assert list(story.burns.trusted) == list(story.burns.proven) == ["/a", "/b"]
    story.futile("/bad")
    assert story.pause("/bad") == 10


# --- shared tokens, and memory ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shared", "age", "at_fault"), [(True, 60, False), (True, 1, True), (True, 0.5, True), (False, 60, True)]
)
def test_an_older_token_from_the_store_may_have_been_revoked_with_the_one_before(
    story: Story, shared: bool, age: float, at_fault: bool
) -> None:
    permit = story.leave()
    story.requested()
    story.renewed(age=age, shared=shared)
    story.resent(permit, ok=False)
    assert story.ruling() is (PASS if at_fault else BURN)


def test_sixty_four_paths_are_remembered_and_the_oldest_is_forgotten(story: Story) -> None:
    paths = [word(number) for number in range(MOST_PATHS + 1)]
    burns = [story.leave(path) for path in paths]
    assert story.burns.trial is not None
    assert story.burns.trial.paths == tuple(paths[1:])
    story.refresh()
    for permit in burns:
        story.resent(permit, ok=False)
    assert list(story.burns.faults) == paths[1:]
    story.now += 10
    story.futile(paths[1])
    assert list(story.burns.faults) == [*paths[2:], paths[1]]


def test_a_path_whose_calls_judge_again_and_again_takes_the_place_of_no_other(story: Story) -> None:
    story.leave("/b")
    for _ in range(MOST_PATHS):
        story.leave("/a")
    assert story.burns.trial is not None
    assert story.burns.trial.paths == ("/b", "/a")


def test_sixty_four_paths_are_trusted(story: Story) -> None:
    permits = [story.leave(word(number)) for number in range(MOST_PATHS + 1)]
    story.refresh()
    for permit in permits:
        story.resent(permit, ok=True)
    assert list(story.burns.trusted) == [permit.path for permit in permits[1:]]


def test_as_many_proven_paths_are_remembered_as_an_app_uses(story: Story) -> None:
    names = [word(number) for number in range(rules.MOST_PROVEN + 2)]
    for name in names:
        story.accepted(name)
    assert list(story.burns.proven) == names[2:]


def test_what_is_no_news_changes_nothing(story: Story) -> None:
    story.accepted()
    before = story.burns
    assert not rules.is_news(before, "/a")
    story.accepted()
    assert story.burns is before
    assert rules.token_requested(before, story.now, burnt=True) is before
    assert rules.token_renewed(before, 0.0, burnt=True, shared=False) is before
