"""The token store as users meet it at the command line: refused, told of, and looked at by ``check`` and ``status``."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.support.answering_mangopay import AnsweringMangopay, answering, response
from tests.support.canary import CANARY_API_KEY, CANARY_CALLER_KEY
from tests.support.checking import check
from tests.support.memory_directory import directory_in_memory
from tests.support.redis_server import RedisServer
from tests.support.sidecar import Command, Sidecar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

LOCKED = response(400, '{"error": "unauthorized_client"}')
FORBIDDEN = response(403)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis"), user=("sidecar", CANARY_CALLER_KEY)) as server:
        yield server


@pytest.fixture
def directory() -> Iterator[Path]:
    """Where a file store's file is."""
    with directory_in_memory() as directory:
        yield directory


@pytest.fixture
async def mangopay() -> AsyncIterator[AnsweringMangopay]:
    mangopay = AnsweringMangopay()
    async with answering(mangopay):
        yield mangopay


def url(mangopay: AnsweringMangopay) -> str:
    return f"http://127.0.0.1:{mangopay.port}"


def store_of(kind: str, server: RedisServer, directory: Path) -> str:
    server.send("FLUSHALL")
    return server.url if kind == "redis" else f"file:{directory / 'tokens'}"


def run_once(base_url: str, store: str) -> None:
    """Run a sidecar until it has got a token, or knows that it gets none."""
    with Sidecar(base_url, token={"store": store}) as sidecar:
        sidecar.wait_for(r"token\.(refreshed|latched)", stream="stderr")
        assert sidecar.stop() == 0
        assert not sidecar.complaints


# --- check -----------------------------------------------------------------------------------------------------------


async def test_without_a_store_there_is_no_such_step(mangopay: AnsweringMangopay) -> None:
    assert "store" not in (await check(url(mangopay), "--json")).marks


@pytest.mark.parametrize("kind", ["file", "redis"])
async def test_a_store_that_works_is_one_step_before_the_network(
    kind: str, mangopay: AnsweringMangopay, server: RedisServer, directory: Path
) -> None:
    store = store_of(kind, server, directory)
    place = f"127.0.0.1:{server.port}/0" if kind == "redis" else str(directory / "tokens")
    checked = await check(url(mangopay), "--json", token_store=store)
    assert checked.status == 0
    names = list(checked.marks)
    assert names[names.index("store") - 1 : names.index("store") + 2] == ["sidecar", "store", "dns"]
    assert checked.step("store")["status"] == "ok"
    assert checked.detail("store") == f"{kind} at {place}"
    assert list(directory.iterdir()) == [], "a file is only looked for"
    await asyncio.to_thread(run_once, url(mangopay), store)
    assert (await check(url(mangopay), "--json", token_store=store)).detail("store").endswith("with a valid token")


@pytest.mark.parametrize(
    ("kind", "said", "code"),
    [("file", FORBIDDEN, "sidecar_latched_refused"), ("redis", LOCKED, "sidecar_latched_lockout")],
    ids=["file", "redis"],
)
async def test_while_the_store_tells_of_a_latch_no_token_call_is_made(
    kind: str, said: bytes, code: str, mangopay: AnsweringMangopay, server: RedisServer, directory: Path
) -> None:
    store = store_of(kind, server, directory)
    mangopay.token = said
    await asyncio.to_thread(run_once, url(mangopay), store)
    calls = len(mangopay.heads)
    checked = await check(url(mangopay), "--json", token_store=store)
    assert (checked.status, checked.failures) == (1, [("store", code)])
    assert "the next try is in" in checked.detail("store")
    assert checked.marks["token"] == "skipped"
    assert len(mangopay.heads) == calls
    await check(url(mangopay), "--json", "--force", token_store=store)
    assert len(mangopay.heads) == calls + 1


async def test_a_store_that_is_down_is_a_warning_with_cause_and_mend(
    mangopay: AnsweringMangopay, server: RedisServer
) -> None:
    wrong = server.url.replace(CANARY_CALLER_KEY, "wrong")
    checked = await check(url(mangopay), "--json", token_store=wrong)
    assert checked.status == 0
    step = checked.step("store")
    assert (step["status"], step["code"]) == ("warning", "store_refused")
    assert step["detail"].endswith("it wants a user and a password, or others than these")
    assert step["cause"]
    assert step["mend"]
    checked = await check(url(mangopay), "--json", token_store="redis://127.0.0.1:1")
    assert checked.step("store")["code"] == "store_unreachable"
    assert checked.marks["call"] == "ok", "calls go on without it"


async def test_a_file_that_is_no_store_is_told_and_left(mangopay: AnsweringMangopay, tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text("something else")
    path.chmod(0o600)
    checked = await check(url(mangopay), "--json", token_store=f"file:{path}")
    assert (checked.status, checked.step("store")["code"]) == (0, "store_not_ours")
    assert path.read_text() == "something else"


async def test_what_run_would_refuse_is_a_failure_with_status_2(mangopay: AnsweringMangopay, tmp_path: Path) -> None:
    for options in ((), ("--offline",)):
        checked = await check(url(mangopay), "--json", *options, token_store=f"file:{tmp_path}/nowhere/tokens")
        assert (checked.status, checked.failures) == (2, [("store", "store_unusable")])
        assert "which is no directory" in checked.stderr


async def test_offline_nobody_is_asked(mangopay: AnsweringMangopay, server: RedisServer) -> None:
    checked = await check(url(mangopay), "--json", "--offline", token_store=server.url)
    assert checked.status == 0
    assert list(checked.marks) == ["config", "files", "certificate", "store"]
    assert checked.detail("store").endswith("not asked")


# --- run -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("store", "words"),
    [
        ("redis://sidecar:{secret}#x@host/0", "token.store is no URL that the Redis client can use: write redis[s]://"),
        (
            "redis://sidecar:{secret}@host/zero",
            "token.store is no URL that the Redis client can use: write redis[s]://",
        ),
        ("file:{directory}/nowhere/tokens", "nowhere, which is no directory: name a file"),
        ("file:{directory}", "which is a directory: name a file in it"),
    ],
)
def test_a_store_that_can_never_work_is_refused_in_one_line(store: str, words: str, tmp_path: Path) -> None:
    environ = {
        "SIDECAR_MANGOPAY_CLIENT_ID": "acme",
        "SIDECAR_MANGOPAY_API_KEY": CANARY_API_KEY,
        "SIDECAR_TOKEN_STORE": store.format(secret=CANARY_CALLER_KEY, directory=tmp_path),
        "SIDECAR_LISTEN_PORT": "0",
        "SIDECAR_ADMIN_PORT": "0",
    }
    with Command("run", environ=environ) as command:
        assert command.wait() == 2
        (line,) = command.stderr.splitlines()
        assert words in line
        assert command.stdout == ""
