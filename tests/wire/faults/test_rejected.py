"""A token that was revoked while no new one is to be had: callers are told so, and never get the 401 in its place."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.app import running_app, running_pair
from tests.support.ports import free_port
from tests.support.upstreams import Peer, serve
from tests.wire.faults.support import (
    KEYED,
    METHODS,
    SAFE,
    Outcome,
    TimedPair,
    call_and_observe,
    timed_pair,
    try_call,
    warm,
)
from tests.wire.faults.test_token_endpoint import LATCHING, TRANSIENT

UNAVAILABLE = (503, "token_unavailable")
#: How a call ends whose token was revoked, by the token endpoint's fault.
FAULTS = {**dict.fromkeys([*TRANSIENT, "edge=403", "edge=502", "hang=head", "hang=before"], UNAVAILABLE), **LATCHING}


async def in_time(pair: TimedPair, *methods: str) -> list[Outcome]:
    calls = asyncio.gather(*(call_and_observe(pair, method) for method in methods))
    await pair.advance_until(calls.done)
    fates = await calls
    for fate in fates:
        fate.check()
    return fates


@pytest.mark.parametrize("fault", FAULTS)
async def test_every_caller_is_told_and_all_is_well_when_the_token_endpoint_is(fault: str) -> None:
    async with timed_pair() as pair:
        await warm(pair)
        pair.emulator.faults.add(f"{fault} token")
        pair.emulator.state.tokens.revoke()
        expected = FAULTS[fault]
        fates = await in_time(pair, *["POST"] * 5)
        assert {(fate.status, fate.error) for fate in fates} == {expected}
        assert "rejected" in {fate.outcome for fate in fates} <= {"rejected", "not-sent"}
        (later,) = await in_time(pair, "GET")
        assert (later.status, later.error, later.outcome) == (*expected, "not-sent")
        pair.emulator.faults.clear()
        if fault.startswith("hang"):
            pair.emulator.close_connections()  # a token request ends by the loop's clock, which no test moves
        # Longer than the pause after any failure.
        recovered = pair.clock.now() + 60
        await pair.advance_until(lambda: pair.clock.now() >= recovered, step=5.0)
        for _ in range(3):
            assert {fate.status for fate in await in_time(pair, *["POST"] * 5)} == {200}
            pair.emulator.state.tokens.revoke()
        assert pair.emulator.ledger.executed_twice() == []


@pytest.mark.parametrize("method", METHODS)
async def test_a_rejected_call_says_so_in_the_response_the_log_and_the_message(method: str) -> None:
    async with timed_pair() as pair:
        await warm(pair)
        pair.emulator.faults.add("lockout token")
        pair.emulator.state.tokens.revoke()
        (fate,) = await in_time(pair, method)
        assert (fate.status, fate.error, fate.outcome) == (503, "token_locked_out", "rejected")
        assert len(fate.arrivals) == 1
        assert fate.line["attempts"] == 1
        assert fate.response is not None
        assert int(fate.response.header("Retry-After") or 0) > 0
        if method != "HEAD":
            assert "executed nothing: it may be sent again" in fate.response.json["Message"]


async def test_a_rejected_keyed_call_is_neither_read_back_nor_told_to_look_for_itself() -> None:
    async with timed_pair() as pair:
        await warm(pair)
        pair.emulator.faults.add("status=500 token")
        pair.emulator.state.tokens.revoke()
        call = asyncio.ensure_future(call_and_observe(pair, "POST", headers=KEYED))
        await pair.advance_until(call.done)
        fate = await call
        fate.check()
        assert fate.outcome == "rejected"
        assert "idempotency_key" not in fate.line
        assert not [each for each in pair.emulator.received if "/responses/" in each.target]


@pytest.mark.parametrize("method", METHODS)
async def test_a_second_delivery_that_never_left_is_rejected_too(method: str) -> None:
    """Mangopay answered 401 to the first one, and could not be reached any more after that."""
    tokens = 0

    async def script(peer: Peer) -> None:
        nonlocal tokens
        request = await peer.request()
        if not request.target.endswith("/oauth/token"):
            await peer.send(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
            return
        tokens += 1
        if tokens == 2:
            upstream.stop_listening()
            for other in upstream.peers:
                if other is not peer:
                    other.close()
        body = b'{"access_token": "cAnArYtOkEn%d", "token_type": "bearer", "expires_in": 1200}' % tokens
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(body), body))

    # Of a port that nobody else gets: it refuses once the listening has stopped.
    async with serve(script, port=free_port()) as upstream, running_app(f"http://127.0.0.1:{upstream.port}") as app:
        response = await try_call(app, method, "/v2.01/acme/users", None if method in SAFE else b"{}")
        assert response is not None
        told = [response.header(f"X-Sidecar-{name}") for name in ("Error", "Outcome")]
        assert (response.status, told) == (502, [b"upstream_unreachable", b"rejected"])
        (line,) = app.log.requests
        assert (line["outcome"], line["attempts"]) == ("rejected", 1)
        if method != "HEAD":
            assert response.json["Message"].endswith("executed nothing: it may be sent again as it is.")


async def test_a_stream_cannot_be_resent_and_gets_the_401_itself() -> None:
    async with running_pair(replay_max_body="4") as pair:
        await warm(pair)
        pair.emulator.state.tokens.revoke()
        fate = await call_and_observe(pair, "POST", body=b"more than four bytes")
        assert (fate.status, fate.error, fate.outcome, len(fate.arrivals)) == (401, None, None, 1)
        again = await call_and_observe(pair, "POST", body=b"more than four bytes")
        assert again.status == 200, "the 401 counted all the same"
