"""Mangopay's rate windows, from headers that come on one line or on several."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.http.field import Field
from sidecar.core.http.response_head import response_head
from sidecar.core.rate_windows import RateWindow
from sidecar.telemetry.metrics import Metrics
from sidecar.telemetry.rate_limits import RateLimits
from tests.support import prometheus

FOUR = (
    RateWindow("15m", 10, 2290, 1733404277),
    RateWindow("30m", 11, 4489, 1733405177),
    RateWindow("1h", 12, 8788, 1733406977),
    RateWindow("24h", 13, 105587, 1733490677),
)


def fields(*raw: tuple[bytes, bytes]) -> list[Field]:
    return response_head(1, 200, b"OK", [Field(name, value) for name, value in raw]).read_here


def observed(*raw: tuple[bytes, bytes]) -> tuple[RateWindow, ...]:
    limits = RateLimits()
    limits.observe(fields(*raw))
    return limits.windows()


def test_one_comma_separated_line() -> None:
    assert (
        observed(
            (b"Content-Type", b"application/json"),
            (b"X-RateLimit", b"10, 11, 12, 13"),
            (b"X-RateLimit-Remaining", b"2290,4489,8788,105587"),
            (b"X-RateLimit-Reset", b"1733404277 ,1733405177,\t1733406977,1733490677"),
        )
        == FOUR
    )


def test_one_line_a_window_in_any_case() -> None:
    raw = [(b"Date", b"now")]
    for window in FOUR:
        raw.append((b"x-ratelimit", b"%d" % (window.used or 0)))
        raw.append((b"X-RATELIMIT-REMAINING", b"%d" % (window.remaining or 0)))
        raw.append((b"X-RateLimit-Reset", b"%d" % (window.reset or 0)))
    assert observed(*raw) == FOUR


def test_three_windows_have_the_names_of_their_limits() -> None:
    """As seen in 2025; by their places the day's window would have been the hour's."""
    windows = observed(
        (b"X-RateLimit", b"10, 11, 12"),
        (b"X-RateLimit-Remaining", b"4490, 8789, 105588"),
        (b"X-RateLimit-Reset", b"1733405177, 1733406977, 1733490677"),
    )
    assert [window.window for window in windows] == ["30m", "1h", "24h"]


def test_the_distance_of_a_reset_counts_from_the_date_of_the_response() -> None:
    told = ((b"X-RateLimit-Remaining", b"7"), (b"X-RateLimit-Reset", b"784119000"))
    assert [window.window for window in observed(*told)] == [None]
    assert [window.window for window in observed(*told, (b"Date", b"soon"))] == [None]
    assert [window.window for window in observed(*told, (b"Date", b"Sun, 06 Nov 1994 08:49:37 GMT"))] == ["24h"]


def test_what_was_learned_of_a_limit_stays() -> None:
    limits = RateLimits()
    for date, name in ((b"Sun, 06 Nov 1994 08:49:37 GMT", "24h"), (b"Sun, 06 Nov 1994 10:49:37 GMT", "24h")):
        limits.observe(
            fields(
                (b"Date", date),
                (b"X-RateLimit", b"3"),
                (b"X-RateLimit-Remaining", b"997"),
                (b"X-RateLimit-Reset", b"784119000"),
            )
        )
        assert [window.window for window in limits.windows()] == [name]


def test_a_window_that_cannot_be_told_has_no_name() -> None:
    assert observed((b"X-RateLimit-Remaining", b"7,8")) == (
        RateWindow(None, None, 7, None),
        RateWindow(None, None, 8, None),
    )


def test_the_number_of_windows_is_bounded() -> None:
    """Else one odd response could grow the metrics' labels without end."""
    assert len(observed((b"X-RateLimit", b",".join([b"1"] * 5000)))) == 8
    assert len(observed(*[(b"X-RateLimit", b"1")] * 5000)) == 8


@pytest.mark.parametrize("item", [b"", b"-1", b"1.5", b"abc", b"1e3", b"9" * 400, b"\xff"])
def test_what_is_no_number_is_not_told_and_keeps_its_place(item: bytes) -> None:
    assert [window.remaining for window in observed((b"X-RateLimit-Remaining", b"5," + item + b",7"))] == [5, None, 7]


def test_a_response_without_rate_headers_changes_nothing() -> None:
    limits = RateLimits()
    limits.observe(fields((b"X-RateLimit-Remaining", b"5")))
    limits.observe(fields((b"Content-Length", b"0"), (b"Transfer-Encoding", b"chunked")))
    assert [window.remaining for window in limits.windows()] == [5]


