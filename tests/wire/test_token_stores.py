"""One contract for every ``token.store``: whole sidecars before an emulator, each kind behind them as users have it."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from sidecar.core.errors import ErrorCode
from sidecar.emulator.settings import Credentials
from tests.support import canary
from tests.support.app import App, error_code, request_bytes, running_app
from tests.support.emulator import running_emulator
from tests.support.memory_directory import directory_in_memory
from tests.support.prometheus import parse
from tests.support.raw_client import RawClient
from tests.support.redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from sidecar.emulator.server import Emulator
    from tests.support.raw_client import ReceivedResponse

pytestmark = pytest.mark.any_loop

VIEW = "/v2.01/acme/clients"
EMBEDDED = "/v2.01/oauth/token/embedded/recipient"
KINDS = ["memory", "file", "redis"]
SHARED = ["file", "redis"]


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@dataclass
class Deployment:
    """Sidecars with one ``token.store``, before an emulator."""

    kind: str
    store: str
    emulator: Emulator
    directory: Path

    @asynccontextmanager
    async def sidecar(self, **settings: str) -> AsyncIterator[App]:
        settings = {"token_store": self.store, "token_prefetch": "false", **settings}
        async with running_app(self.emulator.url, **settings) as app:
            yield app
            self.look_at_the_store()

    @property
    def token_requests(self) -> int:
        return self.emulator.state.stats.token_requests

    def look_at_the_store(self) -> None:
        """Have all that lies in the directory but the file itself searched for secrets; and that for keys."""
        for path in self.directory.iterdir():
            content = path.read_bytes().replace(canary.CANARY_TOKEN.encode(), b"a token, as documented")
            canary.record(f"{path.name} of the file store", content)


@pytest.fixture
def directory() -> Iterator[Path]:
    """Where a file store's file is."""
    with directory_in_memory() as directory:
        yield directory


@pytest.fixture
async def deployment(request: pytest.FixtureRequest, directory: Path) -> AsyncIterator[Deployment]:
    kind: str = request.param
    store = {"memory": "memory", "file": f"file:{directory / 'tokens'}"}.get(kind)
    if store is None:
        server: RedisServer = request.getfixturevalue("redis_server")
        server.send("FLUSHALL")
        store = server.url
    credentials = Credentials(embedded=[canary.CANARY_EMBEDDED_KEY])
    with structlog.testing.capture_logs() as logs:
        async with running_emulator(credentials=credentials) as emulator:
            yield Deployment(kind, store, emulator, directory)
    canary.record("the log", repr(logs))
    if kind == "redis":
        canary.record("the dump of Redis", request.getfixturevalue("redis_server").dump())


every = pytest.mark.parametrize("deployment", KINDS, indirect=True)
shared = pytest.mark.parametrize("deployment", SHARED, indirect=True)


async def view(app: App) -> ReceivedResponse:
    return await app.call("GET", VIEW)


async def admin(app: App, path: str) -> bytes:
    with await RawClient.connect(("127.0.0.1", app.admin_port)) as client:
        await client.send(request_bytes("GET", path))
        response = await client.response()
    canary.record(path, response.raw)
    return response.body


# --- one sidecar -----------------------------------------------------------------------------------------------------


@every
async def test_calls_are_served_with_one_token(deployment: Deployment) -> None:
    async with deployment.sidecar() as app:
        responses = await asyncio.gather(*(view(app) for _ in range(20)))
        assert {response.status for response in responses} == {200}
        assert (await view(app)).status == 200
        assert deployment.token_requests == 1


@every
async def test_a_revoked_token_is_mended_for_all_calls_by_one_request(deployment: Deployment) -> None:
    async with deployment.sidecar() as app:
        await view(app)
        deployment.emulator.state.tokens.revoke()
        responses = await asyncio.gather(*(view(app) for _ in range(20)))
        assert {response.status for response in responses} == {200}
        assert b"token" in {response.header("X-Sidecar-Recovered") for response in responses}
        assert deployment.token_requests == 2


