"""Reading a lost response back: when it is asked for, what counts as the answer, and what is said (contract section 6).

No socket: Mangopay's responses follow a script, and time is moved by hand.
"""

from __future__ import annotations

from email.utils import formatdate
from typing import TYPE_CHECKING, Any, Final

import msgspec
import pytest

from sidecar.advice.texts.calls import READ_BACK_SCOPE
from tests.support.in_memory import CLIENT_ID, RESPONSE_TIMEOUT, Fate, MemoryCaller, MemoryProxy, in_memory, respond
from tests.support.tokens import LOCKED_OUT

if TYPE_CHECKING:
    from collections.abc import Callable

KEY: Final = "0123456789abcdef"
PATH: Final = "/v2.01/acme/payins/card/direct"
REQUEST: Final = (
    f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nIdempotency-Key: {KEY}\r\nContent-Length: 2\r\n\r\n{{}}".encode()
)
#: The first delivery is lost.
LOST: Final = Fate(breaks=True)
ADVICE: Final = b"Retry with the SAME Idempotency-Key"


def stored(proxy: MemoryProxy, *, date: float | None = None, **changes: Any) -> bytes:
    """Return a stored response that answers the request, but for ``changes``; ``date``: upstream's clock."""
    now = proxy.clock.wall() if date is None else date
    document = {
        "StatusCode": "201",
        "RequestURL": "https://api.mangopay.com" + PATH.replace("v2.01", "V2.01"),
        "Date": now,
        "ContentType": "application/json",
        "Resource": {"Id": "42"},
        **changes,
    }
    return respond(200, msgspec.json.encode(document), "Date: " + formatdate(now, usegmt=True))


async def lose(proxy: MemoryProxy, *answers: bytes) -> MemoryCaller:
    """Make a call whose response is lost, and let the tries to read it back get ``answers``, then 404."""
    proxy.mangopay.stored.extend(answers)
    return await proxy.call(REQUEST, LOST)


async def test_the_stored_response_is_passed_on_with_its_type_and_the_mark() -> None:
    async with in_memory() as proxy:
        caller = await lose(proxy, stored(proxy))
        assert (caller.status, caller.body) == (201, b'{"Id":"42"}')
        assert caller.header("Content-Type") == "application/json"
        assert caller.header("Content-Length") == "11"
        assert caller.header("X-Sidecar-Recovered") == "idempotency"
        assert proxy.mangopay.read_backs == [f"/v2.01/{CLIENT_ID}/responses/{KEY}"]
        assert (proxy.record.deliveries, proxy.record.recovered, proxy.record.outcome) == (1, ("idempotency",), None)


@pytest.mark.parametrize("status", [204, 304])
async def test_a_stored_response_without_a_body_has_no_length(status: int) -> None:
    async with in_memory() as proxy:
        caller = await lose(proxy, stored(proxy, StatusCode=str(status)))
        assert (caller.status, caller.body) == (status, b"")
        assert (caller.header("Content-Length"), caller.header("Content-Type")) == (None, None)


async def test_there_are_three_tries_after_pauses() -> None:
    async with in_memory() as proxy:
        began = proxy.clock.now()
        asked: list[float] = []
        proxy.begin(REQUEST, LOST)
        await proxy.clock.settle()
        while not proxy.records:
            before = len(proxy.mangopay.read_backs)
            await proxy.clock.advance(0.05)
            if len(proxy.mangopay.read_backs) > before:
                asked.append(round(proxy.clock.now() - began, 2))
        assert asked == pytest.approx([0.2, 0.7, 1.7], abs=0.051)
        assert proxy.record.error == "upstream_unreachable"


@pytest.mark.parametrize("number", [1, 2, 3])
async def test_each_try_may_find_it(number: int) -> None:
    async with in_memory() as proxy:
        caller = await lose(proxy, *[respond(404, b"{}")] * (number - 1), stored(proxy))
        assert (caller.status, len(proxy.mangopay.read_backs)) == (201, number)


async def test_what_is_not_found_is_unknown_with_advice() -> None:
    async with in_memory() as proxy:
        caller = await lose(proxy)
        assert (caller.status, caller.header("X-Sidecar-Outcome")) == (502, "unknown")
        assert ADVICE in caller.body
        assert len(proxy.mangopay.read_backs) == 3
        assert proxy.record.idempotency_key == KEY
        results = [(each.result, each.purpose) for each in proxy.record.timeline]
        assert results == [("lost", "call"), *[(404, "read_back")] * 3]


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(lambda proxy: stored(proxy, RequestURL=f"https://x{PATH}/other"), id="another path"),
        pytest.param(lambda proxy: stored(proxy, Date=proxy.clock.wall() - 60), id="an older response"),
        pytest.param(lambda proxy: stored(proxy, Date=proxy.clock.wall() + 400), id="one dated by another clock"),
        pytest.param(lambda proxy: respond(200, stored(proxy).partition(b"\r\n\r\n")[2]), id="upstream tells no date"),
        pytest.param(lambda proxy: stored(proxy).replace(b"200 Status", b"206 Status"), id="not 200"),
        pytest.param(
            lambda proxy: respond(200, b"<html>", "Date: " + formatdate(proxy.clock.wall(), usegmt=True)),
            id="no document",
        ),
    ],
)  # fmt: skip
async def test_what_answers_another_request_is_nobodys_success(answer: Callable[[MemoryProxy], bytes]) -> None:
    async with in_memory() as proxy:
        caller = await lose(proxy, *[answer(proxy)] * 3)
        assert (caller.status, caller.header("X-Sidecar-Outcome")) == (502, "unknown")
        assert len(proxy.mangopay.read_backs) == 3


