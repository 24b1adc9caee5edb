"""What is kept of one call, and its id."""

from __future__ import annotations

import re

import pytest

from sidecar.core.errors import ErrorCode, Outcome, SidecarError
from sidecar.telemetry.record import CallRecord
from sidecar.telemetry.request_ids import RequestIds

ENTROPY = bytes(range(5))


def record() -> CallRecord:
    return CallRecord("i", 0.0, "GET", "/")


def test_ids_begin_with_the_process_s_random_prefix_and_count() -> None:
    ids = RequestIds(ENTROPY)
    first, second = ids.new(), ids.new()
    assert first[:9] == second[:9]
    assert (first[9:], second[9:]) == ("000000", "000001")


def test_ids_are_short_plain_and_never_repeat_across_blocks_of_the_counter() -> None:
    ids = RequestIds(ENTROPY)
    made = [ids.new() for _ in range(5000)]
    assert len(set(made)) == len(made)
    assert made == sorted(made)
    assert all(re.fullmatch(r"[0-9a-hjkmnp-tv-z]{8}-[0-9a-hjkmnp-tv-z]{6}", each) for each in made)


def test_two_processes_have_different_prefixes() -> None:
    assert RequestIds(b"\0" * 5).new() != RequestIds(b"\0\0\0\0\1").new()


def test_a_prefix_needs_enough_randomness() -> None:
    with pytest.raises(ValueError, match="5 random bytes"):
        RequestIds(b"four")


def test_a_way_of_recovering_counts_once_and_the_order_stays() -> None:
    call = record()
    for how in ("token", "connection", "token"):
        call.add_recovered(how)
    assert call.recovered == ("token", "connection")


def test_a_failed_call_has_the_error_s_status_and_is_the_sidecar_s() -> None:
    call = record()
    call.failed(SidecarError(ErrorCode.UPSTREAM_TIMEOUT, "slow", outcome=Outcome.UNKNOWN, detail="after 60 s"))
    assert (call.status, call.source) == (504, "sidecar")
    assert (call.error, call.outcome, call.detail) == (ErrorCode.UPSTREAM_TIMEOUT, Outcome.UNKNOWN, "after 60 s")


def test_a_response_cut_off_after_its_head_keeps_the_status_that_the_caller_saw() -> None:
    call = record()
    call.status = 200
    call.failed(SidecarError(ErrorCode.UPSTREAM_UNREACHABLE, "cut", outcome=Outcome.UNKNOWN))
    assert (call.status, call.source) == (200, "upstream")


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/v2.01/acme/users/123", "/v2.01/{client}/users/{id}"),
        ("", "-"),
        ("-", "-"),
        ("*", "-"),
        ("http://user:secret@evil.example/", "-"),
    ],
)
def test_a_path_is_shown_masked_and_what_is_none_not_at_all(path: str, shown: str) -> None:
    call = record()
    call.path = path
    assert call.shown_path == shown


def test_the_caller_s_correlation_headers_are_kept() -> None:
    call = record()
    traceparent = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    call.correlate(((b"Accept", b"*/*"), (b"TraceParent", traceparent), (b"X-Request-ID", b"abc 123")))
    assert (call.traceparent, call.caller_request_id) == (traceparent.decode(), "abc 123")


@pytest.mark.parametrize("value", [b"", b"x" * 129, b"\xe9t\xe9", b"a\tb", b"\x1b[31m"])
def test_a_correlation_header_that_is_long_or_not_printable_ascii_is_dropped(value: bytes) -> None:
    call = record()
    call.correlate(((b"X-Request-Id", value),))
    assert call.caller_request_id is None