@every
async def test_an_expired_token_is_followed_by_another(deployment: Deployment) -> None:
    state = deployment.emulator.state
    state.settings = state.settings.changed({"expires_in": 1})
    async with deployment.sidecar() as app:
        assert (await view(app)).status == 200
        # All tokens so far end within a second, and there may be several on a busy machine; the next one lasts.
        state.settings = state.settings.changed({"expires_in": 3600})
        issued = deployment.token_requests
        await asyncio.sleep(1.05)
        assert (await view(app)).status == 200
        assert deployment.token_requests == issued + 1


@every
async def test_a_lockout_is_answered_here_and_asked_about_once(deployment: Deployment) -> None:
    deployment.emulator.faults.add("lockout token")
    async with deployment.sidecar() as app:
        responses = await asyncio.gather(*(view(app) for _ in range(10)))
        assert {error_code(response) for response in responses} == {ErrorCode.TOKEN_LOCKED_OUT}
        assert error_code(await view(app)) is ErrorCode.TOKEN_LOCKED_OUT
        assert deployment.token_requests == 1


@every
async def test_refused_credentials_are_asked_about_once(deployment: Deployment) -> None:
    deployment.emulator.faults.add("status=403 token")
    async with deployment.sidecar() as app:
        for _ in range(3):
            assert error_code(await view(app)) is ErrorCode.CREDENTIALS_REFUSED
        assert deployment.token_requests == 1


@every
async def test_a_transient_failure_is_tried_again(deployment: Deployment) -> None:
    deployment.emulator.faults.add("status=503 token times=1")
    async with deployment.sidecar() as app:
        assert (await view(app)).status == 200
        assert deployment.token_requests == 2


@every
async def test_each_credential_has_its_own_token(deployment: Deployment) -> None:
    async with deployment.sidecar(mangopay_embedded_api_key=canary.CANARY_EMBEDDED_KEY) as app:
        body = json.dumps({"clientId": "acme", "claims": {"userId": "1"}}).encode()
        with await app.connect() as client:  # the response is a token for the caller, so it is not to be recorded
            await client.send(request_bytes("POST", EMBEDDED, body))
            assert (await client.response()).status == 200
        assert (await view(app)).status == 200
        assert deployment.token_requests == 2


@every
async def test_metrics_and_status_tell_of_requests_and_store(deployment: Deployment) -> None:
    async with deployment.sidecar() as app:
        await view(app)
        metrics = parse((await admin(app, "/metrics")).decode())
        status = json.loads(await admin(app, "/status"))
        asked = metrics["mangopay_sidecar_token_requests_total"].value(credential="api", outcome="ok")
        assert asked == status["calls"]["token_requests"] == 1
        if deployment.kind == "memory":
            assert status["store"] is None
            assert "mangopay_sidecar_store_up" not in metrics
        else:
            assert (status["store"]["kind"], status["store"]["up"]) == (deployment.kind, True)
            assert metrics["mangopay_sidecar_store_up"].value() == 1


@every
async def test_calls_go_on_when_the_store_is_emptied(deployment: Deployment, request: pytest.FixtureRequest) -> None:
    async with deployment.sidecar() as app:
        await view(app)
        for path in deployment.directory.iterdir():
            path.unlink()
        if deployment.kind == "redis":
            request.getfixturevalue("redis_server").send("FLUSHALL")
        deployment.emulator.state.tokens.revoke()
        assert (await view(app)).status == 200
        assert deployment.token_requests == 2


@every
async def test_a_sidecar_ends_in_the_middle_of_a_token_request(deployment: Deployment) -> None:
    deployment.emulator.faults.add("hang token")
    async with deployment.sidecar(token_prefetch="true"):
        while not deployment.emulator.state.stats.token_requests:
            await asyncio.sleep(0.01)


# --- several ---------------------------------------------------------------------------------------------------------


@shared
async def test_all_start_at_once_and_ask_once(deployment: Deployment) -> None:
    deployment.emulator.faults.add("pass delay=0.2 token")
    async with deployment.sidecar() as one, deployment.sidecar() as two, deployment.sidecar() as three:
        responses = await asyncio.gather(*(view(app) for app in (one, two, three) for _ in range(5)))
        assert {response.status for response in responses} == {200}
        assert deployment.token_requests == 1


