"""Keys and certificates rotate under load, in front of a Mangopay that speaks TLS: no call is lost."""

from __future__ import annotations

import asyncio
import itertools
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
import structlog
import trustme

from sidecar import reload
from sidecar.core.errors import ErrorCode
from sidecar.emulator.settings import Credentials
from sidecar.upstream.pool import Pool
from sidecar.upstream.trust import client_context
from tests.support import canary
from tests.support.app import App, error_code, request_bytes, running_app
from tests.support.certificates import ADDRESS, ClientFiles, ServerContext, leaf_pem, serial, tls_emulator
from tests.support.emulator import NATURAL_USER
from tests.support.prometheus import parse
from tests.support.raw_client import RawClient
from tests.support.upstreams import OK, Peer, answering, client_of, read_all, serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, MutableMapping
    from pathlib import Path

    from sidecar.emulator.server import Emulator

pytestmark = pytest.mark.any_loop

USERS = "/v2.01/acme/users"
USER = json.dumps(NATURAL_USER).encode()

#: Calls begun in each second of the rotation under load.
RATE = 50
ROUNDS = 5
#: Calls under way at most. A machine that cannot keep up is given no more: each change of trust costs a handshake for
#: every call that waits, so a queue would only grow.
MOST_UNDER_WAY = 40


def replace(path: Path, content: bytes) -> None:
    """Replace a file as careful tools do: written beside, then renamed."""
    fresh = path.with_name(path.name + ".new")
    fresh.touch(mode=0o600)
    fresh.write_bytes(content)
    fresh.rename(path)


@dataclass
class Rotating:
    """A sidecar in front of an emulator, both over TLS, and what they are made of."""

    app: App
    emulator: Emulator
    server: ServerContext
    files: ClientFiles
    key: Path
    logs: list[MutableMapping[str, Any]]

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await asyncio.sleep(0.005)

    @property
    def changed(self) -> list[str]:
        """Every setting that a reload changed, in order."""
        return [name for entry in self.logs if entry["event"] == "config.reloaded" for name in entry["changed"]]

    async def reloaded(self, setting: str, times: int) -> None:
        """Return once ``setting`` was changed so many times."""
        await self.until(lambda: self.changed.count(setting) >= times)


@asynccontextmanager
async def rotating(directory: Path, authority: trustme.CA, **settings: str) -> AsyncIterator[Rotating]:
    key = directory / "api_key"
    replace(key, canary.CANARY_API_KEY.encode())
    files = ClientFiles.write(directory, authority, authority.issue_cert("first@example.org"))
    server = ServerContext.make(authority.issue_cert(ADDRESS), authority)
    with structlog.testing.capture_logs() as logs:
        async with tls_emulator(server) as (emulator, url):
            app_settings = {**files.settings, "mangopay_api_key_file": str(key), "mangopay_api_key": "", **settings}
            async with running_app(url, **app_settings) as app:
                yield Rotating(app, emulator, server, files, key, logs)
    canary.record("the log", repr(logs))


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at the files more often than every second."""
    monkeypatch.setattr(reload, "INTERVAL", 0.05)


@pytest.fixture
def in_use_when_retired(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many connections carried a call at each change of trust."""
    counts: list[int] = []
    retire = Pool.retire

    def counting(pool: Pool) -> None:
        counts.append(pool.open - pool.idle)
        retire(pool)

    monkeypatch.setattr(Pool, "retire", counting)
    return counts


# --- under load ------------------------------------------------------------------------------------------------------


@dataclass
class Load:
    """Calls begun at a steady rate, whether or not those before have ended, up to ``MOST_UNDER_WAY``."""

    app: App
    statuses: list[int] = field(default_factory=list)
    _calls: set[asyncio.Task[None]] = field(default_factory=set)

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        begin = loop.time()
        for number in itertools.count():
            await asyncio.sleep(begin + number / RATE - loop.time())
            if len(self._calls) >= MOST_UNDER_WAY:
                await asyncio.wait(self._calls, return_when=asyncio.FIRST_COMPLETED)
            call = asyncio.create_task(self._call(number))
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)

    async def _call(self, number: int) -> None:
        method, body = ("POST", USER) if number % 2 else ("GET", None)
        response = await self.app.call(method, f"{USERS}/natural" if body else USERS, body)
        self.statuses.append(response.status)

    async def finish(self) -> None:
        await asyncio.gather(*self._calls)


