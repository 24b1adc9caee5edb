"""When files are read again: once they stand still, and again before a failure is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.rotation import RETRY, ChangeWatch

if TYPE_CHECKING:
    from collections.abc import Hashable


class Files:
    """A watch that looks once a second, at files that are good or bad."""

    def __init__(self) -> None:
        self.watch = ChangeWatch()
        self.now = 0.0
        self.told = 0
        self.read: list[Hashable] = []

    def look(self, signature: Hashable, *, good: bool = True) -> bool:
        """Return whether the files were read."""
        self.now += 1.0
        if not self.watch.due(signature, self.now):
            return False
        self.read.append(signature)
        if good:
            self.watch.loaded()
        else:
            self.told += self.watch.failed(self.now)
        return True


@pytest.fixture
def files() -> Files:
    files = Files()
    files.look("old")
    files.look("old")
    return files


def test_the_files_are_read_once_at_the_start() -> None:
    """Nobody knows whether they changed since the configuration was read."""
    files = Files()
    assert [files.look("old") for _ in range(4)] == [False, True, False, False]


def test_a_change_is_read_when_it_has_stood_still_for_a_look(files: Files) -> None:
    assert [files.look("new") for _ in range(4)] == [False, True, False, False]


def test_a_file_that_keeps_changing_is_not_read(files: Files) -> None:
    assert not any(files.look(number) for number in range(20))
    assert files.look(19)


def test_a_failure_is_told_only_when_the_next_look_fails_too(files: Files) -> None:
    files.look("new")
    assert files.look("new", good=False)
    assert files.told == 0
    assert files.look("new", good=False)
    assert files.told == 1
    assert not files.look("new", good=False), "the next try is a minute later"


def test_a_failure_that_is_over_at_the_next_look_is_never_told(files: Files) -> None:
    files.look("new")
    files.look("new", good=False)
    files.look("new")
    assert files.told == 0
    assert not files.look("new")


def test_a_certificate_whose_key_follows_is_no_failure(files: Files) -> None:
    files.look("new certificate")
    files.look("new certificate", good=False)
    files.look("new certificate, new key")
    assert files.look("new certificate, new key")
    assert files.told == 0


def test_bad_files_are_tried_again_each_minute_and_told_once(files: Files) -> None:
    files.look("bad")
    files.look("bad", good=False)
    files.look("bad", good=False)
    tried = sum(files.look("bad", good=False) for _ in range(int(RETRY) * 5))
    assert (tried, files.told) == (5, 1)


def test_bad_files_that_became_good_by_time_alone_are_used(files: Files) -> None:
    """A certificate that was not yet valid."""
    files.look("early")
    files.look("early", good=False)
    files.look("early", good=False)
    assert sum(files.look("early") for _ in range(int(RETRY) * 5)) == 1


def test_other_bad_files_are_told_again(files: Files) -> None:
    for signature in ("bad", "worse"):
        files.look(signature)
        files.look(signature, good=False)
        files.look(signature, good=False)
    assert files.told == 2


def test_whoever_asks_is_told_at_once(files: Files) -> None:
    assert files.watch.failed(files.now, asked=True)
    assert files.watch.failed(files.now, asked=True)


def test_what_was_told_to_who_asked_is_not_told_again_a_look_later(files: Files) -> None:
    files.watch.due("bad", files.now)
    files.watch.failed(files.now, asked=True)
    for _ in range(int(RETRY) * 2):
        files.look("bad", good=False)
    assert files.told == 0


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=60))
def test_what_is_read_has_always_been_seen_twice_running(looks: list[tuple[str, bool]]) -> None:
    files = Files()
    before = None
    for signature, good in looks:
        assert not (files.look(signature, good=good) and signature != before)
        before = signature


def test_what_could_not_be_read_is_read_again_later_and_its_failure_told_then() -> None:
    watch = ChangeWatch()
    watch.due("a", 0.0)
    assert watch.due("a", 1.0)
    watch.loaded()
    watch.postponed(2.0)
    assert not watch.due("a", 1.0 + RETRY)
    assert watch.due("a", 2.0 + RETRY)
    assert [watch.failed(2.0 + RETRY), watch.failed(2.0 + RETRY), watch.failed(2.0 + RETRY)] == [False, True, False]
