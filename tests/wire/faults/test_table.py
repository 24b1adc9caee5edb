"""Every row of the table of resends (contract section 6), for every method, through the whole sidecar.

What upstream got is read from the emulator's ledger, and held against what the
caller and the log were told.
"""

from __future__ import annotations

import asyncio
import random
import ssl
from typing import TYPE_CHECKING

import pytest
import trustme

from tests.support.app import Pair, running_app, running_pair
from tests.support.emulator import new_emulator
from tests.support.ports import free_port
from tests.support.upstreams import Peer, serve
from tests.wire.faults.support import (
    ECHO,
    LEDGER,
    METHODS,
    SAFE,
    WRITES,
    Outcome,
    TimedPair,
    call_and_observe,
    timed_pair,
    try_call,
    until,
    warm,
)

if TYPE_CHECKING:
    from pathlib import Path

#: The connection ends after the request, before a byte of the response.
LOST = [f"{end}={stage}" for end in ("reset", "close") for stage in ("head", "before", "after")]
#: The response is none, or its head or framing is broken, and no byte of it can be passed on.
BROKEN = ["garbage", "two-lengths", "both-lengths", "te-gzip", "long-header", "interim=17"]
#: The same, for responses that have a body.
BROKEN_BODY = ["no-length", "bad-chunk"]
#: The response's body ends before its end.
CUT = ["reset=during", "close=during", "truncate", "truncate=0", "content-length"]
#: Odd, but right.
HARMLESS = [
    *("chunked", "trailers", "trickle=0.001", "interim", "http10", "surplus", "close-after", "reset-after"),
    *("no-rate-headers", "header=X-Odd:1", "content-length=-1"),
]
#: Answers like any other, with their status.
ANSWERS = {
    "status=500": 500,
    "status=502": 502,
    "status=503": 503,
    "status=504": 504,
    "status=408": 408,
    "status=409": 409,
    "status=500 stage=after": 500,
    "status=503 stage=after": 503,
    "status=413 stage=head": 413,
    "rate-limit": 429,
    "forbidden": 403,
    "redirect": 302,
    "sca": 401,
    "not-json": 200,
    "oversized": 200,
    "empty": 200,
}


async def fate(pair: Pair, method: str, fault: str, *, reused: bool = False) -> Outcome:
    """Call once under ``fault``, on a connection that was used before or on a new one."""
    if reused:
        await warm(pair)
    else:
        await until(lambda: pair.token_requests)
    pair.emulator.faults.add(f"{fault} {method} api")
    result = await call_and_observe(pair, method)
    result.check()
    return result


def executed(method: str, fault: str) -> int:
    """How often a request under ``fault`` is executed: the ledger counts writes."""
    return int(method in LEDGER and "=after" in fault)


# --- the connection breaks -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", LOST)
@pytest.mark.parametrize("method", METHODS)
async def test_nothing_is_sent_again_after_a_new_connection_broke(method: str, fault: str) -> None:
    async with running_pair() as pair:
        call = await fate(pair, method, f"{fault} times=1")
        assert (call.status, call.error, call.outcome) == (502, "upstream_unreachable", "unknown")
        assert (len(call.arrivals), call.executions) == (1, executed(method, fault))


@pytest.mark.parametrize("fault", LOST)
@pytest.mark.parametrize("method", WRITES)
async def test_a_write_is_not_sent_again_after_a_reused_connection_broke(method: str, fault: str) -> None:
    async with running_pair() as pair:
        call = await fate(pair, method, f"{fault} times=1", reused=True)
        assert (call.status, call.error, call.outcome) == (502, "upstream_unreachable", "unknown")
        assert (len(call.arrivals), call.executions) == (1, executed(method, fault))


@pytest.mark.parametrize("fault", LOST)
@pytest.mark.parametrize("method", SAFE)
async def test_a_read_is_sent_once_more_after_a_reused_connection_broke(method: str, fault: str) -> None:
    async with running_pair() as pair:
        call = await fate(pair, method, f"{fault} times=1", reused=True)
        assert (call.status, call.recovered, len(call.arrivals)) == (200, "connection", 2)
        first, second = call.arrivals
        assert first.connection != second.connection


