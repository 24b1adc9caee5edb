"""Heads as they are written: of requests to upstream, and of responses to callers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, reject
from hypothesis import strategies as st

from sidecar.core.errors import ErrorCode, Outcome, SidecarError
from sidecar.core.http.headers import (
    RequestTemplate,
    filter_request_headers,
    render_response_head,
)

if TYPE_CHECKING:
    from sidecar.core.http.header_index import RawHeader, RawHeaders


def parse_head(head: bytes) -> tuple[bytes, list[RawHeader]]:
    """Read a head as a strict stranger would; fail on anything but CRLF lines and one blank line at the end."""
    assert head.endswith(b"\r\n\r\n")
    start, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    for line in (start, *lines):
        assert line
        assert not set(b"\r\n\0") & set(line)
    pairs = []
    for line in lines:
        name, colon, value = line.partition(b": ")
        assert colon
        pairs.append((name, value))
    return start, pairs


NAMES = st.text(alphabet="aAxX-_1", min_size=1, max_size=8).map(str.encode)
VALUES = st.binary(max_size=12).map(
    lambda value: value.translate(None, bytes({*range(0x20), 0x7F} - {9})).strip(b" \t")
)


FIELDS = NAMES | st.sampled_from([b"Host", b"Content-Length", b"transfer_encoding", b"Authorization", b"Connection"])
HEADERS = st.lists(st.tuples(FIELDS, VALUES), max_size=12).map(tuple)

# --- the head that goes up


def build(
    method: str = "GET",
    headers: RawHeaders = (),
    *,
    content_length: int | None = None,
    chunked: bool = False,
    prefix: str = "",
) -> RequestTemplate:
    return RequestTemplate.build(
        method, b"/v2.01/acme/users?", prefix, b"api.mangopay.com", headers, content_length, chunked
    )


def test_a_request_head_byte_for_byte() -> None:
    template = build("POST", ((b"x-A", b"\xff"), (b"X_b", b"")), content_length=12, prefix="/gateway")
    assert template.render("abc") == (
        b"POST /gateway/v2.01/acme/users? HTTP/1.1\r\n"
        b"Host: api.mangopay.com\r\n"
        b"x-A: \xff\r\n"
        b"X_b: \r\n"
        b"Content-Length: 12\r\n"
        b"Authorization: Bearer abc\r\n"
        b"\r\n"
    )


def test_one_template_is_rendered_with_a_new_token_and_otherwise_the_same_bytes() -> None:
    template = build("POST", content_length=3)
    assert template.render("old").replace(b"old", b"new") == template.render("new")


def test_a_request_of_the_ruby_sdk_goes_up_with_a_new_host_and_token_and_nothing_else_changed() -> None:
    sent: RawHeaders = (
        (b"User-Agent", b"Mangopay-SDK/3.42.1 (Ruby/3.1.2)"),
        (b"Authorization", b"Bearer sidecar_x"),
        (b"Content-Type", b"application/json"),
        (b"X_mangopay_trace-Id", b"14d7873e-ee54-49da-bd80-441209b69a4d"),
        (b"X_mangopay_client_user_agent", b'{"bindings_version":"3.42.1","lang_version":"3.1.2 p20 (2022-04-12)"}'),
        (b"Accept-Encoding", b"gzip;q=1.0,deflate;q=0.6,identity;q=0.3"),
        (b"Accept", b"*/*"),
        (b"Host", b"127.0.0.1:8080"),
        (b"Content-Length", b"2"),
    )
    assert build("GET", filter_request_headers(sent), content_length=2).render("real") == (
        b"GET /v2.01/acme/users? HTTP/1.1\r\n"
        b"Host: api.mangopay.com\r\n"
        b"User-Agent: Mangopay-SDK/3.42.1 (Ruby/3.1.2)\r\n"
        b"Content-Type: application/json\r\n"
        b"X_mangopay_trace-Id: 14d7873e-ee54-49da-bd80-441209b69a4d\r\n"
        b'X_mangopay_client_user_agent: {"bindings_version":"3.42.1","lang_version":"3.1.2 p20 (2022-04-12)"}\r\n'
        b"Accept-Encoding: gzip;q=1.0,deflate;q=0.6,identity;q=0.3\r\n"
        b"Accept: */*\r\n"
        b"Content-Length: 2\r\n"
        b"Authorization: Bearer real\r\n"
        b"\r\n"
    )


def test_nothing_is_added_to_a_bare_get() -> None:
    _, headers = parse_head(build().render("t"))
    assert headers == [(b"Host", b"api.mangopay.com"), (b"Authorization", b"Bearer t")]


@pytest.mark.parametrize(
    ("method", "content_length", "expected"),
    [
        ("GET", None, None),
        ("GET", 0, None),
        ("HEAD", 0, None),
        ("DELETE", 0, None),
        ("DELETE", None, None),
        ("GET", 2, b"2"),  # the Ruby SDK sends {} with every GET
        ("DELETE", 7, b"7"),
        ("POST", None, b"0"),
        ("POST", 0, b"0"),
        ("PUT", None, b"0"),
        ("PATCH", 0, b"0"),
        ("POST", 14_000_000, b"14000000"),
    ],
)
def test_content_length_is_sent_where_a_body_is_or_could_be_expected(
    method: str, content_length: int | None, expected: bytes | None
) -> None:
    _, headers = parse_head(build(method, content_length=content_length).render("t"))
    assert dict(headers).get(b"Content-Length") == expected
    assert b"Transfer-Encoding" not in dict(headers)


def test_a_chunked_request_has_no_content_length() -> None:
    _, headers = parse_head(build("POST", chunked=True).render("t"))
    assert (b"Transfer-Encoding", b"chunked") in headers
    assert b"Content-Length" not in dict(headers)


@pytest.mark.parametrize("token", ["", "a\r\nX-Evil: 1", "a\n", "\r", "a\0b", "a\x7f", "a\x85b", "\u2028", "\ud800"])
def test_a_token_that_could_write_a_header_is_not_rendered_and_not_shown(token: str) -> None:
    with pytest.raises(ValueError, match="control characters") as caught:
        build().render(token)
    assert not token or token not in str(caught.value)


def test_a_template_does_not_show_what_it_holds() -> None:
    assert "canary" not in repr(build(headers=((b"X", b"canary"),)))


BREAKS = [b"\r", b"\n", b"\r\n", b"\0", b"\r\n ", b"\r\n\r\nGET / HTTP/1.1"]


@pytest.mark.parametrize("bad", BREAKS)
@pytest.mark.parametrize("place", ["name", "value"])
def test_a_header_that_is_not_one_line_never_goes_up(place: str, bad: bytes) -> None:
    header = (b"X" + bad, b"v") if place == "name" else (b"X", b"v" + bad)
    with pytest.raises(SidecarError) as caught:
        build(headers=(header,))
    assert caught.value.code is ErrorCode.BAD_REQUEST
    assert caught.value.close is True
    assert "send each on one line" in caught.value.message


@given(HEADERS, st.none() | st.integers(0, 10**12), st.booleans())
@example(((b"Connection", b"Content-Type"),), None, False)
def test_a_rendered_request_reads_back_as_what_was_put_in(raw: RawHeaders, length: int | None, chunked: bool) -> None:
    try:
        kept = filter_request_headers(raw)
    except SidecarError:
        reject()  # Connection names a field that must not be lost, so nothing is rendered
    start, headers = parse_head(build("POST", kept, content_length=length, chunked=chunked).render("tok"))
    assert start == b"POST /v2.01/acme/users? HTTP/1.1"
    framing = (b"Transfer-Encoding", b"chunked") if chunked else (b"Content-Length", str(length or 0).encode())
    assert headers == [(b"Host", b"api.mangopay.com"), *kept, framing, (b"Authorization", b"Bearer tok")]


# --- the head that comes down


def lines_of(raw: RawHeaders) -> tuple[bytes, ...]:
    return tuple(map(b": ".join, raw))


def test_a_response_head_byte_for_byte() -> None:
    head = render_response_head(200, b"Tout va bien \xe9", (b"x-A: 1", b"X-a: \xff"), (b"X-Sidecar-Recovered: token",))
    assert head == b"HTTP/1.1 200 Tout va bien \xe9\r\nx-A: 1\r\nX-a: \xff\r\nX-Sidecar-Recovered: token\r\n\r\n"


def test_an_empty_reason_keeps_its_space() -> None:
    assert render_response_head(404, b"", ()) == b"HTTP/1.1 404 \r\n\r\n"


@pytest.mark.parametrize(
    ("status", "stays"), [(200, True), (304, True), (205, True), (204, False), (199, False), (103, False)]
)
def test_content_length_where_no_body_can_be(status: int, stays: bool) -> None:
    head = render_response_head(status, b"R", (b"content-LENGTH: 0", b"A: 1"))
    assert (b"content-LENGTH" in head) is stays
    assert b"A: 1" in head


def test_a_name_ends_at_the_first_colon() -> None:
    """Of two lines that go down with a 204, only the one that is Content-Length is left out."""
    lines = (b"Content-Length: 0:0", b"X-Ratio: content-length:3")
    assert render_response_head(204, b"R", lines) == b"HTTP/1.1 204 R\r\nX-Ratio: content-length:3\r\n\r\n"


@pytest.mark.parametrize("bad", BREAKS)
@pytest.mark.parametrize("place", ["reason", "name", "value", "extra"])
def test_a_broken_response_cannot_split_ours(place: str, bad: bytes) -> None:
    reason = b"OK" + bad if place == "reason" else b"OK"
    name = b"X" + bad if place == "name" else b"X"
    value = b"v" + bad if place == "value" else b"v"
    extra = (b"E: " + bad,) if place == "extra" else ()
    with pytest.raises(SidecarError) as caught:
        render_response_head(200, reason, (name + b": " + value,), extra)
    assert caught.value.code is ErrorCode.UPSTREAM_UNREACHABLE
    assert caught.value.outcome is Outcome.UNKNOWN
    assert caught.value.close is True
    assert "see the log" in caught.value.message


@given(st.integers(200, 599), VALUES, HEADERS, HEADERS)
def test_a_rendered_response_reads_back_as_what_was_put_in(
    status: int, reason: bytes, headers: RawHeaders, extra: RawHeaders
) -> None:
    start, read = parse_head(render_response_head(status, reason, lines_of(headers), lines_of(extra)))
    assert start == b"HTTP/1.1 %d %b" % (status, reason)
    dropped = {b"content-length"} if status == 204 else set()
    assert read == [header for header in headers if header[0].lower() not in dropped] + list(extra)


@given(st.binary(max_size=20), st.binary(max_size=20))
def test_whatever_bytes_upstream_sends_never_become_another_line(name: bytes, value: bytes) -> None:
    try:
        head = render_response_head(200, b"OK", (name + b": " + value,))
    except SidecarError:
        assert set(b"\r\n\0") & set(name + value)
    else:
        assert head.count(b"\r\n") == 3
        assert head.count(b"\r") == head.count(b"\n") == 3
