"""The token request, and what every answer to it means."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.oauth import (
    BODY_LIMIT,
    Fetched,
    LockedOut,
    Refusal,
    Refused,
    Transient,
    read_answer,
    read_expires_in,
    request_headers,
)
from sidecar.core.secret import Secret
from tests.support.canary import CANARY_API_KEY, CANARY_TOKEN, record


def read(status: int, body: bytes | dict[str, Any] = b"", retry_after: float | None = None) -> object:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read_answer(status, raw, retry_after=retry_after, sent_at=50.0)


def token(**fields: Any) -> dict[str, Any]:
    return {"access_token": CANARY_TOKEN, "token_type": "Bearer", "expires_in": 3600} | fields


def test_the_credentials_are_basic_with_id_and_key_as_they_are() -> None:
    headers = dict(request_headers("acme", Secret("kéy:+/%")))
    assert base64.b64decode(headers["Authorization"].removeprefix("Basic ")) == "acme:kéy:+/%".encode()
    assert headers["Content-Type"] == "application/x-www-form-urlencoded"


def test_a_token_comes_with_its_life_and_the_moment_it_was_asked_for() -> None:
    assert read(200, token()) == Fetched(Secret(CANARY_TOKEN), 3600.0, 50.0)


def test_a_token_shows_in_no_repr() -> None:
    record("the repr of an answer", repr(read(200, token())))


@pytest.mark.parametrize("token_type", ["Bearer", "bearer", "BEARER"])
def test_the_token_type_is_compared_without_case(token_type: str) -> None:
    assert isinstance(read(200, token(token_type=token_type)), Fetched)


def test_a_missing_token_type_is_taken_for_bearer() -> None:
    answer = token()
    del answer["token_type"]
    assert isinstance(read(200, answer), Fetched)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"<html>", id="HTML"),
        pytest.param(b'{"access_token": "a"', id="cut short"),
        pytest.param(b"[1]", id="a list"),
        pytest.param(b'"token"', id="a string"),
        pytest.param(b"null", id="null"),
        pytest.param(b'{"access_token": "a\xff"}', id="not UTF-8"),
        pytest.param(b'{"access_token": NaN}', id="NaN"),
        pytest.param(b"[" * 60_000, id="nested without end"),
        pytest.param(b'{"a":' * 10_000, id="objects nested without end"),
        pytest.param({}, id="no access_token"),
        pytest.param(token(access_token=None), id="null access_token"),
        pytest.param(token(access_token=12), id="a number"),
        pytest.param(token(access_token=["a"]), id="a list as access_token"),
        pytest.param(token(access_token=""), id="an empty access_token"),
        pytest.param(token(access_token="a b"), id="a space"),
        pytest.param(token(access_token="a\r\nX: y"), id="a line break"),
        pytest.param(token(access_token="a\n"), id="a line break at the end"),
        pytest.param(token(access_token="a\x00"), id="NUL"),
        pytest.param(token(access_token="a\x7f"), id="DEL"),
        pytest.param(token(access_token="é"), id="not ASCII"),
        pytest.param(token(token_type="mac"), id="another token type"),
        pytest.param(token(token_type=1), id="a token type that is no string"),
        pytest.param(token(padding="x" * BODY_LIMIT), id="over 64 KiB"),
    ],
)
def test_an_answer_that_is_no_token_is_transient(body: bytes | dict[str, Any]) -> None:
    result = read(200, body, retry_after=7.0)
    assert isinstance(result, Transient)
    assert result.retry_after == 7.0
    record("the detail of an answer", result.detail)


@pytest.mark.parametrize(
    ("value", "seconds", "odd"),
    [
        (3600, 3600.0, False),
        (1199.5, 1199.5, False),
        ("1200", 1200.0, False),
        (" 1200 ", 1200.0, False),
        ("12e2", 1200.0, False),
        (86_400, 86_400.0, False),
        (86_401, 86_400.0, True),
        (10**400, 86_400.0, True),
        ("9" * 5000, 86_400.0, True),
        (None, 300.0, True),
        (True, 300.0, True),
        (False, 300.0, True),
        (0, 300.0, True),
        (-1, 300.0, True),
        ("0", 300.0, True),
        ("-3600", 300.0, True),
        ("", 300.0, True),
        ("soon", 300.0, True),
        ("inf", 300.0, True),
        ("nan", 300.0, True),
        ("1_000", 300.0, True),
        ("٣", 300.0, True),
        ([3600], 300.0, True),
        ({"seconds": 3600}, 300.0, True),
    ],
)
def test_expires_in(value: object, seconds: float, odd: bool) -> None:
    life, warning = read_expires_in(value)
    assert life == seconds
    assert (warning is not None) is odd


def test_an_odd_expires_in_is_warned_of_and_the_token_used() -> None:
    result = read(200, token(expires_in="soon"))
    assert isinstance(result, Fetched)
    assert result.expires_in == 300.0
    assert result.warnings == ("expires_in is not a number: 300 s assumed",)


def test_a_locked_account_is_a_lockout() -> None:
    body = {"error": "unauthorized_client", "error_description": "This account has been temporarily locked"}
    assert read(400, body, 60.0) == LockedOut("status 400, unauthorized_client", 60.0)


@pytest.mark.parametrize(
    ("status", "body", "refusal"),
    [
        (400, {"error": "invalid_request"}, Refusal.REQUEST),
        (400, b"<html>", Refusal.REQUEST),
        (400, {"error": ["unauthorized_client"]}, Refusal.REQUEST),
        (401, {"error": "invalid_client"}, Refusal.CREDENTIALS),
        (401, {"error": "unauthorized_client"}, Refusal.CREDENTIALS),
        (401, b"", Refusal.CREDENTIALS),
        (403, b"", Refusal.FORBIDDEN),
        (404, b"", Refusal.REQUEST),
        (405, b"", Refusal.REQUEST),
        (421, b"", Refusal.REQUEST),
        (499, b"", Refusal.REQUEST),
    ],
)
def test_any_other_4xx_is_a_refusal(status: int, body: bytes | dict[str, Any], refusal: Refusal) -> None:
    result = read(status, body, 60.0)
    assert isinstance(result, Refused)
    assert result.refusal is refusal
    assert result.retry_after == 60.0


@pytest.mark.parametrize("status", [100, 199, 301, 302, 307, 308, 408, 429, 500, 502, 503, 504, 599, 600, 999])
def test_anything_else_is_transient_even_with_a_token(status: int) -> None:
    assert read(status, token(), 9.0) == Transient(f"status {status}", 9.0)


def test_words_of_the_server_are_not_repeated() -> None:
    """What stands in ``error`` may be anything, the key that was sent included."""
    result = read(401, {"error": CANARY_API_KEY, "error_description": CANARY_API_KEY})
    assert result == Refused(Refusal.CREDENTIALS, "status 401")


@given(st.integers(100, 999), st.binary(max_size=200))
def test_every_answer_is_read_without_an_exception(status: int, body: bytes) -> None:
    assert isinstance(read(status, body), Fetched | LockedOut | Refused | Transient)


_values = st.text() | st.integers() | st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False)


@given(st.dictionaries(st.sampled_from(["access_token", "token_type", "expires_in"]), _values | st.just("bearer")))
def test_whatever_counts_as_a_token_fits_one_header_line_and_lives_a_day_at_most(answer: dict[str, Any]) -> None:
    result = read(200, answer)
    if isinstance(result, Fetched):
        assert result.value.reveal().isascii()
        assert result.value.reveal().isprintable()
        assert " " not in result.value.reveal()
        assert 0 < result.expires_in <= 86_400