@pytest.mark.parametrize("fault", LOST)
@pytest.mark.parametrize("method", SAFE)
async def test_a_read_is_sent_twice_at_most(method: str, fault: str) -> None:
    async with running_pair() as pair:
        call = await fate(pair, method, fault, reused=True)
        assert (call.status, call.error, call.outcome) == (502, "upstream_unreachable", "unknown")
        assert len(call.arrivals) == 2


@pytest.mark.parametrize("end", ["reset", "close"])
@pytest.mark.parametrize("method", METHODS)
async def test_a_connection_that_ends_at_once_is_tried_a_second_time(method: str, end: str) -> None:
    async with running_pair() as pair:
        await until(lambda: pair.token_requests)
        pair.emulator.faults.add(f"{end}=connect times=1")
        call = await call_and_observe(pair, method)
        call.check()
        assert (call.status, call.recovered, len(call.arrivals)) == (200, "connection", 1)


@pytest.mark.parametrize("end", ["reset", "close"])
@pytest.mark.parametrize("method", METHODS)
async def test_two_connections_that_end_at_once_are_enough(method: str, end: str) -> None:
    async with running_pair() as pair:
        await until(lambda: pair.token_requests)
        before = pair.emulator.stats.connections
        pair.emulator.faults.add(f"{end}=connect")
        call = await call_and_observe(pair, method)
        call.check()
        assert call.status == 502
        assert not call.arrivals
        assert pair.emulator.stats.connections == before + 2


