"""The emulator on real sockets: requests as they come in, answers as they go out."""

from __future__ import annotations

import asyncio
import gzip
from typing import TYPE_CHECKING

import pytest

from sidecar.emulator.sending import pattern
from sidecar.emulator.serving import serve
from sidecar.runtime import SystemClock
from tests.support.emulator import (
    NATURAL_USER,
    authorized,
    basic,
    call,
    connect,
    exchange,
    header,
    issue_token,
    read,
    request,
    running_emulator,
    until_received,
    user,
)
from tests.support.ports import free_port
from tests.support.raw_client import RawClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sidecar.emulator.server import Emulator

USERS = "/v2.01/acme/users/natural"
ECHO = "/__emulator__/echo"
TOKEN = "/v2.01/oauth/token"
FORM = b"grant_type=client_credentials"


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with running_emulator() as running:
        yield running


@pytest.fixture
async def client(emulator: Emulator) -> AsyncIterator[RawClient]:
    with await connect(emulator) as connected:
        yield connected


# --- plain service ---


@pytest.mark.any_loop
async def test_a_token_call_and_an_api_call_on_one_connection(emulator: Emulator, client: RawClient) -> None:
    token = read(await exchange(client, "POST", TOKEN, [("Authorization", basic())], FORM))["access_token"]
    response = await exchange(client, "POST", USERS, [("Authorization", f"Bearer {token}")], user())
    assert (response.status, read(response)["Id"]) == (200, "user_m_00001001")
    assert (emulator.stats.connections, emulator.stats.requests) == (1, 2)


async def test_repeated_headers_reach_the_client_as_lines_of_their_own(emulator: Emulator, client: RawClient) -> None:
    response = await call(client, emulator, "GET", "/v2.01/acme/users")
    assert len(header(response, "X-RateLimit")) == len(header(response, "X-RateLimit-Reset")) == 4


async def test_a_request_is_kept_as_it_came(emulator: Emulator, client: RawClient) -> None:
    head = (
        b"POST /%7Ex/?a=;+%zz HTTP/1.1\r\nHost: h\r\nX-Odd: \xe9\r\nx-odd: 2\r\nX_Under: 3\r\nContent-Length: 4\r\n\r\n"
    )
    await client.send(head + b"\x00\xff{}")
    await client.response()
    kept = emulator.received[0]
    assert (kept.method, kept.target, kept.body, kept.complete) == ("POST", "/%7Ex/?a=;+%zz", b"\x00\xff{}", True)
    assert kept.headers[1:4] == ((b"X-Odd", b"\xe9"), (b"x-odd", b"2"), (b"X_Under", b"3"))


async def test_a_chunked_body_is_put_together(emulator: Emulator, client: RawClient) -> None:
    await client.send(request("POST", ECHO, [("Transfer-Encoding", "chunked")]) + b"2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n")
    await client.response()
    assert emulator.received[0].body == b"abcde"


async def test_a_compressed_body_stays_compressed(emulator: Emulator, client: RawClient) -> None:
    body = gzip.compress(b"{}")
    await exchange(client, "POST", ECHO, [("Content-Encoding", "gzip")], body)
    assert emulator.received[0].body == body


async def test_a_client_that_waits_for_it_is_told_to_continue(emulator: Emulator, client: RawClient) -> None:
    body = user()
    headers = [
        ("Authorization", f"Bearer {issue_token(emulator)}"),
        ("Expect", "100-continue"),
        ("Content-Length", str(len(body))),
    ]
    await client.send(request("POST", USERS, headers))
    assert (await client.response()).raw == b"HTTP/1.1 100 Continue\r\n\r\n"
    await client.send(body)
    assert (await client.response()).status == 200


async def test_head_gets_the_length_and_no_body(emulator: Emulator, client: RawClient) -> None:
    response = await call(client, emulator, "HEAD", "/v2.01/acme/users")
    assert (response.status, header(response, "Content-Length"), response.body) == (200, ["2"], b"")
    assert (await call(client, emulator, "GET", "/v2.01/acme/users")).body == b"[]"


async def test_a_client_that_asks_for_it_gets_the_connection_closed(emulator: Emulator, client: RawClient) -> None:
    response = await call(client, emulator, "GET", "/v2.01/acme/users", headers=(("Connection", "close"),))
    assert header(response, "Connection") == ["close"]
    assert await client.rest() == b""


async def test_a_body_announced_too_large_is_not_read(emulator: Emulator, client: RawClient) -> None:
    await client.send(request("POST", ECHO, [("Content-Length", str(65 * 1024 * 1024))]))
    response = await client.response()
    assert (response.status, header(response, "Connection")) == (413, ["close"])


