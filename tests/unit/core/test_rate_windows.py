"""Rate windows are told by their limit or the distance of their reset, never wrongly, and else not at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sidecar.core.http.dates import read_http_date
from sidecar.core.rate_windows import LENGTHS, LIMITS, SLACK, RateWindow, name_windows, used_up_for

if TYPE_CHECKING:
    from collections.abc import Mapping

NOW: Final = 1_733_400_000.0


def window(used: int | None = None, remaining: int | None = None, distance: float | None = None) -> RateWindow:
    return RateWindow(None, used, remaining, None if distance is None else int(NOW + distance))


def names(*windows: RateWindow, date: float | None = NOW, learned: Mapping[int, str] | None = None) -> list[Any]:
    named, _ = name_windows(windows, date=date, learned=learned or {})
    assert [(each.used, each.remaining, each.reset) for each in named] == [
        (each.used, each.remaining, each.reset) for each in windows
    ]
    return [each.window for each in named]


def limits(*totals: int, distance: float | None = None) -> list[RateWindow]:
    return [window(1, total - 1, distance) for total in totals]


@pytest.mark.parametrize(
    ("totals", "expected"),
    [
        ((2300, 4500, 8800, 105600), ["15m", "30m", "1h", "24h"]),
        ((105600, 8800, 4500, 2300), ["24h", "1h", "30m", "15m"]),
        ((4500, 8800, 105600), ["30m", "1h", "24h"]),
        ((105600,), ["24h"]),
        ((), []),
        ((300, 1000, 2300, 4500, 8800, 105600), [None, None, "15m", "30m", "1h", "24h"]),
        ((2300, 2300, 8800), [None, None, "1h"]),
        ((7, 8, 9), [None, None, None]),
    ],
)
def test_a_window_is_told_by_its_limit_wherever_it_stands(totals: tuple[int, ...], expected: list[str | None]) -> None:
    assert names(*limits(*totals)) == expected
    assert names(*limits(*totals), date=None) == expected


def test_what_mangopay_sent_in_2018() -> None:
    """From an issue report (liberapay.com #909): resets are cut to minutes."""
    date = read_http_date("Sat, 13 Jan 2018 15:36:31 GMT")
    resets = (1515858660, 1515859560, 1515861360, 1515944100)
    used, remaining = (1, 1, 1, 295), (2299, 4499, 8799, 105305)
    windows = [RateWindow(None, *each) for each in zip(used, remaining, resets, strict=True)]
    assert names(*windows, date=date) == ["15m", "30m", "1h", "24h"]
    # With limits of its own the same account would be told by the distances.
    other = [RateWindow(None, *each) for each in zip(used, (100, 200, 300, 400), resets, strict=True)]
    assert names(*other, date=date) == ["15m", "30m", "1h", "24h"]


@pytest.mark.parametrize(
    ("distances", "expected"),
    [
        pytest.param((80_000,), ["24h"], id="no other window is so long"),
        pytest.param((3_500,), [None], id="the hour's, or the day's near its end"),
        pytest.param((3_500, 80_000), ["1h", "24h"], id="not the day's, since another is"),
        pytest.param((1_700, 3_500, 80_000), ["30m", "1h", "24h"], id="three"),
        pytest.param((800, 1_700, 3_500, 80_000), ["15m", "30m", "1h", "24h"], id="four"),
        pytest.param((200, 1_700, 3_500, 80_000), [None, "30m", "1h", "24h"], id="it may be of one or five minutes"),
        pytest.param((800, 1_700, 80_000), [None, None, "24h"], id="the hour's is one of two"),
        pytest.param((80_000, 80_100), [None, None], id="two that claim to be the day's"),
        pytest.param((90_000,), [None], id="longer than any"),
        pytest.param((90_000, 80_000), [None, "24h"], id="longer than any, and the day's"),
        pytest.param((0, -50), [None, None], id="no distance"),
        pytest.param((86_400 + SLACK,), ["24h"], id="the most"),
        pytest.param((3_600 + SLACK,), [None], id="an hour, by a clock that is a little off"),
    ],
)
def test_without_a_known_limit_the_distance_tells_the_longest(
    distances: tuple[float, ...], expected: list[str | None]
) -> None:
    assert names(*(window(1, 10 + index, distance) for index, distance in enumerate(distances))) == expected
    assert names(*(window(None, None, distance) for distance in distances)) == expected


def test_a_limit_and_distances_work_together() -> None:
    assert names(window(1, 105_599, 20), window(1, 999, 3_500), window(1, 99, 1_000)) == ["24h", "1h", "30m"]


def test_a_distance_longer_than_the_window_contradicts_its_limit() -> None:
    assert names(window(1, 2_299, 900 + SLACK)) == ["15m"]
    assert names(window(1, 2_299, 1_000)) == [None]
    assert names(window(1, 2_299, 50_000)) == ["24h"]


def test_what_was_told_is_remembered_for_its_limit() -> None:
    first = [window(1, 999, 3_500), window(1, 8_999, 80_000)]
    _, learned = name_windows(first, date=NOW, learned={})
    assert learned == {1_000: "1h", 9_000: "24h"}
    assert names(window(1, 999, 20), window(1, 8_999, 30), learned=learned) == ["1h", "24h"]


def test_a_window_without_a_name_keeps_none_behind_it_from_being_remembered() -> None:
    _, learned = name_windows([window(1, 6), window(1, 8_999, 80_000)], date=NOW, learned={})
    assert learned == {9_000: "24h"}


def test_a_limit_that_was_raised_takes_the_place_of_the_old_one() -> None:
    _, learned = name_windows([window(1, 8_999, 80_000)], date=NOW, learned={5_000: "24h", 1_000: "1h"})
    assert learned == {1_000: "1h", 9_000: "24h"}


def test_a_window_keeps_its_name_when_more_than_the_limit_was_used() -> None:
    _, learned = name_windows(limits(2_300, 4_500, 8_800), date=NOW, learned={})
    used_up = [window(2_400, 0, 60), window(2_500, 2_000, 60), window(9_999, 0, 60)]
    assert names(*used_up, learned=learned) == ["15m", "30m", "1h"]
    # Which of the two is 15 minutes', nobody knows.
    assert names(window(2_400, 0), window(2_500, 0), learned=learned) == [None, None]


@pytest.mark.parametrize("learned", [{2_300: "15m", 4_500: "30m"}, {1: "1h", 2_300: "15m", 4_500: "30m"}])
def test_a_window_has_not_the_name_of_a_limit_that_it_happens_to_exceed(learned: Mapping[int, str]) -> None:
    """An hour's limit of 1, of which 2,798 were used: more than the 2,300 of 15 minutes, whose window exceeds 30's."""
    hour, quarter, half = window(2_798, 0, 60), window(5_000, 0, 60), window(10, 4_490, 60)
    assert names(hour, quarter, half, learned=learned) == [None, None, "30m"]
    assert names(hour, half, learned={1: "1h", **learned}) == [None, "30m"]


def test_a_window_that_is_used_up_exactly_does_not_exceed_its_limit() -> None:
    """Two claim the name of 15 minutes: by the limit that was learned, and by the one that is documented."""
    used_up, other = window(2_000, 0), window(1, 2_299)
    assert names(used_up, other, date=None, learned={2_000: "15m"}) == [None, None]


def test_a_smaller_limit_is_looked_at_when_the_larger_one_is_told() -> None:
    learned = {5_000: "1h", 2_000: "15m"}
    assert names(window(1, 4_999), window(2_100, 0), date=None, learned=learned) == ["1h", "15m"]


def test_a_window_that_is_missing_leaves_its_name_to_nobody() -> None:
    learned = {1: "1h", 2_300: "15m"}
    assert names(window(2_798, 0, 60), learned=learned) == [None]
    assert names(window(2_798, 0, 60), window(1, 2_299, 60), learned=learned) == ["1h", "15m"]


def test_a_distance_contradicts_the_name_of_an_exceeded_limit_too() -> None:
    learned = {2_300: "15m"}
    assert names(window(2_400, 0, 900 + SLACK), learned=learned) == ["15m"]
    assert names(window(2_400, 0, 1_000), learned=learned) == [None]


def test_nothing_is_learned_of_a_window_that_is_used_up() -> None:
    """Its limit may be lower than what was used of it."""
    _, learned = name_windows([window(2_300, 0, 60)], date=NOW, learned={})
    assert learned == {}
    assert names(window(2_400, 0, 60)) == [None]


@dataclass(frozen=True)
class Account:
    """An account's windows as they truly are: length and limit, longest first."""

    windows: tuple[tuple[int, int], ...]


_NAME_OF: Final = {length: name for name, length in LENGTHS.items()}
_DOCUMENTED: Final = {_length: limit for limit, name in LIMITS.items() for _length in [LENGTHS[name]]}


@st.composite
def accounts(draw: st.DrawFn) -> Account:
    """Windows among those that have been seen, each with its documented limit or one that is no other's."""
    lengths = draw(st.lists(st.sampled_from([60, 300, *LENGTHS.values()]), unique=True, max_size=6))
    found: list[tuple[int, int]] = []
    for length in lengths:
        own = st.integers(1, 200_000).filter(lambda limit: limit not in LIMITS)
        limit = draw(own | st.just(_DOCUMENTED[length]) if length in _DOCUMENTED else own)
        assume(all(limit != other for _, other in found))
        found.append((length, limit))
    return Account(tuple(found))


@given(accounts(), st.data())
def test_no_window_ever_gets_the_name_of_another(account: Account, data: st.DataObject) -> None:
    """Whatever of its windows has passed, however much was used of them, and whatever came before."""
    learned: Mapping[int, str] = {}
    for _ in range(data.draw(st.integers(1, 5))):
        windows = []
        for length, limit in data.draw(st.permutations(account.windows)):
            used = data.draw(st.integers(0, limit) | st.integers(limit, limit + 5_000))
            # By chance it may have used up exactly another window's limit; then one response is misread.
            assume(used <= limit or (used not in LIMITS and used not in learned))
            distance = data.draw(st.integers(-100, length))
            windows.append((length, window(used, max(0, limit - used), distance)))
        named, learned = name_windows([each for _, each in windows], date=NOW, learned=learned)
        for (length, _), each in zip(windows, named, strict=True):
            assert each.window in (None, _NAME_OF.get(length))
        assert len(set(learned.values())) == len(learned) <= len(LENGTHS)


@given(
    st.lists(
        st.builds(
            RateWindow,
            st.none(),
            st.none() | st.integers(0, 10**15),
            st.none() | st.integers(0, 10**15),
            st.none() | st.integers(0, 10**15),
        ),
        max_size=8,
    ),
    st.none() | st.floats(0, 1e12),
)
def test_every_name_is_given_once_at_most(windows: list[RateWindow], date: float | None) -> None:
    given_names = [name for name in names(*windows, date=date) if name is not None]
    assert len(set(given_names)) == len(given_names)
    assert set(given_names) <= set(LENGTHS)


# --- when to retry ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("windows", "seconds"),
    [
        ((), None),
        ((RateWindow("15m", 10, 5, 1100),), None),
        ((RateWindow("15m", 10, 0, None),), None),
        ((RateWindow("15m", 10, 0, 1100),), 100.0),
        ((RateWindow("15m", 10, 0, 1100), RateWindow("1h", 9, 0, 1300), RateWindow("24h", 9, 1, 9000)), 300.0),
        ((RateWindow("15m", 10, 0, 900),), 1.0),
        ((RateWindow("15m", 10, 0, 10**9),), 86_400.0),
    ],
)
def test_a_429_can_be_retried_once_every_window_that_is_used_up_has_its_reset(
    windows: tuple[RateWindow, ...], seconds: float | None
) -> None:
    assert used_up_for(windows, 1000.0) == seconds
