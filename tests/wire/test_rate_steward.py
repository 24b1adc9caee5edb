"""The batch lane of a running sidecar: its settings, what it shows, and what a drain makes of those who wait."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import prometheus
from tests.support.app import App, request_bytes, running_app
from tests.support.emulator import running_emulator
from tests.support.raw_client import RawClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sidecar.emulator.server import Emulator

BATCH = "GET /v2.01/*/reports"


@asynccontextmanager
async def with_windows(limit: int, **settings: str) -> AsyncIterator[tuple[App, Emulator]]:
    """Run a sidecar in front of an emulator with one window of a day."""
    async with running_emulator() as emulator:
        emulator.state.configure(rate_windows=[86_400], rate_limits=[limit], enforce_rate_limits=True)
        async with running_app(emulator.url, **settings) as app:
            yield app, emulator


async def admin(app: App, path: str) -> bytes:
    with await RawClient.connect(("127.0.0.1", app.admin_port)) as client:
        await client.send(request_bytes("GET", path))
        return (await client.response()).body


async def status(app: App) -> dict[str, Any]:
    shown = json.loads(await admin(app, "/status"))
    assert isinstance(shown, dict)
    return shown


@pytest.mark.any_loop
async def test_batch_calls_leave_the_reserve_to_others_and_everything_tells_so() -> None:
    async with with_windows(10, limits_reserve="50%", limits_batch=BATCH) as (app, emulator):
        batch = [await app.call("GET", "/v2.01/_/reports") for _ in range(8)]
        assert [response.status for response in batch] == [200] * 5 + [429] * 3
        assert batch[-1].header("X-Sidecar-Error") == b"rate_reserved"
        assert 86_000 < int(batch[-1].header("Retry-After") or 0) <= 86_400
        others = [await app.call("GET", "/v2.01/_/clients") for _ in range(6)]
        assert [response.status for response in others] == [200] * 5 + [429]
        assert others[-1].header("X-Sidecar-Error") is None
        assert 86_000 < int(others[-1].header("Retry-After") or 0) <= 86_400
        assert emulator.state.stats.requests == 5 + 6 + 1, "with the token request"
        shown = await status(app)
        assert (shown["batch_lane"]["reserve"], shown["batch_lane"]["waiting"]) == (0.5, 0)
        assert shown["batch_lane"]["room_at"] == pytest.approx(shown["time"] + 86_400, abs=120)
        assert shown["batch_lane"]["refused_at"] == pytest.approx(shown["time"], abs=60)
        assert "batch_held" in [finding["kind"] for finding in shown["findings"]]
        assert {call.get("lane", "") for call in shown["recent_calls"]} == {"", "batch"}
        metrics = prometheus.parse((await admin(app, "/metrics")).decode())
        assert metrics["mangopay_sidecar_rate_held_total"].value(result="refused") == 3
        lines = [line for line in app.log.requests if line.get("error") == "rate_reserved"]
        assert [(line["level"], line["lane"], line["outcome"]) for line in lines] == [
            ("warning", "batch", "not-sent")
        ] * 3


@pytest.mark.any_loop
async def test_a_drain_answers_those_who_wait_at_once() -> None:
    async with with_windows(10, limits_reserve="50%", limits_batch=BATCH, limits_wait="10m") as (app, emulator):
        for _ in range(5):
            assert (await app.call("GET", "/v2.01/_/clients")).status == 200
        calls = [asyncio.create_task(app.call("GET", "/v2.01/_/reports")) for _ in range(3)]
        async with asyncio.timeout(20):
            while (await status(app))["batch_lane"]["waiting"] < 3:
                pass
            requests = emulator.state.stats.requests
            app.sidecar.begin_drain()
            responses = await asyncio.gather(*calls)
        assert {response.status for response in responses} == {503}
        assert {response.header("X-Sidecar-Error") for response in responses} == {b"shutting_down"}
        assert emulator.state.stats.requests == requests


async def test_without_a_reserve_there_is_no_lane_to_show() -> None:
    async with with_windows(10) as (app, _):
        assert (await app.call("GET", "/v2.01/_/clients", headers=(("X-Sidecar-Lane", "batch"),))).status == 200
        assert (await status(app))["batch_lane"] is None
        assert "lane" not in app.log.requests[-1]


async def test_calls_to_deprecated_endpoints_are_told_and_forwarded() -> None:
    async with with_windows(100) as (app, _):
        body = b'{"FirstName": "Ada", "LastName": "Lovelace", "Email": "ada@example.com"}'
        response = await app.call(
            "POST", "/v2.01/_/users/natural", body, headers=(("Content-Type", "application/json"),)
        )
        assert (response.status, response.header("Deprecation")) == (200, b"@1763337600")
        assert (await app.call("GET", "/v2.01/_/clients")).status == 200
        shown = await status(app)
        (told,) = shown["deprecated_calls"]
        assert (told["endpoint"], told["calls"], told["successor"]) == (
            "POST users/natural",
            1,
            "POST sca/users/natural",
        )
        assert "deprecated_calls" in [finding["kind"] for finding in shown["findings"]]
        metrics = prometheus.parse((await admin(app, "/metrics")).decode())
        assert metrics["mangopay_sidecar_deprecated_calls_total"].value(what="legacy_users") == 1
        assert [line.get("deprecated") for line in app.log.requests] == ["legacy_users", None]


async def test_the_watch_of_hooks_takes_its_turn_in_the_lane() -> None:
    async with with_windows(10, limits_reserve="50%", admin_watch_hooks="true") as (app, emulator):
        watch = app.sidecar._hook_watch
        assert watch is not None
        await watch.look()
        assert watch.status.last_error == ""
        for _ in range(5):
            assert (await app.call("GET", "/v2.01/_/clients")).status == 200
        requests = emulator.state.stats.requests
        await watch.look()
        assert watch.status.last_error
        assert emulator.state.stats.requests == requests