@asynccontextmanager
async def under_load(app: App) -> AsyncIterator[Load]:
    load = Load(app)
    runner = asyncio.create_task(load.run())
    try:
        yield load
    finally:
        runner.cancel()
        await asyncio.gather(runner, return_exceptions=True)
        await load.finish()


@pytest.mark.usefixtures("_impatient")
async def test_key_certificate_and_ca_rotate_five_times_under_load_and_no_call_fails(
    authority: trustme.CA, tmp_path: Path, in_use_when_retired: list[int]
) -> None:
    """Each round: a new API key whose predecessor is revoked with its token, a new certificate, a new CA."""
    async with rotating(tmp_path, authority) as sidecar, under_load(sidecar.app) as load:
        files, emulator, trusted = sidecar.files, sidecar.emulator, authority
        emulator.faults.add("pass delay=0.1 api")  # so that there are always calls under way
        await sidecar.until(lambda: len(load.statuses) >= 5)
        certificates = []
        for number in range(1, ROUNDS + 1):
            key = f"{canary.CANARY_API_KEY}-{number}"
            replace(sidecar.key, key.encode())
            await sidecar.reloaded("mangopay.api_key", number)
            emulator.state.credentials = Credentials({"acme": (key,)})
            emulator.state.tokens.revoke()
            tokens = emulator.state.stats.token_requests
            await sidecar.until(lambda tokens=tokens: emulator.state.stats.token_requests > tokens)  # type: ignore[misc]

            certificates.append(authority.issue_cert(f"round-{number}@example.org"))
            replace(files.cert, leaf_pem(certificates[-1]))
            replace(files.key, certificates[-1].private_key_pem.bytes())
            await sidecar.reloaded("tls.client_cert_file", number)
            await sidecar.until(lambda: serial(certificates[-1]) in sidecar.server.shown)

            trusted, before = trustme.CA(), trusted
            replace(files.ca, before.cert_pem.bytes() + trusted.cert_pem.bytes())
            await sidecar.reloaded("tls.ca_file", 2 * number - 1)
            trusted.issue_cert(ADDRESS).configure_cert(sidecar.server)
            connections = len(sidecar.server.shown)
            replace(files.ca, trusted.cert_pem.bytes())
            await sidecar.reloaded("tls.ca_file", 2 * number)
            await sidecar.until(lambda connections=connections: len(sidecar.server.shown) > connections)  # type: ignore[misc]
        await sidecar.until(lambda: len(load.statuses) >= RATE)
    assert set(load.statuses) == {200}
    assert len(in_use_when_retired) == 3 * ROUNDS
    assert min(in_use_when_retired) > 0
    assert not [entry for entry in sidecar.logs if entry["event"] == "config.reload_failed"]
    assert not [line for line in sidecar.app.log.requests if "error" in line]
    shown = list(dict.fromkeys(sidecar.server.shown))
    assert shown[1:] == [serial(each) for each in certificates]


def test_the_load_is_what_was_promised() -> None:
    assert RATE >= 50
    assert ROUNDS >= 5


# --- connections -----------------------------------------------------------------------------------------------------


async def test_an_idle_connection_is_closed_and_the_next_call_gets_a_new_one() -> None:
    async with serve(answering(OK)) as upstream, client_of(upstream) as client:
        await client.call()
        client.pool.retire()
        assert client.pool.open == 0
        await upstream.peers[0].ended.wait()
        await client.call()
        assert [request.connection for request in upstream.requests] == [0, 1]


async def test_a_call_under_way_ends_well_and_its_connection_is_not_used_again() -> None:
    gate = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK[:-6])
        await gate.wait()
        await peer.send(OK[-6:])
        await answering(OK)(peer)

    async with serve(script) as upstream, client_of(upstream) as client:
        response = await client.ask("POST", body=b"x")
        client.pool.retire()
        assert client.pool.open == 1
        gate.set()
        assert await read_all(response) == OK[-12:]
        response.release()
        assert client.pool.open == 0
        await client.call()
        assert [request.connection for request in upstream.requests] == [0, 1]


async def test_a_connection_that_carried_nothing_yet_is_not_kept_either() -> None:
    async with serve(answering(OK)) as upstream, client_of(upstream) as client:
        connection = await client.acquire()
        client.pool.retire()
        connection.release()
        assert (client.pool.open, client.pool.idle) == (0, 0)