@pytest.mark.parametrize(("offset", "found"), [(0.0, True), (-1.0, True), (-3.0, False), (100.0, True)])
@pytest.mark.parametrize("skew", [0.0, 86_400.0, -86_400.0])
async def test_the_date_is_compared_by_upstreams_clock(offset: float, found: bool, skew: float) -> None:
    """Our send, as upstream's clock had it, rounded down to a second: a stored response is not older than that."""
    async with in_memory() as proxy:
        sent = proxy.clock.wall() + skew
        made = sent + offset + (1 if offset == -1.0 else 0)
        answer = stored(proxy, date=sent + 1, Date=made)
        # The read-back comes 0.2 s after the send, so upstream's Date of then, less that, is the send.
        answer = answer.replace(
            b"Date: " + formatdate(sent + 1, usegmt=True).encode(), b"Date: " + formatdate(sent, usegmt=True).encode()
        )
        caller = await lose(proxy, *[answer] * 3)
        assert (caller.status == 201) is found


async def test_a_token_that_ended_meanwhile_is_renewed_once() -> None:
    async with in_memory() as proxy:
        caller = await lose(proxy, respond(401, b"{}"), stored(proxy))
        assert caller.status == 201
        assert (len(proxy.mangopay.read_backs), proxy.source.requests) == (2, 2)
        assert proxy.unauthorized() == {"token": 1}
        assert caller.header("X-Sidecar-Recovered") == "idempotency"


async def test_no_token_for_it_costs_a_try() -> None:
    async with in_memory() as proxy:
        proxy.source.then(LOCKED_OUT)
        caller = await lose(proxy, respond(401, b"{}"))
        assert (caller.status, caller.header("X-Sidecar-Outcome")) == (502, "unknown")
        assert len(proxy.mangopay.read_backs) == 1  # no other try had a token
        purposes = [(each.result, each.purpose) for each in proxy.record.timeline]
        assert purposes == [
            ("lost", "call"),
            (401, "read_back"),
            *[("token_locked_out", "read_back")] * 3,
        ]


async def test_a_try_that_breaks_or_hangs_is_followed_by_the_next() -> None:
    async with in_memory() as proxy:
        cut = respond(200, b"{", length=100)
        caller = await lose(proxy, b"ICY 200 OK\r\n\r\n", stored(proxy))
        assert (caller.status, len(proxy.mangopay.read_backs)) == (201, 2)
        assert [each.result for each in proxy.record.timeline] == ["lost", "broken", 200]
        caller = await lose(proxy, cut, stored(proxy))  # what is missing does not come in time
        assert (caller.status, len(proxy.mangopay.read_backs)) == (201, 4)


async def test_a_document_of_more_than_a_megabyte_is_none() -> None:
    async with in_memory() as proxy:
        large = stored(proxy, Resource={"Id": "x" * 1_200_000})
        caller = await lose(proxy, *[large] * 3)
        assert caller.status == 502
        assert proxy.pool.open <= 1  # what was not read to its end is not used again


# --- a key that may not read -----------------------------------------------------------------------------------------

FORBIDDEN: Final = respond(
    403,
    b'{"Id": "5f8d0a2e-0000-4000-8000-000000000001", "Type": "forbidden_ressource"}',
    "Content-Type: application/json",
    "CF-Ray: 8f3a2b1c4d5e6f70-CDG",
)
PAGE: Final = respond(403, b"<html>blocked</html>", "Content-Type: text/html")


def warnings(proxy: MemoryProxy) -> list[Any]:
    return [each for each in proxy.logs if each["event"] == "answer.read_back_forbidden"]


async def test_a_key_that_may_not_read_is_asked_once_a_call_and_told_of_once() -> None:
    async with in_memory() as proxy:
        for calls in (1, 2):
            caller = await lose(proxy, FORBIDDEN)
            assert (caller.status, len(proxy.mangopay.read_backs)) == (502, calls)
            assert ADVICE in caller.body
            assert proxy.lost_responses.forbidden
        (warning,) = warnings(proxy)
        assert (warning["mangopay_id"], warning["mangopay_type"]) == (
            "5f8d0a2e-0000-4000-8000-000000000001",
            "forbidden_ressource",
        )
        assert "make a new key" in warning["mend"]
        assert (warning["id"], warning["scope"]) == (proxy.records[0].id, READ_BACK_SCOPE)
        assert warning["cf_ray"] == "8f3a2b1c4d5e6f70-CDG"


