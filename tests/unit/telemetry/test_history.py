"""Samples of the last minutes, out of the differences of the metrics."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.errors import ErrorCode, SidecarError
from sidecar.telemetry.history import INTERVAL, KEPT, History, quantile
from sidecar.telemetry.metrics import Metrics
from tests.support.call_record import call_record
from tests.support.clock import FakeClock

if TYPE_CHECKING:
    from sidecar.telemetry.record import CallRecord

BOUNDS = (1.0, 2.0, 4.0)


class Sampled:
    """A history and what it looks at."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.metrics = Metrics()
        self.metrics.observe_call(call())  # before the history begins
        self.history = History(self.metrics, self.clock)

    def calls(self, number: int, **fields: Any) -> None:
        for _ in range(number):
            self.metrics.observe_call(call(**fields))


def call(**fields: Any) -> CallRecord:
    defaults: dict[str, Any] = {"method": "GET", "path": "/", "status": 200, "duration": 0.02}
    return call_record(id="i", started=0.0, **{**defaults, **fields})


def own_error() -> CallRecord:
    made = call(status=0)
    made.failed(SidecarError(ErrorCode.OVERLOADED, "full"))
    return made


async def test_a_sample_has_what_happened_since_the_last_one() -> None:
    sampled = Sampled()
    sampled.calls(3)
    sampled.calls(1, status=500)
    sampled.calls(2, status=404)
    sampled.calls(1, recovered=("token",))
    sampled.metrics.observe_call(own_error())
    await sampled.clock.advance(5)
    sampled.history.sample()
    await sampled.clock.advance(5)
    sampled.history.sample()
    first, second = sampled.history.samples()
    assert (first.at, first.seconds) == (1005.0, 5.0)
    assert (first.calls, first.errors, first.recovered) == (8, 1, 1)
    assert (first.client_errors, first.server_errors) == (2, 1)
    assert first.p50 == pytest.approx(0.0175)  # in the middle of the bucket from 10 to 25 ms
    assert (second.calls, second.errors, second.p50, second.p95) == (0, 0, None, None)


async def test_a_sample_comes_every_five_seconds_and_is_kept_for_ten_minutes() -> None:
    sampled = Sampled()
    task = asyncio.ensure_future(sampled.history.run())
    await sampled.clock.advance(KEPT + 10 * INTERVAL)
    task.cancel()
    samples = sampled.history.samples()
    assert len(samples) == sampled.history.samples().__len__() == KEPT / INTERVAL
    assert sampled.history.taken == len(samples) + 10
    assert samples[-1].at - samples[0].at == KEPT - INTERVAL


async def test_a_clock_that_stands_still_makes_no_sample_and_no_busy_loop() -> None:
    sampled = Sampled()
    task = asyncio.ensure_future(sampled.history.run())
    await sampled.clock.settle(200)
    sampled.history.sample()
    task.cancel()
    assert sampled.history.samples() == []


async def test_after_a_long_sleep_one_sample_is_as_long_as_the_sleep_and_older_ones_are_gone() -> None:
    sampled = Sampled()
    await sampled.clock.advance(5)
    sampled.history.sample()
    await sampled.clock.advance(7200)
    sampled.calls(10)
    sampled.history.sample()
    (only,) = sampled.history.samples()
    assert (only.seconds, only.calls) == (7200.0, 10)


# --- quantiles -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counts", "share", "value"),
    [
        ((0, 0, 0, 0), 0.5, None),
        ((10, 0, 0, 0), 0.5, 0.5),
        ((0, 10, 0, 0), 0.5, 1.5),
        ((0, 10, 0, 0), 1.0, 2.0),
        ((1, 1, 1, 1), 0.5, 2.0),
        ((0, 0, 10, 0), 0.95, 3.9),
        ((0, 0, 0, 10), 0.5, 4.0),
        ((99, 0, 0, 1), 0.95, 95 / 99),
    ],
)
def test_quantiles_are_those_of_promql(counts: tuple[int, ...], share: float, value: float | None) -> None:
    assert quantile(BOUNDS, counts, share) == (None if value is None else pytest.approx(value))


@given(st.lists(st.integers(0, 1000), min_size=4, max_size=4), st.floats(0.01, 1.0), st.floats(0.01, 1.0))
def test_a_larger_share_never_has_a_smaller_value(counts: list[int], one: float, other: float) -> None:
    values = [quantile(BOUNDS, counts, share) for share in sorted((one, other))]
    if not sum(counts):
        assert values == [None, None]
    else:
        assert values[0] is not None
        assert values[1] is not None
        assert 0 <= values[0] <= values[1] <= BOUNDS[-1]
