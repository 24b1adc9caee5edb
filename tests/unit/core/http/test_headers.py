"""Header lines: what goes up and what comes down."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sidecar.core.errors import ErrorCode, SidecarError
from sidecar.core.http.field import Field
from sidecar.core.http.header_index import index_of
from sidecar.core.http.headers import (
    TOKEN_CHARACTERS,
    connection_options,
    filter_request_headers,
    folded,
)
from sidecar.core.http.response_head import response_head

if TYPE_CHECKING:
    from sidecar.core.http.header_index import RawHeaders

# --- what goes up

PASSES_UP: RawHeaders = (
    (b"User-Agent", b"Mangopay-SDK/4.2.0 (Python/3.11.7)"),
    (b"Accept-Encoding", b"gzip, deflate"),
    (b"aCCept", b"*/*"),
    (b"Content-Type", b"application/json"),
    (b"Idempotency-Key", b"fc986db9-7b41-4710-83d7-6e3c0a978b6c"),
    (b"X_mangopay_trace-Id", b"051f3303-ce34-4920-a563-c994ca69d606"),
    (b"X_mangopay_client_user_agent", b'{"bindings_version":"3.42.1","lang":"ruby"}'),
    (b"X-Tenant", b"a"),
    (b"x-tenant", b"b"),
    (b"X-Tenant", b"a"),
    (b"X-Obs", b"caf\xe9 \xff\x80"),
    (b"X-Empty", b""),
    (b"X-Forward", b"no family of ours"),
    (b"Proxied", b"1"),
    (b"Viable", b"1"),
    (b"Set-Cookie", b"1"),
    (b"X-Sidecar-Note", b"1"),
    (b"Content-Encoding", b"gzip"),
    (b"Content_Type", b"text/odd"),
    (b"Range", b"bytes=0-1"),
    (b"If-Match", b'"x"'),
    (b"Access-Control-Request-Method", b"POST"),
)


def test_end_to_end_headers_keep_case_order_repeats_and_bytes() -> None:
    assert filter_request_headers(PASSES_UP) == PASSES_UP


REMOVED_UP = [
    b"Host",
    b"Content-Length",
    b"Transfer-Encoding",
    b"Connection",
    b"Keep-Alive",
    b"Proxy-Connection",
    b"TE",
    b"Trailer",
    b"Upgrade",
    b"HTTP2-Settings",
    b"Authorization",
    b"Cookie",
    b"Expect",
    b"Proxy-Authorization",
    b"Proxy-Authenticate",
    b"Proxy-Anything",
    b"Forwarded",
    b"X-Forwarded-For",
    b"X-Forwarded-Host",
    b"X-Forwarded-Proto",
    b"X-Forwarded-Anything",
    b"X-Real-IP",
    b"X-Original-URL",
    b"X-Rewrite-URL",
    b"X-Sidecar-Lane",
    b"X-HTTP-Method",
    b"X-HTTP-Method-Override",
    b"X-Method-Override",
    b"Via",
]


def spellings(name: bytes) -> list[bytes]:
    """Every mix of - and _, each in four cases."""
    written = [bytes_with(name, dashes) for dashes in itertools.product(b"-_", repeat=name.count(b"-"))]
    return [spelling for one in written for spelling in (one, one.lower(), one.upper(), one.swapcase())]


def bytes_with(name: bytes, dashes: tuple[int, ...]) -> bytes:
    replacements = iter(dashes)
    return bytes(next(replacements) if byte == ord("-") else byte for byte in name)


@pytest.mark.parametrize("name", REMOVED_UP)
def test_removed_headers_are_removed_in_every_spelling(name: bytes) -> None:
    for spelling in spellings(name):
        lines = ((b"A", b"1"), (spelling, b"x"), (b"B", b"2"), (spelling, b"y"))
        assert filter_request_headers(lines) == ((b"A", b"1"), (b"B", b"2")), spelling


@pytest.mark.parametrize(
    "value",
    [
        b"X-Gone",
        b"x-gone",
        b"keep-alive, X-Gone",
        b"X-Gone,close",
        b" ,, X-Gone ,",
        b'"X-Gone"',
        b"X_Gone",
        b"\tx-gone\t",
    ],
)
def test_what_connection_names_is_removed_wherever_it_stands(value: bytes) -> None:
    lines = ((b"X-Gone", b"1"), (b"Connection", value), (b"x-gone", b"2"), (b"X_Gone", b"3"), (b"X-Gone2", b"4"))
    assert filter_request_headers(lines) == ((b"X-Gone2", b"4"),)


def test_every_connection_line_counts() -> None:
    lines = ((b"Connection", b"a"), (b"connection", b"b"), (b"A", b"1"), (b"B", b"2"), (b"C", b"3"))
    assert filter_request_headers(lines) == ((b"C", b"3"),)


def test_framing_fields_and_host_may_be_named_without_harm() -> None:
    lines = ((b"Connection", b"host, content-length, authorization, close"), (b"Host", b"h"), (b"A", b"1"))
    assert filter_request_headers(lines) == ((b"A", b"1"),)


@pytest.mark.parametrize(
    "connection", [b"keep-alive", b"Keep-Alive", b"KEEP-ALIVE", b"close", b"", b",", b"nothing-there"]
)
def test_a_connection_header_that_names_nothing_present_removes_only_itself(connection: bytes) -> None:
    assert filter_request_headers(((b"A", b"1"), (b"Connection", connection))) == ((b"A", b"1"),)


@pytest.mark.parametrize("name", [b"Idempotency-Key", b"Content-Type"])
def test_naming_what_a_payment_call_needs_is_refused_not_obeyed(name: bytes) -> None:
    for spelling in spellings(name):
        for value in (spelling, b"keep-alive, " + spelling, spelling + b" ,close", b'"%b"' % spelling):
            with pytest.raises(SidecarError) as caught:
                filter_request_headers(((b"Connection", value), (name, b"x")))
            assert caught.value.code is ErrorCode.BAD_REQUEST
            assert "leave it out of Connection" in caught.value.message


def test_it_is_refused_even_if_the_header_is_absent() -> None:
    with pytest.raises(SidecarError):
        filter_request_headers(((b"Connection", b"idempotency-key"),))


NAMES = st.text(alphabet="aAxX-_1", min_size=1, max_size=8).map(str.encode)
VALUES = st.binary(max_size=12).map(
    lambda value: value.translate(None, bytes({*range(0x20), 0x7F} - {9})).strip(b" \t")
)


def cased(name: bytes, flips: list[bool]) -> bytes:
    out = bytearray()
    for byte, flip in itertools.zip_longest(name, flips[: len(name)], fillvalue=False):
        char = bytes((byte,))
        out += (b"_" if char == b"-" else char.swapcase()) if flip else char
    return bytes(out)


HOSTILE = st.builds(cased, st.sampled_from([*REMOVED_UP, b"X-Sidecar-Error"]), st.lists(st.booleans(), max_size=24))
HEADERS = st.lists(st.tuples(NAMES | HOSTILE, VALUES), max_size=12).map(tuple)


@given(HEADERS)
@example(((b"Connection", b"ContenT-type"),))
def test_filtering_never_adds_or_reorders_and_never_lets_a_removed_name_pass(raw: RawHeaders) -> None:
    if any(name.lower() == b"connection" and folded(value) == b"content-type" for name, value in raw):
        with pytest.raises(SidecarError):  # the generator knows the constants of the source, and tries them
            filter_request_headers(raw)
        return
    kept = filter_request_headers(raw)
    left = iter(raw)
    assert all(header in left for header in kept)  # a subsequence
    gone = {name.lower() for name in REMOVED_UP}
    for name, _ in kept:
        assert folded(name) not in gone
        assert not folded(name).startswith((b"proxy-", b"x-forwarded-"))


@given(st.lists(st.tuples(NAMES, VALUES), max_size=12).map(tuple))
def test_harmless_headers_all_pass(raw: RawHeaders) -> None:
    assert filter_request_headers(raw) == raw
    assert down(raw) == lines_of(raw)


# --- what comes down


def lines_of(raw: RawHeaders) -> tuple[bytes, ...]:
    return tuple(map(b": ".join, raw))


def down(raw: RawHeaders) -> tuple[bytes, ...]:
    return tuple(response_head(1, 200, b"OK", [Field(name, value) for name, value in raw]).lines_down)


PASSES_DOWN: RawHeaders = (
    (b"Date", b"Wed, 22 Nov 2026 03:00:00 GMT"),
    (b"content-type", b"application/json; charset=utf-8"),
    (b"Content-Length", b"600"),
    (b"X-RateLimit", b"1"),
    (b"X-RateLimit", b"2"),
    (b"x-ratelimit", b"3"),
    (b"Link", b'<https://api.mangopay.com/x>; rel="next"'),
    (b"WWW-Authenticate", b"PendingUserAction RedirectUrl=https://sca.example/x"),
    (b"Set-Cookie", b"a=b"),
    (b"Content-Encoding", b"gzip"),
    (b"Server", b"nginx"),
    (b"X-Obs", b"\xe9"),
    (b"X-Sidecar", b"no family of ours"),
    (b"Via", b"1.1 x"),
    (b"X_Number_Of_Pages", b"2"),
)


def test_response_headers_keep_case_order_repeats_and_bytes() -> None:
    assert down(PASSES_DOWN) == lines_of(PASSES_DOWN)


REMOVED_DOWN = [
    b"Connection",
    b"Keep-Alive",
    b"Proxy-Connection",
    b"Proxy-Authenticate",
    b"TE",
    b"Trailer",
    b"Transfer-Encoding",
    b"Upgrade",
    b"X-Sidecar-Error",
    b"X-Sidecar-Outcome",
    b"X-Sidecar-Recovered",
    b"X-Sidecar-",
]


@pytest.mark.parametrize("name", REMOVED_DOWN)
def test_hop_by_hop_and_forged_headers_do_not_come_down(name: bytes) -> None:
    for spelling in spellings(name):
        assert down(((spelling, b"x"), (b"A", b"1"))) == (b"A: 1",), spelling


def test_what_upstreams_connection_names_does_not_come_down() -> None:
    lines = ((b"X-Hop", b"1"), (b"Connection", b"close, x-hop"), (b"A", b"1"))
    assert down(lines) == (b"A: 1",)


def test_content_length_comes_down_even_when_named() -> None:
    lines = ((b"Connection", b"Content-Length"), (b"Content-Length", b"5"))
    assert down(lines) == (b"Content-Length: 5",)


@given(HEADERS)
def test_no_response_can_forge_our_headers(raw: RawHeaders) -> None:
    assert not [line for line in down(raw) if folded(line).startswith(b"x-sidecar-")]


# --- its parts


def test_connection_options_are_lower_case_and_never_empty() -> None:
    assert connection_options(b' Close , ,"X-A",\tKeep-Alive,') == [b"close", b"x-a", b"keep-alive"]


def test_token_characters_are_those_of_rfc_9110() -> None:
    delimiters = set(b'"(),/:;<=>?@[\\]{}')
    assert set(TOKEN_CHARACTERS) == {byte for byte in range(0x21, 0x7F) if byte not in delimiters}


def test_lines_are_chosen_by_the_index_that_the_caller_has() -> None:
    raw: RawHeaders = ((b"Connection", b"close"), (b"X-A", b"1"))
    assert filter_request_headers(raw, index_of(raw)) == ((b"X-A", b"1"),)
    assert filter_request_headers(raw, index_of(((b"X-B", b""), (b"X-A", b"")))) == raw


def test_an_option_that_names_no_field_removes_none() -> None:
    """``close`` is an option of the connection; a field that happens to have that name is an app's own."""
    raw: RawHeaders = ((b"Connection", b"close"), (b"Close", b"1"))
    assert filter_request_headers(raw) == ((b"Close", b"1"),)
