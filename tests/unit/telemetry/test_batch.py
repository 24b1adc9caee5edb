"""When finished calls are told: each reason, and what is kept until then."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from sidecar.core.errors import ErrorCode, Outcome
from sidecar.telemetry.batch import FULL, MOST, Batch, Due
from tests.support.call_record import call_record

if TYPE_CHECKING:
    from sidecar.telemetry.record import CallRecord


def call(number: int = 0, **fields: Any) -> CallRecord:
    return call_record(id=f"call-{number}", started=0.0, method="GET", path="/", **{"status": 200, **fields})


def test_the_first_call_starts_a_timer_and_the_next_ones_wait_with_it() -> None:
    batch = Batch()
    assert [batch.add(call(number)) for number in range(5)] == [Due.TIMER, *[Due.NOTHING] * 4]
    assert len(batch) == 5


@pytest.mark.parametrize(
    ("fields", "due"),
    [
        ({"error": ErrorCode.UPSTREAM_TIMEOUT, "outcome": Outcome.UNKNOWN, "status": 504}, Due.NOW),
        ({"error": ErrorCode.BAD_REQUEST, "outcome": Outcome.NOT_SENT, "status": 400}, Due.NOW),
        ({"error": ErrorCode.OVERLOADED, "status": 503}, Due.NOW),
        ({"caller": "gone", "outcome": Outcome.UNKNOWN, "status": 0}, Due.NOW),
        ({"caller": "gone", "status": 200}, Due.NOTHING),
        ({"status": 503}, Due.NOTHING),
        ({"status": 401, "futile": True}, Due.NOTHING),
        ({"recovered": ("token",)}, Due.NOTHING),
    ],
)
def test_an_error_of_our_own_and_an_outcome_are_told_at_once_and_all_else_waits(
    fields: dict[str, Any], due: Due
) -> None:
    batch = Batch()
    batch.add(call())
    assert batch.add(call(1, **fields)) is due


def test_a_full_batch_is_due_once_when_a_call_begins() -> None:
    batch = Batch()
    for number in range(FULL - 1):
        batch.add(call(number))
        assert batch.call_begins() is Due.NOTHING
    assert batch.add(call(FULL)) is Due.NOTHING, "its caller waits for the response"
    assert [batch.call_begins() for _ in range(3)] == [Due.SOON, Due.NOTHING, Due.NOTHING]
    batch.take()
    for number in range(FULL):
        batch.add(call(number))
    assert batch.call_begins() is Due.SOON, "the next batch is due by itself"


def test_however_many_calls_end_before_another_begins_no_more_are_kept() -> None:
    batch = Batch()
    assert {batch.add(call(number)) for number in range(MOST - 1)} == {Due.TIMER, Due.NOTHING}
    assert batch.add(call(MOST)) is Due.NOW


def test_calls_are_taken_once_in_their_order() -> None:
    batch = Batch()
    calls = [call(number) for number in range(3)]
    for each in calls:
        batch.add(each)
    assert batch.take() == calls
    assert (batch.take(), len(batch)) == ([], 0)


def test_a_timer_that_runs_is_used_by_the_next_calls_and_one_that_has_ended_is_not() -> None:
    batch = Batch()
    batch.add(call())
    batch.take()
    assert batch.add(call(1)) is Due.NOTHING
    batch.timer_ended()
    batch.take()
    assert batch.add(call(2)) is Due.TIMER


def test_a_call_that_is_told_at_once_needs_no_timer() -> None:
    batch = Batch()
    assert batch.add(call(error=ErrorCode.OVERLOADED, status=503)) is Due.NOW
    batch.take()
    assert batch.add(call(1)) is Due.TIMER
