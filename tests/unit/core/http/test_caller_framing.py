"""Every response's framing: the table against what RFC 9112 says, as a caller of each version reads it."""

from __future__ import annotations

import itertools

import pytest

from sidecar.core.http.caller_framing import CALLER_FRAMING, USUAL, CallerFraming
from sidecar.core.http.framing import check_request

FACTS = list(itertools.product((False, True), repeat=3))


def fields(framing: CallerFraming) -> dict[bytes, bytes]:
    """Return the lines by name, which must differ."""
    found = dict(line.split(b": ") for line in framing.lines)
    assert len(found) == len(framing.lines)
    return found


def test_every_combination_of_facts_has_a_row() -> None:
    assert sorted(CALLER_FRAMING) == sorted(FACTS)


@pytest.mark.parametrize(("http10", "delimited", "may_stay"), FACTS)
def test_the_caller_can_tell_where_the_body_ends(http10: bool, delimited: bool, may_stay: bool) -> None:
    """RFC 9112 section 6.3: by a length, by chunks, or by the end of the connection."""
    framing = CALLER_FRAMING[http10, delimited, may_stay]
    assert delimited or framing.chunked or not framing.keep_alive


@pytest.mark.parametrize(("http10", "delimited", "may_stay"), FACTS)
def test_chunks_are_for_http11_and_for_bodies_without_a_length_only(
    http10: bool, delimited: bool, may_stay: bool
) -> None:
    """RFC 9112 section 6.1: not to HTTP/1.0, and not beside a length."""
    framing = CALLER_FRAMING[http10, delimited, may_stay]
    assert framing.chunked is (not http10 and not delimited)
    assert (fields(framing).get(b"Transfer-Encoding") == b"chunked") is framing.chunked


@pytest.mark.parametrize(("http10", "delimited", "may_stay"), FACTS)
def test_the_connection_stays_open_where_it_may_and_can(http10: bool, delimited: bool, may_stay: bool) -> None:
    framing = CALLER_FRAMING[http10, delimited, may_stay]
    assert framing.keep_alive is (may_stay and (delimited or not http10))


@pytest.mark.parametrize(("http10", "delimited", "may_stay"), FACTS)
def test_the_head_says_of_the_connection_what_the_sidecar_does(http10: bool, delimited: bool, may_stay: bool) -> None:
    """RFC 9112 section 9.3, as this project itself reads the same line in a request."""
    framing = CALLER_FRAMING[http10, delimited, may_stay]
    lines = [
        (b"Host", b"localhost"),
        *((b"Connection", value) for value in [fields(framing).get(b"Connection")] if value),
    ]
    version = (1, 0) if http10 else (1, 1)
    assert check_request("GET", version, tuple(lines)).keep_alive is framing.keep_alive


def test_the_usual_response_gets_no_line() -> None:
    """Nothing is added that need not be: a response with a length, over HTTP/1.1, on a connection that stays."""
    assert CALLER_FRAMING[False, True, True] == USUAL
    assert (USUAL.lines, USUAL.keep_alive, USUAL.chunked) == ((), True, False)


def test_the_table_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        CALLER_FRAMING[True, True, True] = CallerFraming(False, True, ())  # type: ignore[index]
