"""What is asked of a clock is what the real one and the one of the tests offer."""

from __future__ import annotations

import inspect

import pytest

from sidecar.core.clock import Clock
from sidecar.runtime import SystemClock
from tests.support.clock import FakeClock


def test_a_clock_is_asked_for_three_things() -> None:
    assert {
        name for name, member in vars(Clock).items() if inspect.isfunction(member) and not name.startswith("_")
    } == {
        *("now", "wall", "sleep_until"),
    }


@pytest.mark.parametrize("clock", [SystemClock(), FakeClock()], ids=lambda clock: type(clock).__name__)
async def test_each_clock_does_them(clock: Clock) -> None:
    before = clock.now()
    await clock.sleep_until(before)  # a moment that has come is not waited for
    assert clock.now() >= before > 0
    assert clock.wall() > 1_500_000_000
