"""What observers are told of finished calls, when, and in which order."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from sidecar.core.errors import ErrorCode, Outcome, SidecarError
from sidecar.telemetry.batch import FULL, LONGEST, MOST
from sidecar.telemetry.history import History
from sidecar.telemetry.log import configure_logging
from sidecar.telemetry.metrics import Metrics
from sidecar.telemetry.recorder import CallRecorder
from sidecar.telemetry.request_ids import RequestIds
from sidecar.telemetry.request_log import RequestLog
from tests.support.clock import FakeClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sidecar.telemetry.record import CallRecord


@dataclass
class Loop:
    """What an event loop was asked to do later."""

    asked: list[tuple[float, Callable[[], None]]] = field(default_factory=list)

    def call_later(self, seconds: float, function: Callable[[], None]) -> None:
        self.asked.append((seconds, function))

    @property
    def seconds(self) -> list[float]:
        return [seconds for seconds, _ in self.asked]

    def go_on(self) -> None:
        """Let everything happen that was asked for."""
        asked, self.asked = self.asked, []
        for _, function in asked:
            function()


@dataclass
class Recorded:
    """A recorder, its time, and what an observer was told."""

    clock: FakeClock = field(default_factory=FakeClock)
    loop: Loop = field(default_factory=Loop)
    told: list[CallRecord] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.recorder = CallRecorder(
            RequestIds(bytes(5)), self.clock, [self.told.append], later=self.loop.call_later, confirm=self._confirm
        )
        self.confirmed: list[int] = []

    async def _confirm(self) -> None:
        self.confirmed.append(len(self.told))

    def call(self, error: SidecarError | None = None) -> CallRecord:
        record = self.recorder.open("GET", "/v2.01/acme/users")
        if error is None:
            record.status = 200
        else:
            record.failed(error)
        self.recorder.close(record)
        return record


@pytest.fixture
def recorded() -> Recorded:
    return Recorded()


# --- a call ----------------------------------------------------------------------------------------------------------


async def test_calls_are_timed_and_their_queries_dropped(recorded: Recorded) -> None:
    recorder, clock = recorded.recorder, recorded.clock
    call = recorder.open("GET", "/v2.01/_/users?email=someone@example.com")
    assert call.path == "/v2.01/_/users"
    await clock.advance(1.5)
    assert recorder.in_flight == 1
    recorder.close(call)
    ended = clock.wall()
    await clock.advance(1.5)
    recorder.flush()
    assert (recorder.in_flight, call.duration, call.ended_at) == (0, 1.5, ended)
    assert call.source == "sidecar", "nobody made a response"


def test_without_a_timer_every_observer_is_told_at_once() -> None:
    told: list[CallRecord] = []
    recorder = CallRecorder(RequestIds(bytes(5)), FakeClock(), [told.append, told.append])
    calls = [recorder.open("GET", "/") for _ in range(3)]
    for call in calls:
        recorder.close(call)
    assert told == [each for call in calls for each in (call, call)]


# --- when it is told -------------------------------------------------------------------------------------------------


def test_a_lone_call_is_told_when_its_time_is_over(recorded: Recorded) -> None:
    call = recorded.call()
    assert (recorded.told, recorded.loop.seconds) == ([], [LONGEST])
    recorded.loop.go_on()
    assert recorded.told == [call]
    again = recorded.call()
    assert recorded.loop.seconds == [LONGEST]
    recorded.loop.go_on()
    assert recorded.told == [call, again]


def test_calls_that_come_together_are_told_together_by_one_timer(recorded: Recorded) -> None:
    calls = [recorded.call() for _ in range(FULL - 1)]
    assert (recorded.told, recorded.loop.seconds) == ([], [LONGEST])
    recorded.loop.go_on()
    assert recorded.told == calls


def test_a_full_batch_is_told_in_the_pass_after_that_in_which_the_next_call_begins(recorded: Recorded) -> None:
    calls = [recorded.call() for _ in range(FULL)]
    recorded.recorder.open("GET", "/")
    recorded.recorder.open("GET", "/")
    assert recorded.told == []
    assert recorded.loop.seconds == [LONGEST, 0.0]
    recorded.loop.asked.pop(0)  # only what is due in the next pass happens
    recorded.loop.go_on()
    assert recorded.told == calls


def test_no_more_calls_are_kept_than_the_bound(recorded: Recorded) -> None:
    opened = [recorded.recorder.open("GET", "/") for _ in range(MOST)]
    for record in opened[:-1]:
        record.status = 200
        recorded.recorder.close(record)
    assert recorded.told == []
    recorded.recorder.close(opened[-1])
    assert recorded.told == opened


@pytest.mark.parametrize("outcome", list(Outcome))
def test_an_error_of_our_own_is_told_at_once_behind_what_came_before(recorded: Recorded, outcome: Outcome) -> None:
    before = recorded.call()
    failed = recorded.call(SidecarError(ErrorCode.UPSTREAM_UNREACHABLE, "lost", outcome=outcome))
    assert recorded.told == [before, failed]


def test_a_timer_that_ends_with_nothing_to_tell_does_nothing(recorded: Recorded) -> None:
    recorded.call()
    recorded.recorder.flush()
    recorded.loop.go_on()
    recorded.recorder.flush()
    assert len(recorded.told) == 1


async def test_what_is_confirmed_has_been_told(recorded: Recorded) -> None:
    recorded.call()
    await recorded.recorder.confirm()
    assert recorded.confirmed == [1]


async def test_a_sample_of_the_history_has_every_call_that_ended_before_it() -> None:
    clock, metrics = FakeClock(), Metrics()
    recorder = CallRecorder(RequestIds(bytes(5)), clock, [metrics.observe_call], later=Loop().call_later)
    history = History(metrics, clock, recorder.flush)
    for _ in range(3):
        recorder.close(recorder.open("GET", "/"))
    await clock.advance(5)
    history.sample()
    assert [sample.calls for sample in history.samples()] == [3]


# --- an observer that has a bug --------------------------------------------------------------------------------------


def test_an_observer_that_raises_keeps_no_other_from_being_told_and_each_call_is_logged() -> None:
    told: list[CallRecord] = []

    def broken(record: CallRecord) -> None:
        raise ValueError(record.path)

    loop = Loop()
    recorder = CallRecorder(RequestIds(bytes(5)), FakeClock(), [broken, told.append], later=loop.call_later)
    calls = [recorder.open("GET", "/v2.01/secret") for _ in range(3)]
    for call in calls:
        recorder.close(call)
    with structlog.testing.capture_logs() as events:
        loop.go_on()
    assert told == calls
    assert [event["id"] for event in events] == [call.id for call in calls]
    assert {(event["event"], event["error"]) for event in events} == {("request.failed", "ValueError")}
    assert "secret" not in str(events)


# --- the log ---------------------------------------------------------------------------------------------------------


class Logged:
    """A recorder whose calls are written to a file, among the events."""

    def __init__(self, path: Path, fd: int, *others: Callable[[CallRecord], None], errors_only: bool = False) -> None:
        self._path = path
        self.clock = FakeClock(wall=1_733_404_277.25)
        self.output = configure_logging("info", "json", self.clock, fd=fd)
        log = RequestLog(self.output, environment="sandbox", errors_only=errors_only)
        self.recorder = CallRecorder(RequestIds(bytes(5)), self.clock, (*others, log.write), later=Loop().call_later)
        self.output.before_event = self.recorder.flush

    async def call(self, status: int = 200) -> None:
        """Make a call that ends a quarter of a second later."""
        record = self.recorder.open("GET", "/v2.01/acme/users")
        record.status = status
        await self.clock.advance(0.25)
        self.recorder.close(record)

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._path.read_text(encoding="utf-8").splitlines()]

    def told(self) -> list[str]:
        return [line["event"] for line in self.lines()]


@pytest.fixture
def logged(tmp_path: Path) -> Iterator[Callable[..., Logged]]:
    path = tmp_path / "log"
    fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    root = logging.getLogger()
    handlers, root_level = root.handlers[:], root.level
    yield lambda *others, **options: Logged(path, fd, *others, **options)
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(root_level)
    os.close(fd)


@pytest.mark.parametrize("level", ["info", "warning", "error"])
async def test_an_event_comes_after_the_calls_that_ended_before_it(logged: Callable[..., Logged], level: str) -> None:
    log = logged()
    await log.call()
    await log.call()
    await log.clock.advance(0.5)
    assert log.told() == []
    getattr(structlog.get_logger(), level)("token.refreshed")
    await log.call()
    log.recorder.flush()
    assert log.told() == ["request", "request", "token.refreshed", "request"]
    times = [line["timestamp"] for line in log.lines()]
    assert times == [f"2024-12-05T13:11:{second}Z" for second in ("17.500", "17.750", "18.250", "18.500")]


async def test_what_a_library_says_comes_after_the_calls_too(logged: Callable[..., Logged]) -> None:
    log = logged()
    await log.call()
    logging.getLogger("odd").warning("hm")
    assert log.told() == ["request", "library.reported"]


async def test_a_bug_of_an_observer_is_told_behind_the_lines_of_its_batch(logged: Callable[..., Logged]) -> None:
    def broken(_: CallRecord) -> None:
        raise ValueError

    log = logged(broken)
    for _ in range(3):
        await log.call()
    log.recorder.flush()
    assert log.told() == [*["request"] * 3, *["request.failed"] * 3]


async def test_with_errors_only_calls_that_went_well_have_no_line_whenever_they_are_told(
    logged: Callable[..., Logged],
) -> None:
    log = logged(errors_only=True)
    await log.call()
    await log.call(status=404)
    await log.call()
    structlog.get_logger().info("shutdown.started")
    assert [line.get("status") for line in log.lines()] == [404, None]


async def test_closing_the_log_writes_the_calls_that_are_not_told_yet(logged: Callable[..., Logged]) -> None:
    log = logged()
    await log.call()
    log.output.close()
    assert log.told() == ["request"]
