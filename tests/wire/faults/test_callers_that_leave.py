"""Callers that hang up (PHP after 30 s, .NET after 15): what is stopped, what runs on, and what the log says of it.

Every test ends by showing that the only connection of the pool is free again.
"""

from __future__ import annotations

import asyncio
import itertools
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.app import request_bytes
from tests.support.raw_client import RawClient
from tests.wire.faults.support import (
    ECHO,
    KEY,
    KEYED,
    LEDGER,
    SAFE,
    WRITES,
    Headers,
    TimedPair,
    call_and_observe,
    executions,
    gauges,
    line_of,
    timed_pair,
    until,
    warm,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sidecar.emulator.server import Received

_serial = itertools.count(1)


@asynccontextmanager
async def pool_of_one(**settings: Any) -> AsyncIterator[TimedPair]:
    """Run a sidecar with one upstream connection, and show at the end that nothing holds it."""
    settings = {"upstream_pool_size": "1", **settings}
    async with timed_pair(**settings) as pair:
        yield pair
        pair.emulator.faults.clear()
        for method in ("POST", "GET"):
            call = asyncio.ensure_future(call_and_observe(pair, method))
            await pair.advance_until(call.done)
            assert (await call).status == 200
        held = await gauges(pair.app)
        assert held["upstream_connections"] <= 1
        assert [held[n] for n in ("requests_in_flight", "upstream_pool_waiting", "replay_buffer_bytes")] == [0, 0, 0]


class Caller:
    """Somebody who sends a request and does not wait for its response."""

    def __init__(self, pair: TimedPair, client: RawClient, identifier: str) -> None:
        self._pair = pair
        self._client = client
        self.identifier = identifier
        self.body = identifier.encode()

    @classmethod
    async def begin(
        cls, pair: TimedPair, method: str, *, target: str = ECHO, headers: Headers = (), body: bytes = b"", cut: int = 0
    ) -> Caller:
        """Send a request, less its last ``cut`` bytes."""
        identifier = f"leaves-{next(_serial)}"
        client = await RawClient.connect(("127.0.0.1", pair.app.port))
        caller = cls(pair, client, identifier)
        caller.body += body
        sent = None if method in SAFE else caller.body
        data = request_bytes(method, target, sent, headers=(*headers, ("X-Request-Id", identifier)))
        await client.send(data[: len(data) - cut])
        return caller

    @property
    def arrivals(self) -> list[Received]:
        """What of this call has reached the emulator."""
        value = self.identifier.encode()
        return [
            each
            for each in self._pair.emulator.received
            if any(name.lower() == b"x-request-id" and got == value for name, got in each.headers)
        ]

    async def arrived(self, count: int = 1) -> None:
        await until(lambda: len(self.arrivals) >= count)

    async def receive(self) -> bytes:
        return await self._client.receive()

    async def leave(self, how: str = "close") -> None:
        """Hang up, and wait until the sidecar has noticed."""
        self._client.reset() if how == "reset" else self._client.close()

    async def line(self) -> dict[str, object]:
        """The log line, once the call is over; time moves on until then."""
        pair = self._pair
        await pair.advance_until(lambda: any(x.get("x_request_id") == self.identifier for x in pair.app.log.requests))
        return await line_of(pair.app, self.identifier)


def said(line: dict[str, object]) -> tuple[object, ...]:
    return line["caller"], line["status"], line.get("outcome")


# --- before the request was wholly sent ------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_who_leaves_in_the_middle_of_a_body_has_sent_nothing(how: str) -> None:
    async with pool_of_one() as pair:
        await warm(pair)
        caller = await Caller.begin(pair, "POST", body=b"x" * 100_000, cut=50_000)
        async with asyncio.timeout(20):
            while (await gauges(pair.app))["replay_buffer_bytes"] < 50_000:
                await asyncio.sleep(0.001)
        await caller.leave(how)
        line = await caller.line()
        assert said(line) == ("gone", None, "not-sent")
        assert line["attempts"] == 0
        assert not caller.arrivals


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_who_leaves_in_the_middle_of_a_streamed_body_may_have_sent_something(how: str) -> None:
    async with pool_of_one(replay_max_body="1000") as pair:
        await warm(pair)
        caller = await Caller.begin(pair, "POST", body=b"x" * 300_000, cut=100_000)
        await until(lambda: pair.emulator.stats.requests > 2)
        await caller.leave(how)
        line = await caller.line()
        assert said(line) == ("gone", None, "unknown")
        assert line["attempts"] == 1
        await caller.arrived()
        assert not caller.arrivals[0].complete
        assert executions(pair.emulator, caller.body) == 0


@pytest.mark.parametrize("method", [*SAFE, *WRITES])
async def test_who_leaves_while_the_call_waits_for_a_token_has_sent_nothing(method: str) -> None:
    async with pool_of_one(token_prefetch="false") as pair:
        pair.emulator.faults.add("pass delay=3 token times=1")
        caller = await Caller.begin(pair, method)
        await until(lambda: pair.emulator.stats.requests)
        await caller.leave()
        assert said(await caller.line()) == ("gone", None, "not-sent")
        assert not caller.arrivals


@pytest.mark.parametrize("method", [*SAFE, *WRITES])
async def test_who_leaves_while_the_call_waits_for_a_connection_has_sent_nothing(method: str) -> None:
    async with pool_of_one() as pair:
        await warm(pair)
        pair.emulator.faults.add("pass answer_delay=5 api times=1")
        busy = asyncio.ensure_future(call_and_observe(pair, "POST"))
        await until(lambda: pair.emulator.ledger.executions)
        caller = await Caller.begin(pair, method)
        async with asyncio.timeout(20):
            while not (await gauges(pair.app))["upstream_pool_waiting"]:
                await asyncio.sleep(0.001)
        await caller.leave()
        assert said(await caller.line()) == ("gone", None, "not-sent")
        assert not caller.arrivals
        await pair.advance_until(busy.done)
        assert (await busy).status == 200


# --- afterwards ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("method", SAFE)
async def test_a_read_is_cancelled(method: str, how: str) -> None:
    async with pool_of_one() as pair:
        await warm(pair)
        pair.emulator.faults.add(f"hang=before {method} api times=1")
        caller = await Caller.begin(pair, method)
        await caller.arrived()
        await caller.leave(how)
        assert said(await caller.line()) == ("gone", None, "unknown")
        assert len(caller.arrivals) == 1
        # The connection that carried it is gone too: a response that still came would be taken for another's.
        await until(lambda: not pair.emulator._connections)


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("method", WRITES)
async def test_a_write_runs_on_to_its_responses_head(method: str, how: str) -> None:
    async with pool_of_one() as pair:
        await warm(pair)
        pair.emulator.faults.add(f"pass answer_delay=5 {method} api times=1")
        caller = await Caller.begin(pair, method)
        await caller.arrived()
        await caller.leave(how)
        await until(lambda: method not in LEDGER or executions(pair.emulator, caller.body, method))
        assert said(await caller.line()) == ("gone", 200, None)
        assert len(caller.arrivals) == 1


@pytest.mark.parametrize("status", [400, 401, 409, 500])
async def test_the_log_has_the_writes_real_status(status: int) -> None:
    async with pool_of_one() as pair:
        await warm(pair)
        pair.emulator.faults.add(f"status={status} delay=5 POST api times=1")
        caller = await Caller.begin(pair, "POST")
        await caller.arrived()
        await caller.leave()
        assert said(await caller.line()) == ("gone", status, None)
        assert len(caller.arrivals) == 1


@pytest.mark.parametrize(
    ("fault", "error"), [("reset=after", "upstream_unreachable"), ("hang=after", "upstream_timeout")]
)
async def test_a_write_that_nobody_waits_for_is_not_read_back_but_can_be_reconciled(fault: str, error: str) -> None:
    async with pool_of_one() as pair:
        await warm(pair)
        pair.emulator.faults.add(f"{fault} POST api times=1 answer_delay=5")
        caller = await Caller.begin(pair, "POST", headers=KEYED)
        await until(lambda: pair.emulator.ledger.executions)
        await caller.leave()
        line = await caller.line()
        assert (line["caller"], line["outcome"], line["error"], line["idempotency_key"]) == (
            *("gone", "unknown"),
            *(error, KEY),
        )
        assert not [each for each in pair.emulator.received if "/responses/" in each.target]


@pytest.mark.parametrize("method", [*SAFE, *WRITES])
async def test_who_leaves_while_a_401_is_mended_had_a_401(method: str) -> None:
    async with pool_of_one() as pair:
        await warm(pair)
        pair.emulator.state.tokens.revoke()
        pair.emulator.faults.add("pass delay=5 token times=1")
        requests = pair.emulator.stats.requests
        caller = await Caller.begin(pair, method)
        await until(lambda: pair.emulator.stats.requests == requests + 2)  # the call, and the token request after it
        await caller.leave()
        assert said(await caller.line()) == ("gone", 401, "rejected")
        assert len(caller.arrivals) == 1


@pytest.mark.parametrize("method", WRITES)
async def test_a_resend_that_is_out_runs_on_as_well(method: str) -> None:
    async with pool_of_one() as pair:
        await warm(pair)
        pair.emulator.state.tokens.revoke()
        pair.emulator.faults.add(f"pass {method} api times=1")
        pair.emulator.faults.add(f"pass answer_delay=5 {method} api times=1")
        caller = await Caller.begin(pair, method)
        await caller.arrived(2)
        await caller.leave()
        line = await caller.line()
        assert said(line) == ("gone", 200, None)
        assert line["attempts"] == 2


async def test_who_leaves_while_the_response_is_read_back_is_logged_with_the_key() -> None:
    async with pool_of_one() as pair:
        await warm(pair)
        pair.emulator.faults.add("reset=after POST api times=1")
        pair.emulator.faults.add("hang=before GET api")
        caller = await Caller.begin(pair, "POST", headers=KEYED)
        await until(lambda: pair.emulator.ledger.executions)
        await pair.advance_until(lambda: any("/responses/" in each.target for each in pair.emulator.received), step=0.1)
        await caller.leave()
        line = await caller.line()
        assert said(line) == ("gone", None, "unknown")
        assert line["idempotency_key"] == KEY


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_who_leaves_in_the_middle_of_a_long_response_ends_it(how: str) -> None:
    async with pool_of_one() as pair:
        await warm(pair)
        caller = await Caller.begin(pair, "GET", target=f"/__emulator__/bytes?size={50_000_000}")
        assert (await caller.receive()).startswith(b"HTTP/1.1 200 OK")
        await caller.leave(how)
        line = await caller.line()
        assert said(line) == ("gone", 200, None)
        assert isinstance(line["bytes"], int)
        assert 0 < line["bytes"] < 50_000_000
        await until(lambda: not pair.emulator._connections)


@pytest.mark.parametrize("headers", [(), KEYED])
async def test_who_leaves_in_the_middle_of_a_writes_response_has_its_status_logged(headers: Headers) -> None:
    async with pool_of_one() as pair:
        await warm(pair)
        pair.emulator.faults.add("hang=during POST api times=1")
        caller = await Caller.begin(pair, "POST", headers=headers)
        await until(lambda: pair.emulator.ledger.executions)
        for _ in range(20):
            await asyncio.sleep(0.001)
        await caller.leave()
        assert said(await caller.line()) == ("gone", 200, None)


# --- many ------------------------------------------------------------------------------------------------------------


@pytest.mark.any_loop
async def test_a_hundred_callers_who_leave_at_any_moment_leave_nothing_behind() -> None:
    async with timed_pair(upstream_pool_size="5", emulator_settings={"keep_received": 1000}) as pair:
        await warm(pair)
        pair.emulator.faults.add("pass delay=1 answer_delay=1 api")
        methods = itertools.cycle([*SAFE, *WRITES])
        callers = []
        for number, method in zip(range(100), methods, strict=False):
            cut = 0 if method in SAFE else number % 2 * number * 10
            callers.append(await Caller.begin(pair, method, body=b"x" * 1000, cut=cut))
        for number, caller in enumerate(callers):
            await caller.leave(("close", "reset")[number % 2])
            if not number % 10:
                await pair.advance(0.25)
                await asyncio.sleep(0.002)
        await pair.advance(30)
        async with asyncio.timeout(20):
            while (held := await gauges(pair.app))["requests_in_flight"]:
                await pair.advance(1)
        assert held["upstream_connections"] <= 5
        assert (held["upstream_pool_waiting"], held["replay_buffer_bytes"]) == (0, 0)
        lines = {line.get("x_request_id"): line for line in pair.app.log.requests}
        for caller in callers:
            line = lines.get(caller.identifier)
            if line is None:
                assert not caller.arrivals, "a call that nobody logged"
                continue
            if caller.arrivals:
                assert line.get("outcome") != "not-sent"
            method = str(line["method"])
            times = executions(pair.emulator, caller.body, method)
            assert times <= 1
            assert method not in LEDGER or line["status"] != 200 or times == 1
