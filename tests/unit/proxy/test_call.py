"""What may stop a call, and what is known of its request, for each state of its connection (contract section 6)."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from sidecar.core.errors import ErrorCode, Outcome
from sidecar.core.resend import Sent
from sidecar.proxy.call import Call
from sidecar.telemetry.record import CallRecord
from tests.support.clock import FakeClock

if TYPE_CHECKING:
    from collections.abc import Callable

READS = ("GET", "HEAD")
#: A method in lower case is another method (RFC 9110 section 9.1).
WRITES = ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "get")


class Task:
    """Counts how often it was cancelled, less how often that was taken back."""

    def __init__(self) -> None:
        self.cancelled = 0

    def cancel(self) -> bool:
        self.cancelled += 1
        return True

    def uncancel(self) -> int:
        self.cancelled -= 1
        return self.cancelled


def make(method: str = "POST", clock: FakeClock | None = None) -> tuple[Call, Task]:
    task = Task()
    caller: Any = SimpleNamespace(task=task)
    return Call(method, caller, CallRecord("id", 0.0, method, "/"), clock or FakeClock()), task


def connection(sent: Sent) -> Any:
    return SimpleNamespace(sent=sent)


@pytest.mark.parametrize("method", READS + WRITES)
@pytest.mark.parametrize("sent", [None, *Sent])
def test_only_a_write_that_is_wholly_sent_goes_on_without_its_caller(method: str, sent: Sent | None) -> None:
    call, task = make(method)
    if sent is not None:
        call.begins(connection(sent), 0.0)
    call.caller_gone()
    assert call.gone
    assert task.cancelled == (not (method in WRITES and sent is Sent.ALL))


@pytest.mark.parametrize("sent", [None, *Sent])
def test_the_end_of_a_drain_stops_every_call(sent: Sent | None) -> None:
    call, task = make()
    if sent is not None:
        call.begins(connection(sent), 0.0)
    call.cut_short()
    call.cut_short()
    assert task.cancelled == 1


def rejected(call: Call) -> None:
    call.begins(connection(Sent.ALL), 0.0)
    call.ended(401)
    call.rejected()


def answered(call: Call) -> None:
    call.begins(connection(Sent.NOTHING), 0.0)  # with its response whole, it is ready for another request
    call.head_arrived()
    call.ended(200)


def lost(call: Call) -> None:
    call.begins(connection(Sent.PART), 0.0)
    call.ended(0)


def dead(call: Call) -> None:
    call.begins(connection(Sent.NOTHING), 0.0)
    call.ended(0)


def unconnected(call: Call) -> None:
    call.ended(0)


@pytest.mark.parametrize(
    ("attempts", "deliveries", "outcome"),
    [
        ([], 0, Outcome.NOT_SENT),
        ([unconnected], 0, Outcome.NOT_SENT),
        ([dead], 0, Outcome.NOT_SENT),
        ([dead, unconnected], 0, Outcome.NOT_SENT),
        ([lost], 1, Outcome.UNKNOWN),
        ([answered], 1, Outcome.UNKNOWN),
        ([rejected], 1, Outcome.REJECTED),
        ([rejected, dead], 1, Outcome.REJECTED),
        ([rejected, unconnected], 1, Outcome.REJECTED),
        ([rejected, lost], 2, Outcome.UNKNOWN),
        ([rejected, answered], 2, Outcome.UNKNOWN),
        ([lost, dead], 1, Outcome.UNKNOWN),
    ],
)
def test_what_is_known_of_the_request(
    attempts: list[Callable[[Call], None]], deliveries: int, outcome: Outcome
) -> None:
    call, _ = make()
    for attempt in attempts:
        attempt(call)
    assert (call.deliveries, call.record.deliveries, call.outcome()) == (deliveries, deliveries, outcome)
    assert call.cut_error().outcome is outcome


@pytest.mark.parametrize(
    ("sent", "outcome"), [(Sent.NOTHING, Outcome.REJECTED), (Sent.PART, Outcome.UNKNOWN), (Sent.ALL, Outcome.UNKNOWN)]
)
def test_what_is_on_the_wire_now_counts(sent: Sent, outcome: Outcome) -> None:
    call, _ = make()
    rejected(call)
    call.begins(connection(sent), 0.0)
    assert call.outcome() is outcome


def test_a_head_that_came_shows_that_its_own_attempt_was_delivered_and_no_other() -> None:
    """Its connection may be ready for another request by then, and have nothing of this one."""
    call, _ = make()
    call.begins(connection(Sent.NOTHING), 0.0)
    call.head_arrived()
    assert call.outcome() is Outcome.UNKNOWN
    call.ended(401)
    call.rejected()
    call.begins(connection(Sent.NOTHING), 0.0)
    assert call.outcome() is Outcome.REJECTED


def test_an_error_at_the_end_of_a_drain_closes_the_connection() -> None:
    error = make()[0].cut_error()
    assert (error.code, error.close) == (ErrorCode.UPSTREAM_UNREACHABLE, True)


async def test_deliveries_are_timed_from_their_first_byte_to_their_end() -> None:
    clock = FakeClock(now=100.0)
    call, _ = make(clock=clock)
    assert (call.first_sent_at, call.sent_at, call.attempt_ended_at) == (0.0, 0.0, 0.0)
    call.begins(connection(Sent.ALL), clock.now())
    await clock.advance(2.0)
    call.ended(401)
    await clock.advance(5.0)
    call.begins(connection(Sent.ALL), clock.now())
    await clock.advance(1.0)
    call.ended(200)
    assert (call.first_sent_at, call.sent_at, call.attempt_ended_at) == (100.0, 107.0, 108.0)
    assert call.record.upstream_seconds == 3.0


def test_a_cancellation_of_its_own_is_taken_back_and_of_others_is_not() -> None:
    call, task = make()
    task.cancel()
    assert not call.stopped_here()
    assert task.cancelled == 1
    call.caller_gone()
    assert call.stopped_here()
    assert task.cancelled == 1


@pytest.mark.parametrize(("status", "shown"), [(0, 401), (200, 200)])
def test_a_call_that_ends_without_its_caller_has_the_status_of_its_last_delivery(status: int, shown: int) -> None:
    call, _ = make()
    rejected(call)
    call.record.status = status
    call.caller_gone()
    assert call.stopped_here()
    assert call.record.status == shown


def test_a_call_that_a_drain_cuts_has_no_status_of_mangopays() -> None:
    call, _ = make()
    rejected(call)
    call.cut_short()
    assert call.stopped_here()
    assert call.record.status == 0


def test_without_a_task_nothing_is_stopped() -> None:
    caller: Any = SimpleNamespace(task=None)
    call = Call("GET", caller, CallRecord("id", 0.0, "GET", "/"), FakeClock())
    call.caller_gone()
    assert not call.stopped_here()
