"""The sidecar's own errors."""

from __future__ import annotations

import pytest

from sidecar.core.errors import STATUS, ErrorCode, Outcome, SidecarError


def test_every_code_has_a_status_of_an_error() -> None:
    assert set(STATUS) == set(ErrorCode)
    assert all(400 <= status < 600 for status in STATUS.values())


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("bad_request", 400),
        ("host_not_allowed", 403),
        ("browser_not_allowed", 403),
        ("policy_denied", 403),
        ("caller_not_allowed", 403),
        ("request_timeout", 408),
        ("body_too_large", 413),
        ("expectation_failed", 417),
        ("headers_too_large", 431),
        ("embedded_key_missing", 501),
        ("credentials_refused", 502),
        ("upstream_unreachable", 502),
        ("token_locked_out", 503),
        ("token_unavailable", 503),
        ("overloaded", 503),
        ("shutting_down", 503),
        ("upstream_timeout", 504),
    ],
)
def test_codes_and_statuses_are_those_that_users_know(code: str, status: int) -> None:
    assert SidecarError(ErrorCode(code), "x").status == status


def test_no_code_is_an_http_status_that_sdks_read_as_a_token_problem() -> None:
    """A 401 of ours would make an app, or a proxy behind it, throw its credentials away."""
    assert 401 not in STATUS.values()


def test_an_error_is_not_sent_unless_it_says_otherwise() -> None:
    error = SidecarError(ErrorCode.BAD_REQUEST, "what and mend")
    assert (error.outcome, error.retry_after, error.detail, error.close) == (Outcome.NOT_SENT, None, None, False)
    assert str(error) == error.message == "what and mend"


def test_outcomes_read_as_the_header_does() -> None:
    assert [str(outcome) for outcome in Outcome] == ["not-sent", "rejected", "unknown"]


def test_the_log_detail_is_not_in_the_message() -> None:
    error = SidecarError(ErrorCode.HOST_NOT_ALLOWED, "message", detail="canary")
    assert "canary" not in str(error) + repr(error)
