"""Sidecars that are killed at any moment of a refresh: the others go on within a lease, and never two tokens fight."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import canary
from tests.support.emulator import running_emulator
from tests.support.redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: Of each of the two stores: two hundred together, as docs/scale.md says.
KILLS = 100
#: Seconds. Shorter than the real one, so that they take some seconds.
LEASE = 0.1
#: Seconds that may pass besides: the longest pause between two looks, and what a busy machine adds.
SLACK = 0.15 + 3.0


@dataclass
class History:
    """What happened, in order."""

    survivor: int
    diary: list[dict[str, Any]]

    def events(self, name: str) -> list[dict[str, Any]]:
        return [entry for entry in self.diary if entry["event"] == name]

    def open_requests(self) -> Iterator[float]:
        """Yield when each process was killed that had a token request on its way."""
        asking: set[int] = set()
        for entry in self.diary:
            if entry["event"] == "ask":
                asking.add(entry["pid"])
            elif entry["event"] == "answered":
                asking.discard(entry["pid"])
            elif entry["event"] == "killed" and entry["victim"] in asking:
                yield entry["at"]


async def play(store: str, kills: int, seed: int) -> tuple[History, int]:
    """Let sidecars be killed; return what happened, and how many token requests arrived."""
    async with running_emulator(expires_in=60) as emulator:
        emulator.faults.add("pass delay=0.03 token")
        arguments = (store, emulator.url, str(kills), str(LEASE), str(seed))
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.support.killed_sidecars",
            *arguments,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, errors = await process.communicate()
        canary.record("what the processes printed", output + errors)
        assert process.returncode == 0, errors.decode()
        found = json.loads(output)
        return History(found["survivor"], found["diary"]), emulator.state.stats.token_requests


@pytest.mark.timeout(120)
@pytest.mark.parametrize("kind", ["file", "redis"])
async def test_a_hundred_kills_at_any_moment_of_a_refresh(kind: str, tmp_path: Path) -> None:
    if kind == "redis":
        with RedisServer(tmp_path) as server:
            history, requests = await play(server.url, KILLS, seed=1)
    else:
        history, requests = await play(f"file:{tmp_path / 'tokens'}", KILLS, seed=1)
        assert sorted(path.name for path in tmp_path.iterdir() if not path.name.endswith(".new")) == [
            "tokens",
            "tokens.lock",
        ], "nothing had to be set aside"
    assert history.survivor == 0, "after all that, three tokens came by way of the store"
    assert not history.events("crashed")
    assert len(history.events("found")) == KILLS

    # The next request starts within a lease, whoever was killed in the middle of one.
    asked = [entry["at"] for entry in history.events("ask")]
    hit = list(history.open_requests())
    assert len(hit) >= KILLS / 10, "too few kills hit a request for this to mean anything"
    for killed in hit:
        assert min(at for at in asked if at > killed) - killed <= LEASE + SLACK

    # Generations only grow: in the document, and for each process.
    generations: dict[str, int] = {}
    for entry in history.events("found"):
        for epoch, generation in entry["generations"].items():
            assert generation >= generations.get(epoch, 0)
            generations[epoch] = generation
    assert len(generations) == 1, "the document was never lost"
    last: dict[int, int] = {}
    for entry in history.events("got"):
        if entry["generation"] is not None:
            assert entry["generation"] > last.get(entry["pid"], 0)
            last[entry["pid"]] = entry["generation"]

    # Never do two tokens fight: a generation is one token, for all who have it.
    values: dict[int, set[str]] = {}
    for entry in history.events("got"):
        if entry["generation"] is not None:
            values.setdefault(entry["generation"], set()).add(entry["value"])
    assert all(len(each) == 1 for each in values.values())
    alone = [entry for entry in history.events("got") if entry["generation"] is None]
    # A disk that pauses for a second sends everybody on alone; a kill that leaves the store unusable does for good.
    assert max(values) >= KILLS / 10, "the store was in use all the while"

    # Each request made a generation, but for those that were cut off by a kill, or came too late.
    assert requests - max(values) <= len(hit) + len(alone) + KILLS / 10
