"""What the random test of deliveries draws, and the bytes that it makes of it."""

from __future__ import annotations

from itertools import islice

import pytest

from benchmarks.deliveries.messages import chunks, read_response, request, request_body, response
from benchmarks.deliveries.plan import (
    Action,
    Call,
    Ending,
    Framing,
    Leaving,
    ReadBack,
    Reply,
    TokenReply,
    conversations,
    draw,
    leaves_at_once,
    token_reply,
)


def test_a_seed_draws_the_same_storm_and_another_seed_another_one() -> None:
    first = list(conversations(1, 500))
    assert first == list(conversations(1, 500))
    assert first != list(conversations(2, 500))
    assert draw(1, 17) == first[17], "a conversation can be drawn alone"
    assert sum(len(each.calls) for each in first) >= 500
    assert leaves_at_once(1, 5) == leaves_at_once(1, 5)


def test_everything_that_can_be_drawn_is_drawn() -> None:
    drawn = list(islice(conversations(3, 1_000_000), 3_000))
    calls = [call for conversation in drawn for call in conversation.calls]
    replies = [reply for call in calls for reply in call.replies]
    assert {each.leaving for each in drawn} == {None, *Leaving}
    assert {each.pipelined for each in drawn} == {True, False}
    assert {call.method for call in calls} == {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}
    assert {call.read_back for call in calls} == set(ReadBack)
    assert {reply.action for reply in replies} == set(Action)
    assert {reply.framing for reply in replies} == set(Framing)
    assert {reply.ending for reply in replies} == set(Ending)
    assert {token_reply(3, number) for number in range(2_000)} == set(TokenReply)
    assert len({call.number for call in calls}) == len(calls)
    for flag in ("chunked", "http10", "close", "expects", "revokes"):
        assert {getattr(call, flag) for call in calls} == {True, False}


def test_a_request_says_whose_it_is_in_its_head_and_in_its_body() -> None:
    call = Call(12, "POST", "/v2.01/acme/payins/12", key="dlv-000001-0000000012", size=10)
    head, body = request(call)
    assert head.startswith(b"POST /v2.01/acme/payins/12?number=12 HTTP/1.1\r\n")
    assert b"\r\nContent-Length: 10\r\n" in head
    assert body == request_body(12, 10) == b"[12][12][1"
    assert request(Call(12, "PUT", "/", size=4, chunked=True))[1] == chunks(b"[12]", 700)


@pytest.mark.parametrize("framing", [Framing.LENGTH, Framing.CHUNKED, Framing.TRAILER])
def test_a_good_response_is_read_whole_and_not_before_its_end(framing: Framing) -> None:
    rendered = response(Call(3, "GET", "/"), 2, Reply(framing=framing, padding=900))
    assert rendered.complete_at == len(rendered.data)
    for size in range(len(rendered.data)):
        found = read_response(rendered.data[:size], head_only=False, ended=False)
        assert found is None or (not found.complete and rendered.body.startswith(found.body))
    found = read_response(rendered.data + b"HTTP/1.1 ", head_only=False, ended=False)
    assert found is not None
    assert (found.complete, found.body, found.size) == (True, rendered.body, len(rendered.data))
    assert (found.headers["x-number"], found.headers["x-delivery"]) == ("3", "2")


@pytest.mark.parametrize(
    "reply",
    [
        Reply(Action.GARBAGE),
        Reply(framing=Framing.SHORT),
        Reply(framing=Framing.NONE),
        Reply(framing=Framing.BOTH),
        Reply(framing=Framing.TWO),
        Reply(framing=Framing.BAD_CHUNK),
        Reply(interim=17),
    ],
)
def test_a_response_that_breaks_http_is_never_complete(reply: Reply) -> None:
    assert response(Call(3, "GET", "/"), 1, reply).complete_at is None


def test_a_response_without_length_or_chunks_ends_with_its_connection() -> None:
    data = b"HTTP/1.0 200 OK\r\nX-Number: 1\r\n\r\nabc"
    for ended in (True, False):
        found = read_response(data, head_only=False, ended=ended)
        assert found is not None
        assert (found.body, found.complete) == (b"abc", ended)
    assert (read_response(data, head_only=True, ended=False) or pytest.fail("no head")).complete
