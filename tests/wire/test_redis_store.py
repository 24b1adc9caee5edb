"""The store in Redis, against a real server: what it needs, what it leaves behind, and every way to be down."""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sidecar.config import ConfigError
from sidecar.core.secret import Secret
from sidecar.core.tokens.shared_document import LONGEST, read_document
from sidecar.tokens.stores import redis
from sidecar.tokens.stores.backend import StoreError
from sidecar.tokens.stores.redis import RedisBackend
from tests.support import canary
from tests.support.app import running_app
from tests.support.emulator import running_emulator
from tests.support.redis_server import PERMISSIONS, RedisServer, Tls

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

pytestmark = pytest.mark.any_loop

NAME = "mangopay-sidecar:test"
KEEP = 60.0
RESET = "cannot be reached: ConnectionResetError"
USER, PASSWORD = "sidecar", canary.CANARY_CALLER_KEY


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis"), user=(USER, PASSWORD)) as server:
        yield server


@pytest.fixture
async def store(server: RedisServer) -> AsyncIterator[RedisBackend]:
    server.send("FLUSHALL")
    store = RedisBackend(server.secret_url)
    yield store
    await store.close()


async def complaint(store: RedisBackend) -> str:
    """Return what is wrong with writing to the store."""
    try:
        found = await store.read(NAME)
        await store.swap(NAME, found.content, b"more", KEEP)
    except StoreError as error:
        canary.record("a complaint", str(error))
        return str(error)
    return "nothing"


# --- compare and swap ------------------------------------------------------------------------------------------------


async def test_a_document_is_swapped_only_if_it_is_the_one_that_was_read(store: RedisBackend) -> None:
    assert (await store.read(NAME)).content is None
    assert (await store.swap(NAME, None, b"old", KEEP))[0]
    swapped, found = await store.swap(NAME, None, b"new", KEEP)
    assert (swapped, found.content) == (False, b"old")
    swapped, found = await store.swap(NAME, b"old", b"new", KEEP)
    assert (swapped, found.content, (await store.read(NAME)).content) == (True, b"new", b"new")


async def test_the_clock_is_the_server_s(store: RedisBackend, server: RedisServer) -> None:
    before: Any = server.send("TIME")
    read = (await store.read(NAME)).now
    swapped = (await store.swap(NAME, None, b"x", KEEP))[1].now
    after: Any = server.send("TIME")
    moments = [before[0] + before[1] / 1e6, read, swapped, after[0] + after[1] / 1e6]
    assert moments == sorted(moments)


async def test_nothing_stays_for_ever(store: RedisBackend, server: RedisServer) -> None:
    begun = time.monotonic()
    await store.swap(NAME, None, b"x", 90.5)
    await store.probe()
    left: Any = server.send("PTTL", NAME)
    passed = (time.monotonic() - begun) * 1000
    assert 90_400 - passed < left <= 90_500
    left = server.send("PTTL", "mangopay-sidecar:probe")
    assert left != -1, "it stays"
    assert left <= 1_000


async def test_of_many_that_swap_at_once_one_wins(store: RedisBackend) -> None:
    swaps = await asyncio.gather(*(store.swap(NAME, None, b"%d" % number, KEEP) for number in range(20)))
    assert [swapped for swapped, _ in swaps].count(True) == 1
    assert len({found.content for _, found in swaps}) == 1


async def test_a_server_that_forgot_the_script_is_told_it_again(store: RedisBackend, server: RedisServer) -> None:
    await store.swap(NAME, None, b"old", KEEP)
    server.send("SCRIPT", "FLUSH")
    assert (await store.swap(NAME, b"old", b"new", KEEP))[0]


async def test_the_user_needs_what_the_page_says_and_no_more(store: RedisBackend, server: RedisServer) -> None:
    """The fixture's user has exactly those permissions."""
    server.send("SCRIPT", "FLUSH")
    server.send("ACL", "LOG", "RESET")
    server.send("CONFIG", "RESETSTAT")
    await store.read(NAME)
    await store.swap(NAME, None, b"x", KEEP)
    await store.probe()
    assert server.send("ACL", "LOG") == []
    with server.admin() as admin:
        stats: dict[str, Any] = admin.info("commandstats")
    used = {name.removeprefix("cmdstat_") for name in stats if not name.startswith("cmdstat_acl")}
    allowed = {word[1:] for word in PERMISSIONS if word.startswith("+")}
    # From 7.2 on the test's own client says what it is; ours does not, or the log of refusals would tell.
    assert used - {"auth", "config|resetstat", "info", "client|setinfo"} == allowed
    page = (Path(__file__).parents[2] / "docs" / "scale.md").read_text(encoding="utf-8")
    assert " ".join(PERMISSIONS) in page