@pytest.mark.parametrize("name", [b"X-RateLimit-Limit", b"X-RateLimit-Foo-Bar-X", b"X-Ratelimi"])
def test_a_header_that_only_looks_like_a_rate_header_changes_nothing(name: bytes) -> None:
    """As long as one of Mangopay's, and beginning like it."""
    limits = RateLimits()
    limits.observe(fields((b"X-RateLimit-Remaining", b"5")))
    limits.observe(fields((name, b"100")))
    assert [window.remaining for window in limits.windows()] == [5]


def test_the_newest_response_counts() -> None:
    limits = RateLimits()
    limits.observe(fields((b"X-RateLimit-Remaining", b"5,6")))
    assert len(limits.windows()) == 2
    limits.observe(fields((b"X-RateLimit-Remaining", b"4")))
    assert [window.remaining for window in limits.windows()] == [4]


def test_the_metrics_tell_remaining_and_reset_by_window_of_those_that_have_a_name() -> None:
    """An alert on any other would be a false one, or one that nobody understands."""
    metrics = Metrics()
    metrics.rate_limits.observe(
        fields(
            (b"X-RateLimit", b"2295, 5, 100, 1"),
            (b"X-RateLimit-Remaining", b"5, x, 0, 8799"),
            (b"X-RateLimit-Reset", b"1733404277, 1733404278, 1733404279, 1733404280"),
        )
    )
    families = prometheus.parse(metrics.expose().decode())
    remaining = families["mangopay_sidecar_rate_limit_remaining"]
    assert remaining.value(window="15m") == 5
    assert remaining.value(window="1h") == 8799
    assert len(remaining.samples) == 2
    reset = families["mangopay_sidecar_rate_limit_reset_timestamp_seconds"]
    assert reset.value(window="15m") == 1733404277
    assert len(reset.samples) == 2


numbers = st.none() | st.integers(0, 10**15 - 1)
names = (b"X-RateLimit", b"X-RateLimit-Remaining", b"X-RateLimit-Reset")


@st.composite
def told(draw: st.DrawFn) -> tuple[list[list[int | None]], list[tuple[bytes, bytes]]]:
    """Up to eight windows, and the headers that tell them: each column cut into lines anywhere, in any interleaving."""
    columns = [draw(st.lists(numbers, max_size=8)) for _ in names]
    queues = []
    for name, column in zip(names, columns, strict=True):
        lines, rest = [], [b"" if value is None else b"%d" % value for value in column]
        while rest:
            size = draw(st.integers(1, len(rest)))
            lines.append((name, draw(st.sampled_from([b",", b", ", b" ,\t"])).join(rest[:size])))
            rest = rest[size:]
        queues.append(lines)
    raw = []
    while any(queues):
        raw.append(draw(st.sampled_from([queue for queue in queues if queue])).pop(0))
    return columns, raw


@given(told())
def test_every_way_to_write_the_windows_tells_the_same(
    windows: tuple[list[list[int | None]], list[tuple[bytes, bytes]]],
) -> None:
    """One line, one a window, or anything between, the three headers in any order."""
    columns, raw = windows
    seen = observed(*raw)
    assert len(seen) == max(map(len, columns))
    for name, column in zip(("used", "remaining", "reset"), columns, strict=True):
        assert [getattr(window, name) for window in seen] == column + [None] * (len(seen) - len(column))


@given(st.lists(st.tuples(st.sampled_from((*names, b"Date")), st.binary(max_size=60)), max_size=40))
def test_whatever_the_values_the_exposition_is_right_and_its_windows_are_known(
    raw: list[tuple[bytes, bytes]],
) -> None:
    metrics = Metrics()
    metrics.rate_limits.observe(fields(*raw))
    families = prometheus.parse(metrics.expose().decode())
    known = {"15m", "30m", "1h", "24h"}
    for name in ("rate_limit_remaining", "rate_limit_reset_timestamp_seconds"):
        if (family := families.get(f"mangopay_sidecar_{name}")) is not None:
            assert {dict(labels)["window"] for _, labels in family.samples} <= known


@given(st.lists(st.tuples(st.binary(max_size=24), st.binary(max_size=60)), max_size=12))
def test_any_headers_can_be_read(raw: list[tuple[bytes, bytes]]) -> None:
    assert len(observed(*raw)) <= 8


@given(st.lists(st.binary(max_size=30), max_size=4))
def test_any_values_can_be_read(values: list[bytes]) -> None:
    assert len(observed(*[(b"X-RateLimit", value) for value in values])) <= 8