async def test_who_waits_for_a_slot_gets_it_when_a_retired_connection_is_done() -> None:
    async with serve(answering(OK)) as upstream, client_of(upstream, size=1) as client:
        response = await client.ask()
        waiting = asyncio.create_task(client.call())
        while not client.pool.waiting:
            await asyncio.sleep(0)
        client.pool.retire()
        await read_all(response)
        response.release()
        await waiting
        assert [request.connection for request in upstream.requests] == [0, 1]


async def test_new_connections_use_the_new_context(authority: trustme.CA) -> None:
    server = ServerContext.make(authority.issue_cert("localhost"), authority)
    certificates = [authority.issue_cert(f"{number}@example.org") for number in range(3)]
    contexts = []
    for certificate in certificates:
        context = client_context()
        authority.configure_trust(context)
        certificate.configure_cert(context)
        contexts.append(context)
    async with serve(answering(OK), ssl_context=server) as upstream:
        async with client_of(upstream, ssl_context=contexts[0]) as client:
            await client.call()
            for context in contexts[1:]:
                client.dialer.ssl_context = context
                client.pool.retire()
                for _ in range(2):
                    await client.call()
    assert server.shown == [serial(certificate) for certificate in certificates]


# --- one by one ------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("_impatient")
async def test_while_mangopay_refuses_the_new_key_the_old_token_keeps_serving(
    authority: trustme.CA, tmp_path: Path
) -> None:
    async with rotating(tmp_path, authority) as sidecar:
        assert (await sidecar.app.call("GET", USERS)).status == 200
        sidecar.emulator.state.credentials = Credentials({"acme": (canary.CANARY_API_KEY,)})
        replace(sidecar.key, f"{canary.CANARY_API_KEY}-typo".encode())
        await sidecar.reloaded("mangopay.api_key", 1)
        for _ in range(5):
            assert (await sidecar.app.call("POST", f"{USERS}/natural", USER)).status == 200
        assert sidecar.emulator.state.stats.token_requests == 1


@pytest.mark.usefixtures("_impatient")
async def test_a_refused_key_that_is_put_right_serves_at_once(authority: trustme.CA, tmp_path: Path) -> None:
    """The latch lasts 30 s at least: nobody waits for it."""
    async with rotating(tmp_path, authority, token_prefetch="false") as sidecar:
        sidecar.emulator.state.credentials = Credentials({"acme": (f"{canary.CANARY_API_KEY}-right",)})
        response = await sidecar.app.call("GET", USERS)
        assert error_code(response) is ErrorCode.CREDENTIALS_REFUSED
        replace(sidecar.key, f"{canary.CANARY_API_KEY}-right".encode())
        await sidecar.reloaded("mangopay.api_key", 1)
        assert (await sidecar.app.call("GET", USERS)).status == 200


@pytest.mark.usefixtures("_impatient")
async def test_a_bad_certificate_changes_nothing_and_shows_in_the_metric(authority: trustme.CA, tmp_path: Path) -> None:
    async with rotating(tmp_path, authority) as sidecar:
        assert (await sidecar.app.call("GET", USERS)).status == 200
        replace(sidecar.files.cert, leaf_pem(trustme.CA().issue_cert("x@example.org")))
        await sidecar.until(lambda: any(entry["event"] == "config.reload_failed" for entry in sidecar.logs))
        assert await successful(sidecar.app) == 0
        assert (await sidecar.app.call("GET", USERS)).status == 200
        assert len(sidecar.server.shown) == 2
        certificate = authority.issue_cert("second@example.org")
        replace(sidecar.files.cert, leaf_pem(certificate))
        replace(sidecar.files.key, certificate.private_key_pem.bytes())
        await sidecar.reloaded("tls.client_cert_file", 1)
        assert await successful(sidecar.app) == 1
        assert (await sidecar.app.call("GET", USERS)).status == 200
        assert sidecar.server.shown[-1] == serial(certificate)


async def successful(app: App) -> float:
    with await RawClient.connect(("127.0.0.1", app.admin_port)) as client:
        await client.send(request_bytes("GET", "/metrics"))
        metrics = parse((await client.response()).body.decode())
    return metrics["mangopay_sidecar_config_last_reload_successful"].value()
