"""Processes that renew one shared token without a pause, and are killed at random.

``python -m tests.support.killed_sidecars STORE EMULATOR KILLS LEASE SEED`` prints what happened as JSON. A program
of its own, which imports everything once and then forks: so a process costs milliseconds, and has one thread when
it is forked. STORE is a value of ``token.store``.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import redis
import structlog

from sidecar.cli.process import die_with_parent
from sidecar.config import Config, load
from sidecar.core.tokens.file_content import FileContent
from sidecar.core.tokens.oauth import Fetched, FetchResult
from sidecar.core.tokens.shared_document import SharedDocument, read_document
from sidecar.runtime import SystemClock
from sidecar.tokens.fetcher import Fetcher
from sidecar.tokens.stores import source as sources
from sidecar.tokens.stores.file import FileBackend
from sidecar.tokens.stores.opening import name_of, open_store
from sidecar.upstream.dialing import Dialer
from tests.support.canary import CANARY_API_KEY
from tests.support.crashing_writer import spare_the_disk

if TYPE_CHECKING:
    from sidecar.core.secret import Secret

WORKERS: Final = 3
#: Bytes of an event in the diary, about; and seconds that one is waited for.
_LINE: Final = 100
_PATIENCE: Final = 0.2


class Diary:
    """What the processes did, one line an event, with the moment: written at once, so that a kill loses none."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._path = path
        self._clock = SystemClock()

    def note(self, event: str, **fields: Any) -> None:
        entry = {"at": self._clock.now(), "event": event, "pid": os.getpid(), **fields}
        os.write(self._descriptor, json.dumps(entry).encode() + b"\n")

    def wait_to_grow(self, events: int) -> None:
        """Return once some processes have written about so many lines more, if they ever do."""
        wanted, end = self._size() + events * _LINE, self._clock.now() + _PATIENCE
        while self._size() < wanted and self._clock.now() < end:
            time.sleep(0.001)

    def one_that_asks(self, among: list[int]) -> int | None:
        """Return a process of these that has a token request on its way; None if none has for a while."""
        end = self._clock.now() + _PATIENCE
        while self._clock.now() < end:
            latest = {entry["pid"]: entry["event"] for entry in self._tail() if entry["event"] in {"ask", "answered"}}
            for pid in among:
                if latest.get(pid) == "ask":
                    return pid
            time.sleep(0.001)
        return None

    def _tail(self) -> list[dict[str, Any]]:
        start = max(0, self._size() - 20 * _LINE)
        with self._path.open("rb") as file:
            file.seek(start)
            lines = file.read().split(b"\n")
        # The first line may lack its beginning; what follows the last line break is no line yet.
        return [json.loads(line) for line in lines[1 if start else 0 : -1]]

    def _size(self) -> int:
        return os.fstat(self._descriptor).st_size

    def read(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._path.read_text().splitlines()]


class NotingFetcher(Fetcher):
    """Notes each token request."""

    diary: Diary

    async def fetch_with(self, api_key: Secret) -> FetchResult:
        self.diary.note("ask")
        result = await super().fetch_with(api_key)
        self.diary.note("answered", outcome=type(result).__name__)
        return result


async def renew(config: Config, diary: Diary, lease: float, times: int | None) -> None:
    """Get one new token after the other, now and then because the last one is burnt.

    ``times``: so many by way of the store; one without it does not count.
    """
    clock = SystemClock()
    mangopay = config.mangopay
    dialer = Dialer(mangopay.endpoint, connect_timeout=5.0, ssl_context=None, egress=None)
    fetcher = NotingFetcher(mangopay.endpoint, mangopay.client_id, mangopay.api_key, clock, dialer=dialer)
    fetcher.diary = diary
    store, sealing = open_store(config, clock, random.random)
    source = sources.SharedSource("api", fetcher, store, sealing, clock, random.random, lease=lease)
    while times is None or times > 0:
        result = await source.fetch()
        if isinstance(result, Fetched):
            held = source._current
            diary.note(
                "got",
                generation=None if held is None else held.known.generation,
                epoch=None if held is None else held.known.epoch,
                value=hashlib.sha256(result.value.reveal().encode()).hexdigest()[:16],
                shared=result.shared,
            )
            if random.random() < 0.3:
                source.burnt()
            times = times if times is None or held is None else times - 1
        else:
            diary.note("failed", detail=result.detail)
        await asyncio.sleep(random.random() * 0.02)
    await store.close()


def fork(config: Config, diary: Diary, lease: float, seed: int, times: int | None = None) -> int:
    parent = os.getpid()
    if (pid := os.fork()) != 0:
        return pid
    try:
        die_with_parent(parent)
        random.seed(seed)
        asyncio.run(renew(config, diary, lease, times))
        os._exit(0)
    except BaseException as error:
        diary.note("crashed", error=repr(error)[:200])
        os._exit(1)


def look(config: Config) -> SharedDocument:
    """Read the document as it lies there, in one thread; fail if it is none."""
    place, name = config.token.store, name_of(config)
    if place.path is not None:
        found = FileBackend(place.path, SystemClock())._look()
        assert isinstance(found, FileContent), found
        entry = found.entries.get(name)
        return read_document(None if entry is None else bytes(entry.document))
    assert place.url is not None
    with redis.Redis.from_url(place.url.reveal()) as client:
        content = client.get(name)
    assert content is None or isinstance(content, bytes)
    return read_document(content)


def main(store: str, emulator: str, kills: int, lease: float, seed: int) -> None:
    config = load(
        None,
        {
            "SIDECAR_MANGOPAY_ENVIRONMENT": "emulator",
            "SIDECAR_MANGOPAY_BASE_URL": emulator,
            "SIDECAR_MANGOPAY_CLIENT_ID": "acme",
            "SIDECAR_MANGOPAY_API_KEY": CANARY_API_KEY,
            "SIDECAR_TOKEN_STORE": store,
        },
    )
    spare_the_disk()
    # Looks as often as fits the short lease: else the test would mostly wait.
    sources._FIRST_LOOK, sources._LAST_LOOK = 0.02, 0.1  # type: ignore[misc]
    open_store(config, SystemClock(), random.random)  # so that what it imports is there before anybody forks
    rolls = random.Random(seed)
    with TemporaryDirectory() as directory:
        diary = Diary(Path(directory, "diary"))
        pids = [fork(config, diary, lease, seed + number) for number in range(WORKERS)]
        for kill in range(kills):
            # Not by time alone: on a busy machine that would hit processes that have hardly begun.
            diary.wait_to_grow(rolls.randrange(3))
            time.sleep(rolls.random() * 0.02)
            victim = rolls.randrange(WORKERS)
            if kill % 4 == 0 and (asking := diary.one_that_asks(pids)) is not None:
                victim = pids.index(asking)  # chance alone hits few of them on a busy machine
            os.kill(pids[victim], signal.SIGKILL)
            diary.note("killed", victim=pids[victim])
            os.waitpid(pids[victim], 0)
            parts = look(config).parts.values()
            diary.note("found", generations={part.epoch: part.generation for part in parts})
            pids[victim] = fork(config, diary, lease, seed + WORKERS + kill)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            diary.note("killed", victim=pid)
            os.waitpid(pid, 0)
        survivor = fork(config, diary, lease, seed, times=3)
        status = os.waitstatus_to_exitcode(os.waitpid(survivor, 0)[1])
        print(json.dumps({"survivor": status, "diary": diary.read()}))


if __name__ == "__main__":
    # What is printed on stdout is read as JSON; on a busy machine a lease may be lost, and that is logged.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5]))
