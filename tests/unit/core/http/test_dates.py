"""Dates from elsewhere: read in every form, and never an exception."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.http.dates import read_date, read_http_date

NOV_1994 = 784_111_777.0


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("Sun, 06 Nov 1994 08:49:37 GMT", NOV_1994),
        ("Sunday, 06-Nov-94 08:49:37 GMT", NOV_1994),
        ("Sun Nov  6 08:49:37 1994", NOV_1994),
        ("Sun, 06 Nov 1994 08:49:37 -0000", NOV_1994),
        ("Sun, 06 Nov 1994 09:49:37 +0100", NOV_1994),
        ("", None),
        ("soon", None),
        ("784111777", None),
        ("Mon, 99 Nov 2024 08:49:37 GMT", None),
        ("Sun, 06 Nov 99999 08:49:37 GMT", None),
        ("Sun, 06 Nov 1994 08:49:37 +99999999", None),
        ("Sun, 06 Nov 1994 08:49:37 +99999999999999999999", None),
        ("Sun, 06 Nov 1994 08:49:37 GMT" + " " * 5000, None),
        ("Sun, 06 Nov 1994 08:49:37 GMT".ljust(64), NOV_1994),
        ("Sun, 06 Nov 1994 08:49:37 GMT".ljust(65), None),
    ],
)
def test_an_http_date_is_read_in_its_three_forms(text: str, moment: float | None) -> None:
    assert read_http_date(text) == moment


@pytest.mark.parametrize(
    ("date", "moment"),
    [
        (1_733_404_277, 1_733_404_277.0),
        (1_740_581_497.5, 1_740_581_497.5),
        (" 1733404277 ", 1_733_404_277.0),
        ("Sun, 06 Nov 1994 08:49:37 GMT", NOV_1994),
        ("1994-11-06T08:49:37Z", NOV_1994),
        ("1994-11-06T09:49:37+01:00", NOV_1994),
        ("1994-11-06T08:49:37", NOV_1994),
        ("٣", None),
        ("9".zfill(64), 9.0),
        ("9".zfill(65), None),
        ("9" * 400, None),
        ("9" * 5000, None),
        (10**400, None),
        (math.inf, None),
        (math.nan, None),
        ("yesterday", None),
        ("", None),
    ],
)
def test_a_date_is_read_as_mangopay_writes_them(date: str | float, moment: float | None) -> None:
    assert read_date(date) == moment


@given(st.integers(0, 253_402_300_799))
def test_every_form_tells_the_same_moment(moment: int) -> None:
    assert read_http_date(formatdate(moment, usegmt=True)) == moment
    iso = datetime.fromtimestamp(moment, UTC).isoformat()
    assert read_date(iso) == read_date(str(moment)) == read_date(moment) == moment


_pieces = st.sampled_from(["Sun, 06 Nov 1994 08:49:37", " ", "+", "-", ":", "GMT", "Nov", "1994", "T", "Z"])


@given(st.text() | st.lists(_pieces | st.text(st.characters(categories=["Nd"]), max_size=30)).map("".join))
def test_no_text_raises(text: str) -> None:
    assert isinstance(read_http_date(text), float | None)
    moment = read_date(text)
    assert moment is None or math.isfinite(moment)


@given(st.integers() | st.floats())
def test_no_number_raises(number: float) -> None:
    moment = read_date(number)
    assert moment is None or math.isfinite(moment)
