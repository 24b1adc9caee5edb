"""A lost answer is read back by its key, and never anybody else's (contract section 6)."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
from dataclasses import dataclass
from email.utils import formatdate
from typing import TYPE_CHECKING, Final

import pytest

from tests.support.app import running_app, running_pair
from tests.support.emulator import connect, exchange, issue_token
from tests.support.upstreams import Peer, Upstream, serve
from tests.wire.faults.support import (
    ECHO,
    KEY,
    KEYED,
    NATURAL,
    USER,
    Headers,
    Outcome,
    TimedPair,
    call_and_observe,
    gauges,
    timed_pair,
    until,
    warm,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.app import App, Pair
    from tests.support.raw_client import ReceivedResponse

STORED = f"/v2.01/acme/responses/{KEY}"
ADVICE = (
    "No stored answer yet; the first request may still be running. Retry with the SAME Idempotency-Key "
    "(a duplicate is refused with 409), never with a new one."
)
#: Ways to lose a response after the request was executed.
LOSING = [
    *("reset=after", "close=after", "hang=after", "garbage", "two-lengths", "no-length", "long-header", "interim=17"),
    *("reset=during", "close=during", "hang=during", "truncate", "truncate=0", "bad-chunk", "content-length"),
]


def tries(pair: Pair) -> list[float]:
    """When each try to read back arrived (the emulator's clock)."""
    return [each.arrived for each in pair.emulator.received if each.target.startswith("/v2.01/acme/responses/")]


async def in_time(
    pair: TimedPair,
    method: str = "POST",
    *,
    target: str = ECHO,
    headers: Headers = KEYED,
    body: bytes | None = None,
) -> Outcome:
    call = asyncio.ensure_future(call_and_observe(pair, method, target=target, headers=headers, body=body))
    await pair.advance_until(call.done, step=0.1)
    fate = await call
    fate.check()
    return fate


def assert_not_read_back(call: Outcome, status: int = 502) -> None:
    assert (call.status, call.outcome, call.recovered) == (status, "unknown", None)
    assert call.response is not None
    assert call.response.json["Message"].endswith(ADVICE)
    assert call.line["idempotency_key"] == KEY


# --- what is read back -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", LOSING)
async def test_a_response_is_read_back_however_it_was_lost(fault: str) -> None:
    async with timed_pair(upstream_response_timeout="2s") as pair:
        await warm(pair)
        pair.emulator.faults.add(f"{fault} POST api times=1")
        call = await in_time(pair)
        assert (call.status, call.recovered, call.outcome) == (200, "idempotency", None)
        assert call.response is not None
        assert call.response.json["method"] == "POST"
        assert call.response.header("Content-Type") == b"application/json; charset=utf-8"
        assert (len(call.arrivals), call.executions) == (1, 1)
        assert len(tries(pair)) == 1


async def test_a_hundred_lost_answers_are_read_back_and_nothing_is_executed_twice() -> None:
    async with timed_pair(emulator_settings={"keep_received": 1000}) as pair:
        await warm(pair)
        pair.emulator.faults.add("reset=after POST api")
        keys = [f"one-of-a-hundred-{number:03}" for number in range(100)]
        calls = asyncio.gather(*(call_and_observe(pair, "POST", headers=(("Idempotency-Key", key),)) for key in keys))
        await pair.advance_until(calls.done, step=0.1)
        for call in await calls:
            call.check()
            assert (call.status, call.recovered, call.executions) == (200, "idempotency", 1)
            assert call.response is not None
            sent = json.loads(call.arrivals[0].body)["n"]
            assert call.response.json["target"].endswith(f"?n={sent}"), "an answer to another call"
        assert pair.emulator.ledger.executed_twice() == []
        assert pair.emulator.ledger.delivered_twice() == []


async def test_a_refusal_is_read_back_as_well() -> None:
    """What the caller would have got, whatever it is."""
    async with timed_pair() as pair:
        await warm(pair)
        pair.emulator.faults.add("reset=after POST api times=1")
        call = await in_time(pair, target=NATURAL, body=b'{"FirstName": "only"}')
        assert (call.status, call.recovered, call.executions) == (400, "idempotency", 0)
        assert call.response is not None
        assert call.response.json["Type"] == "param_error"


async def test_a_response_to_a_streamed_body_is_read_back_too() -> None:
    """It could not be sent again; but it was sent whole, and so there is a response."""
    async with timed_pair(replay_max_body="1000") as pair:
        await warm(pair)
        pair.emulator.faults.add("reset=after POST api times=1")
        call = await in_time(pair, body=b"x" * 200_000)
        assert (call.status, call.recovered, call.executions) == (200, "idempotency", 1)


@pytest.mark.parametrize("delay", [0.0, 0.6, 1.6])
async def test_a_response_that_is_stored_late_is_found_by_a_later_try(delay: float) -> None:
    async with timed_pair(emulator_settings={"stored_answer_delay": delay}) as pair:
        await warm(pair)
        pair.emulator.faults.add("reset=after POST api times=1")
        call = await in_time(pair)
        assert (call.status, call.recovered) == (200, "idempotency")


async def test_a_response_that_is_stored_too_late_is_not_waited_for() -> None:
    async with timed_pair(emulator_settings={"stored_answer_delay": 3}) as pair:
        await warm(pair)
        pair.emulator.faults.add("reset=after POST api times=1")
        assert_not_read_back(await in_time(pair))
        assert len(tries(pair)) == 3


async def test_three_tries_wait_for_a_fifth_a_half_and_a_whole_second() -> None:
    async with timed_pair() as pair:
        await warm(pair)
        pair.emulator.faults.add("reset=before POST api times=1")
        lost_at = pair.clock.now()
        call = asyncio.ensure_future(call_and_observe(pair, "POST", headers=KEYED))
        await until(lambda: [each for each in pair.emulator.received if each.method == "POST"][1:])
        for number, pause in enumerate((0.2, 0.5, 1.0)):
            await pair.clock.settle()
            while not pair.clock._sleepers:
                await asyncio.sleep(0.001)
            await pair.advance(pause - 0.01)
            assert len(tries(pair)) == number
            while len(tries(pair)) == number:
                await pair.advance(0.01)
                await asyncio.sleep(0.01)
        await pair.advance_until(call.done)
        assert_not_read_back(await call)
        assert [round(at - lost_at, 1) for at in tries(pair)] == [0.2, 0.7, 1.7]


# --- what is not -----------------------------------------------------------------------------------------------------


async def test_a_request_that_was_never_executed_has_no_stored_response() -> None:
    async with timed_pair() as pair:
        await warm(pair)
        pair.emulator.faults.add("reset=before POST api times=1")
        assert_not_read_back(await in_time(pair))


async def test_yesterdays_payment_under_the_key_is_not_todays() -> None:
    async with timed_pair() as pair:
        assert (await in_time(pair)).status == 200
        pair.emulator.state.age_stored_responses(86_000)
        pair.emulator.faults.add("reset=after POST api times=1")
        assert_not_read_back(await in_time(pair))


async def test_a_payment_two_seconds_ago_under_the_key_is_not_this_one() -> None:
    """Dates count whole seconds: so close they can be told apart, no closer."""
    async with timed_pair() as pair:
        assert (await in_time(pair)).status == 200
        await pair.advance(2)
        pair.emulator.faults.add("reset=after POST api times=1")
        assert_not_read_back(await in_time(pair))


@pytest.mark.parametrize("skew", [-26 * 3600.0, -90.0, 0.0, 90.0, 26 * 3600.0])
async def test_it_is_upstreams_clock_that_counts(skew: float) -> None:
    async with timed_pair(skew=skew) as pair:
        await warm(pair)
        pair.emulator.faults.add("reset=after POST api times=2")
        assert (await in_time(pair)).recovered == "idempotency"
        await pair.advance(2)
        assert_not_read_back(await in_time(pair))


async def test_a_key_that_was_used_for_another_path_answers_nothing() -> None:
    async with timed_pair() as pair:
        assert (await in_time(pair, target=NATURAL, body=USER)).status == 200
        pair.emulator.faults.add("reset=after POST api times=1")
        assert_not_read_back(await in_time(pair, target="/v2.01/acme/users/legal", body=USER))


async def test_after_a_401_only_the_resends_own_answer_is_read_back() -> None:
    """Somebody used the key between the 401 and the resend: what is stored then is theirs."""
    async with timed_pair() as pair:
        await warm(pair)
        pair.emulator.state.tokens.revoke()
        pair.emulator.faults.add("pass delay=3 token")
        call = asyncio.ensure_future(call_and_observe(pair, "POST", headers=KEYED))
        await until(lambda: [each for each in pair.emulator.received if each.target.endswith("/oauth/token")][1:])
        theirs = (("Authorization", f"Bearer {issue_token(pair.emulator)}"), *KEYED)
        with await connect(pair.emulator) as client:
            assert (await exchange(client, "POST", ECHO, theirs, b"theirs")).status == 200
        pair.emulator.faults.add("reset=after POST api times=1")
        await pair.advance_until(call.done, step=0.1)
        fate = await call
        assert [len(fate.arrivals), fate.unauthorized, fate.executions] == [2, 1, 0]
        assert_not_read_back(fate)


@pytest.mark.parametrize(
    "headers",
    [
        (),
        (("Idempotency-Key", "too-short"),),
        (("Idempotency-Key", "much-too-long-for-a-key-of-thirty-six"),),
        (("Idempotency-Key", "no_underscores_in_keys"),),
        (("Idempotency-Key", KEY), ("Idempotency-Key", KEY)),
        (("Idempotency_Key", KEY),),
    ],
)
async def test_without_one_good_key_nothing_is_asked(headers: Headers) -> None:
    async with timed_pair() as pair:
        await warm(pair)
        pair.emulator.faults.add("reset=after POST api times=1")
        call = await in_time(pair, headers=headers)
        assert (call.status, call.outcome) == (502, "unknown")
        assert not tries(pair)


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
async def test_only_posts_are_read_back(method: str) -> None:
    async with timed_pair() as pair:
        await until(lambda: pair.token_requests)
        pair.emulator.faults.add(f"reset=after {method} api times=1")
        call = await in_time(pair, method)
        assert (call.status, call.outcome) == (502, "unknown")
        assert not tries(pair)


async def test_what_was_not_sent_is_not_asked_for() -> None:
    async with timed_pair() as pair:
        await until(lambda: pair.token_requests)
        pair.emulator.faults.add("reset=connect")
        call = await in_time(pair)
        assert (call.status, call.outcome) == (502, "not-sent")
        assert not tries(pair)


# --- how it is asked -------------------------------------------------------------------------------------------------


async def test_reading_back_needs_no_leave_of_the_policy() -> None:
    async with timed_pair(policy_allow="POST /__emulator__/**", policy_deny="* /v2.01/**") as pair:
        await until(lambda: pair.token_requests)
        pair.emulator.faults.add("reset=after POST api times=1")
        assert (await in_time(pair)).recovered == "idempotency"
        assert (await in_time(pair, "GET", target=STORED)).error == "policy_denied"


async def test_a_token_that_is_revoked_meanwhile_is_renewed_for_it() -> None:
    async with timed_pair() as pair:
        await warm(pair)
        pair.emulator.faults.add("reset=after POST api times=1")
        call = asyncio.ensure_future(call_and_observe(pair, "POST", headers=KEYED))
        await until(lambda: pair.emulator.ledger.executions)
        pair.emulator.state.tokens.revoke()
        await pair.advance_until(call.done, step=0.1)
        fate = await call
        assert (fate.status, fate.recovered) == (200, "idempotency")
        assert pair.token_requests == 2
        # The refresh was useful, so the next revocation is mended at once.
        pair.emulator.state.tokens.revoke()
        assert (await in_time(pair, headers=())).status == 200


@pytest.mark.parametrize("fault", ["reset=before", "status=500", "hang=before", "garbage", "oversized", "truncate"])
async def test_a_try_that_fails_is_followed_by_the_next(fault: str) -> None:
    async with timed_pair() as pair:
        await warm(pair)
        pair.emulator.faults.add("reset=after POST api times=1")
        pair.emulator.faults.add(f"{fault} GET api times=1")
        call = await in_time(pair)
        assert (call.status, call.recovered) == (200, "idempotency")


async def test_reading_back_does_not_wait_for_ever() -> None:
    async with timed_pair() as pair:
        await warm(pair)
        pair.emulator.faults.add("reset=after POST api times=1")
        pair.emulator.faults.add("hang=before GET api")
        before = pair.clock.now()
        assert_not_read_back(await in_time(pair))
        assert pair.clock.now() - before < 20


async def test_it_leaves_nothing_behind() -> None:
    async with timed_pair() as pair:
        await warm(pair)
        for fault in ("truncate", "hang=during", "reset=before", "oversized"):
            pair.emulator.faults.clear()
            pair.emulator.faults.add("reset=after POST api times=1")
            pair.emulator.faults.add(f"{fault} GET api")
            await in_time(pair, headers=(("Idempotency-Key", f"{KEY}-{len(fault):04}"),))
        held = await gauges(pair.app)
        assert (held["requests_in_flight"], held["upstream_pool_waiting"]) == (0, 0)
        assert held["upstream_connections"] <= 1


# --- what upstream may say under the key -----------------------------------------------------------------------------


@dataclass
class Documents:
    """An upstream that loses every POST's response, and says what a test wants of stored ones."""

    #: What it keeps; made when a POST arrives, if that matters.
    body: bytes | Callable[[], bytes]
    date: str | None = None
    status: bytes = b"200 OK"
    #: What a POST is answered with; None: its connection is reset.
    answer: bytes | None = None

    def __post_init__(self) -> None:
        self._kept = b""

    async def __call__(self, peer: Peer) -> None:
        while True:
            request = await peer.request()
            if request.method == "POST":
                self._kept = self.body if isinstance(self.body, bytes) else self.body()
            if request.target.endswith("/oauth/token"):
                token = b'{"access_token": "cAnArYtOkEn1", "token_type": "bearer", "expires_in": 1200}'
                await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(token), token))
            elif request.method == "POST" and self.answer is not None:
                await peer.send(self.answer)
            elif request.method == "POST":
                peer.reset()
                return
            else:
                date = b"" if self.date == "" else b"Date: %b\r\n" % (self.date or formatdate(usegmt=True)).encode()
                head = b"HTTP/1.1 %b\r\n%bContent-Length: %d\r\n\r\n" % (self.status, date, len(self._kept))
                await peer.send(head + self._kept)


