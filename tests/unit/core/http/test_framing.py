"""Request framing: what may be read in two ways is refused, and the connection with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.errors import ErrorCode, SidecarError
from sidecar.core.http.framing import check_request
from sidecar.core.malformed import Malformed

if TYPE_CHECKING:
    from sidecar.core.http.header_index import RawHeaders
    from sidecar.core.http.messages import BodyFraming

HTTP_1_0 = (1, 0)
HTTP_1_1 = (1, 1)
HOST = (b"Host", b"127.0.0.1:8080")


def check(*headers: tuple[bytes, bytes], method: str = "POST", version: tuple[int, int] = HTTP_1_1) -> BodyFraming:
    """Check a request with one Host and these headers."""
    return check_request(method, version, (HOST, *headers))


def refusal(raw: RawHeaders, method: str = "POST", version: tuple[int, int] = HTTP_1_1) -> SidecarError:
    with pytest.raises(SidecarError) as caught:
        check_request(method, version, raw)
    assert caught.value.close, "what follows a refused head cannot be trusted"
    return caught.value


def test_a_refusal_says_to_the_caller_and_the_log_what_is_wrong() -> None:
    error = refusal(())
    assert error.message == Malformed.HOST.message
    assert error.detail == f"malformed: {Malformed.HOST.detail}"


def bad(*headers: tuple[bytes, bytes], version: tuple[int, int] = HTTP_1_1) -> None:
    assert refusal((HOST, *headers), version=version).code is ErrorCode.BAD_REQUEST


def facts(framing: BodyFraming) -> tuple[int | None, bool, bool, bool]:
    return framing.content_length, framing.chunked, framing.expects_continue, framing.keep_alive


# --- ordinary requests


def test_a_get_has_no_body_and_keeps_the_connection() -> None:
    assert facts(check(method="GET")) == (None, False, False, True)


def test_a_body_with_a_length() -> None:
    framing = check((b"content-length", b"449"), (b"Content-Type", b"application/json"))
    assert facts(framing) == (449, False, False, True)
    assert framing.has_body


def test_a_get_may_have_a_body() -> None:
    """The Ruby SDK sends {} with every GET."""
    assert check((b"Content-Length", b"2"), method="GET").content_length == 2


def test_a_length_of_zero_is_no_body() -> None:
    framing = check((b"Content-Length", b"0"))
    assert framing.content_length == 0
    assert not framing.has_body


@pytest.mark.parametrize("coding", [b"chunked", b"Chunked", b"CHUNKED", b" chunked\t"])
def test_a_chunked_body_ends_the_connection_after_it(coding: bytes) -> None:
    framing = check((b"Transfer-Encoding", coding))
    assert facts(framing) == (None, True, False, False)
    assert framing.has_body


@pytest.mark.parametrize("value", [b"7", b"007", b"7\t", b" 7"])
def test_lengths_that_every_reader_reads_alike(value: bytes) -> None:
    assert check((b"Content-Length", value)).content_length == 7


def test_the_longest_length_has_eighteen_digits() -> None:
    assert check((b"Content-Length", b"9" * 18)).content_length == 10**18 - 1


def test_values_may_hold_tabs_and_obs_text() -> None:
    assert check((b"X", b"a\tb \xe9\xff")).keep_alive


# --- lengths and codings


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"+7",
        b"-7",
        b"7.0",
        b"0x7",
        b"7_0",
        b"7 0",
        b"7;",
        b"7, 7",
        b"7,7",
        b"seven",
        b"\xb2",
        b"1e3",
        b"9" * 19,
        b"\xd9\xa7",
    ],
)
def test_other_lengths_are_refused(value: bytes) -> None:
    bad((b"Content-Length", value))


@pytest.mark.parametrize("values", [(b"5", b"6"), (b"5", b"5"), (b"5", b""), (b"", b"5"), (b"0", b"5")])
def test_a_repeated_length_is_refused(values: tuple[bytes, bytes]) -> None:
    bad((b"Content-Length", values[0]), (b"CONTENT-LENGTH", values[1]))


@pytest.mark.parametrize("first", ["length", "coding"])
def test_length_and_coding_together_are_refused(first: str) -> None:
    both = [(b"Content-Length", b"5"), (b"Transfer-Encoding", b"chunked")]
    bad(*(both if first == "length" else reversed(both)))


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"identity",
        b"gzip",
        b"gzip, chunked",
        b"chunked, gzip",
        b"chunked, chunked",
        b"chunked,",
        b",chunked",
        b"chunked;q=1",
        b'"chunked"',
        b"x-chunked",
        b"chunke",
        b"chunked\xa0",
        b"chunKed\xc2\xad",
        b"cow",
    ],
)
def test_other_codings_are_refused(value: bytes) -> None:
    bad((b"Transfer-Encoding", value))


@pytest.mark.parametrize("second", [b"chunked", b"identity", b""])
def test_a_repeated_coding_is_refused(second: bytes) -> None:
    bad((b"Transfer-Encoding", b"chunked"), (b"transfer-encoding", second))


def test_http_1_0_has_no_codings() -> None:
    bad((b"Transfer-Encoding", b"chunked"), version=HTTP_1_0)


@pytest.mark.parametrize("name", [b"Content_Length", b"Transfer_Encoding"])
def test_underscore_spellings_frame_nothing(name: bytes) -> None:
    """They are removed on the way up, so nobody behind us can take them for framing either."""
    assert check((name, b"chunked"), (b"Content-Length", b"5")).content_length == 5


# --- request line


@pytest.mark.parametrize("version", [(0, 9), (1, 2), (2, 0), (3, 0), (1, 10), (0, 0)])
def test_other_versions_are_refused(version: tuple[int, int]) -> None:
    bad(version=version)


@pytest.mark.parametrize("method", ["GET", "POST", "M-SEARCH", "PROPFIND", "X!"])
def test_any_token_is_a_method(method: str) -> None:
    assert check(method=method).keep_alive


@pytest.mark.parametrize("method", ["", "G ET", "GET\r\n", "GÉT", "GET/", "G\x00"])
def test_what_is_no_token_is_no_method(method: str) -> None:
    assert refusal((HOST,), method=method).code is ErrorCode.BAD_REQUEST


# --- Host


@pytest.mark.parametrize("version", [HTTP_1_0, HTTP_1_1])
def test_a_request_without_host_is_refused(version: tuple[int, int]) -> None:
    assert refusal((), version=version).code is ErrorCode.BAD_REQUEST


@pytest.mark.parametrize("values", [(b"a", b"b"), (b"a", b"a"), (b"a", b""), (b"", b"a"), (b"", b"")])
@pytest.mark.parametrize("version", [HTTP_1_0, HTTP_1_1])
def test_two_hosts_are_refused(values: tuple[bytes, bytes], version: tuple[int, int]) -> None:
    assert refusal(((b"Host", values[0]), (b"hOST", values[1])), version=version).code is ErrorCode.BAD_REQUEST


def test_a_list_of_hosts_is_refused() -> None:
    assert refusal(((b"Host", b"localhost, evil.example"),)).code is ErrorCode.BAD_REQUEST


# --- field lines


@pytest.mark.parametrize(
    "name", [b"", b"X ", b" X", b"X Y", b"X:", b"X\r\nY", b"X\0", b"\xe9", b"X(y)", b"X,Y", b"X\t", b"X/Y"]
)
def test_what_is_no_token_is_no_header_name(name: bytes) -> None:
    bad((name, b"v"))


@pytest.mark.parametrize("byte", sorted({*range(0x20), 0x7F} - {0x09}))
def test_control_characters_in_a_value_are_refused(byte: int) -> None:
    bad((b"X", b"a" + bytes((byte,)) + b"b"))


@pytest.mark.parametrize("value", [b"a\r\n b", b"a\n\tb", b"\r\n b"])
def test_folded_lines_are_refused(value: bytes) -> None:
    bad((b"X", value))


# --- Expect


@pytest.mark.parametrize("value", [b"100-continue", b"100-Continue", b"100-CONTINUE"])
def test_an_expectation_is_heard_when_a_body_waits(value: bytes) -> None:
    assert check((b"Expect", value), (b"Content-Length", b"5")).expects_continue
    assert check((b"Expect", value), (b"Transfer-Encoding", b"chunked")).expects_continue


@pytest.mark.parametrize("headers", [(), ((b"Content-Length", b"0"),)])
def test_without_a_body_there_is_nothing_to_expect(headers: RawHeaders) -> None:
    assert not check((b"Expect", b"100-continue"), *headers).expects_continue


@pytest.mark.parametrize(
    "value", [b"", b"200-ok", b"100-continue, x", b"100-continue;x", b"100 continue", b"100-continue,"]
)
def test_other_expectations_fail(value: bytes) -> None:
    error = refusal((HOST, (b"Expect", value), (b"Content-Length", b"5")))
    assert error.code is ErrorCode.EXPECTATION_FAILED
    assert "leave out the Expect header" in error.message


def test_an_expectation_counts_once() -> None:
    lines = ((b"Expect", b"100-continue"), (b"expect", b"100-continue"))
    assert refusal((HOST, *lines)).code is ErrorCode.EXPECTATION_FAILED


@pytest.mark.parametrize("value", [b"100-continue", b"anything"])
def test_http_1_0_cannot_expect(value: bytes) -> None:
    assert not check((b"Expect", value), (b"Content-Length", b"5"), version=HTTP_1_0).expects_continue


# --- persistence


@pytest.mark.parametrize(
    ("version", "connection", "kept"),
    [
        (HTTP_1_1, None, True),
        (HTTP_1_1, b"keep-alive", True),
        (HTTP_1_1, b"close", False),
        (HTTP_1_1, b"Close", False),
        (HTTP_1_1, b"keep-alive, close", False),
        (HTTP_1_1, b"x-close", True),
        (HTTP_1_1, b"Upgrade", False),
        (HTTP_1_1, b"Upgrade, HTTP2-Settings", False),
        (HTTP_1_1, b"", True),
        (HTTP_1_0, None, False),
        (HTTP_1_0, b"keep-alive", True),
        (HTTP_1_0, b"Keep-Alive", True),
        (HTTP_1_0, b"close", False),
        (HTTP_1_0, b"keep-alive, close", False),
        (HTTP_1_0, b"TE, Keep-Alive", True),
        (HTTP_1_0, b"x", False),
    ],
)
def test_keep_alive(version: tuple[int, int], connection: bytes | None, kept: bool) -> None:
    headers = () if connection is None else ((b"Connection", connection),)
    assert check(*headers, version=version).keep_alive is kept


def test_every_connection_line_counts() -> None:
    assert not check((b"Connection", b"keep-alive"), (b"connection", b"close")).keep_alive


# --- properties

VALUES = st.sampled_from(
    [b"", b"5", b"05", b"5, 5", b"chunked", b"Chunked", b"gzip, chunked", b"\x0bchunked", b"100-continue"]
)
NAMES = st.sampled_from(
    [b"Content-Length", b"content-length", b"Transfer-Encoding", b"TRANSFER-ENCODING", b"Host", b"Expect"]
)


@given(st.lists(st.tuples(NAMES, VALUES), max_size=4).map(tuple), st.sampled_from([HTTP_1_0, HTTP_1_1]))
def test_whatever_is_accepted_has_one_host_and_at_most_one_framing_line(
    raw: RawHeaders, version: tuple[int, int]
) -> None:
    try:
        framing = check_request("POST", version, raw)
    except SidecarError:
        refusal(raw, version=version)
        return
    names = [name.lower() for name, _ in raw]
    lengths, codings = names.count(b"content-length"), names.count(b"transfer-encoding")
    assert names.count(b"host") == 1
    assert (framing.content_length is not None, framing.chunked) == (bool(lengths), bool(codings))
    assert lengths + codings <= 1
    assert not (framing.chunked and framing.keep_alive)


@given(st.binary(max_size=10))
def test_a_length_is_accepted_only_as_digits(value: bytes) -> None:
    try:
        length = check((b"Content-Length", value)).content_length
    except SidecarError:
        return
    assert length is not None
    assert str(length).encode() == value.strip(b" \t").lstrip(b"0") or length == 0