async def test_idle_connections_are_closed_and_opened_again(store: RedisBackend, server: RedisServer) -> None:
    def connections() -> int:
        return sum(f"user={USER}" in line for line in server.send("CLIENT", "LIST").decode().splitlines())

    await asyncio.gather(*(store.read(NAME) for _ in range(5)))
    assert connections() >= 1
    await store.rest()
    while connections():
        await asyncio.sleep(0.01)
    assert (await store.read(NAME)).content is None


async def test_an_operation_that_is_given_up_leaves_no_response_for_the_next_one(
    store: RedisBackend, server: RedisServer
) -> None:
    await store.swap(NAME, None, b"mine", KEEP)
    await store.swap(f"{NAME}:other", None, b"another's", KEEP)
    for pause in (0.0, 0.0005, 0.001, 0.002, 0.005):
        reading = asyncio.ensure_future(store.read(f"{NAME}:other"))
        await asyncio.sleep(pause)
        reading.cancel()
        assert (await store.read(NAME)).content == b"mine"


def test_the_place_is_told_without_user_and_password(server: RedisServer) -> None:
    place = RedisBackend(server.secret_url).place
    assert place == f"127.0.0.1:{server.port}/0"
    canary.record("the place", place)


# --- TLS -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    directory = tmp_path_factory.mktemp("secure-redis")
    with RedisServer(directory / "data", tls=Tls.issue(directory), user=(USER, PASSWORD)) as server:
        yield server


async def complaint_of(url: str) -> str:
    store = RedisBackend(Secret(url))
    try:
        return await complaint(store)
    finally:
        await store.close()


async def test_tls_with_a_user_and_a_password(secure: RedisServer) -> None:
    store = RedisBackend(secure.secret_url)
    found = await store.read(NAME)
    assert (await store.swap(NAME, found.content, b"x", KEEP))[0]
    await store.close()


async def test_a_server_that_is_not_trusted_is_not_used(secure: RedisServer) -> None:
    assert "certificate that is not trusted" in await complaint_of(secure.url.partition("?")[0])


async def test_a_server_of_another_name_is_not_used(secure: RedisServer) -> None:
    assert "certificate that is not trusted" in await complaint_of(secure.url.replace("127.0.0.1", "localhost"))


async def test_plain_text_to_a_server_that_speaks_tls_is_told(secure: RedisServer) -> None:
    plain = secure.url.partition("?")[0].replace("rediss:", "redis:")
    assert "cannot be reached" in await complaint_of(plain) or "closed" in await complaint_of(plain)


