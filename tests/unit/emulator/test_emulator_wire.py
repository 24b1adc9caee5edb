"""Responses as bytes: whole, and damaged in every way there is."""

from __future__ import annotations

import pytest

from sidecar.emulator import wire
from sidecar.emulator.fault_rules import ACTIONS, Family, Rule
from sidecar.emulator.messages import EmulatedResponse
from sidecar.emulator.wire import End, Form, Plan

BODY = b'{"Id": "42"}'


def form(response: EmulatedResponse | None = None, *, head_only: bool = False, keep_alive: bool = True) -> Form:
    return wire.form(response or EmulatedResponse(200, BODY), b"DATE", head_only=head_only, keep_alive=keep_alive)


def damaged(action: str, value: str | float | None = None) -> Plan:
    return wire.DAMAGES[action](form(), Rule(action=action, value=value))


def sent(plan: Plan) -> bytes:
    return b"".join(plan.pieces)


def test_a_whole_response_has_length_type_and_date() -> None:
    content_type = b"Content-Type: application/json; charset=utf-8"
    head = b"\r\n".join([b"HTTP/1.1 200 OK", b"Content-Length: 12", content_type, b"Date: DATE", b"", b""])
    assert wire.whole(form()) == Plan((head + BODY,))


def test_repeated_headers_stay_apart_and_in_order() -> None:
    response = EmulatedResponse(200, BODY, headers=((b"X-A", b"1"), (b"X-A", b"2")))
    assert b"X-A: 1\r\nX-A: 2\r\n" in sent(wire.whole(form(response)))


@pytest.mark.parametrize("status", [204, 304])
def test_answers_without_a_body_have_no_length(status: int) -> None:
    head = sent(wire.whole(form(EmulatedResponse(status))))
    assert b"Content-" not in head
    assert head.endswith(b"\r\n\r\n")


def test_an_empty_response_has_the_length_zero() -> None:
    assert b"Content-Length: 0\r\n" in sent(wire.whole(form(EmulatedResponse(200))))


def test_after_head_the_length_stays_and_the_body_goes() -> None:
    data = sent(wire.whole(form(head_only=True)))
    assert b"Content-Length: 12\r\n" in data
    assert data.endswith(b"\r\n\r\n")


def test_a_connection_that_will_close_says_so() -> None:
    plan = wire.whole(form(keep_alive=False))
    assert b"\r\nConnection: close\r\n" in sent(plan)
    assert plan.end is End.CLOSE


def test_a_started_response_breaks_off_in_its_body() -> None:
    plan = wire.started(form(), End.RESET)
    assert sent(plan).endswith(b"\r\n\r\n" + BODY[:6])
    assert plan.end is End.RESET


@pytest.mark.parametrize(
    ("action", "value", "tail", "end"),
    [
        ("truncate", None, b"\r\n\r\n" + BODY[:6], End.CLOSE),
        ("truncate", "2", b"\r\n\r\n" + BODY[:2], End.CLOSE),
        ("bad-chunk", None, b"\r\n\r\n6\r\n" + BODY[:6] + b"\r\nzz\r\n" + BODY[6:], End.CLOSE),
        ("content-length", None, BODY, End.CLOSE),
        ("content-length", -5, BODY, End.KEEP),
        ("two-lengths", None, BODY, End.KEEP),
        ("no-length", None, b"\r\n\r\n" + BODY, End.CLOSE),
        ("chunked", None, b"6\r\n" + BODY[:6] + b"\r\n6\r\n" + BODY[6:] + b"\r\n0\r\n\r\n", End.KEEP),
        ("both-lengths", None, b"\r\n0\r\n\r\n", End.KEEP),
        ("te-gzip", None, b"\r\n0\r\n\r\n", End.KEEP),
        ("trailers", None, b"0\r\nX-Trailer: emulated\r\n\r\n", End.KEEP),
        ("garbage", None, b"220 mail.example.com ESMTP\r\n", End.CLOSE),
        ("surplus", None, BODY + b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", End.KEEP),
        ("close-after", None, BODY, End.CLOSE),
        ("reset-after", None, BODY, End.RESET),
        ("http10", None, BODY, End.CLOSE),
        ("long-header", None, BODY, End.KEEP),
        ("header", "X-Sidecar-Error: spoofed", b"X-Sidecar-Error: spoofed\r\n\r\n" + BODY, End.KEEP),
        ("interim", 2, BODY, End.KEEP),
        ("trickle", None, BODY, End.KEEP),
        ("no-rate-headers", None, BODY, End.KEEP),
    ],
)
def test_how_a_damaged_response_ends(action: str, value: str | float | None, tail: bytes, end: End) -> None:
    plan = damaged(action, value)
    assert sent(plan).endswith(tail)
    assert plan.end is end


@pytest.mark.parametrize("action", ["chunked", "trailers"])
def test_no_chunk_follows_a_response_that_has_no_body(action: str) -> None:
    """It would be the beginning of the next response."""
    rule = Rule(action=action)
    for parts in (form(head_only=True), form(EmulatedResponse(204))):
        data = sent(wire.DAMAGES[action](parts, rule))
        assert data.count(b"\r\n\r\n") == 1
        assert data.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("action", "value", "expected"),
    [
        ("content-length", None, b"Content-Length: 19\r\n"),
        ("content-length", -5, b"Content-Length: 7\r\n"),
        ("two-lengths", None, b"Content-Length: 12\r\nContent-Length: 13\r\n"),
        ("both-lengths", None, b"Content-Length: 12\r\nTransfer-Encoding: chunked\r\n"),
        ("te-gzip", None, b"Transfer-Encoding: gzip, chunked\r\n"),
        ("http10", None, b"HTTP/1.0 200 OK\r\n"),
        ("long-header", 100, b"X-Padding: " + b"p" * 100 + b"\r\n"),
    ],
)
def test_what_a_damaged_head_says(action: str, value: str | float | None, expected: bytes) -> None:
    assert expected in sent(damaged(action, value))


def test_a_response_without_length_has_no_framing_at_all() -> None:
    head = sent(damaged("no-length")).lower()
    assert b"content-length" not in head
    assert b"transfer-encoding" not in head


def test_interim_answers_come_first() -> None:
    assert sent(damaged("interim", 3)).count(b"HTTP/1.1 103 Early Hints\r\n") == 3


def test_a_trickle_is_many_pieces_with_pauses() -> None:
    plan = damaged("trickle", 0.25)
    assert (len(plan.pieces) > 5, plan.pause) == (True, 0.25)


def test_rate_headers_can_be_taken_out() -> None:
    response = EmulatedResponse(
        200, BODY, headers=((b"X-RateLimit", b"1"), (b"X-RateLimit-Reset", b"2"), (b"X-Other", b"3"))
    )
    data = sent(wire.whole(form(response)))
    less = sent(wire.DAMAGES["no-rate-headers"](form(response), Rule(action="no-rate-headers")))
    assert (data.count(b"RateLimit"), less.count(b"RateLimit"), b"X-Other: 3" in less) == (2, 0, True)


def test_every_action_on_bytes_has_a_damage_and_the_other_way_round() -> None:
    assert {name for name, family in ACTIONS.items() if family is Family.BYTES} == set(wire.DAMAGES)