@shared
async def test_a_restart_asks_for_nothing(deployment: Deployment) -> None:
    for _ in range(3):
        async with deployment.sidecar(token_prefetch="true") as app:
            assert (await view(app)).status == 200
    assert deployment.token_requests == 1


@shared
async def test_a_revocation_is_one_request_for_all(deployment: Deployment) -> None:
    async with deployment.sidecar() as one, deployment.sidecar() as two:
        await asyncio.gather(view(one), view(two))
        deployment.emulator.state.tokens.revoke()
        responses = await asyncio.gather(*(view(app) for app in (one, two) for _ in range(5)))
        assert {response.status for response in responses} == {200}
        assert deployment.token_requests == 2


@shared
async def test_who_starts_later_gets_no_burnt_token(deployment: Deployment) -> None:
    async with deployment.sidecar() as one:
        await view(one)
        deployment.emulator.state.tokens.revoke()
        await view(one)
    async with deployment.sidecar() as two:
        response = await view(two)
        assert (response.status, response.header("X-Sidecar-Recovered")) == (200, None)


@shared
async def test_a_lockout_is_known_to_who_starts_later_and_to_other_credentials(deployment: Deployment) -> None:
    deployment.emulator.faults.add("lockout token times=1")
    async with deployment.sidecar() as one:
        assert error_code(await view(one)) is ErrorCode.TOKEN_LOCKED_OUT
    settings = {"mangopay_embedded_api_key": canary.CANARY_EMBEDDED_KEY}
    async with deployment.sidecar(**settings) as two:
        assert error_code(await view(two)) is ErrorCode.TOKEN_LOCKED_OUT
        assert error_code(await two.call("POST", EMBEDDED, b"{}")) is ErrorCode.TOKEN_LOCKED_OUT
    assert deployment.token_requests == 1


@shared
async def test_refused_credentials_are_known_to_who_has_the_same_key_only(deployment: Deployment) -> None:
    deployment.emulator.faults.add("status=403 token times=1")
    async with deployment.sidecar() as one:
        assert error_code(await view(one)) is ErrorCode.CREDENTIALS_REFUSED
    async with deployment.sidecar() as two:
        assert error_code(await view(two)) is ErrorCode.CREDENTIALS_REFUSED
    async with deployment.sidecar(mangopay_api_key=canary.CANARY_API_KEY + "-new") as three:
        assert (await view(three)).status == 200
    assert deployment.token_requests == 2


@shared
async def test_accounts_and_environments_share_nothing(deployment: Deployment) -> None:
    async with deployment.sidecar() as one:
        assert (await view(one)).status == 200
    elsewhere = deployment.emulator.url.replace("127.0.0.1", "localhost")
    for other in ({"mangopay_client_id": "other"}, {"mangopay_base_url": elsewhere}):
        async with deployment.sidecar(**other) as two:
            assert (await two.call("GET", "/v2.01/_/clients")).status == 200
    assert deployment.token_requests == 3


@shared
async def test_one_that_ends_in_order_keeps_nobody_waiting(
    deployment: Deployment, request: pytest.FixtureRequest
) -> None:
    deployment.emulator.faults.add("hang token times=1")
    async with deployment.sidecar(token_prefetch="true"):
        while not deployment.token_requests:
            await asyncio.sleep(0.01)
    if deployment.kind == "file":
        content = (deployment.directory / "tokens").read_bytes()
    else:
        content = request.getfixturevalue("redis_server").dump()
    assert b'"fence":1' in content
    assert b'"lease"' not in content


@shared
async def test_a_key_that_rotates_through_a_fleet_costs_one_request(deployment: Deployment) -> None:
    new: dict[str, Any] = {"mangopay_api_key": canary.CANARY_API_KEY + "-new"}
    for _ in range(2):
        async with deployment.sidecar() as old, deployment.sidecar(**new) as young:
            assert {(await view(app)).status for app in (old, young, old, young)} == {200}
    assert deployment.token_requests == 2