async def test_tls_to_a_server_that_speaks_plain_text_is_told(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that waits for more of what it takes for a command says nothing."""
    monkeypatch.setattr(redis, "_LAST_RESORT", 0.5)
    text = await complaint_of(server.url.replace("redis:", "rediss:"))
    assert "TLS" in text or "cannot be reached" in text or "closed" in text or "does not answer" in text


async def test_a_ca_file_that_is_not_there_is_told(secure: RedisServer, tmp_path: Path) -> None:
    path = tmp_path / "nowhere.pem"
    url = f"{secure.url.partition('?')[0]}?ssl_ca_certs={path}"
    assert await complaint_of(url) == (
        f"cannot be verified: token.store: ssl_ca_certs {path} cannot be read (No such file or directory): "
        "check the path and the mount"
    )


# --- every way to be down --------------------------------------------------------------------------------------------


async def test_wrong_passwords_and_none_are_told(server: RedisServer) -> None:
    for url in (server.url.replace(PASSWORD, "wrong"), server.url.replace(f"{USER}:{PASSWORD}@", "")):
        assert await complaint_of(url) == "wants a user and a password, or others than these"


@pytest.mark.parametrize("command", [word[1:] for word in PERMISSIONS if word.startswith("+")])
async def test_a_user_that_may_too_little_is_told(server: RedisServer, store: RedisBackend, command: str) -> None:
    await store.read(NAME)
    server.send("SCRIPT", "FLUSH")
    server.send("ACL", "SETUSER", USER, f"-{command}")
    try:
        assert "does not let this user run" in await complaint(store)
    finally:
        server.send("ACL", "SETUSER", USER, f"+{command}")


async def test_another_database_needs_leave_to_select_it(server: RedisServer) -> None:
    url = server.url.replace("/0", "/1")
    assert "SELECT too, for a database other than 0" in await complaint_of(url)
    server.send("ACL", "SETUSER", USER, "+select")
    try:
        assert await complaint_of(url) == "nothing"
    finally:
        server.send("ACL", "SETUSER", USER, "-select")


async def test_a_user_of_other_keys_is_told(server: RedisServer) -> None:
    server.send("ACL", "SETUSER", "other", "on", f">{PASSWORD}", "~elsewhere:*", "+@all")
    assert "on keys mangopay-sidecar:*" in await complaint_of(server.url.replace(f"{USER}:", "other:"))


async def test_a_server_that_is_full_can_be_read_and_says_so(tmp_path: Path) -> None:
    with RedisServer(tmp_path, "maxmemory-policy noeviction") as server:
        store = RedisBackend(server.secret_url)
        await store.swap(NAME, None, b"old", KEEP)
        server.send("CONFIG", "SET", "maxmemory", "1")
        assert (await store.read(NAME)).content == b"old"
        assert await complaint(store) == "is full: it has reached its maxmemory"
        with pytest.raises(StoreError, match="is full"):
            await store.probe()
        server.send("CONFIG", "SET", "maxmemory", "0")
        assert (await store.swap(NAME, b"old", b"new", KEEP))[0]
        await store.close()


async def test_a_replica_is_told(server: RedisServer, store: RedisBackend) -> None:
    await store.swap(NAME, None, b"x", KEEP)
    server.send("REPLICAOF", "127.0.0.1", "1")
    try:
        assert await complaint(store) == "is a replica that cannot be written"
        server.send("CONFIG", "SET", "replica-serve-stale-data", "no")
        assert await complaint(store) == "has lost its primary"
    finally:
        server.send("CONFIG", "SET", "replica-serve-stale-data", "yes")
        server.send("REPLICAOF", "NO", "ONE")


async def test_something_else_under_the_key_is_told(server: RedisServer, store: RedisBackend) -> None:
    server.send("LPUSH", NAME, "x")
    assert await complaint(store) == "has something else under our key"


async def test_a_cluster_is_told(tmp_path: Path) -> None:
    with RedisServer(tmp_path, "cluster-enabled yes") as server:
        store = RedisBackend(server.secret_url)
        assert "is a cluster" in await complaint(store)
        await store.close()


async def test_a_server_without_a_connection_left_is_told(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server, ExitStack() as others:
        store = RedisBackend(server.secret_url)
        server.send("CONFIG", "SET", "maxclients", "2")
        for _ in range(2):
            admin = others.enter_context(server.admin())
            admin.ping()
        # The server says so and hangs up; which of the two is read first is chance.
        assert await complaint(store) in ("has no connection left (maxclients)", "closed the connection", RESET)
        await store.close()


async def test_a_server_that_is_not_there_is_told(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server:
        store = RedisBackend(server.secret_url)
        await store.read(NAME)
        server.kill()
        assert await complaint(store) in ("closed the connection", RESET)
        assert await complaint(store) == "cannot be reached: connection refused"
        assert server.start()
        assert (await store.read(NAME)).content is None
        await store.close()


async def test_a_host_without_an_address_is_told() -> None:
    assert await complaint_of("redis://no-such-host.invalid") == ("cannot be found: its host name cannot be resolved")


# --- whole sidecars --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["stop", "kill"])
async def test_a_server_that_goes_costs_no_call_and_is_used_again_when_it_is_back(tmp_path: Path, how: str) -> None:
    with RedisServer(tmp_path) as server:
        async with (
            running_emulator() as emulator,
            running_app(emulator.url, token_store=server.url) as one,
            running_app(emulator.url, token_store=server.url) as two,
        ):
            for app in (one, two):
                assert (await app.call("GET", "/v2.01/acme/clients")).status == 200
            requests = emulator.state.stats.token_requests
            assert requests == 1
            getattr(server, how)()
            emulator.state.tokens.revoke()
            for app in (one, two):
                assert (await app.call("GET", "/v2.01/acme/clients")).status == 200
            assert emulator.state.stats.token_requests == 3
            if how == "stop":
                server.go_on()
            else:
                assert server.start()
            while not (one.sidecar._upstream.store.up and two.sidecar._upstream.store.up):  # type: ignore[union-attr]
                await asyncio.sleep(0.02)
            emulator.state.tokens.revoke()
            for app in (one, two, one, two):
                assert (await app.call("GET", "/v2.01/acme/clients")).status == 200
            assert emulator.state.stats.token_requests == 4


# --- before it starts ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "redis://:pass#word@host/",
        "redis://:pass/word@host/",
        "redis://host:99999x/0",
        "redis://host:0x50/0",
        "redis://host/abc",
        "redis://host/0/1",
        "redis://host/0?db=x",
        "redis://host/0?no_such_parameter=1",
        "redis://host/0?ssl_ca_certs=/ca.pem",
        "redis://host?socket_timeout=abc",
        "rediss://host?ssl_cert_reqs=sometimes",
        "redis://[::1/0",
    ],
)
def test_a_url_that_means_nothing_is_told_without_showing_it(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        RedisBackend(Secret(url))
    assert str(caught.value).startswith("token.store is no URL that the Redis client can use: write redis[s]://")
    assert "pass" not in str(caught.value).replace("password", "")
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("redis://", "localhost:6379/0"),
        ("redis://host", "host:6379/0"),
        ("redis://:p%40ss@host:1/3", "host:1/3"),
        ("rediss://me:pw@[::1]:6380/", "[::1]:6380/0"),
        ("redis://host?db=4", "host:6379/4"),
        ("rediss://host/2?ssl_ca_certs=/ca.pem&socket_keepalive=yes", "host:6379/2"),
    ],
)
def test_urls_are_read_as_redis_py_reads_them(url: str, place: str) -> None:
    assert RedisBackend(Secret(url)).place == place


async def test_what_the_sidecar_relies_on_is_not_for_the_url_to_say(server: RedisServer) -> None:
    server.send("FLUSHALL")
    store = RedisBackend(
        Secret(f"{server.url}?decode_responses=yes&protocol=3&retry_on_timeout=yes&socket_timeout=900")
    )
    await store.swap(NAME, None, b"x", KEEP)
    assert (await store.read(NAME)).content == b"x"
    await store.close()


def test_without_the_package_the_mend_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(ConfigError, match=r"redis is not installed: pip install 'mangopay-sidecar\[redis\]'$"):
        RedisBackend(Secret("redis://host"))


# --- more than a document --------------------------------------------------------------------------------------------


async def test_of_a_value_that_is_no_document_only_the_beginning_is_read_and_it_is_replaced(
    store: RedisBackend, server: RedisServer
) -> None:
    server.send("SETRANGE", NAME, 40 * LONGEST, "x")
    found = await store.read(NAME)
    assert found.content is not None
    assert len(found.content) == LONGEST + 1
    with pytest.raises(ValueError, match="longer than any"):
        read_document(found.content)
    swapped, other = await store.swap(NAME, b"something else", b"new", KEEP)
    assert (swapped, other.content) == (False, found.content)
    swapped, _ = await store.swap(NAME, found.content, b"new", KEEP)
    assert (swapped, (await store.read(NAME)).content) == (True, b"new")


async def test_the_longest_document_passes_both_ways(store: RedisBackend) -> None:
    longest = b"x" * LONGEST
    assert (await store.swap(NAME, None, longest, KEEP))[0]
    swapped, found = await store.swap(NAME, None, b"new", KEEP)
    assert (swapped, found.content == longest, (await store.read(NAME)).content == longest) == (False, True, True)


#: What a server may begin to say, and go on with for as long as it is read.
ENDLESS = {
    "a string without end": (b"$1000000000\r\n", b"x" * 65_536),
    "a string longer than the largest integer": (b"$" + b"9" * 30 + b"\r\n", b"x" * 65_536),
    "a string of negative length": (b"$-9\r\n", b"$-9\r\n" * 1000),
    "a line without end": (b"+", b"x" * 65_536),
    "an error without end": (b"-ERR ", b"x" * 65_536),
    "a number without end": (b":", b"1" * 65_536),
    "an array without end": (b"*1000000000\r\n", b":1\r\n" * 10_000),
    "an array of empty strings": (b"*1000000000\r\n", b"$0\r\n\r\n" * 10_000),
    "an array of strings of nearly the limit": (b"*1000\r\n", b"$500000\r\n" + b"x" * 500_000 + b"\r\n"),
    "arrays in arrays": (b"*1\r\n" * 10_000, b"*1\r\n" * 10_000),
    "arrays of negative strings": (b"*1000000000\r\n", b"$-20\r\n" * 10_000),
}


@pytest.mark.parametrize("name", ENDLESS)
async def test_a_server_that_never_ends_a_reply_is_given_up_before_it_fills_the_memory(name: str) -> None:
    first, more = ENDLESS[name]
    sent = 0
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.read(1)
        try:
            writer.write(first)
            while True:
                writer.write(more)
                await writer.drain()
                sent += len(more)
        except OSError:
            ended.set()
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    store = RedisBackend(Secret(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"))
    try:
        async with asyncio.timeout(20):
            with pytest.raises(StoreError):
                await store.read(NAME)
            await store.close()
            await ended.wait()
        # The limit, the reader's own buffer, and those of the two sockets.
        assert sent < 16 * LONGEST
    finally:
        await store.close()
        server.close()
        await server.wait_closed()


async def test_what_is_wrong_with_a_reply_without_end_is_said() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"$1000000000\r\n")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    store = RedisBackend(Secret(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"))
    try:
        with pytest.raises(StoreError, match="answers with more than a store of ours has"):
            await store.read(NAME)
    finally:
        await store.close()
        server.close()
        await server.wait_closed()