def document(**changes: object) -> Callable[[], bytes]:
    """Make what Mangopay keeps under the key for the payment that these tests make, with ``changes``.

    Made when the payment arrives: what was stored before is not the response to it, whatever else is right.
    """

    def make() -> bytes:
        told: dict[str, object] = {
            "StatusCode": "200",
            "ContentLength": "13",
            "ContentType": "application/json; charset=utf-8",
            "Date": formatdate(usegmt=True),
            "RequestURL": "https://api.mangopay.com/V2.01/acme/payins",
            "Resource": {"Id": "wt_1"},
            **changes,
        }
        return json.dumps({name: value for name, value in told.items() if value is not ...}).encode()

    return make


@pytest.mark.parametrize("coding", [b"gzip", b"identity"])
async def test_a_conflict_is_known_in_the_coding_that_the_caller_takes(coding: bytes) -> None:
    """Most SDKs take gzip, and the edge sends it."""
    report = b'{"Message": "", "Type": "idempotent_creation_conflict", "Id": "", "Date": 1, "errors": null}'
    body = gzip.compress(report) if coding == b"gzip" else report
    head = b"HTTP/1.1 409 Conflict\r\nContent-Encoding: %b\r\nContent-Length: %d\r\n\r\n" % (coding, len(body))
    async with (
        serve(Documents(document(), answer=head + body)) as upstream,
        running_app(f"http://127.0.0.1:{upstream.port}", replay_resolve_conflicts="true") as app,
    ):
        response = await app.call("POST", "/v2.01/acme/payins", b"{}", headers=(*KEYED, ("Accept-Encoding", "gzip")))
        assert (response.status, response.json) == (200, {"Id": "wt_1"})
        assert response.header("Content-Encoding") is None


