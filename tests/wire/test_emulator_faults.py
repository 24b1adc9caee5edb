"""Everything that can go wrong on the wire, and what the ledger says of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sidecar.emulator.sending import pattern
from sidecar.emulator.server import Emulator
from sidecar.runtime import SystemClock
from tests.support.clock import FakeClock
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

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.raw_client import RawClient

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


# --- faults: the connection ---


@pytest.mark.any_loop
@pytest.mark.parametrize(
    ("stage", "counts", "answered"),
    [
        ("head", (0, 0), False),
        ("before", (1, 0), False),
        ("after", (1, 1), False),
        ("during", (1, 1), True),
    ],
)
@pytest.mark.parametrize("action", ["reset", "close"])
async def test_a_connection_that_breaks(
    emulator: Emulator, client: RawClient, action: str, stage: str, counts: tuple[int, int], answered: bool
) -> None:
    emulator.faults.add(f"{action}={stage} POST times=1")
    await client.send(authorized(emulator, "POST", USERS, user()))
    data = b""
    try:
        while piece := await client.receive():
            data += piece
        ended = "close"
    except ConnectionResetError:
        ended = "reset"
    assert ended == action
    assert data.startswith(b"HTTP/1.1 200 OK") is answered
    assert not data.endswith(b"}")
    assert (emulator.ledger.deliveries, emulator.ledger.executions) == counts


@pytest.mark.any_loop
@pytest.mark.parametrize("action", ["reset", "close"])
async def test_a_connection_that_breaks_at_once(emulator: Emulator, action: str) -> None:
    emulator.faults.add(f"{action}=connect times=1")
    with await connect(emulator) as client:
        if action == "reset":
            with pytest.raises(ConnectionResetError):
                await client.rest()
        else:
            assert await client.rest() == b""
    with await connect(emulator) as client:
        assert (await call(client, emulator, "GET", "/v2.01/acme/users")).status == 200


@pytest.mark.parametrize(("stage", "executions"), [("before", 0), ("after", 1)])
async def test_a_request_that_hangs_until_the_client_goes(emulator: Emulator, stage: str, executions: int) -> None:
    emulator.faults.add(f"hang={stage} times=1")
    with await connect(emulator) as client:
        await client.send(authorized(emulator, "POST", USERS, user()))
        await until_received(emulator)
    assert (emulator.ledger.deliveries, emulator.ledger.executions) == (1, executions)


@pytest.mark.any_loop
@pytest.mark.parametrize("stage", ["head", "before", "after", "during"])
async def test_stopping_ends_what_hangs(stage: str) -> None:
    async with running_emulator() as emulator:
        emulator.faults.add(f"hang={stage}")
        with await connect(emulator) as client:
            await client.send(authorized(emulator, "POST", USERS, user()))
            await until_received(emulator)
            await emulator.stop()
            data = await client.rest()
            assert data.startswith(b"HTTP/1.1 200 OK") is (stage == "during")


async def test_a_response_that_was_finished_may_still_lose_its_connection(
    emulator: Emulator, client: RawClient
) -> None:
    emulator.faults.add("close-after times=1")
    response = await call(client, emulator, "GET", "/v2.01/acme/users")
    assert (response.status, header(response, "Connection")) == (200, [])
    assert await client.rest() == b""


async def test_idle_connections_can_be_closed(emulator: Emulator, client: RawClient) -> None:
    await call(client, emulator, "GET", "/v2.01/acme/users")
    assert emulator.close_connections() == 1
    assert await client.rest() == b""


async def test_connections_without_a_request_time_out() -> None:
    emulator = Emulator(SystemClock(), keepalive_timeout=0.02)
    await emulator.start()
    with await connect(emulator) as client:
        assert await client.rest() == b""
    await emulator.stop()


# --- faults: answers, delays, bytes ---


async def test_a_response_of_its_own_leaves_the_state_alone(emulator: Emulator, client: RawClient) -> None:
    emulator.faults.add("status=503 POST times=1")
    statuses = [(await call(client, emulator, "POST", USERS, NATURAL_USER)).status for _ in range(2)]
    assert statuses == [503, 200]
    assert (emulator.ledger.deliveries, emulator.ledger.executions) == (2, 1)


async def test_a_response_of_its_own_may_come_after_the_execution(emulator: Emulator, client: RawClient) -> None:
    emulator.faults.add("unauthorized stage=after times=1")
    assert (await call(client, emulator, "POST", USERS, NATURAL_USER)).status == 401
    entry = emulator.ledger.entries()[0]
    assert (entry.executions, entry.unauthorized) == (1, 1)


async def test_an_early_response_comes_before_the_body_and_closes(emulator: Emulator, client: RawClient) -> None:
    emulator.faults.add("status=503 stage=head")
    await client.send(request("POST", ECHO, [("Content-Length", "1000")]))
    response = await client.response()
    assert (response.status, header(response, "Connection")) == (503, ["close"])
    assert not emulator.received[0].complete


@pytest.mark.parametrize(
    ("fault", "status", "calls"),
    [
        ("status=503 token", 503, [503]),
        ("lockout token", 400, [400]),
        ("not-json token", 200, [200]),
        ("status=500 stage=after token", 500, [200]),
    ],
)
async def test_the_token_endpoint_fails_and_counts(
    emulator: Emulator, client: RawClient, fault: str, status: int, calls: list[int]
) -> None:
    emulator.faults.add(fault)
    assert (await exchange(client, "POST", TOKEN, [("Authorization", basic())], FORM)).status == status
    assert [token_call.status for token_call in emulator.stats.token_calls] == calls
    assert emulator.stats.token_requests == 1


async def test_a_token_call_that_is_reset_counts_too(emulator: Emulator, client: RawClient) -> None:
    emulator.faults.add("reset token")
    with pytest.raises(ConnectionResetError):
        await exchange(client, "POST", TOKEN, [("Authorization", basic())], FORM)
    assert [(token_call.client_id, token_call.status) for token_call in emulator.stats.token_calls] == [("acme", 0)]


@pytest.mark.parametrize(("condition", "executed"), [("delay=2", 0), ("answer_delay=2", 1)])
async def test_a_delay_passes_on_the_clock(condition: str, executed: int) -> None:
    clock = FakeClock()
    async with running_emulator(clock) as emulator:
        emulator.faults.add(f"pass {condition}")
        with await connect(emulator) as client:
            await client.send(authorized(emulator, "POST", USERS, user()))
            await until_received(emulator)
            await clock.settle()
            assert emulator.ledger.executions == executed
            await clock.advance(2)
            assert (await client.response()).status == 200


async def test_a_client_that_leaves_during_a_delay_is_served_all_the_same() -> None:
    """A server that has the whole request executes it, whoever still listens."""
    clock = FakeClock()
    async with running_emulator(clock) as emulator:
        emulator.faults.add("pass delay=2")
        with await connect(emulator) as client:
            await client.send(authorized(emulator, "POST", USERS, user()))
            await until_received(emulator)
        await clock.advance(2)
        assert emulator.ledger.executions == 1


@pytest.mark.parametrize("fault", ["chunked", "no-length", "http10", "trickle=0", "long-header=9000", "header=X-A:1"])
async def test_answers_in_odd_but_legal_form_are_complete(emulator: Emulator, client: RawClient, fault: str) -> None:
    emulator.faults.add(fault)
    response = await call(client, emulator, "POST", USERS, NATURAL_USER)
    assert (response.status, read(response)["FirstName"]) == (200, "Victor")


async def test_interim_answers_come_before_the_final_one(emulator: Emulator, client: RawClient) -> None:
    emulator.faults.add("interim=3")
    await client.send(authorized(emulator, "GET", "/v2.01/acme/users"))
    assert [(await client.response()).status for _ in range(4)] == [103, 103, 103, 200]


async def test_trailers_come_after_the_last_chunk(emulator: Emulator, client: RawClient) -> None:
    emulator.faults.add("trailers")
    headers = [("Authorization", f"Bearer {issue_token(emulator)}"), ("Connection", "close")]
    await client.send(request("GET", "/v2.01/acme/users", headers))
    assert (await client.rest()).endswith(b"\r\n0\r\nX-Trailer: emulated\r\n\r\n")


@pytest.mark.parametrize("fault", ["truncate", "content-length=5"])
async def test_answers_that_are_cut_end_too_soon(emulator: Emulator, client: RawClient, fault: str) -> None:
    emulator.faults.add(fault)
    with pytest.raises(EOFError):
        await call(client, emulator, "GET", "/v2.01/acme/users")


async def test_a_generated_response_can_be_cut_too(emulator: Emulator, client: RawClient) -> None:
    emulator.faults.add("truncate=1000")
    await client.send(authorized(emulator, "GET", "/__emulator__/bytes?size=100000"))
    data = await client.rest()
    assert data.endswith(b"\r\n\r\n" + pattern(1000))


async def test_faults_are_counted(emulator: Emulator, client: RawClient) -> None:
    emulator.faults.add("status=500 times=2")
    for _ in range(3):
        await call(client, emulator, "GET", "/v2.01/acme/users")
    assert emulator.stats.faults == 2


# --- the edge, and a 401 that has headers alone ---


@pytest.mark.parametrize("status", [403, 429, 502, 520])
async def test_a_page_of_the_edge_at_the_token_endpoint(emulator: Emulator, client: RawClient, status: int) -> None:
    emulator.faults.add(f"edge={status} token times=1")
    headers = [("Authorization", basic())]
    response = await exchange(client, "POST", TOKEN, headers, FORM)
    assert (response.status, header(response, "Content-Type")) == (status, ["text/html; charset=UTF-8"])
    assert len(header(response, "CF-Ray")) == 1
    assert header(response, "X-RateLimit") == []
    assert emulator.stats.token_calls[-1].status == status
    assert (await exchange(client, "POST", TOKEN, headers, FORM)).status == 200


async def test_an_sca_401_without_a_body_keeps_the_connection(emulator: Emulator, client: RawClient) -> None:
    emulator.faults.add("sca=no-body api times=1")
    response = await call(client, emulator, "GET", USERS)
    assert (response.status, response.body, header(response, "Content-Type")) == (401, b"", [])
    assert (header(response, "Content-Length"), len(header(response, "WWW-Authenticate"))) == (["0"], 1)
    assert (await call(client, emulator, "GET", "/v2.01/acme/users")).status == 200