async def test_a_request_cut_off_in_its_body_is_not_delivered(emulator: Emulator) -> None:
    with await connect(emulator) as client:
        await client.send(authorized(emulator, "POST", USERS, user())[:-5])
        while not emulator.stats.requests:
            await asyncio.sleep(0)
    await until_received(emulator)
    assert (emulator.stats.cut_requests, emulator.ledger.deliveries) == (1, 0)
    assert not emulator.received[0].complete


async def test_a_path_beyond_ascii_gets_a_400_and_spoils_no_ledger(emulator: Emulator, client: RawClient) -> None:
    await client.send(authorized(emulator, "POST", "/v2.01/acme/\xff", user()))
    assert (await client.response()).status == 400
    with await connect(emulator) as other:
        assert (await exchange(other, "GET", "/__emulator__/ledger")).status == 200


async def test_what_is_no_http_gets_a_400(client: RawClient) -> None:
    await client.send(b"nonsense\r\n\r\n")
    assert (await client.response()).status == 400


@pytest.mark.parametrize("chunked", ["", "&chunked=1"])
@pytest.mark.parametrize("size", [0, 1000, 200_000, 65_536])
async def test_generated_bytes_are_the_pattern(emulator: Emulator, client: RawClient, size: int, chunked: str) -> None:
    for _ in range(2):
        response = await call(client, emulator, "GET", f"/__emulator__/bytes?size={size}{chunked}")
        assert response.body == pattern(size)


# --- control ---


async def test_a_token_revoked_over_the_wire_is_refused_and_the_ledger_knows_why(
    emulator: Emulator, client: RawClient
) -> None:
    data = authorized(emulator, "POST", USERS, user())
    assert read(await exchange(client, "POST", "/__emulator__/revoke")) == {"revoked": 1}
    await client.send(data)
    assert (await client.response()).status == 401
    entry = emulator.ledger.entries()[0]
    assert (entry.deliveries, entry.executions, entry.unauthorized) == (1, 0, 1)


async def test_control_routes_answer_whatever_the_faults(emulator: Emulator, client: RawClient) -> None:
    emulator.faults.add("reset")
    assert (await exchange(client, "DELETE", "/__emulator__/faults")).status == 200
    assert (await exchange(client, "GET", ECHO)).status == 401


# --- as a command would run it ---


async def test_serve_runs_until_it_is_told() -> None:
    told: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    end = asyncio.Event()
    running = asyncio.create_task(
        serve("127.0.0.1", 0, ["status=503 api"], clock=SystemClock(), ready=told.set_result, until=end.wait())
    )
    with await RawClient.connect(("127.0.0.1", await told)) as client:
        assert (await exchange(client, "GET", "/v2.01/acme/users")).status == 503
        end.set()
        await running
        assert await client.rest() == b""


async def test_serve_without_an_end_runs_until_it_is_cancelled() -> None:
    told: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    running = asyncio.create_task(serve("127.0.0.1", 0, clock=SystemClock(), ready=told.set_result))
    await told
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_port_that_is_taken_is_an_os_error(emulator: Emulator) -> None:
    with pytest.raises(OSError, match="in use"):
        await serve("127.0.0.1", emulator.port, clock=SystemClock(), until=asyncio.Event().wait())


async def test_an_emulator_can_come_back_on_its_port() -> None:
    port = free_port()
    async with running_emulator(port=port) as emulator:
        await emulator.stop()
        await emulator.start("127.0.0.1", port)
        with await connect(emulator) as client:
            assert (await call(client, emulator, "GET", "/v2.01/acme/users")).status == 200
        assert emulator.url == f"http://127.0.0.1:{port}"


# --- pages, for people without a token ---


async def test_a_person_authenticates_at_the_page_that_the_401_names(emulator: Emulator, client: RawClient) -> None:
    owner = read(await call(client, emulator, "POST", USERS, {**NATURAL_USER, "UserCategory": "OWNER"}))["Id"]
    wallets = f"/v2.01/acme/users/{owner}/wallets"
    challenge = header(await call(client, emulator, "GET", wallets), "WWW-Authenticate")[0]
    page = "/" + challenge.partition("://")[2].partition("/")[2]
    shown = await exchange(client, "GET", page)
    done = await exchange(client, "POST", page, body=b"outcome=authenticate")
    assert (shown.status, header(shown, "Content-Type")) == (200, ["text/html; charset=utf-8"])
    assert (done.status, (await call(client, emulator, "GET", wallets)).status) == (200, 200)
