"""What stands in front of Mangopay, and what Mangopay's errors tell: pages, SCA without a body, ids for support."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
from typing import TYPE_CHECKING, Any, Final

import pytest
from structlog.testing import capture_logs

from sidecar.emulator.settings import Credentials
from tests.support import canary
from tests.support.app import running_app, running_pair
from tests.support.raw_client import RawClient
from tests.support.upstreams import Peer, Script, serve
from tests.wire.faults.support import KEYED, NATURAL, USER, call_and_observe, timed_pair, until, warm

if TYPE_CHECKING:
    from structlog.typing import EventDict

    from tests.support.app import App, Pair
    from tests.wire.faults.support import Outcome, TimedPair

RAY: Final = re.compile(r"[0-9a-f]{16}-CDG")
WALLET: Final = "/v2.01/acme/wallets/1"
TOKEN: Final = json.dumps(
    {"access_token": canary.CANARY_TOKEN + "-e", "token_type": "bearer", "expires_in": 1200}
).encode()
SCA: Final = (
    b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: PendingUserAction RedirectUrl=https://sca.test/?token=1\r\n"
)


async def document(app: App) -> dict[str, Any]:
    """Return what ``/status`` says."""
    with await RawClient.connect(("127.0.0.1", app.admin_port)) as client:
        await client.send(b"GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n")
        found: dict[str, Any] = (await client.response()).json
    return found


async def kinds(app: App) -> list[str]:
    return [finding["kind"] for finding in (await document(app))["findings"]]


def scripted(response: bytes) -> Script:
    """Answer token requests with a token, and everything else with ``response``; then close."""

    async def script(peer: Peer) -> None:
        request = await peer.request()
        if request.target.endswith("/oauth/token"):
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(TOKEN), TOKEN))
        else:
            await peer.send(response)

    return script


# --- the token endpoint ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [401, 403, 429, 502, 520])
async def test_a_page_at_the_token_endpoint_latches_nothing_and_is_told_as_the_edges(status: int) -> None:
    async with timed_pair(token_prefetch="false") as pair:
        pair.emulator.faults.add(f"edge={status} token")
        with capture_logs() as logs:
            call = asyncio.ensure_future(call_and_observe(pair, "POST"))
            await pair.advance_until(call.done)
        fate = await call
        fate.check()
        assert (fate.status, fate.error, fate.outcome) == (503, "token_unavailable", "not-sent")
        shown = await document(pair.app)
        (token,) = shown["tokens"]
        assert (token["latch_reason"], token["last_failure"]) == (None, "edge_page")
        (finding,) = [each for each in shown["findings"] if each["kind"] == "edge_pages"]
        assert RAY.search(finding["text"])
        failed = [entry["detail"] for entry in logs if entry["event"] == "token.fetch_failed"]
        assert failed
        assert all("of the edge" in detail and RAY.search(detail) for detail in failed)
        assert "token.latched" not in {entry["event"] for entry in logs}


async def test_twelve_seconds_of_pages_cost_six_token_requests_at_most_however_many_call() -> None:
    async with timed_pair(token_prefetch="false") as pair:
        pair.emulator.faults.add("edge=403 token")
        began = pair.clock.now()
        while pair.clock.now() < began + 12:
            calls = asyncio.gather(*(call_and_observe(pair, "GET") for _ in range(3)))
            await pair.advance_until(calls.done)
            assert {fate.error for fate in await calls} == {"token_unavailable"}
        assert 2 <= pair.token_requests <= 6


async def test_calls_go_on_once_the_page_is_gone() -> None:
    async with timed_pair(token_prefetch="false") as pair:
        pair.emulator.faults.add("edge=403 token times=1")
        call = asyncio.ensure_future(call_and_observe(pair, "POST"))
        await pair.advance_until(call.done)
        assert (await call).status == 200
        assert pair.token_requests == 2


async def test_a_403_of_mangopays_own_latches() -> None:
    async with timed_pair(token_prefetch="false") as pair:
        pair.emulator.faults.add("forbidden token")
        fate = await call_and_observe(pair, "POST")
        assert (fate.status, fate.error) == (502, "credentials_refused")
        assert "address_refused" in await kinds(pair.app)


# --- the API ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [403, 429, 502, 520])
async def test_a_page_in_place_of_an_api_response_passes_as_it_is_and_its_ray_is_logged(status: int) -> None:
    async with running_pair() as pair:
        pair.emulator.faults.add(f"edge={status} api")
        response = await pair.call("GET", "/v2.01/acme/users")
        assert response.status == status
        assert response.header("Content-Type") == b"text/html; charset=UTF-8"
        assert response.body.startswith(b"<!DOCTYPE html>")
        (line,) = pair.app.log.requests
        assert line["cf_ray"] == (response.header("CF-Ray") or b"").decode()
        assert "mangopay_id" not in line
        assert pair.token_requests == 1
        assert ("edge_pages" in await kinds(pair.app)) == (status != 403)


async def test_mangopays_own_id_and_type_are_in_the_log_and_on_the_page() -> None:
    async with running_pair() as pair:
        response = await pair.call("POST", NATURAL, b'{"FirstName": "only"}')
        assert response.status == 400
        (line,) = pair.app.log.requests
        assert (line["mangopay_id"], line["mangopay_type"]) == (response.json["Id"], response.json["Type"])
        assert "cf_ray" not in line
        (call,) = (await document(pair.app))["recent_calls"]
        assert (call["mangopay_id"], call["mangopay_type"]) == (response.json["Id"], "param_error")
        assert (await pair.call("POST", NATURAL, USER)).status == 200
        assert "mangopay_id" not in pair.app.log.requests[-1]


@pytest.mark.parametrize("compressed", [False, True])
async def test_what_is_logged_of_foreign_text_is_short_and_looks_like_an_id(compressed: bool) -> None:
    report = {"Id": "\x1b[31m" + "x" * 5000, "Type": f"Bearer {canary.CANARY_TOKEN}", "Message": "m"}
    body = json.dumps(report).encode()
    coding = b"Content-Encoding: gzip\r\n" if compressed else b""
    body = gzip.compress(body) if compressed else body
    head = b"HTTP/1.1 400 Bad Request\r\nCF-Ray: \xff<script>\r\n%bContent-Length: %d\r\n\r\n" % (coding, len(body))
    async with serve(scripted(head + body)) as upstream, running_app(f"http://127.0.0.1:{upstream.port}") as app:
        with await app.connect() as client:
            await client.send(b"GET /v2.01/acme/users HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert (await client.response()).body == body
        (line,) = app.log.requests
        assert not {"mangopay_id", "mangopay_type", "cf_ray"} & set(line)


async def test_no_body_is_waited_for_to_log_its_id() -> None:
    """The caller gets what there is at once; the log has the ray, which is in the head."""
    hold = asyncio.Event()
    report = json.dumps({"Id": "5e83fbe8-7345-4778-8437-4aa6464b3337", "Type": "param_error"}).encode()
    head = b"HTTP/1.1 400 Bad Request\r\nCF-Ray: 8f3c2a1b4d5e6f70-CDG\r\nContent-Length: %d\r\n\r\n" % len(report)

    async def slowly(peer: Peer) -> None:
        request = await peer.request()
        if request.target.endswith("/oauth/token"):
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(TOKEN), TOKEN))
            return
        await peer.send(head + report[:10])
        await hold.wait()
        await peer.send(report[10:])

    async with serve(slowly) as upstream, running_app(f"http://127.0.0.1:{upstream.port}") as app:
        with await app.connect() as client:
            await client.send(b"GET /v2.01/acme/users HTTP/1.1\r\nHost: localhost\r\n\r\n")
            came = b""
            while not came.endswith(report[:10]):
                came += await client.receive()
            hold.set()
            while not came.endswith(report):
                came += await client.receive()
        await until(lambda: app.log.requests)
        (line,) = app.log.requests
        assert line["cf_ray"] == "8f3c2a1b4d5e6f70-CDG"
        assert "mangopay_id" not in line


# --- SCA -------------------------------------------------------------------------------------------------------------


async def user_with_wallet(pair: Pair) -> str:
    """Return the path of an owner's wallet, which asks for SCA."""
    owner = {**json.loads(USER), "UserCategory": "OWNER", "TermsAndConditionsAccepted": True}
    user = (await pair.call("POST", NATURAL, json.dumps(owner).encode())).json["Id"]
    body = json.dumps({"Owners": [user], "Description": "d", "Currency": "EUR"}).encode()
    wallet = (await pair.call("POST", "/v2.01/acme/wallets", body)).json["Id"]
    return f"/v2.01/acme/wallets/{wallet}"