@pytest.mark.parametrize("status", [200, 400, 404])
async def test_a_key_that_may_read_again_is_forgiven(status: int) -> None:
    async with in_memory() as proxy:
        await lose(proxy, FORBIDDEN)
        await lose(proxy, *[respond(status, b"{}")] * 3)
        assert not proxy.lost_responses.forbidden
        await lose(proxy, FORBIDDEN)
        assert len(warnings(proxy)) == 2


@pytest.mark.parametrize(
    "answer",
    [
        *(PAGE, respond(500, b"{}"), respond(429, b"{}"), respond(300), respond(302)),
        *(respond(status, b"<html>blocked</html>", "Content-Type: text/html") for status in (200, 400, 404)),
    ],
)
async def test_what_says_nothing_of_the_key_changes_nothing(answer: bytes) -> None:
    async with in_memory() as proxy:
        await lose(proxy, *[answer] * 3)
        assert len(proxy.mangopay.read_backs) == 3
        assert proxy.lost_responses.forbidden is False  # not None either: the status document tells it as it is
        await lose(proxy, FORBIDDEN)
        await lose(proxy, *[answer] * 3)
        assert proxy.lost_responses.forbidden


async def test_each_look_is_logged() -> None:
    async with in_memory() as proxy:
        await lose(proxy, respond(404, b"{}"), stored(proxy))
        looks = [each for each in proxy.logs if each["event"] == "answer.read_back"]
        assert [(each["found"], each["upstream_status"]) for each in looks] == [(False, 404), (True, 200)]
        assert {each["id"] for each in looks} == {proxy.record.id}


# --- when the response is cut ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("late", [True, False])
async def test_a_response_whose_body_breaks_off_is_read_back_while_nothing_of_it_has_been_passed_on(late: bool) -> None:
    async with in_memory() as proxy:
        proxy.mangopay.stored.append(stored(proxy))
        caller = await proxy.call(REQUEST, Fate(response=respond(201, b"{", length=9), breaks=not late))
        assert (caller.status, caller.header("X-Sidecar-Recovered")) == (201, "idempotency")
        assert caller.body == b'{"Id":"42"}'


@pytest.mark.parametrize(("late", "status"), [(True, 504), (False, 502)])
async def test_one_that_is_not_found_is_an_error_and_not_half_a_response(late: bool, status: int) -> None:
    async with in_memory() as proxy:
        caller = await proxy.call(REQUEST, Fate(response=respond(201, b"{", length=9), breaks=not late))
        assert (caller.status, caller.header("X-Sidecar-Outcome")) == (status, "unknown")
        assert ADVICE in caller.body


async def test_one_that_is_too_large_to_wait_for_is_passed_on_as_it_comes() -> None:
    async with in_memory() as proxy:
        size = 200_000
        caller = proxy.begin(REQUEST, Fate(response=respond(200, bytes(100_000), length=size)))
        await proxy.clock.settle()
        assert caller.status == 200
        assert len(caller.body) == 100_000
        proxy.mangopay.deliveries[0].respond(bytes(100_000))
        await proxy.clock.settle()
        assert (len(caller.body), proxy.record.error) == (size, None)


async def test_one_that_drips_in_is_waited_for_once_and_then_passed_on_as_it_comes() -> None:
    async with in_memory() as proxy:
        caller = proxy.begin(REQUEST, Fate(response=respond(201, b"0", length=5)))
        await proxy.clock.settle()
        (delivery,) = proxy.mangopay.deliveries
        await proxy.clock.advance(RESPONSE_TIMEOUT / 2)
        delivery.respond(b"1")
        await proxy.clock.settle()
        assert caller.received == b"", "nothing is passed on while it may still be read back"
        await proxy.clock.advance(RESPONSE_TIMEOUT / 2)
        delivery.respond(b"2")
        await proxy.clock.settle()
        assert (caller.status, caller.body) == (201, b"012")
        delivery.respond(b"34")
        await proxy.over()
        assert (caller.body, proxy.mangopay.read_backs, proxy.record.error) == (b"01234", [], None)


async def test_a_401_that_drips_in_is_waited_for_once_too() -> None:
    async with in_memory() as proxy:
        caller = proxy.begin(REQUEST, Fate(response=respond(401, b"0", length=5)))
        await proxy.clock.settle()
        (delivery,) = proxy.mangopay.deliveries
        for piece in (b"1", b"2"):
            assert caller.received == b"", "it may be whole soon, and the call resent"
            await proxy.clock.advance(RESPONSE_TIMEOUT / 2)
            delivery.respond(piece)
            await proxy.clock.settle()
        assert (caller.status, caller.body) == (401, b"012")
        delivery.respond(b"34")
        await proxy.over()
        assert (caller.body, len(proxy.mangopay.deliveries)) == (b"01234", 1)


async def test_one_that_breaks_off_when_a_part_has_been_passed_on_leaves_its_key_in_the_log() -> None:
    async with in_memory() as proxy:
        caller = await proxy.call(REQUEST, Fate(response=respond(200, bytes(100_000), length=200_000), breaks=True))
        assert (caller.status, caller.transport.cut) == (200, True)
        assert (proxy.record.outcome, proxy.record.idempotency_key) == ("unknown", KEY)
