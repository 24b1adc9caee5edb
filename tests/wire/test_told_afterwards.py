"""Calls are logged, counted and listed after their responses, in batches, and nobody who looks can see that.

In these tests no timer ends: what is told is told because somebody looked, because it could not wait, or because a
batch was full.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from sidecar import app
from sidecar.telemetry import history, recorder
from sidecar.telemetry.batch import FULL
from tests.support.app import App, request_bytes, running_pair
from tests.support.call_record import facts_of
from tests.support.raw_client import RawClient
from tests.wire.test_admin_events import REQUEST, Listener
from tests.wire.test_metrics import families

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.app import Pair

USERS = "/v2.01/acme/users"
ECHO = "/__emulator__/echo"

pytestmark = pytest.mark.any_loop


@pytest.fixture(autouse=True)
def _no_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    later = app._call_later
    monkeypatch.setattr(app, "_call_later", lambda seconds, flush: later(3600.0 if seconds else 0.0, flush))
    monkeypatch.setattr(history, "INTERVAL", 3600.0)  # a sample has calls told as well


def told(app: App) -> list[dict[str, object]]:
    """Return the ``request`` lines that are written, without having any written."""
    return [entry for entry in app.log._entries if entry["event"] == "request"]


async def until(condition: Callable[[], bool]) -> None:
    """Wait; the test fails by its own time limit."""
    while not condition():
        await asyncio.sleep(0.001)


async def status(app: App) -> dict[str, Any]:
    with await RawClient.connect(("127.0.0.1", app.admin_port)) as client:
        await client.send(request_bytes("GET", "/status"))
        document: dict[str, Any] = json.loads((await client.response()).body)
        return document


async def one_call(pair: Pair) -> None:
    """Make a call that nobody is told of."""
    assert (await pair.call("GET", USERS)).status == 200
    assert told(pair.app) == []


async def test_a_scrape_counts_the_call_that_was_answered_just_now() -> None:
    async with running_pair() as pair:
        for calls in (1, 2):
            assert (await pair.call("GET", USERS)).status == 200
            found = (await families(pair.app))["requests_total"]
            assert found.value(method="GET", status="200", source="upstream") == calls
            assert len(told(pair.app)) == calls


async def test_the_status_document_has_the_call_that_was_answered_just_now() -> None:
    async with running_pair() as pair:
        await one_call(pair)
        document = await status(pair.app)
        (shown,) = document["recent_calls"]
        assert (shown["method"], shown["status"]) == ("GET", 200)
        assert (document["calls"]["requests"], document["calls"]["in_flight"]) == (1, 0)
        assert document["upstream"]["answered_at"] is not None
        assert [line["id"] for line in told(pair.app)] == [shown["id"]]


async def test_a_finding_has_every_call_to_go_by() -> None:
    async with running_pair() as pair:
        pair.emulator.faults.add("status=500 GET api")
        for _ in range(3):
            assert (await pair.call("GET", USERS)).status == 500
        assert told(pair.app) == []
        document = await status(pair.app)
        assert document["upstream"]["failures"] == 3
        assert "server_error" in document["upstream"]["failures_last_minute"]


async def test_a_sample_of_the_history_has_the_call_that_was_answered_just_now() -> None:
    async with running_pair() as pair:
        await one_call(pair)
        history = pair.app.sidecar._history
        history.sample()
        assert [sample.calls for sample in history.samples()] == [1]


async def test_a_page_that_opens_is_shown_the_call_that_was_answered_just_now() -> None:
    async with running_pair() as pair:
        await one_call(pair)
        with await RawClient.connect(("127.0.0.1", pair.app.admin_port)) as client:
            await client.send(REQUEST)
            events = dict(await (await Listener(client).opened()).events(3))
    assert [call["status"] for call in events["calls"]["calls"]] == [200]
    assert events["status"]["calls"]["requests"] == 1


async def test_a_caller_has_its_response_before_anybody_is_told_of_the_call() -> None:
    async with running_pair() as pair:
        with await pair.app.connect() as client:
            for _ in range(FULL):
                await client.send(request_bytes("GET", USERS))
                assert (await client.response()).status == 200
            assert told(pair.app) == []
            # The next call begins, and while Mangopay works on it the others are told.
            pair.emulator.faults.add("hang=after GET api")
            await client.send(request_bytes("GET", USERS))
            await until(lambda: len(told(pair.app)) == FULL)
            assert pair.app.sidecar._recorder.in_flight == 1


async def test_an_unknown_outcome_is_told_at_once_behind_all_that_ended_before_it() -> None:
    async with running_pair() as pair:
        await one_call(pair)
        pair.emulator.faults.add("reset=after POST api")
        response = await pair.call("POST", ECHO, b"{}")
        assert response.header("X-Sidecar-Outcome") == b"unknown"
        assert [line.get("outcome") for line in told(pair.app)] == [None, "unknown"]


async def test_the_outcome_of_a_call_whose_caller_left_is_told_at_once_though_nobody_waits_for_it() -> None:
    async with running_pair() as pair:
        await one_call(pair)
        pair.emulator.faults.add("hang GET api")
        with await pair.app.connect() as client:
            await client.send(request_bytes("GET", USERS))
            await until(lambda: pair.emulator.state.stats.requests == 3)
            client.reset()
        await until(lambda: len(told(pair.app)) == 2)
        assert told(pair.app)[1]["caller"] == "gone"


async def test_a_refusal_is_told_at_once() -> None:
    async with running_pair() as pair:
        await one_call(pair)
        assert (await pair.call("GET", "/v2.01/../users")).status == 400
        assert [line.get("error") for line in told(pair.app)] == [None, "bad_request"]


async def test_closing_tells_of_every_call() -> None:
    async with running_pair() as pair:
        await one_call(pair)
    assert len(told(pair.app)) == 1


@pytest.mark.interpreted  # it puts itself in the place of a method
async def test_a_record_that_has_ended_changes_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is told later must be told the same: of a stream, a caller that leaves, a cut, a response that breaks."""
    ended: list[tuple[Any, dict[str, str]]] = []
    close = recorder.CallRecorder.close

    def noting(self: recorder.CallRecorder, record: Any) -> None:
        # Told is what it was when it ended; observers may only shorten the path.
        monkeypatch.setattr(self, "_observers", ())
        close(self, record)
        ended.append((record, facts_of(record)))

    monkeypatch.setattr(recorder.CallRecorder, "close", noting)
    with structlog.testing.capture_logs():
        async with running_pair() as pair:
            assert (await pair.call("GET", "/__emulator__/bytes?size=300000")).status == 200
            assert (await pair.call("POST", ECHO, b"{}")).status == 200
            pair.emulator.faults.add("reset=after POST api times=1")
            assert (await pair.call("POST", ECHO, b"{}")).status == 502
            pair.emulator.faults.add("truncate GET api times=1")
            with await pair.app.connect() as client:
                await client.send(request_bytes("GET", "/__emulator__/bytes?size=300000"))
                with pytest.raises((EOFError, ConnectionError)):
                    await client.response()
            pair.emulator.faults.add("hang POST api")
            with await pair.app.connect() as client:
                seen = pair.emulator.state.stats.requests
                await client.send(request_bytes("POST", ECHO, b"{}"))
                await until(lambda: pair.emulator.state.stats.requests > seen)
                client.reset()
            await asyncio.sleep(0)
    assert len(ended) == 5
    assert [facts_of(record) for record, _ in ended] == [then for _, then in ended]
