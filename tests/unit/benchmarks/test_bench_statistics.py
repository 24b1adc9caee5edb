"""Medians, ratios and slopes of the benchmark."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.measure.statistics import Spread, differences, log_log_slope, percentile, ratios


def test_a_spread_has_the_median_and_the_quartiles() -> None:
    assert Spread.of([5, 1, 4, 2, 3]) == Spread(median=3, low=2, high=4, count=5)


def test_one_value_is_its_own_spread_and_none_has_none() -> None:
    assert Spread.of([7.0]) == Spread(7, 7, 7, 1)
    assert Spread.of([]) is None


@pytest.mark.parametrize(("share", "value"), [(0.0, 1), (0.5, 3), (0.99, 5), (1.0, 5)])
def test_a_percentile_is_one_of_the_values(share: float, value: float) -> None:
    assert percentile([1, 2, 3, 4, 5], share) == value
    assert percentile([], share) == 0


def test_ratios_are_taken_within_a_round() -> None:
    # The second round was twice as slow for both: the ratio does not change.
    assert ratios({1: 10.0, 2: 20.0, 3: 12.0}, {1: 5.0, 2: 10.0, 4: 1.0}) == [2.0, 2.0]


def test_a_ratio_to_nothing_is_left_out() -> None:
    assert ratios({1: 1.0, 2: 1.0}, {1: 0.0, 2: 2.0}) == [0.5]


def test_differences_are_taken_within_a_round() -> None:
    assert differences({1: 10.0, 2: 20.0, 3: 1.0}, {1: 4.0, 2: 4.0}) == [6.0, 16.0]


@given(st.floats(-3, 3), st.floats(0.01, 1000), st.sets(st.integers(1, 10_000), min_size=2, max_size=9))
def test_the_slope_of_a_power_law_is_its_exponent(exponent: float, factor: float, xs: set[int]) -> None:
    assert log_log_slope((x, factor * x**exponent) for x in xs) == pytest.approx(exponent, abs=1e-6)


def test_points_without_a_logarithm_are_left_out() -> None:
    assert log_log_slope([(0, 1), (1, -1), (1, 1), (10, 100)]) == pytest.approx(2)


def test_one_point_has_no_slope() -> None:
    with pytest.raises(ValueError, match="two points"):
        log_log_slope([(1, 1), (2, 0)])
