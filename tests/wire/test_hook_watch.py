"""``admin.watch_hooks`` in the whole sidecar: what Mangopay is asked, and what operators see."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sidecar.core.hooks import PAGE_SIZE
from tests.support.app import request_bytes
from tests.support.prometheus import parse
from tests.support.raw_client import RawClient
from tests.wire.faults.support import timed_pair, until

if TYPE_CHECKING:
    from sidecar.core.hooks import HooksStatus
    from tests.wire.faults.support import TimedPair


async def admin(pair: TimedPair, path: str) -> bytes:
    with await RawClient.connect(("127.0.0.1", pair.app.admin_port)) as client:
        await client.send(request_bytes("GET", path))
        return (await client.response()).body


async def shown(pair: TimedPair) -> tuple[dict[str, Any], dict[str, float]]:
    """The status document, and the metric."""
    families = parse((await admin(pair, "/metrics")).decode())
    hooks = families.get("mangopay_sidecar_hooks")
    samples = {} if hooks is None else {dict(labels)["status"]: value for (_, labels), value in hooks.samples.items()}
    return json.loads(await admin(pair, "/status")), samples


def looks(pair: TimedPair) -> list[str]:
    return [each.target for each in pair.emulator.received if each.method == "GET" and "/hooks" in each.target]


def seen(pair: TimedPair) -> HooksStatus:
    watch = pair.app.sidecar._hook_watch
    assert watch is not None
    return watch.status


async def make_hooks(pair: TimedPair, number: int) -> None:
    for event in range(number):
        body = json.dumps({"Url": "https://hooks.example", "EventType": f"EVENT_{'X' * (event % 40)}"}).encode()
        assert (await pair.call("POST", "/v2.01/acme/hooks", body)).status == 200
    pair.emulator.received.clear()


async def test_a_hook_that_mangopay_gave_up_on_is_found() -> None:
    async with timed_pair(admin_watch_hooks="true") as pair:
        await make_hooks(pair, PAGE_SIZE + 1)
        hooks = pair.emulator.state.clients["acme"].collection("Hook")
        list(hooks.values())[-1]["Validity"] = "INVALID"
        await pair.advance_until(lambda: len(looks(pair)) == 2, step=5)
        assert looks(pair) == [f"/v2.01/acme/hooks?page={page}&per_page=100" for page in (1, 2)]
        await until(lambda: seen(pair).failing)
        status, metric = await shown(pair)
        assert metric == {"valid": PAGE_SIZE, "invalid": 1, "disabled": 0, "other": 0}
        assert status["hooks"]["states"]["invalid"] == 1
        (finding,) = [each for each in status["findings"] if each["kind"] == "hooks_failing"]
        assert "(invalid)" in finding["text"]
        list(hooks.values())[-1]["Validity"] = "VALID"
        await pair.advance_until(lambda: len(looks(pair)) == 4, step=30, limit=1200)
        await until(lambda: not seen(pair).failing)
        status, metric = await shown(pair)
        assert metric["invalid"] == 0
        assert "hooks_failing" not in [each["kind"] for each in status["findings"]]


async def test_nobody_looks_unless_told_to() -> None:
    async with timed_pair() as pair:
        await make_hooks(pair, 1)
        for _ in range(40):
            await pair.advance(60)
        status, metric = await shown(pair)
        assert (looks(pair), metric, status["hooks"]) == ([], {}, None)
