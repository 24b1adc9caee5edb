"""The token request, and what every response to it means."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.secret import Secret
from sidecar.core.tokens.oauth import (
    BODY_LIMIT,
    EDGE_PAGE,
    RATE_LIMITED,
    SERVER_ERROR,
    Fetched,
    LockedOut,
    Refusal,
    Refused,
    TokenResponse,
    Transient,
    read_expires_in,
    read_response,
    request_headers,
)
from tests.support.canary import CANARY_API_KEY, CANARY_TOKEN, record

WALL = 1_700_000_000.0
RAY = "8f3c2a1b4d5e6f70-CDG"
PAGE = b"<!DOCTYPE html><html><title>Attention Required! | Cloudflare</title>"


def read(
    status: int,
    body: bytes | dict[str, Any] = b"",
    retry_after: float | None = None,
    *,
    complete: bool = True,
    headers: dict[str, str] | None = None,
) -> object:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = dict(headers or {})
    if retry_after is not None:
        fields["retry-after"] = f"{retry_after:g}"
    return read_response(TokenResponse(status, fields, raw, wall=WALL, complete=complete), sent_at=50.0)


def token(**fields: Any) -> dict[str, Any]:
    return {"access_token": CANARY_TOKEN, "token_type": "Bearer", "expires_in": 3600} | fields


def test_the_credentials_are_basic_with_id_and_key_as_they_are() -> None:
    headers = dict(request_headers("acme", Secret("kéy:+/%")))
    assert base64.b64decode(headers["Authorization"].removeprefix("Basic ")) == "acme:kéy:+/%".encode()
    del headers["Authorization"]
    assert headers == {
        "Content-Type": "application/x-www-form-urlencoded",
        "Accept": "application/json",
        "Accept-Encoding": "identity",
    }


def test_a_token_comes_with_its_life_and_the_moment_it_was_asked_for() -> None:
    assert read(200, token()) == Fetched(Secret(CANARY_TOKEN), 3600.0, 50.0)


def test_a_response_shows_neither_headers_nor_body_in_its_repr() -> None:
    response = TokenResponse(200, {"x-echo": CANARY_API_KEY}, json.dumps(token()).encode(), WALL)
    assert repr(response) == f"TokenResponse(status=200, wall={WALL}, complete=True)"
    record("the repr of a token response", repr(response))


def test_a_token_shows_in_no_repr() -> None:
    record("the repr of an answer", repr(read(200, token())))


@pytest.mark.parametrize("token_type", ["Bearer", "bearer", "BEARER"])
def test_the_token_type_is_compared_without_case(token_type: str) -> None:
    assert isinstance(read(200, token(token_type=token_type)), Fetched)


def test_a_missing_token_type_is_taken_for_bearer() -> None:
    response = token()
    del response["token_type"]
    assert isinstance(read(200, response), Fetched)


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
def test_a_response_that_is_no_token_is_transient(body: bytes | dict[str, Any]) -> None:
    result = read(200, body, retry_after=7.0)
    assert isinstance(result, Transient)
    assert result.retry_after == 7.0
    record("the detail of an answer", result.detail)


@pytest.mark.parametrize(
    ("value", "seconds", "odd"),
    [
        (3600, 3600.0, False),
        (1199.5, 1199.5, False),
        (1, 1.0, False),
        (0.5, 0.5, False),
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


def test_a_token_in_a_coding_that_cannot_be_undone_is_none() -> None:
    detail = "the response's content coding cannot be undone"
    assert read(200, token(), 7.0, headers={"content-encoding": "br"}) == Transient(detail, 7.0)


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
        (400, {"error": ["unauthorized_client"]}, Refusal.REQUEST),
        (400, {"error": "a word of the server's own"}, Refusal.REQUEST),
        (401, {"error": "invalid_client"}, Refusal.CREDENTIALS),
        (401, {"error": "unauthorized_client"}, Refusal.CREDENTIALS),
        (401, {"Type": "invalid_credentials"}, Refusal.CREDENTIALS),
        (401, b"", Refusal.CREDENTIALS),
        (401, b"no", Refusal.CREDENTIALS),
        (403, b"", Refusal.FORBIDDEN),
        (403, {"error": "access_denied"}, Refusal.FORBIDDEN),
        (404, {"error": "not_found"}, Refusal.REQUEST),
        (405, {"error": "invalid_request"}, Refusal.REQUEST),
        (499, {"error": ""}, Refusal.REQUEST),
    ],
)
def test_an_error_of_mangopays_own_and_a_bare_401_or_403_are_refusals(
    status: int, body: bytes | dict[str, Any], refusal: Refusal
) -> None:
    result = read(status, body, 60.0)
    assert isinstance(result, Refused)
    assert result.refusal is refusal
    assert result.retry_after == 60.0


@pytest.mark.parametrize("status", [400, 402, 404, 405, 409, 421, 451, 499])
@pytest.mark.parametrize("body", [b"", b"no", {"Type": "not_found"}, {"error": None}, [{"error": "invalid_client"}]])
def test_any_other_4xx_without_an_error_is_transient(status: int, body: Any) -> None:
    assert read(status, body, 9.0) == Transient(f"status {status}, without an error of Mangopay's", 9.0)


@pytest.mark.parametrize("status", [200, 302, 400, 401, 403, 404, 408, 429, 500, 502, 520, 526])
@pytest.mark.parametrize(
    ("body", "headers"),
    [
        pytest.param(PAGE, {"content-type": "text/html; charset=UTF-8"}, id="by both"),
        pytest.param(PAGE, {}, id="by its look"),
        pytest.param(b"busy", {"content-type": "text/html"}, id="by its type"),
        pytest.param(b"error code: 1020", {"content-type": "text/plain"}, id="its one line of text"),
        pytest.param(gzip.compress(PAGE), {"content-encoding": "gzip"}, id="compressed"),
        pytest.param(b"\x0b\x02", {"content-type": "text/html", "content-encoding": "br"}, id="in another coding"),
        pytest.param(b"\xef\xbb\xbf" + PAGE, {}, id="behind a BOM"),
    ],
)
def test_a_page_says_nothing_of_the_key_whatever_its_status(status: int, body: bytes, headers: dict[str, str]) -> None:
    result = read(status, body, 9.0, headers=headers | {"cf-ray": RAY})
    assert isinstance(result, Transient)
    assert (result.failure, result.retry_after) == (EDGE_PAGE, 9.0)
    assert f"status {status} " in result.detail
    assert result.detail.endswith(f"CF-Ray {RAY}")


def test_a_page_that_was_cut_short_before_its_first_byte_is_a_page_all_the_same() -> None:
    result = read(403, b"", complete=False, headers={"content-type": "text/html"})
    assert isinstance(result, Transient)
    assert result.detail.endswith("without a CF-Ray")


def test_a_page_that_was_cut_short_is_known_by_its_first_bytes() -> None:
    assert isinstance(read(403, PAGE[:20], complete=False), Transient)
    assert isinstance(read(403, b"{", complete=False), Refused)


@pytest.mark.parametrize("coding", ["", "gzip", "br"])
def test_a_complete_response_without_a_body_is_no_page_whatever_it_announces(coding: str) -> None:
    """Else a key that is refused like this would be tried again and again."""
    headers = {"content-type": "text/html", "content-encoding": coding}
    assert isinstance(read(401, b"", headers=headers), Refused)
    assert isinstance(read(401, b"", headers=headers, complete=False), Transient)


@pytest.mark.parametrize("ray", [CANARY_API_KEY, "\x1b[31m", "x" * 5000])
def test_a_ray_that_does_not_look_like_one_is_not_repeated(ray: str) -> None:
    result = read(403, PAGE, headers={"cf-ray": ray})
    assert isinstance(result, Transient)
    assert result.detail.endswith("without a CF-Ray")


def test_an_error_labelled_as_html_is_what_it_says() -> None:
    """Else a wrong key behind an odd gateway would be tried again and again, until the account is locked."""
    assert isinstance(read(401, {"error": "invalid_client"}, headers={"content-type": "text/html"}), Refused)
    assert isinstance(read(400, {"error": "unauthorized_client"}, headers={"content-type": "text/html"}), LockedOut)


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        pytest.param(gzip.compress(b'{"error": "invalid_client"}')[:-4], {"content-encoding": "gzip"}, id="cut gzip"),
        pytest.param(b"\x0b\x02", {"content-encoding": "br"}, id="another coding"),
        pytest.param(gzip.compress(b" " * 10_000_000), {"content-encoding": "gzip"}, id="a gzip bomb"),
    ],
)
def test_a_body_that_cannot_be_read_leaves_its_status(body: bytes, headers: dict[str, str]) -> None:
    """With a 401 or 403 that says enough; all others may be tried again."""
    assert read(401, body, headers=headers) == Refused(Refusal.CREDENTIALS, "status 401")
    assert read(403, body, headers=headers) == Refused(Refusal.FORBIDDEN, "status 403")
    for status in (200, 400, 404, 429, 500):
        assert isinstance(read(status, body, headers=headers), Transient)


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("coding", ["", "identity", "gzip", "X-GZIP"])
def test_a_bom_and_gzip_are_undone(bom: bytes, coding: str) -> None:
    body = bom + json.dumps(token()).encode()
    compressed = gzip.compress(body) if coding.lower().endswith("gzip") else body
    assert read(200, compressed, headers={"content-encoding": coding}) == Fetched(Secret(CANARY_TOKEN), 3600.0, 50.0)


def test_a_token_of_64_kib_is_read() -> None:
    body = json.dumps(token()).encode()
    assert isinstance(read(200, body.ljust(BODY_LIMIT)), Fetched)
    assert isinstance(read(200, body.ljust(BODY_LIMIT + 1)), Transient)


def test_a_token_over_64_kib_is_none_however_small_it_was_compressed() -> None:
    body = gzip.compress(json.dumps(token(padding="x" * BODY_LIMIT)).encode())
    assert isinstance(read(200, body, headers={"content-encoding": "gzip"}), Transient)


def test_a_retry_after_date_is_compared_with_the_date_of_the_response() -> None:
    headers = {"date": "Sun, 06 Nov 1994 08:49:37 GMT", "retry-after": "Sun, 06 Nov 1994 08:50:07 GMT"}
    result = read_response(TokenResponse(503, headers, b"", WALL), sent_at=50.0)
    assert result == Transient("status 503", 30.0, SERVER_ERROR)


@pytest.mark.parametrize("status", [100, 199, 300, 301, 302, 307, 308, 408, 429, 500, 502, 503, 504, 599, 600, 999])
def test_anything_else_is_transient_even_with_a_token(status: int) -> None:
    result = read(status, token(), 9.0)
    assert isinstance(result, Transient)
    assert (result.detail, result.retry_after) == (f"status {status}", 9.0)
    assert result.failure == (RATE_LIMITED if status == 429 else SERVER_ERROR if 500 <= status < 600 else None)


def test_words_of_the_server_are_not_repeated() -> None:
    """What stands in ``error`` may be anything, the key that was sent included."""
    result = read(401, {"error": CANARY_API_KEY, "error_description": CANARY_API_KEY})
    assert result == Refused(Refusal.CREDENTIALS, "status 401")


_headers = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("content-type", "content-encoding", "cf-ray", "date", "retry-after"), st.text())
)


@given(st.integers(100, 999), st.binary(max_size=200), st.booleans(), _headers | st.just({"content-encoding": "gzip"}))
def test_every_response_is_read_without_an_exception(
    status: int, body: bytes, complete: bool, headers: dict[str, str]
) -> None:
    result = read(status, body, complete=complete, headers=headers)
    assert isinstance(result, Fetched | LockedOut | Refused | Transient)


_values = st.text() | st.integers() | st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False)


@given(st.dictionaries(st.sampled_from(["access_token", "token_type", "expires_in"]), _values | st.just("bearer")))
def test_whatever_counts_as_a_token_fits_one_header_line_and_lives_a_day_at_most(response: dict[str, Any]) -> None:
    result = read(200, response)
    if isinstance(result, Fetched):
        assert result.value.reveal().isascii()
        assert result.value.reveal().isprintable()
        assert " " not in result.value.reveal()
        assert 0 < result.expires_in <= 86_400
