"""Calls through the whole sidecar: what upstream receives, and what comes back."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from sidecar.core.errors import ErrorCode
from tests.support import canary
from tests.support.app import Pair, error_code, request_bytes, running_app, running_pair
from tests.support.emulator import NATURAL_USER, basic
from tests.support.ports import free_port
from tests.support.raw_client import RawClient
from tests.support.upstreams import Peer, Script, serve

if TYPE_CHECKING:
    from pathlib import Path

USER = json.dumps(NATURAL_USER).encode()
NATURAL = "/v2.01/acme/users/natural"
KEY = "0123456789abcdef-key"


def revoke_all(pair: Pair) -> None:
    pair.emulator.state.tokens.revoke()


@pytest.mark.any_loop
async def test_a_call_without_credentials_reaches_mangopay_with_a_token() -> None:
    async with running_pair() as pair:
        response = await pair.call("POST", NATURAL, USER)
        assert response.status == 200
        assert response.json["Id"]
        received = pair.emulator.received[-1]
        assert received.body == USER
        authorization = dict(received.headers)[b"Authorization"]
        assert authorization.startswith(b"Bearer " + canary.CANARY_TOKEN.encode())
        assert pair.token_requests == 1
        (line,) = pair.app.log.requests
        assert (line["status"], line["attempts"], line["bytes_in"]) == (200, 1, len(USER))
        assert 0 < line["upstream_ms"] <= line["duration_ms"]  # type: ignore[operator]


async def test_the_callers_own_credentials_never_go_up() -> None:
    async with running_pair() as pair:
        for authorization in ("Bearer sidecar_old", basic(), "Digest x"):
            response = await pair.call("GET", "/v2.01/acme/users", headers=(("Authorization", authorization),))
            assert response.status == 200
            sent = [value for name, value in pair.emulator.received[-1].headers if name == b"Authorization"]
            assert len(sent) == 1
            assert sent[0].startswith(b"Bearer cAnArY")


async def test_two_local_tokens_differ_and_cost_no_call() -> None:
    async with running_pair(token_prefetch="false") as pair:
        responses = [
            await pair.call("POST", f"/{v}/oauth/token", b"grant_type=client_credentials") for v in ("v2.01", "V2_01")
        ]
        assert [response.status for response in responses] == [200, 200]
        tokens = {response.json["access_token"] for response in responses}
        assert len(tokens) == 2
        assert all(token.startswith("sidecar_") for token in tokens)
        assert {(a.json["token_type"], a.json["expires_in"]) for a in responses} == {("Bearer", 3600)}
        assert pair.emulator.state.stats.requests == 0


async def test_embedded_paths_use_the_dedicated_key() -> None:
    body = json.dumps({"clientId": "acme", "claims": {"userId": "user_m_1"}}).encode()
    async with running_pair(mangopay_embedded_api_key="embedded-api-key") as pair:
        with await pair.app.connect() as client:  # not pair.call: this token is the caller's to see
            await client.send(request_bytes("POST", "/v2.01/oauth/token/embedded/recipient", body))
            response = await client.response()
        assert response.status == 200
        assert response.json["access_token"].startswith("rec_")
        assert pair.emulator.state.stats.refused_tokens["wrong_scope"] == 0


async def test_without_the_dedicated_key_nothing_is_forwarded() -> None:
    async with running_pair() as pair:
        response = await pair.call("POST", "/v2.01/oauth/token/embedded/checkout", b"{}")
        assert (response.status, error_code(response)) == (501, ErrorCode.EMBEDDED_KEY_MISSING)
        assert response.header("X-Sidecar-Outcome") == b"not-sent"
        assert all(each.target.endswith("/oauth/token") for each in pair.emulator.received)


@pytest.mark.any_loop
async def test_200_cold_calls_fetch_one_token() -> None:
    async with running_pair(token_prefetch="false") as pair:
        pair.emulator.faults.add("pass delay=0.2 token")
        responses = await asyncio.gather(*(pair.call("GET", "/v2.01/acme/users") for _ in range(200)))
        assert [response.status for response in responses] == [200] * 200
        assert pair.token_requests == 1


@pytest.mark.any_loop
async def test_200_calls_on_a_revoked_token_fetch_one_more() -> None:
    async with running_pair() as pair:
        assert (await pair.call("GET", "/v2.01/acme/users")).status == 200
        revoke_all(pair)
        responses = await asyncio.gather(*(pair.call("GET", "/v2.01/acme/users") for _ in range(200)))
        assert [response.status for response in responses] == [200] * 200
        assert pair.token_requests == 2
        assert {response.header("X-Sidecar-Recovered") for response in responses} <= {b"token", None}
        assert b"token" in {response.header("X-Sidecar-Recovered") for response in responses}


async def test_an_sca_401_is_passed_through_untouched() -> None:
    async with running_pair() as pair:
        assert (await pair.call("GET", "/v2.01/acme/users")).status == 200
        pair.emulator.faults.add("sca GET /v2.01/acme/wallets")
        response = await pair.call("GET", "/v2.01/acme/wallets/1")
        assert response.status == 401
        assert (response.header("WWW-Authenticate") or b"").startswith(b"PendingUserAction RedirectUrl=")
        assert response.header("X-Sidecar-Recovered") is None
        assert pair.token_requests == 1


async def test_a_resource_that_always_says_401_cannot_cause_a_storm() -> None:
    async with running_pair() as pair:
        pair.emulator.faults.add("unauthorized GET /v2.01/acme/bad")
        statuses = []
        for _ in range(100):
            bad = await pair.call("GET", "/v2.01/acme/bad/resource")
            good = await pair.call("GET", "/v2.01/acme/users")
            statuses.append((bad.status, good.status))
        assert set(statuses) == {(401, 200)}
        assert pair.token_requests <= 3
        deliveries = [each for each in pair.emulator.received if each.target.endswith("/bad/resource")]
        assert len(deliveries) <= 100 + 2


async def test_a_write_is_resent_after_a_401_byte_identical_and_executed_once() -> None:
    async with running_pair() as pair:
        assert (await pair.call("GET", "/v2.01/acme/users")).status == 200
        revoke_all(pair)
        response = await pair.call("POST", NATURAL, USER, headers=(("X-Mixed-Case", "kept"),))
        assert response.status == 200
        assert response.header("X-Sidecar-Recovered") == b"token"
        first, second = [each for each in pair.emulator.received if each.target == NATURAL]
        assert first.body == second.body == USER
        drop = b"Authorization"
        assert [h for h in first.headers if h[0] != drop] == [h for h in second.headers if h[0] != drop]
        (entry,) = pair.emulator.state.ledger.find(USER)
        assert (entry.deliveries, entry.executions, entry.unauthorized) == (2, 1, 1)


async def test_when_no_new_token_is_to_be_had_the_caller_is_told_so_and_not_the_401() -> None:
    async with running_pair() as pair:
        assert (await pair.call("GET", "/v2.01/acme/users")).status == 200
        revoke_all(pair)
        pair.emulator.faults.add("lockout token")
        response = await pair.call("POST", NATURAL, USER)
        assert (response.status, error_code(response)) == (503, ErrorCode.TOKEN_LOCKED_OUT)
        assert response.header("X-Sidecar-Outcome") == b"rejected"
        again = await pair.call("POST", NATURAL, USER)
        assert (again.status, error_code(again)) == (503, ErrorCode.TOKEN_LOCKED_OUT)
        assert again.header("X-Sidecar-Outcome") == b"not-sent"
        assert int(again.header("Retry-After") or 0) >= 20


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [("lockout token", 503, ErrorCode.TOKEN_LOCKED_OUT), ("invalid-client token", 502, ErrorCode.CREDENTIALS_REFUSED)],
)
async def test_a_latch_answers_at_once_and_stops_token_requests(fault: str, status: int, code: ErrorCode) -> None:
    async with running_pair(token_prefetch="false") as pair:
        pair.emulator.faults.add(fault)
        for _ in range(20):
            response = await pair.call("GET", "/v2.01/acme/users")
            assert (response.status, error_code(response)) == (status, code)
            assert response.header("WWW-Authenticate") is None
        assert pair.token_requests == 1


async def test_a_conflict_on_the_resend_is_told_as_the_401_that_it_comes_from() -> None:
    async with running_pair(emulator_settings={"burn_keys_on_401": True}) as pair:
        assert (await pair.call("GET", "/v2.01/acme/users")).status == 200
        revoke_all(pair)
        response = await pair.call("POST", NATURAL, USER, headers=(("Idempotency-Key", KEY),))
        assert response.status == 401
        assert response.header("X-Sidecar-Recovered") is None
        assert pair.emulator.state.ledger.executions == 0


# --- failures --------------------------------------------------------------------------------------------------------


@pytest.mark.any_loop
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("stage", ["before", "after"])
async def test_a_write_is_never_sent_again_when_its_connection_breaks(method: str, stage: str) -> None:
    async with running_pair() as pair:
        assert (await pair.call("GET", "/v2.01/acme/users")).status == 200  # so that a reused connection breaks
        pair.emulator.faults.add(f"reset={stage} {method}")
        response = await pair.call(method, NATURAL, USER)
        assert (response.status, error_code(response)) == (502, ErrorCode.UPSTREAM_UNREACHABLE)
        assert response.header("X-Sidecar-Outcome") == b"unknown"
        assert len([each for each in pair.emulator.received if each.method == method]) <= 1 + (method == "POST")
        assert pair.emulator.state.ledger.delivered_twice() == []


async def test_a_get_is_sent_once_more_if_a_reused_connection_breaks() -> None:
    async with running_pair() as pair:
        assert (await pair.call("GET", "/v2.01/acme/users")).status == 200
        pair.emulator.faults.add("reset=before GET /v2.01/acme/users times=1")
        response = await pair.call("GET", "/v2.01/acme/users")
        assert response.status == 200
        assert response.header("X-Sidecar-Recovered") == b"connection"


async def test_an_upstream_that_is_gone_is_not_sent() -> None:
    async with running_pair(emulator_settings={"port": free_port()}) as pair:
        assert (await pair.call("GET", "/v2.01/acme/users")).status == 200
        await pair.emulator.stop()
        response = await pair.call("POST", NATURAL, USER)
        assert (response.status, error_code(response)) == (502, ErrorCode.UPSTREAM_UNREACHABLE)
        assert response.header("X-Sidecar-Outcome") == b"not-sent"


async def test_no_response_in_time_is_unknown() -> None:
    async with running_pair(upstream_response_timeout="500ms") as pair:
        pair.emulator.faults.add(f"hang=after POST {NATURAL}")
        response = await pair.call("POST", NATURAL, USER)
        assert (response.status, error_code(response)) == (504, ErrorCode.UPSTREAM_TIMEOUT)
        assert response.header("X-Sidecar-Outcome") == b"unknown"
        assert pair.emulator.state.ledger.executions == 1


# --- reading back ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["reset=after", "close=after"])
async def test_a_lost_response_is_read_back_by_its_key(fault: str) -> None:
    async with running_pair() as pair:
        pair.emulator.faults.add(f"{fault} POST {NATURAL} times=1")
        response = await pair.call("POST", NATURAL, USER, headers=(("Idempotency-Key", KEY),))
        assert response.status == 200
        assert response.header("X-Sidecar-Recovered") == b"idempotency"
        assert response.json["Email"] == NATURAL_USER["Email"]
        (entry,) = pair.emulator.state.ledger.find(USER)
        assert (entry.deliveries, entry.executions) == (1, 1)
        assert pair.app.log.requests[-1]["recovered"] == ("idempotency",)


async def test_what_was_never_executed_is_not_read_back() -> None:
    async with running_pair() as pair:
        pair.emulator.faults.add(f"reset=before POST {NATURAL}")
        response = await pair.call("POST", NATURAL, USER, headers=(("Idempotency-Key", KEY),))
        assert (response.status, response.header("X-Sidecar-Outcome")) == (502, b"unknown")
        assert "SAME Idempotency-Key" in response.json["Message"]
        assert pair.app.log.requests[-1]["idempotency_key"] == KEY


async def test_yesterdays_success_under_the_same_key_is_not_todays_answer() -> None:
    async with running_pair() as pair:
        headers = (("Idempotency-Key", KEY),)
        assert (await pair.call("POST", NATURAL, USER, headers=headers)).status == 200
        # Whole seconds are compared: the first payment must be clearly older than the second one.
        assert pair.emulator.state.age_stored_responses(86_000) == 1
        pair.emulator.faults.add(f"reset=after POST {NATURAL} times=1")
        response = await pair.call("POST", NATURAL, USER, headers=headers)
        assert (response.status, response.header("X-Sidecar-Outcome")) == (502, b"unknown")
        assert response.header("X-Sidecar-Recovered") is None


# --- callers that leave ----------------------------------------------------------------------------------------------


@pytest.mark.any_loop
async def test_a_write_whose_caller_leaves_is_followed_to_its_response() -> None:
    async with running_pair() as pair:
        pair.emulator.faults.add(f"pass POST {NATURAL} answer_delay=0.4")
        with await pair.app.connect() as client:
            await client.send(request_bytes("POST", NATURAL, USER))
            while not pair.emulator.state.ledger.executions:
                await asyncio.sleep(0.01)
        while not pair.app.log.requests:
            await asyncio.sleep(0.01)
        (line,) = pair.app.log.requests
        assert (line["caller"], line["status"], line.get("outcome")) == ("gone", 200, None)


async def test_a_get_whose_caller_leaves_is_cancelled() -> None:
    async with running_pair() as pair:
        pair.emulator.faults.add("hang=before GET /v2.01/acme/users")
        with await pair.app.connect() as client:
            await client.send(request_bytes("GET", "/v2.01/acme/users"))
            while not [each for each in pair.emulator.received if each.method == "GET"]:
                await asyncio.sleep(0.01)
        while not pair.app.log.requests:
            await asyncio.sleep(0.01)
        (line,) = pair.app.log.requests
        assert (line["caller"], line["status"], line["outcome"]) == ("gone", None, "unknown")


async def test_a_call_whose_caller_leaves_before_it_was_sent_is_not_sent() -> None:
    async with running_pair(token_prefetch="false") as pair:
        pair.emulator.faults.add("hang token")
        with await pair.app.connect() as client:
            await client.send(request_bytes("POST", NATURAL, USER))
            while not pair.token_requests:
                await asyncio.sleep(0.01)
        while not pair.app.log.requests:
            await asyncio.sleep(0.01)
        (line,) = pair.app.log.requests
        assert (line["caller"], line["outcome"]) == ("gone", "not-sent")
        assert not pair.emulator.state.ledger.deliveries


# --- answers ---------------------------------------------------------------------------------------------------------


def scripted(response: bytes) -> Script:
    async def script(peer: Peer) -> None:
        while True:
            request = await peer.request()
            if request.target.endswith("/oauth/token"):
                body = b'{"access_token": "cAnArYtOkEn1", "token_type": "bearer", "expires_in": 1200}'
                await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
            else:
                await peer.send(response)
                if b"Connection: close" in response:
                    return

    return script


ODD_HEAD = (
    b"HTTP/1.1 299 Very Odd \xe9\r\nx-lower: 1\r\nX-UPPER: a\r\nX-UPPER: b\r\nX-Raw: \xff\xfe\r\n"
    b"X-RateLimit: 1\r\nX-RateLimit: 2\r\nContent-Encoding: gzip\r\n"
)


@pytest.mark.any_loop
async def test_a_response_comes_back_byte_for_byte() -> None:
    body = b"\x1f\x8b not really gzip"
    raw = ODD_HEAD + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    async with serve(scripted(raw)) as upstream, running_app(f"http://127.0.0.1:{upstream.port}") as app:
        response = await app.call("GET", "/v2.01/acme/users")
        assert response.raw == raw


@pytest.mark.any_loop
@pytest.mark.parametrize(
    "broken",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: foo\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 17 + b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"garbage\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 0\n\n" + b"\r\n\r\n",
    ],
)
async def test_a_broken_response_is_a_502(broken: bytes) -> None:
    async with serve(scripted(broken)) as upstream, running_app(f"http://127.0.0.1:{upstream.port}") as app:
        response = await app.call("POST", NATURAL, USER)
        assert (response.status, error_code(response)) == (502, ErrorCode.UPSTREAM_UNREACHABLE)
        assert response.header("X-Sidecar-Outcome") == b"unknown"
        assert len([each for each in upstream.requests if each.target == NATURAL]) == 1


@pytest.mark.any_loop
@pytest.mark.parametrize(
    "cut",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 10\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ],
)
async def test_a_response_cut_short_never_ends_cleanly_here(cut: bytes) -> None:
    async with serve(scripted(cut)) as upstream, running_app(f"http://127.0.0.1:{upstream.port}") as app:
        with await app.connect() as client:
            await client.send(request_bytes("GET", "/v2.01/acme/users"))
            with pytest.raises((EOFError, ConnectionResetError)):
                await client.response()
        while not app.log.requests:
            await asyncio.sleep(0.01)
        assert app.log.requests[-1]["outcome"] == "unknown"


async def test_a_chunked_response_is_chunked_again_and_delimited_by_the_end_for_http10() -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: x\r\n\r\n"
    async with serve(scripted(chunked)) as upstream, running_app(f"http://127.0.0.1:{upstream.port}") as app:
        response = await app.call("GET", "/v2.01/acme/users")
        assert (response.header("Transfer-Encoding"), response.body) == (b"chunked", b"abcde")
        with await app.connect() as client:
            await client.send(b"GET /v2.01/acme/users HTTP/1.0\r\nHost: localhost\r\n\r\n")
            old = await client.response()
        assert (old.header("Transfer-Encoding"), old.header("Connection"), old.body) == (None, b"close", b"abcde")


async def test_a_response_without_a_length_that_comes_in_pieces_ends_an_http10_connection_that_was_to_stay() -> None:
    """There are no chunks in HTTP/1.0: only the end of the connection can be the end of the body."""
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n100000\r\n" + b"a" * 2**20 + b"\r\n0\r\n\r\n"
    async with serve(scripted(chunked)) as upstream, running_app(f"http://127.0.0.1:{upstream.port}") as app:
        with await app.connect() as client:
            await client.send(b"GET /v2.01/acme/users HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n")
            response = await client.response()
            assert (response.header("Connection"), response.header("Transfer-Encoding")) == (b"close", None)
            assert response.header("Content-Length") is None
            assert response.body == b"a" * 2**20
            assert await client.ending() == "end"


async def test_a_response_without_a_length_that_is_in_hand_gets_one_over_http10_and_the_connection_stays() -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    async with serve(scripted(chunked)) as upstream, running_app(f"http://127.0.0.1:{upstream.port}") as app:
        with await app.connect() as client:
            await client.send(b"GET /v2.01/acme/users HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n")
            response = await client.response()
            assert (response.header("Connection"), response.header("Content-Length")) == (b"keep-alive", b"3")
            assert response.body == b"abc"


@pytest.mark.parametrize("response", ["whole", "cut", "large"])
async def test_http10_over_a_unix_socket_gets_no_part_for_the_whole(response: str, tmp_path: Path) -> None:
    start = b"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
    rest = {"whole": b"0\r\n\r\n", "cut": b"", "large": b"%x\r\n%b\r\n0\r\n\r\n" % (2**20, b"x" * 2**20)}[response]
    socket = tmp_path / "sidecar.sock"
    async with (
        serve(scripted(start + rest)) as upstream,
        running_app(f"http://127.0.0.1:{upstream.port}", listen_unix_socket=str(socket)),
    ):
        with await RawClient.connect(socket) as client:
            await client.send(b"GET /v2.01/acme/users HTTP/1.0\r\nHost: any\r\n\r\n")
            got = await client.response()
    if response == "whole":
        assert (got.status, got.body) == (200, b"abc")
    else:
        assert (got.status, error_code(got)) == (502, ErrorCode.UPSTREAM_UNREACHABLE)


async def test_an_http10_caller_that_asks_to_keep_its_connection_is_told_so() -> None:
    async with running_pair() as pair:
        with await pair.app.connect() as client:
            for _ in range(2):
                await client.send(
                    b"GET /v2.01/acme/users HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n"
                )
                assert (await client.response()).header("Connection") == b"keep-alive"


async def test_no_request_is_lost_behind_a_body_that_was_answered_before_it_was_read() -> None:
    async with running_pair(replay_max_body="100KiB") as pair:
        assert (await pair.call("GET", "/v2.01/acme/users")).status == 200
        pair.emulator.faults.add(f"status=413 POST {NATURAL} stage=head")
        with await pair.app.connect() as client:
            await client.send(request_bytes("POST", NATURAL, b"x" * 300_000)[:200_000])
            response = await client.response()
        assert (response.status, response.header("Connection")) == (413, b"close")


async def test_an_unknown_caller_at_the_token_path_is_refused_before_its_body_is_taken() -> None:
    async with running_pair(listen_caller_key=canary.CANARY_CALLER_KEY) as pair:
        head = (
            b"POST /v2.01/oauth/token HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n"
        )
        with await pair.app.connect() as client:
            await client.send(head)
            response = await client.response()
        assert (response.status, error_code(response)) == (403, ErrorCode.CALLER_NOT_ALLOWED)
        (line,) = pair.app.log.requests
        assert (line["status"], line["error"]) == (403, ErrorCode.CALLER_NOT_ALLOWED)


async def test_an_http10_caller_is_not_kept_waiting_for_the_end_of_an_own_response() -> None:
    async with running_pair() as pair:
        for target in ("/v2.01/oauth/token", "//refused"):
            with await pair.app.connect() as client:
                await client.send(
                    b"POST %b HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n" % target.encode()
                )
                assert (await client.response()).header("Connection") == b"close"
                assert await client.ending() == "end"


async def test_the_size_of_a_streamed_body_is_logged() -> None:
    async with running_pair(replay_max_body="100KiB") as pair:
        assert (await pair.call("POST", "/__emulator__/echo", b"x" * 300_000)).status == 200
        assert pair.app.log.requests[-1]["bytes_in"] == 300_000


async def test_admin_connections_that_idle_keep_nobody_out_and_hold_no_shutdown_up() -> None:
    async with AsyncExitStack() as stack:
        async with running_pair() as pair:
            for _ in range(70):
                stack.enter_context(await RawClient.connect(("127.0.0.1", pair.app.admin_port)))
            with await RawClient.connect(("127.0.0.1", pair.app.admin_port)) as probe:
                for _ in range(2):
                    await probe.send(b"GET /healthz HTTP/1.1\r\nHost: pod\r\n\r\n")
                    assert (await probe.response()).status == 200
            stack.enter_context(await RawClient.connect(("127.0.0.1", pair.app.admin_port)))
