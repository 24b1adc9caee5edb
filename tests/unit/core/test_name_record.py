"""One name's record: who asks, who waits, who is served, on a clock that the test moves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.name_record import KEPT, MOST, PATIENCE, NameRecord, Step

OLD, NEW = ["old"], ["new"]


@pytest.fixture
def record() -> NameRecord[list[str]]:
    return NameRecord()


def test_the_first_asks_and_all_others_wait(record: NameRecord[list[str]]) -> None:
    assert record.next_step(0.0) is Step.ASK
    record.asked(0.0)
    assert [record.next_step(now) for now in (0.0, 1.0, PATIENCE - 0.001)] == [Step.WAIT] * 3


def test_a_result_serves_for_some_seconds(record: NameRecord[list[str]]) -> None:
    record.asked(0.0)
    record.came_back(0.0, 7.0, OLD)
    assert record.next_step(7.0 + KEPT - 0.001) is Step.USE
    assert record.result is OLD
    assert record.next_step(7.0 + KEPT) is Step.ASK


def test_a_failure_is_not_kept(record: NameRecord[list[str]]) -> None:
    record.asked(0.0)
    record.came_back(0.0, 1.0, None)
    assert (record.result, record.next_step(1.0)) == (None, Step.ASK)


def test_a_failure_leaves_a_result_that_still_serves(record: NameRecord[list[str]]) -> None:
    record.asked(0.0)
    record.asked(PATIENCE)
    record.came_back(PATIENCE, PATIENCE, NEW)
    record.came_back(0.0, PATIENCE, None)
    assert (record.result, record.next_step(PATIENCE)) == (NEW, Step.USE)


def test_beside_lookups_that_hang_others_are_begun_but_not_without_end(record: NameRecord[list[str]]) -> None:
    now = 0.0
    for _ in range(MOST):
        assert record.next_step(now) is Step.ASK
        record.asked(now)
        assert record.next_step(now) is Step.WAIT
        now += PATIENCE
    assert record.next_step(now + 1000) is Step.WAIT
    record.came_back(0.0, now, None)
    assert record.next_step(now) is Step.ASK


def test_a_result_that_led_nowhere_serves_nobody_else(record: NameRecord[list[str]]) -> None:
    record.asked(0.0)
    record.came_back(0.0, 0.0, OLD)
    record.doubt(OLD)
    assert record.next_step(0.0) is Step.ASK


def test_a_newer_result_is_not_doubted_with_the_old_one(record: NameRecord[list[str]]) -> None:
    record.asked(0.0)
    record.came_back(0.0, 0.0, OLD)
    record.asked(KEPT)
    record.came_back(KEPT, KEPT, NEW)
    record.doubt(OLD)
    assert (record.result, record.next_step(KEPT)) == (NEW, Step.USE)


@given(st.lists(st.tuples(st.sampled_from(["need", "back", "fail", "doubt"]), st.floats(0, 20)), max_size=60))
def test_whatever_happens_somebody_can_go_on(events: list[tuple[str, float]]) -> None:
    """A caller is served, waits for a lookup that is under way, or begins one: never does it wait for nothing."""
    record: NameRecord[list[str]] = NameRecord()
    now, under_way = 0.0, list[float]()
    for event, passed in events:
        now += passed
        if event == "need":
            step = record.next_step(now)
            assert (step is Step.USE) <= (record.result is not None)
            assert (step is Step.WAIT) <= bool(under_way)
            if step is Step.ASK:
                record.asked(now)
                under_way.append(now)
        elif event == "doubt" and record.result is not None:
            record.doubt(record.result)
        elif under_way:
            record.came_back(under_way.pop(0), now, [] if event == "back" else None)
        assert len(under_way) <= MOST