@pytest.mark.parametrize("method", METHODS)
async def test_an_upstream_that_cannot_be_reached_was_sent_nothing(method: str) -> None:
    async with running_pair(emulator_settings={"port": free_port()}) as pair:
        await warm(pair)
        pair.emulator.close_connections()
        await until(lambda: not pair.emulator._connections)
        await pair.emulator.stop()
        call = await call_and_observe(pair, method)
        call.check()
        assert (call.status, call.error, call.outcome) == (502, "upstream_unreachable", "not-sent")
        assert call.line["attempts"] == 0


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_an_upstream_that_cannot_be_trusted_is_sent_nothing(method: str, tmp_path: Path) -> None:
    """Its certificate is another one than a moment ago, when a token was fetched."""
    trusted, unknown = trustme.CA(), trustme.CA()
    authority = tmp_path / "ca.pem"
    authority.write_bytes(trusted.cert_pem.bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trusted.issue_cert("127.0.0.1").configure_cert(context)
    emulator = new_emulator()
    await emulator.start("127.0.0.1", 0, ssl_context=context)
    try:
        async with running_app(f"https://127.0.0.1:{emulator.port}", tls_ca_file=str(authority)) as app:
            pair = Pair(app, emulator)
            await warm(pair)
            unknown.issue_cert("127.0.0.1").configure_cert(context)
            emulator.close_connections()
            await until(lambda: not emulator._connections)
            call = await call_and_observe(pair, method)
            call.check()
            assert (call.status, call.error, call.outcome) == (502, "upstream_unreachable", "not-sent")
            assert "certificate" in str(call.line["detail"])
            assert emulator.stats.connections == 2, "no connection came about that could carry a request"
    finally:
        await emulator.stop()


# --- the response breaks ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [*BROKEN, *BROKEN_BODY])
@pytest.mark.parametrize("reused", [False, True])
@pytest.mark.parametrize("method", METHODS)
async def test_a_broken_response_is_a_502_and_nothing_is_sent_again(method: str, reused: bool, fault: str) -> None:
    async with running_pair() as pair:
        call = await fate(pair, method, f"{fault} times=1", reused=reused)
        assert len(call.arrivals) == 1
        if fault in BROKEN_BODY and method == "HEAD":
            assert call.status == 200  # no body follows
        else:
            assert (call.status, call.error, call.outcome) == (502, "upstream_unreachable", "unknown")
        assert call.executions == int(method in LEDGER)


@pytest.mark.parametrize("fault", CUT)
@pytest.mark.parametrize("reused", [False, True])
@pytest.mark.parametrize("method", METHODS)
async def test_a_response_that_ends_too_early_never_looks_whole(method: str, reused: bool, fault: str) -> None:
    async with running_pair() as pair:
        call = await fate(pair, method, f"{fault} times=1", reused=reused)
        assert len(call.arrivals) == 1
        assert call.executions == int(method in LEDGER)
        if method == "HEAD":
            assert call.status == 200  # it has no body that could be cut
        else:
            assert (call.status, call.outcome) == ("cut", "unknown")
            assert (call.line["status"], call.line["error"]) == (200, "upstream_unreachable")


@pytest.mark.parametrize("fault", HARMLESS)
async def test_an_odd_response_is_a_response(fault: str) -> None:
    async with running_pair() as pair:
        for method in METHODS:
            call = await fate(pair, method, f"{fault} times=1")
            assert (call.status, call.recovered, len(call.arrivals)) == (200, None, 1), method
            assert call.executions == int(method in LEDGER)
            # Whatever was wrong with that connection, it does no harm to the next call.
            again = await call_and_observe(pair, "POST")
            again.check()
            assert (again.status, again.recovered, again.executions) == (200, None, 1), method


@pytest.mark.parametrize("fault", ANSWERS)
async def test_any_other_status_is_passed_through_and_nothing_is_sent_again(fault: str) -> None:
    async with running_pair() as pair:
        for method in METHODS:
            call = await fate(pair, method, f"{fault} times=1", reused=True)
            told = (call.status, call.error, call.recovered, len(call.arrivals))
            assert told == (ANSWERS[fault], None, None, 1), method
            assert call.executions == executed(method, fault), method


async def test_retry_after_is_passed_through() -> None:
    async with running_pair() as pair:
        pair.emulator.faults.add("rate-limit POST api")
        direct = await call_and_observe(pair, "POST")
        assert direct.response is not None
        assert direct.response.json["Type"] == "rate_limit"
        pair.emulator.faults.clear()
        pair.emulator.faults.add("header=Retry-After:7 POST api")
        assert (call := await call_and_observe(pair, "POST")).response is not None
        assert call.response.header("Retry-After") == b"7"


# --- nothing comes ---------------------------------------------------------------------------------------------------


async def timed_fate(pair: TimedPair, method: str) -> Outcome:
    call = asyncio.ensure_future(call_and_observe(pair, method))
    await pair.advance_until(call.done)
    return await call


@pytest.mark.parametrize("stage", ["head", "before", "after"])
@pytest.mark.parametrize("method", METHODS)
async def test_no_response_in_time_is_a_504_and_nothing_is_sent_again(method: str, stage: str) -> None:
    async with timed_pair(upstream_response_timeout="2s") as pair:
        await until(lambda: pair.token_requests)
        pair.emulator.faults.add(f"hang={stage} {method} api times=1")
        call = await timed_fate(pair, method)
        call.check()
        assert (call.status, call.error, call.outcome) == (504, "upstream_timeout", "unknown")
        assert (len(call.arrivals), call.executions) == (1, executed(method, f"={stage}"))


@pytest.mark.parametrize("method", METHODS)
async def test_a_body_that_stops_coming_is_cut_here_too(method: str) -> None:
    async with timed_pair(upstream_response_timeout="2s") as pair:
        await until(lambda: pair.token_requests)
        pair.emulator.faults.add(f"hang=during {method} api times=1")
        call = await timed_fate(pair, method)
        call.check()
        assert len(call.arrivals) == 1
        if method == "HEAD":
            assert call.status == 200
        else:
            assert (call.status, call.outcome) == ("cut", "unknown")
            assert (call.line["status"], call.line["error"]) == (200, "upstream_timeout")


async def test_a_trickle_is_no_hang() -> None:
    async with timed_pair(upstream_response_timeout="2s") as pair:
        await until(lambda: pair.token_requests)
        pair.emulator.faults.add("trickle=1.5 POST api")
        call = await timed_fate(pair, "POST")
        call.check()
        assert call.status == 200


# --- 401 -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reused", [False, True])
@pytest.mark.parametrize("method", METHODS)
async def test_after_a_token_401_everything_is_sent_once_more(method: str, reused: bool) -> None:
    async with running_pair() as pair:
        call = await fate(pair, method, "unauthorized times=1", reused=reused)
        assert (call.status, call.recovered, len(call.arrivals)) == (200, "token", 2)
        first, second = call.arrivals
        assert first.body == second.body
        assert call.executions == int(method in LEDGER)


@pytest.mark.parametrize("method", METHODS)
async def test_a_second_401_goes_to_the_caller(method: str) -> None:
    async with running_pair() as pair:
        call = await fate(pair, method, "unauthorized", reused=True)
        assert (call.status, call.error, call.recovered, len(call.arrivals)) == (401, None, None, 2)
        assert call.executions == 0


@pytest.mark.parametrize("fault", LOST)
@pytest.mark.parametrize("method", METHODS)
async def test_a_resend_after_a_401_is_not_sent_a_third_time(method: str, fault: str) -> None:
    async with running_pair() as pair:
        await warm(pair)
        pair.emulator.faults.add(f"unauthorized {method} api times=1")
        pair.emulator.faults.add(f"{fault} {method} api times=1")
        call = await call_and_observe(pair, method)
        assert (call.status, call.outcome, len(call.arrivals)) == (502, "unknown", 2)
        assert call.executions == executed(method, fault)


@pytest.mark.parametrize("broken", ["truncate", "bad-chunk", "reset=during"])
async def test_a_401_that_is_cut_short_is_not_mended(broken: str) -> None:
    """Its body has to be complete before anything is sent again (section 5.4)."""
    async with running_pair() as pair:
        await warm(pair)
        pair.emulator.state.tokens.revoke()
        pair.emulator.faults.add(f"{broken} POST api times=1")
        call = await call_and_observe(pair, "POST")
        assert (call.status, call.outcome, len(call.arrivals), call.executions) == (502, "unknown", 1, 0)


# --- by construction -------------------------------------------------------------------------------------------------


@pytest.mark.any_loop
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("end", ["reset", "close"])
@pytest.mark.parametrize("reused", [False, True])
async def test_no_library_sends_anything_again_by_itself(method: str, end: str, reused: bool) -> None:
    """HTTP clients repeat requests on their own when a connection ends, also PUT and DELETE: none may be at work here.

    A server that counts bytes, not an emulator, says how often the request came.
    """

    async def script(peer: Peer) -> None:
        request = await peer.request()
        if request.target.endswith("/oauth/token"):
            body = b'{"access_token": "cAnArYtOkEn1", "token_type": "bearer", "expires_in": 1200}'
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
            return
        if request.target == "/warm":
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            await peer.request()
        peer.reset() if end == "reset" else peer.close()

    async with serve(script) as upstream, running_app(f"http://127.0.0.1:{upstream.port}") as app:
        if reused:
            assert (await app.call("GET", "/warm")).status == 200
        response = await try_call(app, method, "/v2.01/acme/users", None if method in SAFE else b"{}")
        assert response is not None
        assert response.status == 502
        times = 2 if reused and method in SAFE else 1
        raw = b"".join(bytes(peer.received) for peer in upstream.peers)
        assert raw.count(f"{method} /v2.01/acme/users ".encode()) == times
        assert len([each for each in upstream.requests if each.target == "/v2.01/acme/users"]) == times


# --- the truth -------------------------------------------------------------------------------------------------------


@pytest.mark.any_loop
@pytest.mark.parametrize("seed", range(4))
async def test_whatever_happens_callers_and_log_are_told_the_truth(seed: int) -> None:
    """Faults in any mixture, several at a time, on connections in any state; each call is held against the ledger."""
    chosen = random.Random(seed)
    faults = [*LOST, *BROKEN, *CUT, *HARMLESS, *ANSWERS, *BROKEN_BODY, "unauthorized", "reset=connect", "close=connect"]
    async with running_pair(emulator_settings={"keep_received": 5000}) as pair:
        for _ in range(40):
            pair.emulator.faults.clear()
            for fault in chosen.sample(faults, 3):
                where = "" if "=connect" in fault else "api"
                pair.emulator.faults.add(f"{fault} {where} probability={chosen.random()}")
            calls = [call_and_observe(pair, chosen.choice(METHODS), target=ECHO) for _ in range(6)]
            for call in await asyncio.gather(*calls):
                call.check()
