"""One emulated Mangopay, one sidecar in front of it, and one long-lived app for each official SDK."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.e2e.sdk.app import NODE_PROJECT, SdkApp
from tests.e2e.sdk.mangopay import CLIENT_ID, Mangopay, header
from tests.support import canary, node
from tests.support.sidecar import Sidecar

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def mangopay_server() -> Iterator[Mangopay]:
    server = Mangopay()
    yield server
    server.close()


@pytest.fixture(scope="session")
def sidecar(mangopay_server: Mangopay) -> Iterator[Sidecar]:
    with Sidecar(mangopay_server.url, client_id=CLIENT_ID) as running:
        running.wait_until_ready()
        yield running
        assert running.stop() == 0, running.stderr[-3000:]
        assert running.complaints == []


@pytest.fixture(scope="session")
def node_sdk() -> str:
    """Install the Node SDK, once. Without npm's registry its tests are skipped, but not in CI."""
    try:
        node.install(NODE_PROJECT)
    except node.RegistryOutOfReachError as error:
        if "CI" in os.environ:
            raise
        pytest.skip(f"the Node SDK is not tested: {error}")
    return "node"


@pytest.fixture(scope="session")
def python_sdk() -> str:
    """The Python SDK came with the test requirements."""
    return "python"


@pytest.fixture(scope="session", params=["python", "node"])
def sdk(request: pytest.FixtureRequest) -> str:
    """The name of an official SDK that can be run."""
    return str(request.getfixturevalue(f"{request.param}_sdk"))


@pytest.fixture(scope="session")
def app(sdk: str, sidecar: Sidecar) -> Iterator[SdkApp]:
    """An unmodified app: dummy credentials, and the sidecar's base URL."""
    with SdkApp(sdk, sidecar.url, client_id=CLIENT_ID, api_key="dummy") as running:
        yield running


@pytest.fixture
def mangopay(mangopay_server: Mangopay) -> Iterator[Mangopay]:
    """What Mangopay sees of one test: the real token on every call, and nothing that was meant for the sidecar."""
    mangopay_server.forget_what_came_in()
    yield mangopay_server
    for request in mangopay_server.calls:
        (authorization,) = header(request, "Authorization")
        assert authorization.startswith(f"Bearer {canary.CANARY_TOKEN}"), request.target
        assert b"sidecar_" not in request.body
    mangopay_server.forget_what_came_in()
