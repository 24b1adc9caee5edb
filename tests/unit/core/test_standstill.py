"""Time in which the process stood still is told apart from time in which it looked."""

from __future__ import annotations

from sidecar.core.standstill import Standstill


def test_looks_in_regular_ticks_tell_of_no_standstill() -> None:
    standstill = Standstill(100.0, 1.0)
    assert [standstill.look(moment) for moment in (100.5, 101.0, 102.0)] == [0.0, 0.0, 0.0]
    assert standstill.total == 0.0


def test_a_look_that_comes_far_too_late_tells_how_long_it_was() -> None:
    standstill = Standstill(100.0, 1.0)
    assert standstill.look(104.0) == 4.0
    assert standstill.look(104.5) == 0.0
    assert standstill.look(3704.5) == 3600.0
    assert standstill.total == 3604.0
