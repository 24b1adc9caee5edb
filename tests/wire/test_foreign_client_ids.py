"""Calls whose path names another ClientId: refused here, or forwarded and never taken for a verdict on the token."""

from __future__ import annotations

import asyncio
import json

import pytest

from sidecar.core.errors import ErrorCode
from tests.support.app import App, error_code, running_app, running_pair
from tests.support.canary import CANARY_CALLER_KEY
from tests.support.prometheus import parse
from tests.support.raw_client import RawClient
from tests.wire.faults.support import TimedPair, timed_pair, warm

FOREIGN = "/v2.01/another-client/users"
HEALTHY = {
    "one path": ("/v2.01/acme/users",),
    "several": ("/v2.01/acme/users", "/v2.01/acme/hooks", "/v2.01/acme/events"),
}


async def admin(app: App, target: str) -> bytes:
    with await RawClient.connect(("127.0.0.1", app.admin_port)) as client:
        await client.send(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        return (await client.response()).body


async def foreign_finding(app: App) -> dict[str, object] | None:
    found = json.loads(await admin(app, "/status"))["findings"]
    return next((each for each in found if each["kind"] == "client_id_mismatch"), None)


async def in_time(pair: TimedPair, target: str) -> tuple[int, str | None]:
    call = asyncio.ensure_future(pair.app.call("GET", target))
    await pair.advance_until(call.done)
    response = await call
    code = error_code(response)
    return response.status, None if code is None else code.value


@pytest.mark.parametrize("paths", HEALTHY.values(), ids=HEALTHY)
@pytest.mark.parametrize(
    ("how", "expected"),
    [("refuse", (403, "client_id_mismatch")), ("forward", (401, None))],
    ids=["refused", "forwarded"],
)
async def test_twice_a_second_for_a_minute_harms_nobody(
    how: str, expected: tuple[int, str | None], paths: tuple[str, ...]
) -> None:
    """None of them asks for a token, and a revocation in the midst is mended for every healthy call."""
    async with timed_pair(mangopay_foreign_client_ids=how) as pair:
        pair.emulator.faults.add(f"unauthorized GET {FOREIGN}")
        await warm(pair)
        assert pair.token_requests == 1
        for number in range(120):
            if number == 60:
                assert pair.token_requests == 1
                pair.emulator.state.tokens.revoke()
            assert await in_time(pair, FOREIGN) == expected
            assert await in_time(pair, paths[number % len(paths)]) == (200, None)
            await pair.advance(0.5)
        assert pair.token_requests == 2  # for the revocation alone


async def test_the_refusal_reaches_nobody_and_is_told_everywhere() -> None:
    async with running_pair() as pair:
        responses = [await pair.call("POST", FOREIGN, b"{}") for _ in range(20)]
        assert {error_code(response) for response in responses} == {ErrorCode.CLIENT_ID_MISMATCH}
        response = responses[-1]
        assert (response.status, error_code(response)) == (403, ErrorCode.CLIENT_ID_MISMATCH)
        assert response.header("X-Sidecar-Outcome") == b"not-sent"
        assert "acme" in response.json["Message"]
        assert "another-client" not in response.body.decode()
        assert [each.target for each in pair.emulator.received if "another" in each.target] == []
        line = pair.app.log.requests[-1]
        assert (line["error"], line["client_id_ours"], line["path"]) == (
            *("client_id_mismatch", False),
            "/v2.01/{client}/users",
        )
        found = await foreign_finding(pair.app)
        assert found is not None
        assert "Calls for another ClientId: 20 within" in str(found["text"])
        assert "refused here" in str(found["text"])
        family = parse((await admin(pair.app, "/metrics")).decode())["mangopay_sidecar_errors_total"]
        assert family.value(code="client_id_mismatch", outcome="not-sent") == 20


async def test_one_that_is_forwarded_comes_back_as_mangopay_sent_it_and_counts_nothing() -> None:
    async with running_pair(mangopay_foreign_client_ids="forward") as pair:
        pair.emulator.faults.add(f"unauthorized {FOREIGN}")
        for method, body in (("GET", None), ("POST", b"{}")):
            response = await pair.call(method, FOREIGN, body, headers=(("Idempotency-Key", "0123456789abcdef"),))
            assert (response.status, error_code(response)) == (401, None)
            assert response.header("X-Sidecar-Recovered") is None
        assert [each.target for each in pair.emulator.received if "another" in each.target] == [FOREIGN] * 2
        assert pair.token_requests == 1
        assert [line["client_id_ours"] for line in pair.app.log.requests] == [False, False]
        families = parse((await admin(pair.app, "/metrics")).decode())
        kinds = families["mangopay_sidecar_unauthorized_total"]
        assert {kind: kinds.value(kind=kind) for kind in ("token", "sca", "futile")} == {
            "token": 0,
            "sca": 0,
            "futile": 0,
        }
        found = await foreign_finding(pair.app)
        assert found is not None
        assert "Calls for another ClientId: 2 within" in str(found["text"])
        recent = json.loads(await admin(pair.app, "/status"))["recent_calls"]
        assert [call["foreign"] for call in recent] == [True, True]


@pytest.mark.parametrize("target", ["/v2.01%2Fanother/users", "/v2.01;x/another/users", "/v2%252e01/another/users"])
async def test_one_in_disguise_that_is_forwarded_burns_no_token_either(target: str) -> None:
    async with running_pair(mangopay_foreign_client_ids="forward") as pair:
        pair.emulator.faults.add("unauthorized GET /**")
        assert (await pair.call("GET", target)).status == 401
        assert [each.target for each in pair.emulator.received if "oauth/token" not in each.target] == [target]
        assert pair.token_requests == 1


async def test_the_alias_for_any_makes_it_ours() -> None:
    async with running_pair(mangopay_client_id_aliases="*") as pair:
        assert (await pair.call("GET", FOREIGN)).status == 200
        assert pair.emulator.received[-1].target == "/v2.01/acme/users"
        assert await foreign_finding(pair.app) is None


async def test_a_caller_without_the_caller_key_does_not_learn_our_client_id() -> None:
    async with running_app("http://127.0.0.1:1", listen_caller_key=CANARY_CALLER_KEY) as app:
        response = await app.call("GET", FOREIGN)
        assert error_code(response) is ErrorCode.CALLER_NOT_ALLOWED
        assert b"acme" not in response.raw
        assert await foreign_finding(app) is None


# --- GET /


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_the_root_says_what_this_port_is_and_asks_nobody(method: str) -> None:
    async with running_pair(token_prefetch="false", policy_deny="* /**") as pair:
        response = await pair.call(method, "/")
        assert (response.status, response.header("Content-Type")) == (200, b"application/json")
        if method == "GET":
            told = response.json
            assert (told["name"], told["environment"]) == ("mangopay-sidecar", "emulator")
            assert told["page"] == f"http://127.0.0.1:{pair.app.admin_port}/"
            assert "/v2.01/_/users" in told["call"]
            assert "acme" not in response.body.decode()
        else:
            assert response.body == b""
        assert not pair.emulator.received
        (line,) = pair.app.log.requests
        assert (line["path"], line["status"], line["attempts"]) == ("/", 200, 0)


async def test_the_root_is_guarded_as_every_path_is() -> None:
    async with running_app("http://127.0.0.1:1", token_prefetch="false") as app:
        response = await app.call("GET", "/", headers=(("Origin", "http://localhost"),))
        assert error_code(response) is ErrorCode.BROWSER_NOT_ALLOWED
        with await app.connect() as client:
            await client.send(b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n")
            assert error_code(await client.response()) is ErrorCode.HOST_NOT_ALLOWED


@pytest.mark.parametrize("environment", ["sandbox", "emulator"])
async def test_with_a_caller_key_the_root_tells_no_more_than_that(environment: str) -> None:
    """But for calls that lead to an emulator, where there is no money to protect."""
    base_url = "http://127.0.0.1:1" if environment == "emulator" else "https://127.0.0.1:1"
    settings = {"listen_caller_key": CANARY_CALLER_KEY, "token_prefetch": "false", "mangopay_environment": environment}
    async with running_app(base_url, **settings) as app:
        response = await app.call("GET", "/")
        assert response.status == 200
        told = {"environment"} if environment == "emulator" else set()
        assert set(response.json) == {"name", "what", "call", *told}
        assert "listen.caller_key" in response.json["what"]


async def test_a_connection_goes_on_behind_the_root() -> None:
    async with running_pair() as pair:
        with await pair.app.connect() as client:
            for target in ("/", "/v2.01/_/users"):
                await client.send(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
                assert (await client.response()).status == 200


@pytest.mark.parametrize(
    "body",
    [
        b"Content-Length: 3\r\n\r\nabc",
        b"Content-Length: 1000000\r\n\r\n" + b"x" * 999_999,
        b"Transfer-Encoding: chunked\r\n\r\n186a0\r\n" + b"x" * 100_000,
    ],
    ids=["whole", "unfinished", "chunks without an end"],
)
async def test_a_body_of_the_root_is_not_read_and_ends_the_connection(body: bytes) -> None:
    """Anybody may ask, with the caller key or without: no such body takes from the budget of all calls."""
    settings = {"listen_caller_key": CANARY_CALLER_KEY, "token_prefetch": "false"}
    async with running_app("http://127.0.0.1:1", **settings) as app:
        with await app.connect() as client:
            await client.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n" + body)
            response = await client.response()
            assert (response.status, response.header("Connection")) == (200, b"close")
            held = parse((await admin(app, "/metrics")).decode())["mangopay_sidecar_replay_buffer_bytes"]
            assert held.value() == 0
            assert await client.rest() == b""
