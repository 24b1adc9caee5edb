"""The sidecar's own errors look as section 7 of the contract says."""

from __future__ import annotations

import json

import pytest

from sidecar.core.errors import STATUS, ErrorCode, Outcome, SidecarError
from sidecar.downstream.error_response import error_response


def _lines(head: bytes) -> list[bytes]:
    assert head.endswith(b"\r\n\r\n")
    return head[:-4].split(b"\r\n")


def _error(code: ErrorCode = ErrorCode.BAD_REQUEST, **options: object) -> SidecarError:
    return SidecarError(code, "What is wrong: and what to do", **options)  # type: ignore[arg-type]


def test_the_body_is_an_error_report() -> None:
    response = error_response(_error(), request_id="abc-1", wall=1_700_000_000.9, keep_alive=True)
    assert json.loads(response.body) == {
        "Message": "What is wrong: and what to do",
        "Type": "sidecar_bad_request",
        "Id": "abc-1",
        "Date": 1_700_000_000,
        "errors": None,
    }


def test_the_head_is_exact() -> None:
    response = error_response(_error(), request_id="a", wall=0, keep_alive=True)
    assert _lines(response.head) == [
        b"HTTP/1.1 400 Bad Request",
        b"Content-Type: application/json",
        b"X-Sidecar-Error: bad_request",
        b"X-Sidecar-Outcome: not-sent",
        b"Content-Length: %d" % len(response.body),
    ]


@pytest.mark.parametrize("code", ErrorCode)
def test_every_code_has_its_status(code: ErrorCode) -> None:
    response = error_response(_error(code), request_id="a", wall=0)
    status_line = _lines(response.head)[0]
    assert status_line.startswith(b"HTTP/1.1 %d " % STATUS[code])
    assert status_line[13:]
    assert b"X-Sidecar-Error: " + code.value.encode() in _lines(response.head)


@pytest.mark.parametrize("code", ErrorCode)
def test_no_code_asks_for_credentials(code: ErrorCode) -> None:
    assert b"www-authenticate" not in error_response(_error(code), request_id="a", wall=0).head.lower()


@pytest.mark.parametrize("outcome", Outcome)
def test_the_outcome_is_told(outcome: Outcome) -> None:
    response = error_response(_error(ErrorCode.UPSTREAM_UNREACHABLE, outcome=outcome), request_id="a", wall=0)
    assert b"X-Sidecar-Outcome: " + outcome.value.encode() in _lines(response.head)


@pytest.mark.parametrize(
    ("retry_after", "expected"), [(None, b"1"), (0, b"1"), (0.2, b"1"), (1.0, b"1"), (1.01, b"2"), (899.5, b"900")]
)
@pytest.mark.parametrize("code", [ErrorCode.OVERLOADED, ErrorCode.RATE_RESERVED])
def test_a_503_and_a_429_say_when_to_retry_in_whole_seconds(
    code: ErrorCode, retry_after: float | None, expected: bytes
) -> None:
    response = error_response(_error(code, retry_after=retry_after), request_id="a", wall=0)
    assert b"Retry-After: " + expected in _lines(response.head)


@pytest.mark.parametrize("code", [code for code in ErrorCode if STATUS[code] not in {429, 503}])
def test_nothing_but_a_503_and_a_429_says_when_to_retry(code: ErrorCode) -> None:
    assert b"Retry-After" not in error_response(_error(code, retry_after=5), request_id="a", wall=0).head


@pytest.mark.parametrize(
    ("keep_alive", "close", "expected"),
    [(True, False, True), (True, True, False), (False, False, False), (False, True, False)],
)
def test_the_connection_stays_only_if_both_allow_it(keep_alive: bool, close: bool, expected: bool) -> None:
    response = error_response(_error(close=close), request_id="a", wall=0, keep_alive=keep_alive)
    assert response.keep_alive is expected
    assert (b"Connection: close" in _lines(response.head)) is not expected


def test_a_response_to_head_has_the_length_and_no_body() -> None:
    whole = error_response(_error(), request_id="a", wall=0)
    head_only = error_response(_error(), request_id="a", wall=0, head_only=True)
    assert (head_only.head, head_only.body) == (whole.head, b"")


def test_the_detail_stays_in_the_log() -> None:
    response = error_response(_error(detail="host=evil"), request_id="a", wall=0)
    assert b"evil" not in response.head + response.body


def test_a_message_with_quotes_and_line_ends_stays_json() -> None:
    error = SidecarError(ErrorCode.BAD_REQUEST, 'a "quoted"\r\nword é')
    response = error_response(error, request_id="a", wall=0)
    assert json.loads(response.body)["Message"] == 'a "quoted"\r\nword é'
