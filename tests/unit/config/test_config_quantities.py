"""Durations and sizes: which spellings are taken, and what they are worth."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.config.errors import InvalidValue
from sidecar.config.values import SAMPLE, SHARE, duration, size

POSITIVE = duration(0.001)
ANY_SIZE = size()


# --- durations ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (5, 5.0),
        (0.5, 0.5),
        ("5", 5.0),
        ("0.25", 0.25),
        ("500ms", 0.5),
        ("1ms", 0.001),
        ("1.5s", 1.5),
        ("5s", 5.0),
        ("10m", 600.0),
        ("1h", 3600.0),
        ("24h", 86400.0),
        ("007s", 7.0),
    ],
)
def test_a_duration_is_seconds_or_text_with_a_unit(value: object, seconds: float) -> None:
    assert POSITIVE.parse(value) == seconds


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        (True, "is a boolean"),
        ([5], "is an array"),
        ("", "is empty"),
        ("5 s", "unit"),
        (" 5s", "whitespace"),
        ("5S", "unit"),
        ("5sec", "unit"),
        ("1d", "unit"),
        ("1m30s", "unit"),
        ("5µs", "unit"),
        ("-5s", "no duration"),
        ("+5s", "no duration"),
        ("s", "no duration"),
        (".5s", "no duration"),
        ("5.s", "no duration"),
        ("1.2.3s", "no duration"),
        ("1e3", "unit"),
        ("nan", "no duration"),
        ("inf", "no duration"),
        ("٥s", "no duration"),
        ("9" * 5000, "no duration"),
        (0, "out of range"),
        ("0s", "out of range"),
        ("0.5ms", "out of range"),
        (-1, "out of range"),
        (86_401, "out of range"),
        ("25h", "out of range"),
        (math.nan, "out of range"),
        (math.inf, "out of range"),
        (-math.inf, "out of range"),
        (10**400, "out of range"),
    ],
)
def test_what_is_no_sensible_duration_is_refused(value: object, complaint: str) -> None:
    with pytest.raises(InvalidValue, match=complaint):
        POSITIVE.parse(value)


def test_zero_is_a_duration_where_it_makes_sense() -> None:
    assert duration(0).parse("0s") == 0


@given(st.integers(1, 86_400_000))
def test_milliseconds_survive_the_way_through_text(milliseconds: int) -> None:
    assert POSITIVE.parse(f"{milliseconds}ms") == milliseconds / 1000


@given(st.integers(1, 86_400), st.sampled_from([("s", 1), ("m", 60), ("h", 3600)]))
def test_units_are_multiples_of_a_second(count: int, unit: tuple[str, int]) -> None:
    name, factor = unit
    if count * factor <= 86_400:
        assert POSITIVE.parse(f"{count}{name}") == count * factor
    else:
        with pytest.raises(InvalidValue, match="out of range"):
            POSITIVE.parse(f"{count}{name}")


# --- sizes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "count"),
    [
        (0, 0),
        (1000, 1000),
        ("1000", 1000),
        ("1000B", 1000),
        ("64KiB", 65536),
        ("16MiB", 16 * 1024 * 1024),
        ("1GiB", 1024**3),
        ("10kB", 10_000),
        ("10MB", 10_000_000),
        ("1GB", 1_000_000_000),
        (2**40, 2**40),
    ],
)
def test_a_size_is_bytes_or_text_with_a_unit(value: object, count: int) -> None:
    assert ANY_SIZE.parse(value) == count


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        (True, "is a boolean"),
        (1.5, "is a float"),
        ("1.5MiB", "no size"),
        ("MiB", "no size"),
        ("-1", "no size"),
        ("16 MiB", "unit"),
        ("16mib", "unit"),
        ("16Mib", "unit"),
        ("16M", "unit"),
        ("16KB", "unit"),
        ("1TiB", "unit"),
        ("", "empty"),
        (-1, "out of range"),
        (2**40 + 1, "out of range"),
        ("1025GiB", "out of range"),
        ("9" * 5000, "no size"),
    ],
)
def test_what_is_no_sensible_size_is_refused(value: object, complaint: str) -> None:
    with pytest.raises(InvalidValue, match=complaint):
        ANY_SIZE.parse(value)


def test_a_size_may_have_a_minimum() -> None:
    with pytest.raises(InvalidValue, match="out of range"):
        size(1).parse(0)


@given(st.integers(0, 2**10), st.sampled_from([("", 0), ("B", 0), ("KiB", 10), ("MiB", 20), ("GiB", 30)]))
def test_binary_units_survive_the_way_through_text(count: int, unit: tuple[str, int]) -> None:
    name, power = unit
    assert ANY_SIZE.parse(f"{count}{name}") == count << power


# --- shares ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "share"), [("0%", 0.0), ("20%", 0.2), ("12.5%", 0.125), ("99%", 0.99), ("007%", 0.07)]
)
def test_a_share_is_a_percentage(text: str, share: float) -> None:
    assert SHARE.parse(text) == pytest.approx(share)


@pytest.mark.parametrize(
    "value",
    [
        "20",
        "0.2",
        "100%",
        "1000%",
        "-1%",
        "%",
        "20 %",
        "2e1%",
        "20%%",
        "٢٠%",
        "1.%",
        ".5%",
        "",
        " 20%",
        20,
        0.2,
        True,
        None,
    ],
)
def test_anything_else_is_none(value: object) -> None:
    with pytest.raises(InvalidValue):
        SHARE.parse(value)


@pytest.mark.parametrize(("text", "share"), [("0%", 0.0), ("0.01%", 0.0001), ("100%", 1.0), ("100.0%", 1.0)])
def test_what_is_sampled_may_be_all(text: str, share: float) -> None:
    assert SAMPLE.parse(text) == pytest.approx(share)


@pytest.mark.parametrize(
    ("value", "complaint"), [("100.1%", "out of range"), ("101%", "out of range"), ("10", "no share"), (0.5, "a float")]
)
def test_more_than_all_is_no_share(value: object, complaint: str) -> None:
    with pytest.raises(InvalidValue, match=complaint):
        SAMPLE.parse(value)