@pytest.mark.parametrize("body", [True, False])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_an_sca_challenge_passes_as_it_is_and_refreshes_nothing(method: str, body: bool) -> None:
    async with running_pair(emulator_settings={"sca_body": body}) as pair:
        wallet = await user_with_wallet(pair)
        for _ in range(5):
            response = await pair.call(method, wallet)
            assert response.status == 401
            challenge = response.header("WWW-Authenticate") or b""
            assert challenge.startswith(b"PendingUserAction RedirectUrl=")
            assert response.header("X-Sidecar-Error") is None
            if method == "GET":
                assert bool(response.body) is body
            if not body:
                assert response.header("Content-Length") == b"0"
        assert pair.token_requests == 1
        assert all(line["attempts"] == 1 for line in pair.app.log.requests)
        assert (await pair.call("GET", "/v2.01/acme/users")).status == 200


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("framing", "body"),
    [
        pytest.param(b"Content-Length: 0\r\n\r\n", b"", id="a length of 0"),
        pytest.param(b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"", id="no chunks"),
        pytest.param(b"Connection: close\r\n\r\n", b"", id="no length, and closed"),
        pytest.param(b"\r\n", b"", id="no length"),
        pytest.param(b"Content-Length: 2\r\n\r\n{}", b"{}", id="a body"),
    ],
)
async def test_an_sca_challenge_without_a_body_however_it_is_framed(method: str, framing: bytes, body: bytes) -> None:
    """The caller's connection stays usable, and no byte after the head can be taken for the next response."""
    response = SCA + (framing if method == "GET" else framing.partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
    if framing == b"\r\n":
        response = SCA + b"\r\n"
    async with serve(scripted(response)) as upstream, running_app(f"http://127.0.0.1:{upstream.port}") as app:
        with await app.connect() as client:
            for _ in range(2):
                await client.send(f"{method} {WALLET} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
                received = await client.response(head_only=method == "HEAD")
                assert received.status == 401
                assert received.header("WWW-Authenticate") == SCA.split(b"WWW-Authenticate: ")[1].rstrip()
                assert received.body == (b"" if method == "HEAD" else body)
        targets = [request.target for request in upstream.requests]
        assert targets.count(WALLET) == 2
        assert sum(target.endswith("/oauth/token") for target in targets) == 1


async def test_a_401_without_a_length_that_is_no_sca_challenge_is_broken() -> None:
    response = b"HTTP/1.1 401 Unauthorized\r\nConnection: close\r\n\r\n"
    async with serve(scripted(response)) as upstream, running_app(f"http://127.0.0.1:{upstream.port}") as app:
        received = await app.call("GET", WALLET)
        assert (received.status, received.header("X-Sidecar-Error")) == (502, b"upstream_unreachable")


# --- reading back ----------------------------------------------------------------------------------------------------


async def keyed(pair: TimedPair, number: int) -> Outcome:
    call = asyncio.ensure_future(
        call_and_observe(pair, "POST", headers=(("Idempotency-Key", f"a-key-of-this-test-{number:02}"),))
    )
    await pair.advance_until(call.done, step=0.1)
    return await call


def reads(pair: TimedPair) -> int:
    return sum("/responses/" in each.target for each in pair.emulator.received)


def warnings(logs: list[EventDict]) -> list[EventDict]:
    return [entry for entry in logs if entry["event"] == "answer.read_back_forbidden"]


def without_scope() -> Credentials:
    return Credentials(permissions={canary.CANARY_API_KEY: ["Payins:WRITE"]})


async def test_a_key_that_may_not_read_back_is_said_once_and_found() -> None:
    with capture_logs() as logs:
        async with timed_pair(emulator_settings={"credentials": without_scope()}) as pair:
            await warm(pair)
            assert "read_back_forbidden" not in await kinds(pair.app)
            pair.emulator.faults.add("reset=after POST api")
            for number in range(3):
                fate = await keyed(pair, number)
                assert (fate.status, fate.outcome, fate.executions) == (502, "unknown", 1)
            assert reads(pair) == 3  # a second try would be told the same
            (warning,) = warnings(logs)
            assert warning["scope"] == "Client.Developers (READ)"
            assert "Client.Developers (READ)" in str(warning["mend"])
            assert warning["mangopay_type"] == "forbidden_ressource"
            shown = await document(pair.app)
            assert shown["read_back_forbidden"] is True
            (finding,) = [each for each in shown["findings"] if each["kind"] == "read_back_forbidden"]
            assert (finding["level"], finding["area"]) == ("warning", "key")


async def test_the_finding_goes_once_reading_back_is_answered_otherwise() -> None:
    with capture_logs() as logs:
        async with timed_pair() as pair:
            await warm(pair)
            pair.emulator.faults.add("reset=after POST api")
            pair.emulator.faults.add("forbidden GET /v2.01/acme/responses times=1")
            assert (await keyed(pair, 1)).status == 502
            assert "read_back_forbidden" in await kinds(pair.app)
            assert (await keyed(pair, 2)).recovered == "idempotency"
            assert "read_back_forbidden" not in await kinds(pair.app)
            pair.emulator.faults.add("forbidden GET /v2.01/acme/responses")
            assert (await keyed(pair, 3)).status == 502
            assert len(warnings(logs)) == 2


@pytest.mark.parametrize("fault", ["edge=403", "status=429", "status=500", "edge=502", "reset=before"])
async def test_what_says_nothing_of_the_scope_is_tried_again_and_no_finding(fault: str) -> None:
    with capture_logs() as logs:
        async with timed_pair() as pair:
            await warm(pair)
            pair.emulator.faults.add("reset=after POST api")
            pair.emulator.faults.add(f"{fault} GET /v2.01/acme/responses times=2")
            fate = await keyed(pair, 1)
            assert (fate.status, fate.recovered) == (200, "idempotency")
            assert reads(pair) == 3
            assert not warnings(logs)


async def test_an_embedded_key_is_not_meant_to_read_back() -> None:
    with capture_logs() as logs:
        async with timed_pair(mangopay_embedded_api_key="embedded-api-key") as pair:
            await warm(pair)
            pair.emulator.faults.add("reset=after POST api")
            target = "/v2.01/oauth/token/embedded/recipient"
            call = asyncio.ensure_future(call_and_observe(pair, "POST", target=target, headers=KEYED, body=b"{}"))
            await pair.advance_until(call.done, step=0.1)
            assert (await call).status == 502
            assert not warnings(logs)
            assert "read_back_forbidden" not in await kinds(pair.app)


# --- rate windows ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("style", ["lines", "line"])
@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({}, ["15m", "30m", "1h", "24h"]),
        ({"rate_windows": [1800, 3600, 86400], "rate_limits": [4500, 8800, 105600]}, ["30m", "1h", "24h"]),
        ({"rate_windows": [86400], "rate_limits": [500]}, ["24h"]),
        ({"rate_windows": [3600, 86400], "rate_limits": [50, 500]}, ["1h", "24h"]),
        ({"rate_windows": [60, 300, 900, 1800, 3600, 86400], "rate_limits": [1, 2, 2300, 4500, 8800, 105600]},
         [None, None, "15m", "30m", "1h", "24h"]),
        ({"rate_windows": [3600], "rate_limits": [50]}, [None]),
    ],
)  # fmt: skip
async def test_rate_windows_are_told_by_their_limit_or_reset(
    style: str, settings: dict[str, Any], names: list[str | None]
) -> None:
    lists = {name: tuple(value) for name, value in settings.items()}
    async with running_pair(emulator_settings={"rate_headers": style, **lists}) as pair:
        assert (await pair.call("GET", "/v2.01/acme/users")).status == 200
        assert [window["window"] for window in (await document(pair.app))["rate_limits"]] == names
        with await RawClient.connect(("127.0.0.1", pair.app.admin_port)) as client:
            await client.send(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
            text = (await client.response()).body.decode()
        labels = re.findall(r'^mangopay_sidecar_rate_limit_remaining\{window="(.*?)"\}', text, re.MULTILINE)
        assert labels == [name for name in names if name is not None]