async def lose(app: App, upstream: Upstream) -> ReceivedResponse:
    response = await app.call("POST", "/v2.01/acme/payins", b"{}", headers=KEYED)
    assert len([each for each in upstream.requests if each.target == "/v2.01/acme/payins"]) == 1
    return response


@pytest.mark.parametrize(
    "url",
    [
        "https://api.mangopay.com/V2.01/acme/payins",
        "https://api.mangopay.com:443/v2.01/ACME/PayIns/",
        "https://api.sandbox.mangopay.com/V2_01/acme/payins?x=y",
        "/v2.01/acme/payins",
    ],
)
async def test_the_path_is_compared_without_case_and_host(url: str) -> None:
    async with (
        serve(Documents(document(RequestURL=url))) as upstream,
        running_app(f"http://127.0.0.1:{upstream.port}") as app,
    ):
        response = await lose(app, upstream)
        assert (response.status, response.json) == (200, {"Id": "wt_1"})
        assert response.header("X-Sidecar-Recovered") == b"idempotency"
        assert response.header("Content-Type") == b"application/json; charset=utf-8"


@pytest.mark.parametrize("body", [None, ...])
@pytest.mark.parametrize(("status", "length"), [("200", b"0"), ("204", None)])
async def test_a_response_without_a_body_is_read_back_without_one(
    body: object, status: str, length: bytes | None
) -> None:
    script = Documents(document(StatusCode=status, Resource=body, ContentType=None))
    async with serve(script) as upstream, running_app(f"http://127.0.0.1:{upstream.port}") as app:
        response = await lose(app, upstream)
        assert (response.status, response.body) == (int(status), b"")
        assert response.header("Content-Length") == length


