"""Pauses after failures, and Retry-After."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.backoff import Backoff, read_retry_after

WALL = 1_700_000_000.0
NOV_1994 = 784_111_777.0


@pytest.mark.parametrize(("failures", "seconds"), [(1, 0.5), (2, 1), (3, 2), (6, 16), (7, 30), (10_000, 30), (-9, 0.5)])
def test_pauses_double_up_to_the_limit(failures: int, seconds: float) -> None:
    assert Backoff(first=0.5, limit=30.0).delay(failures, 0.3) == seconds


def test_a_pause_without_a_limit_ends_to_double_before_it_is_too_large_for_a_float() -> None:
    assert Backoff(first=1.0, limit=float("inf")).delay(10_000, 0.5) == 2.0**32


@pytest.mark.parametrize(("roll", "seconds"), [(0.0, 24.0), (0.5, 30.0), (1.0, 36.0)])
def test_a_pause_is_spread_around_its_length(roll: float, seconds: float) -> None:
    assert Backoff(first=30.0, limit=900.0, spread=0.2).delay(1, roll) == pytest.approx(seconds)


@given(st.integers(1, 10**9), st.floats(0, 1))
def test_a_pause_stays_within_its_spread(failures: int, roll: float) -> None:
    assert 24 <= Backoff(first=30.0, limit=900.0, spread=0.2).delay(failures, roll) <= 1080


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("120", 120.0),
        (" 7 ", 7.0),
        ("0", None),
        ("-5", None),
        ("+5", None),
        ("1.5", None),
        ("٣", None),
        ("", None),
        ("soon", None),
        ("9" * 5000, float("inf")),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 37.0),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 37.0),
        ("Sun Nov  6 08:49:37 1994", 37.0),
        ("Sun, 06 Nov 1994 08:49:00 GMT", None),
        ("Sun, 06 Nov 1994 08:48:00 GMT", None),
        ("Mon, 99 Nov 2024 08:49:37 GMT", None),
        ("Sun, 06 Nov 99999 08:49:37 GMT", None),
        ("Sun, 06 Nov 1994 08:49:37 +99999999", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_in_any_of_its_forms(value: str | None, seconds: float | None) -> None:
    assert read_retry_after(value, date=None, wall=NOV_1994 - 37) == seconds


def test_a_retry_after_date_counts_from_the_responses_own_date_whatever_our_clock_says() -> None:
    date, until = "Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:50:07 GMT"
    assert read_retry_after(until, date=date, wall=WALL) == 30.0


def test_a_date_header_that_is_none_is_passed_over() -> None:
    assert read_retry_after("Sun, 06 Nov 1994 08:49:37 GMT", date="yesterday", wall=NOV_1994 - 5) == 5.0


@pytest.mark.parametrize(
    "until",
    [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "Sun, 06 Nov 1994 08:49:37 -0000",
        "Sun, 06 Nov 1994 09:49:37 +0100",
    ],
)
def test_a_date_without_a_zone_is_utc_wherever_this_machine_is(until: str, elsewhere: None) -> None:
    assert read_retry_after(until, date=None, wall=NOV_1994 - 37) == 37.0


def test_a_moment_that_is_nearly_here_is_still_waited_for() -> None:
    assert read_retry_after("Sun, 06 Nov 1994 08:49:37 GMT", date=None, wall=NOV_1994 - 0.25) == 0.25
    assert read_retry_after("1", date=None, wall=WALL) == 1.0


@given(st.text())
def test_no_retry_after_raises(value: str) -> None:
    seconds = read_retry_after(value, date=value, wall=WALL)
    assert seconds is None or seconds > 0
