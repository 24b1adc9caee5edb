"""Rate windows that slide: when a call leaves them, and what is told."""

from __future__ import annotations

import pytest

from sidecar.emulator.rates import PARTS, Rates, Window

START = 1_700_000_000.0
TEN, HOUR = Window(10, 3), Window(3600, 5)


def told(rates: Rates, wall: float, *windows: Window) -> dict[bytes, list[int]]:
    """Return used, remaining and reset of each window."""
    fields: dict[bytes, list[int]] = {}
    for name, value in rates.headers(wall, windows, "lines"):
        fields.setdefault(name, []).append(int(value))
    return fields


def test_a_call_leaves_a_window_once_its_time_is_over_and_not_with_the_others() -> None:
    rates = Rates()
    assert [rates.count(START + second, (TEN,)) for second in (0, 4, 8)] == [True] * 3
    assert not rates.count(START + 9.9, (TEN,))
    assert rates.count(START + 14, (TEN,)), "those of 0 and 4 have left"
    assert not rates.count(START + 14, (TEN,))
    assert told(rates, START + 14, TEN)[b"X-RateLimit"] == [4]


def test_each_window_counts_for_itself() -> None:
    rates = Rates()
    assert [rates.count(START + 20 * number, (TEN, HOUR)) for number in range(6)] == [True] * 5 + [False]
    assert told(rates, START + 100, TEN, HOUR)[b"X-RateLimit-Remaining"] == [2, 0]


def test_what_is_told_as_the_reset_is_a_window_away_and_cut_to_minutes_in_windows_as_long_as_mangopays() -> None:
    rates = Rates()
    assert told(rates, START + 0.9, Window(10, 1), Window(899, 1), Window(900, 1))[b"X-RateLimit-Reset"] == [
        int(START) + 10,
        int(START) + 899,
        (int(START) + 900) // 60 * 60,
    ]


def test_a_window_takes_a_bounded_memory_and_calls_leave_it_a_part_early_at_most() -> None:
    rates, window = Rates(), Window(64, 10**6)
    for number in range(64_000):
        rates.count(START + number / 1000, (window,))
    (count,) = rates._counts.values()
    assert len(count._groups) <= PARTS + 1
    for gone in (0.5, 7.5, 63.5):
        rates = Rates()
        for number in range(64_000):
            rates.count(START + number / 1000, (window,))
        rates.count(START + 64 + gone, (window,))
        (used,) = told(rates, START + 64 + gone, window)[b"X-RateLimit"]
        assert 0 <= 64_000 - gone * 1000 + 1 - used <= 1001


@pytest.mark.parametrize(("style", "lines"), [("lines", 6), ("line", 3), ("none", 0)])
def test_the_headers_come_in_any_of_the_ways_that_have_been_seen(style: str, lines: int) -> None:
    assert len(Rates().headers(START, (TEN, HOUR), style)) == lines  # type: ignore[arg-type]
