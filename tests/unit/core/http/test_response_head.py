"""Reading response heads strictly, and what they say about the body."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.http import response_head
from sidecar.core.http.response_head import (
    MAX_HEAD,
    MAX_INTERIM,
    BadResponseError,
    HeadReader,
    check_body_framing,
    parse_head,
)

if TYPE_CHECKING:
    from sidecar.core.http.messages import ResponseHead

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"


def head(*lines: bytes, status: bytes = b"HTTP/1.1 200 OK") -> bytes:
    return b"\r\n".join((status, *lines, b"", b""))


def told_by(head: ResponseHead) -> tuple[object, ...]:
    lines = [field.line for field in head.read_here]
    return head.minor_version, head.status, head.reason, head.raw_headers, lines, head.lines_down


def framing_of(*lines: bytes, status: int = 200, minor: int = 1, head_only: bool = False) -> tuple[object, ...]:
    parsed = parse_head(head(*lines, status=b"HTTP/1.%d %d -" % (minor, status)))
    framing = check_body_framing(parsed, head_only=head_only)
    return framing.length, framing.declared, framing.persistent, framing.keep_alive, framing.dropped


def refusal(*lines: bytes, status: int = 200, minor: int = 1, head_only: bool = False) -> str:
    with pytest.raises(BadResponseError) as caught:
        framing_of(*lines, status=status, minor=minor, head_only=head_only)
    return str(caught.value)


# --- the head itself -------------------------------------------------------------------------------------------------


def test_a_head_is_read_byte_for_byte() -> None:
    parsed = parse_head(
        head(b"x-LOWER: a", b"Set-Cookie: 1", b"Server: one", b"Server: two", b"set-cookie: 2", b"X-Obs: \xe9\xff")
    )
    raw = (
        (b"x-LOWER", b"a"),
        (b"Set-Cookie", b"1"),
        (b"Server", b"one"),
        (b"Server", b"two"),
        (b"set-cookie", b"2"),
        (b"X-Obs", b"\xe9\xff"),
    )
    assert (parsed.minor_version, parsed.status, parsed.reason, parsed.raw_headers) == (1, 200, b"OK", raw)
    assert parsed.lines_down == [name + b": " + value for name, value in raw]


@pytest.mark.parametrize(
    ("name", "value"),
    [(b"x-lower", "a"), (b"server", "one"), (b"x-obs", "\xe9\xff"), (b"date", None), (b"serve", None)],
)
def test_the_first_field_of_a_name_is_found_in_any_case(name: bytes, value: str | None) -> None:
    parsed = parse_head(head(b"x-LOWER:  a ", b"Server: one", b"server: two", b"X-Obs: \xe9\xff"))
    assert parsed.first(name) == value


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"HTTP/1.1 200 OK", b"OK"),
        (b"HTTP/1.1 200 Quite  all right\t\xe9", b"Quite  all right\t\xe9"),
        (b"HTTP/1.1 200 ", b""),
        (b"HTTP/1.1 200", b""),
        (b"HTTP/1.0 200 OK", b"OK"),
    ],
)
def test_a_reason_may_be_anything_printable_or_missing(line: bytes, reason: bytes) -> None:
    assert parse_head(head(status=line)).reason == reason


@pytest.mark.parametrize(
    "line",
    [
        b"HTTP/1.1 099 Early",
        b"HTTP/1.1 1000 Late",
        b"HTTP/1.1 20 Short",
        b"HTTP/1.1 2OO Letters",
        b"HTTP/1.1 +20 Sign",
        b"HTTP/1.1 \xd9\xa2\xd9\xa0\xd9\xa0 Digits of another script",
        b"HTTP/1.1  200 Two blanks",
        b"HTTP/1.1\t200 Tab",
        b"HTTP/1.1 200OK",
        b"HTTP/2.0 200 OK",
        b"HTTP/1.2 200 OK",
        b"HTTP/1.10 200 OK",
        b"http/1.1 200 OK",
        b"ICY 200 OK",
        b"HTTP/1.1 200 O\x00K",
        b"HTTP/1.1 200 O\x7fK",
        b"HTTP/1.1 200 O\rK",
        b"HTTP/1.1 200 O\nK",
        b" HTTP/1.1 200 OK",
        b"",
    ],
)
def test_a_malformed_status_line_is_refused(line: bytes) -> None:
    with pytest.raises(BadResponseError, match="status line"):
        parse_head(head(status=line))


@pytest.mark.parametrize(
    "line",
    [
        b"No-Colon",
        b": no name",
        b"Blank : before colon",
        b"Na me: blank",
        b"Na\xe9me: not ASCII",
        b'Na"me: no token',
        b" Folded: line",
        b"A: b\r\n folded",
        b"A: b\r\n\tfolded",
        b"A: nul\x00",
        b"A: bell\x07",
        b"A: delete\x7f",
        b"A: bare\rCR",
        b"A: bare\nLF",
        b"A: b\nInjected: c",
        b"A: b\r\r\nInjected: c",
    ],
)
def test_a_malformed_header_line_is_refused(line: bytes) -> None:
    with pytest.raises(BadResponseError, match="header line"):
        parse_head(head(b"First: 1", line, b"Last: 2"))


@pytest.mark.parametrize("line", [b"A:b", b"A: b", b"A:\t b", b"A: b ", b"A: b\t \t", b"A:  \t b \t"])
def test_blanks_around_a_value_are_no_part_of_it(line: bytes) -> None:
    assert parse_head(head(line)).raw_headers == ((b"A", b"b"),)


@pytest.mark.parametrize("line", [b"A:", b"A: ", b"A: \t "])
def test_a_value_may_be_empty(line: bytes) -> None:
    assert parse_head(head(line, b"B: c")).raw_headers == ((b"A", b""), (b"B", b"c"))


def test_blanks_and_colons_inside_a_value_stay() -> None:
    assert parse_head(head(b"A: b : c  d")).raw_headers == ((b"A", b"b : c  d"),)


TOKENS = st.text("!#$%&'*+-.^_`|~09azAZ", min_size=1, max_size=20).map(str.encode)
TEXTS = st.lists(st.sampled_from([9, 32, 33, 58, 126, 128, 255]), max_size=20).map(bytes)


@given(st.lists(st.tuples(TOKENS, TEXTS), max_size=8))
def test_every_well_formed_header_survives(fields: list[tuple[bytes, bytes]]) -> None:
    parsed = parse_head(head(*(name + b":" + value for name, value in fields)))
    assert list(parsed.raw_headers) == [(name, value.strip(b" \t")) for name, value in fields]


@given(st.binary(max_size=60), st.integers(0, len(OK) - 4))
def test_a_head_that_is_accepted_holds_no_stray_line_end(junk: bytes, at: int) -> None:
    damaged = OK[:at] + junk + OK[at:]
    try:
        parsed = parse_head(damaged)
    except BadResponseError:
        return
    for part in (parsed.reason, *(text for field in parsed.raw_headers for text in field)):
        assert not set(part) & {0, 10, 13, 127}
    assert len(parsed.raw_headers) == damaged.count(b"\r\n") - 2


# --- finding its end -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", range(1, len(OK) + 2))
def test_a_head_may_come_in_two_pieces(cut: int) -> None:
    data = OK + b"ab"
    reader = HeadReader()
    found = reader.feed(data[:cut])
    rest = data[cut:]
    if found is None:
        found = reader.feed(rest)
        rest = b""
    assert found is not None
    assert found[0].status == 200
    assert found[1] + rest == b"ab"


def test_a_head_may_come_byte_by_byte() -> None:
    reader = HeadReader()
    found = [reader.feed(OK[index : index + 1]) for index in range(len(OK))]
    assert found[:-1] == [None] * (len(OK) - 1)
    assert found[-1] is not None


@pytest.mark.parametrize(
    "interim", [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"]
)
def test_interim_responses_are_dropped(interim: bytes) -> None:
    data = interim * MAX_INTERIM + OK
    whole = HeadReader().feed(data)
    reader = HeadReader()
    pieces = [found for index in range(len(data)) if (found := reader.feed(data[index : index + 1]))]
    assert whole is not None
    assert whole[0].status == 200
    assert [(told_by(head), rest) for head, rest in pieces] == [(told_by(whole[0]), whole[1])]


def test_a_short_head_after_a_long_interim_one_is_found() -> None:
    reader = HeadReader()
    assert reader.feed(b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload") is None
    found = reader.feed(b"\r\n\r\nHTTP/1.1 204 \r\n\r\n")
    assert found is not None
    assert found[0].status == 204


def test_one_interim_response_too_many_is_refused() -> None:
    with pytest.raises(BadResponseError, match="interim"):
        HeadReader().feed(b"HTTP/1.1 100 Continue\r\n\r\n" * (MAX_INTERIM + 1) + OK)


def test_interim_responses_are_counted_for_each_response() -> None:
    reader = HeadReader()
    for _ in range(3):
        assert reader.feed(b"HTTP/1.1 100 Continue\r\n\r\n" * MAX_INTERIM + OK) is not None


def test_switching_protocols_is_refused() -> None:
    with pytest.raises(BadResponseError, match="101"):
        HeadReader().feed(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n")


@pytest.mark.parametrize(
    "junk", [b"\r", b"\r\n" + OK, b"\n", b" ", b"x", b"h", b"<html>", b"HTTP/2", b"HTTQ", b"\x15\x03\x01"]
)
def test_what_cannot_begin_a_response_is_refused_at_once(junk: bytes) -> None:
    with pytest.raises(BadResponseError, match="begin"):
        HeadReader().feed(junk)


@pytest.mark.parametrize("size", [MAX_HEAD - 1, MAX_HEAD, MAX_HEAD + 1, MAX_HEAD + 100])
@pytest.mark.parametrize("step", [1000, 10**6])
def test_a_head_is_read_up_to_the_limit(size: int, step: int) -> None:
    filler = size - len(head(b"A: "))
    data = head(b"A: " + b"x" * filler)
    assert len(data) == size
    reader = HeadReader()
    pieces = [data[start : start + step] for start in range(0, size, step)]
    if size <= MAX_HEAD:
        assert [reader.feed(piece) for piece in pieces][-1] is not None
    else:
        with pytest.raises(BadResponseError, match="longer than"):
            _ = [reader.feed(piece) for piece in pieces]


def test_a_head_without_an_end_is_refused_when_it_gets_too_long() -> None:
    reader = HeadReader()
    with pytest.raises(BadResponseError, match="longer than"):
        _ = [reader.feed(b"HTTP/1.1 200 OK\r\nA: " + b"x" * 1000) for _ in range(MAX_HEAD // 1000 + 1)]


def test_a_refusal_repeats_nothing_of_the_response() -> None:
    """A response may hold a token or a card number: no message of ours does."""
    with pytest.raises(BadResponseError) as caught:
        parse_head(head(b"Secret\x00Value: 4970101122334406"))
    assert "4970" not in str(caught.value)
    assert "Secret" not in str(caught.value)


# --- what it says about the body -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "length", "declared"),
    [
        ((b"Content-Length: 12",), 12, 12),
        ((b"content-length:0",), 0, 0),
        ((b"Content-Length: 0012",), 12, 12),
        ((b"Content-Length: 9223372036854775807",), 2**63 - 1, 2**63 - 1),
        ((b"Transfer-Encoding: chunked",), None, None),
        ((b"TRANSFER-encoding: ChUnKeD",), None, None),
    ],
)
def test_a_body_ends_by_its_length_or_its_chunks(
    lines: tuple[bytes, ...], length: int | None, declared: int | None
) -> None:
    assert framing_of(*lines)[:2] == (length, declared)


@pytest.mark.parametrize(
    ("status", "head_only"), [(204, False), (304, False), (200, True), (404, True), (204, True), (304, True)]
)
@pytest.mark.parametrize(
    ("line", "declared"), [(b"Content-Length: 12", 12), (b"Transfer-Encoding: chunked", None), (b"A: b", None)]
)
def test_responses_without_a_body_may_still_declare_one(
    status: int, head_only: bool, line: bytes, declared: int | None
) -> None:
    assert framing_of(line, status=status, head_only=head_only)[:2] == (0, declared)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ((), "neither"),
        ((b"Transfer-Encoding: foo",), "other than chunked"),
        ((b"Transfer-Encoding: gzip, chunked",), "other than chunked"),
        ((b"Transfer-Encoding: chunked, chunked",), "other than chunked"),
        ((b"Transfer-Encoding: chunked;q=1",), "other than chunked"),
        ((b"Transfer-Encoding: identity",), "other than chunked"),
        ((b"Transfer-Encoding: \x0bchunked".replace(b"\x0b", b"\xa0"),), "other than chunked"),
        ((b"Transfer-Encoding:",), "other than chunked"),
        ((b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"), "other than chunked"),
        ((b"Transfer-Encoding: chunked", b"Content-Length: 2"), "both"),
        ((b"Content-Length: 2", b"Transfer-Encoding: chunked"), "both"),
        ((b"Content-Length: 2", b"Content-Length: 2"), "repeated"),
        ((b"Content-Length: 2", b"Content-Length: 3"), "repeated"),
        ((b"Content-Length: 2, 2",), "number"),
        ((b"Content-Length: +2",), "number"),
        ((b"Content-Length: -2",), "number"),
        ((b"Content-Length: 0x2",), "number"),
        ((b"Content-Length: 2.0",), "number"),
        ((b"Content-Length: 1_0",), "number"),
        ((b"Content-Length: 2 2",), "number"),
        ((b"Content-Length: \xb2",), "number"),
        ((b"Content-Length:",), "number"),
        ((b"Content-Length: 9223372036854775808",), "number"),
        ((b"Content-Length: " + b"9" * 5000,), "number"),
    ],
)
@pytest.mark.parametrize("status", [200, 201, 400, 500])
def test_a_body_without_one_clear_end_is_refused(lines: tuple[bytes, ...], words: str, status: int) -> None:
    assert words in refusal(*lines, status=status)


SCA = b"WWW-Authenticate: PendingUserAction RedirectUrl=https://sca.sandbox.mangopay.com/?token=sca_1"


def test_an_sca_challenge_needs_no_body_and_so_no_length() -> None:
    """All that it says is in its head, and Mangopay sends it without a body."""
    assert framing_of(SCA, status=401) == (0, None, False, None, True)
    assert framing_of(SCA, status=401, head_only=True) == (0, None, True, None, False)
    assert "neither" in refusal(SCA, status=403)
    assert "neither" in refusal(b"WWW-Authenticate: Bearer", status=401)
    assert framing_of(SCA, b"Content-Length: 5", status=401)[:2] == (5, 5)
    assert "other than chunked" in refusal(SCA, b"Transfer-Encoding: foo", status=401)


@pytest.mark.parametrize("line", [b"Transfer-Encoding: foo", b"Content-Length: many"])
@pytest.mark.parametrize(("status", "head_only"), [(204, False), (304, False), (200, True)])
def test_broken_framing_is_refused_even_where_no_body_follows(line: bytes, status: int, head_only: bool) -> None:
    refusal(line, status=status, head_only=head_only)


def test_chunks_need_http_1_1() -> None:
    assert "HTTP/1.0" in refusal(b"Transfer-Encoding: chunked", minor=0)


@pytest.mark.parametrize("name", [b"Content_Length", b"X-Content-Length", b"Content-Lengths"])
def test_similar_names_frame_nothing(name: bytes) -> None:
    assert "neither" in refusal(name + b": 2")


# --- what it says about the connection -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "minor", "persistent"),
    [
        ((), 1, True),
        ((b"Connection: keep-alive",), 1, True),
        ((b"Connection: close",), 1, False),
        ((b"connection: Keep-Alive, CLOSE",), 1, False),
        ((b"Connection: foo", b"Connection: close"), 1, False),
        ((b"Connection: closed",), 1, True),
        ((), 0, False),
        ((b"Connection: keep-alive",), 0, False),
    ],
)
def test_a_connection_lives_on_unless_told_otherwise(lines: tuple[bytes, ...], minor: int, persistent: bool) -> None:
    assert framing_of(b"Content-Length: 0", *lines, minor=minor)[2] is persistent


@pytest.mark.parametrize(
    ("line", "seconds"),
    [
        (b"Keep-Alive: timeout=5", 5),
        (b"Keep-Alive: timeout=5, max=100", 5),
        (b"keep-alive: max=100,Timeout = 20", 20),
        (b"Keep-Alive: max=100", None),
        (b"Keep-Alive: xtimeout=5", None),
        (b"Keep-Alive: timeout=", None),
        (b"Keep-Alive: timeout=-5", None),
        (b"A: b", None),
    ],
)
def test_upstream_may_say_how_long_it_keeps_a_connection(line: bytes, seconds: int | None) -> None:
    assert framing_of(b"Content-Length: 0", line)[3] == seconds


@pytest.mark.parametrize("cut", [b"HTTP/1.1 200 OK\nContent-Length: 0\n\n", b"HTTP/1.1 200 OK\r\nA: b\nC"])
def test_a_bare_line_feed_is_refused_before_the_head_is_whole(cut: bytes) -> None:
    with pytest.raises(BadResponseError, match="bare LF"):
        HeadReader().feed(cut)


def test_a_head_cut_between_cr_and_lf_is_waited_for() -> None:
    reader = HeadReader()
    assert reader.feed(b"HTTP/1.1 200 OK\r") is None
    found = reader.feed(b"\n\r\n")
    assert found is not None
    assert found[0].status == 200


def test_no_secret_of_a_user_outlives_the_response_in_the_tables() -> None:
    secrets = (
        b"Set-Cookie: session=canary; Secure",
        b"sEt-cookie:canary",
        b"WWW-Authenticate: PendingUserAction RedirectUrl=https://sca.example/?token=canary",
        b"Location: https://example.test/?code=canary",
        b"Authentication-Info: nextnonce=canary",
    )
    for line in (*secrets, b"X-Kept: yes"):
        assert parse_head(head(line)).lines_down
    parse_head(head(b"Proxy-Authenticate: Negotiate canary"))  # which never goes down
    kept = b"".join(response_head._FIELD_LINES)
    assert b"X-Kept: yes" in kept
    assert b"canary" not in kept


def test_the_table_of_lines_is_emptied_when_it_is_full() -> None:
    """So a server that invents lines fills nothing, and what comes often is soon known again."""
    table = response_head._FIELD_LINES
    table.clear()
    for number in range(response_head._LINES_KEPT + 10):
        assert parse_head(head(b"X-Invented: %d" % number)).lines_down
        assert 0 < len(table) <= response_head._LINES_KEPT
    assert b"X-Invented: 0" not in table
    assert parse_head(head(b"X-Invented: 0")).lines_down == [b"X-Invented: 0"]


@pytest.mark.parametrize(
    "lines", [(b"Keep-Alive: timeout=5", b"Keep-Alive: timeout=9"), (b"X-RateLimit-Remaining: 3",)]
)
def test_what_else_is_read_here_changes_no_framing(lines: tuple[bytes, ...]) -> None:
    """The first Keep-Alive counts; the rate limits are for the metrics."""
    length, chunked = b"Content-Length: 2", framing_of(b"Content-Length: 2")
    framed = framing_of(length, *lines)
    assert (*framed[:3], framed[4]) == (*chunked[:3], chunked[4])
    assert framed[3] == (5 if b"timeout=5" in lines[0] else None)


@pytest.mark.parametrize("line", [b"Keep-Alive: x-a", b"Date: x-a", b"X-Any: x-a"])
def test_only_connection_nominates_fields(line: bytes) -> None:
    parsed = parse_head(head(line, b"X-A: 1"))
    assert parsed.lines_down[-1:] == [b"X-A: 1"]


def test_what_was_read_of_a_line_is_known_when_it_comes_again() -> None:
    whole = head(b"Server: one", status=b"HTTP/1.1 201 Created")
    first, again = parse_head(whole), parse_head(whole)
    assert again.fields[0] is first.fields[0]
    assert response_head._STATUS_LINES == {b"HTTP/1.1 201 Created": (1, 201, b"Created")}
    response_head._STATUS_LINES[b"HTTP/1.1 201 Created"] = (1, 202, b"as it was read")
    assert parse_head(whole).reason == b"as it was read"


@pytest.mark.parametrize(("length", "kept"), [(256, True), (257, False)])
def test_long_lines_are_not_kept(length: int, kept: bool) -> None:
    line = b"X-Long: ".ljust(length, b"x")
    parse_head(head(line))
    assert (line in response_head._FIELD_LINES) is kept


def test_a_head_that_fills_the_limit_without_an_end_is_too_long() -> None:
    whole = head(b"X: " + b"x" * (MAX_HEAD - len(head(b"X: "))))
    assert len(whole) == MAX_HEAD
    assert HeadReader().feed(whole) is not None
    with pytest.raises(BadResponseError, match="longer than"):
        HeadReader().feed(whole[:-2] + b"xx")
    assert HeadReader().feed(whole[:-1]) is None


def test_a_line_is_added_behind_those_that_go_on_to_the_caller() -> None:
    before = parse_head(head(b"Content-Length: 2", b"X-A: b"))
    after = before.with_line(b"Retry-After: 3")
    assert after.lines_down == [*before.lines_down, b"Retry-After: 3"]
    assert (told_by(after)[:-1], after.fields) == (told_by(before)[:-1], before.fields)
    assert b"Retry-After: 3" not in before.lines_down