#: Made when it is asked for, since one date is to come.
WRONG: Final[dict[str, Callable[[], Documents]]] = {
    "another path": lambda: Documents(document(RequestURL="https://api.mangopay.com/V2.01/acme/payouts")),
    "a longer path": lambda: Documents(document(RequestURL="https://api.mangopay.com/V2.01/acme/payins/1")),
    "another client": lambda: Documents(document(RequestURL="https://api.mangopay.com/V2.01/other/payins")),
    "no URL": lambda: Documents(document(RequestURL=...)),
    "a broken URL": lambda: Documents(document(RequestURL="https://[api.mangopay.com/V2.01/acme/payins")),
    "an old date": lambda: Documents(document(Date=formatdate(1_700_000_000, usegmt=True))),
    "no date": lambda: Documents(document(Date=...)),
    "a broken date": lambda: Documents(document(Date="yesterday")),
    "a date beyond all": lambda: Documents(document(Date="Fri, 31 Dec 99999 23:59:59 GMT")),
    "a clock that is not told": lambda: Documents(document(), date=""),
    "a clock that is broken": lambda: Documents(document(), date="soon"),
    "no status": lambda: Documents(document(StatusCode=...)),
    "a broken status": lambda: Documents(document(StatusCode="OK")),
    "a status that is none": lambda: Documents(document(StatusCode="99")),
    "an interim status": lambda: Documents(document(StatusCode="100")),
    "not JSON": lambda: Documents(b"<html>"),
    "a list": lambda: Documents(b"[]"),
    "nothing": lambda: Documents(b""),
    "too much": lambda: Documents(document(Resource="x" * 400_000)),
    "a date to come, as in local time": lambda: Documents(document(Date=formatdate(time.time() + 3600, usegmt=True))),
    "another status": lambda: Documents(document(), status=b"404 Not Found"),
    "a partial content": lambda: Documents(document(), status=b"206 Partial Content"),
}


@pytest.mark.parametrize("wrong", WRONG)
async def test_what_is_not_surely_the_response_is_not_given_as_one(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.proxy.readback.PAUSES", (0.0, 0.0, 0.0))
    async with serve(WRONG[wrong]()) as upstream, running_app(f"http://127.0.0.1:{upstream.port}") as app:
        response = await lose(app, upstream)
        assert (response.status, response.header("X-Sidecar-Outcome")) == (502, b"unknown")
        assert response.header("X-Sidecar-Recovered") is None
        assert response.json["Message"].endswith(ADVICE)
        assert len([each for each in upstream.requests if each.target == STORED]) == 3
        assert all("internal" not in str(entry) for entry in app.log.entries)


async def test_a_trickling_document_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.proxy.readback.TRY_TIMEOUT", 0.05)
    async with running_pair() as pair:
        await warm(pair)
        pair.emulator.faults.add("reset=after POST api times=1")
        pair.emulator.faults.add("trickle=0.03 GET api times=1")
        call = await call_and_observe(pair, "POST", headers=KEYED)
        assert (call.status, call.recovered) == (200, "idempotency")
        assert len(tries(pair)) == 2
