"""Who may call, and what: the caller key and the policy, through the real command."""

from __future__ import annotations

import asyncio
import base64
import json
import urllib.request
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.support import canary
from tests.support.app import request_bytes
from tests.support.canary import CANARY_CALLER_KEY
from tests.support.emulator import running_emulator
from tests.support.raw_client import RawClient, ReceivedResponse
from tests.support.sidecar import Command, Section, Sidecar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping

    from sidecar.emulator.server import Emulator

USERS = "/v2.01/acme/users"
TOKEN = "/v2.01/oauth/token"


@dataclass
class Served:
    """A sidecar in front of an emulator."""

    emulator: Emulator
    sidecar: Sidecar

    async def call(self, method: str, target: str, *headers: tuple[str, str]) -> ReceivedResponse:
        return await call(self.sidecar, method, target, *headers)

    @property
    def received(self) -> list[str]:
        """What reached Mangopay, token requests apart."""
        return [f"{each.method} {each.target}" for each in self.emulator.received if "/oauth/token" not in each.target]


@asynccontextmanager
async def served(
    *, listen: Section | None = None, policy: Section | None = None, environ: Mapping[str, str] | None = None
) -> AsyncIterator[Served]:
    async with running_emulator() as emulator:
        with Sidecar(emulator.url, environ=environ, listen=listen or {}, policy=policy or {}) as sidecar:
            await asyncio.to_thread(sidecar.wait_until_ready)
            yield Served(emulator, sidecar)
            await asyncio.to_thread(sidecar.stop)


@pytest.fixture(scope="module")
def emulator_url() -> Iterator[str]:
    with Command("emulator", "--port", "0") as emulator:
        yield emulator.wait_for(r"^ready emulator=(\S+)$")[1]


@pytest.fixture(scope="module")
def sidecar(emulator_url: str) -> Iterator[Callable[..., Sidecar]]:
    """Sidecars by their settings: a table's rows share one, since they change nothing."""
    running: dict[str, Sidecar] = {}
    with ExitStack() as stack:

        def get(*, listen: Section | None = None, policy: Section | None = None) -> Sidecar:
            name = f"{listen} {policy}"
            if name not in running:
                started = Sidecar(emulator_url, listen=listen or {}, policy=policy or {})
                running[name] = stack.enter_context(started)
                running[name].wait_until_ready()
            return running[name]

        yield get


def requests_so_far(emulator_url: str) -> int:
    """Return how many requests the emulator has got, this question included."""
    with urllib.request.urlopen(f"{emulator_url}/__emulator__/stats") as response:
        number: int = json.load(response)["requests"]
        return number


async def call(sidecar: Sidecar, method: str, target: str, *headers: tuple[str, str]) -> ReceivedResponse:
    with await RawClient.connect(("127.0.0.1", sidecar.port)) as client:
        await client.send(request_bytes(method, target, b"" if method == "POST" else None, headers=headers))
        response = await client.response()
    canary.record(f"{method} {target}", response.raw)
    return response


def basic(password: str, user: str = "acme") -> tuple[str, str]:
    return "Authorization", "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def bearer(token: str) -> tuple[str, str]:
    return "Authorization", f"Bearer {token}"


# --- callers ---------------------------------------------------------------------------------------------------------

WITH_KEY: Section = {"caller_key": CANARY_CALLER_KEY}


async def test_an_sdk_that_is_given_the_key_gets_a_token_and_is_served_with_it() -> None:
    async with served(listen=WITH_KEY) as here:
        granted = await here.call("POST", TOKEN, basic(CANARY_CALLER_KEY))
        assert (granted.status, granted.json["token_type"], granted.json["expires_in"]) == (200, "Bearer", 3600)
        token = granted.json["access_token"]
        for _ in range(2):
            assert (await here.call("GET", USERS, bearer(token))).status == 200
        assert here.received == [f"GET {USERS}"] * 2
        for each in here.emulator.received:
            assert token.encode() not in b"".join(value for _, value in each.headers)


async def test_the_key_itself_is_good_for_any_call() -> None:
    async with served(listen=WITH_KEY) as here:
        assert (await here.call("GET", USERS, basic(CANARY_CALLER_KEY, user="anybody"))).status == 200


async def test_a_token_is_good_for_every_sidecar_with_the_key_so_a_restart_goes_unnoticed() -> None:
    async with served(listen=WITH_KEY) as before:
        token = (await before.call("POST", TOKEN, basic(CANARY_CALLER_KEY))).json["access_token"]
    async with served(listen=WITH_KEY) as after:
        assert (await after.call("GET", USERS, bearer(token))).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param([], id="nothing"),
        pytest.param([basic("not-the-key-but-as-long-as-it")], id="a wrong password"),
        pytest.param([basic("")], id="an empty password"),
        pytest.param([("Authorization", f"Basic {CANARY_CALLER_KEY}")], id="the key without its shape"),
        pytest.param([bearer("sidecar_4102444800.nonce.forged")], id="a forged token"),
        pytest.param([bearer(CANARY_CALLER_KEY)], id="the key as a token"),
        pytest.param([basic(CANARY_CALLER_KEY), basic("x")], id="two"),
        pytest.param([("Proxy-Authorization", basic(CANARY_CALLER_KEY)[1])], id="another header"),
    ],
)
@pytest.mark.parametrize(("method", "target"), [("POST", TOKEN), ("GET", USERS)])
async def test_whoever_does_not_prove_the_key_is_refused_and_nothing_is_sent(
    sidecar: Callable[..., Sidecar], emulator_url: str, method: str, target: str, headers: list[tuple[str, str]]
) -> None:
    asked = sidecar(listen=WITH_KEY)
    before = requests_so_far(emulator_url)
    response = await call(asked, method, target, *headers)
    assert (response.status, response.header("X-Sidecar-Error")) == (403, b"caller_not_allowed")
    assert response.header("X-Sidecar-Outcome") == b"not-sent"
    assert response.header("WWW-Authenticate") is None
    assert requests_so_far(emulator_url) == before + 1


async def test_a_token_of_before_the_key_changed_is_refused() -> None:
    async with served(listen={"caller_key": "the key of yesterday"}) as before:
        token = (await before.call("POST", TOKEN, basic("the key of yesterday"))).json["access_token"]
    async with served(listen=WITH_KEY) as here:
        assert (await here.call("GET", USERS, bearer(token))).status == 403


# --- policy ----------------------------------------------------------------------------------------------------------

READ_ONLY: Section = {"read_only": True}
USERS_ONLY: Section = {"allow": ["GET /v2.01/*/users/**", "POST /v2.01/*/users/natural"]}
NO_PAYOUTS: Section = {"deny": ["* /v2.01/*/payouts/**"]}
PAYOUTS = "/v2.01/acme/payouts/bankwire"


@pytest.mark.parametrize(
    ("policy", "method", "target"),
    [
        (READ_ONLY, "GET", USERS),
        (READ_ONLY, "GET", "/v2.01/_/users?Page=1"),
        (USERS_ONLY, "GET", USERS),
        (USERS_ONLY, "GET", "/V2_01/acme/Users/"),
        (NO_PAYOUTS, "GET", USERS),
        (NO_PAYOUTS, "POST", "/v2.01/acme/wallets"),
        # Without a token of its own an SDK makes no call at all; this one never gets out.
        (READ_ONLY, "POST", TOKEN),
        (USERS_ONLY, "POST", TOKEN),
        ({"deny": ["* /**"]}, "POST", TOKEN),
    ],
)
async def test_what_the_policy_allows_is_served(
    sidecar: Callable[..., Sidecar], policy: Section, method: str, target: str
) -> None:
    response = await call(sidecar(policy=policy), method, target)
    assert response.header("X-Sidecar-Error") is None


@pytest.mark.parametrize(
    ("policy", "method", "target"),
    [
        (READ_ONLY, "POST", USERS),
        (READ_ONLY, "PUT", USERS),
        (READ_ONLY, "PATCH", USERS),
        (READ_ONLY, "DELETE", USERS),
        (READ_ONLY, "OPTIONS", USERS),
        (USERS_ONLY, "GET", "/v2.01/acme/wallets"),
        (USERS_ONLY, "POST", "/v2.01/acme/users/legal"),
        (USERS_ONLY, "DELETE", USERS),
        (NO_PAYOUTS, "POST", PAYOUTS),
        (NO_PAYOUTS, "GET", PAYOUTS),
        (NO_PAYOUTS, "POST", "/v2.01/acme/payouts"),
        (NO_PAYOUTS, "POST", "/v2.01/acme/payouts/"),
        (NO_PAYOUTS, "POST", "/v2.01/_/payouts/bankwire"),
        (NO_PAYOUTS, "POST", "/V2.01/ACME/PAYOUTS/bankwire"),
        (NO_PAYOUTS, "POST", "/v2_01/acme/payouts/bankwire"),
        (NO_PAYOUTS, "POST", "/V2_01/acme/PayOuts/bankwire"),
        (NO_PAYOUTS, "POST", "/v2.01/acme/%70ayouts/bankwire"),
        (NO_PAYOUTS, "POST", "/v2%2e01/acme/payouts/bankwire"),
        (NO_PAYOUTS, "POST", "/v2.01/acme%2fpayouts/bankwire"),
        (NO_PAYOUTS, "POST", "/v2.01/acme/%2570ayouts/bankwire"),
        (NO_PAYOUTS, "POST", "/v2.01/acme/payouts%5cbankwire"),
        (NO_PAYOUTS, "POST", "/v2.01/acme/payouts;x/bankwire"),
        (NO_PAYOUTS, "POST", "/v2.01//acme/payouts/bankwire"),
        (NO_PAYOUTS, "POST", "/v2.01/acme/payouts./bankwire"),
        (NO_PAYOUTS, "POST", "/v2.01/acme/p%c3%a4youts"),
    ],
)
async def test_what_it_does_not_allow_is_denied_in_every_spelling(
    sidecar: Callable[..., Sidecar], emulator_url: str, policy: Section, method: str, target: str
) -> None:
    asked = sidecar(policy=policy)
    before = requests_so_far(emulator_url)
    response = await call(asked, method, target)
    assert (response.status, response.header("X-Sidecar-Error")) == (403, b"policy_denied")
    assert response.header("X-Sidecar-Outcome") == b"not-sent"
    assert requests_so_far(emulator_url) == before + 1


@pytest.mark.parametrize(
    "name", ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "X_HTTP_Method_Override"]
)
async def test_a_header_that_would_change_the_method_behind_the_policy_does_not_get_there(name: str) -> None:
    async with served(policy=READ_ONLY) as here:
        assert (await here.call("GET", USERS, (name, "DELETE"))).status == 200
        (received,) = [each for each in here.emulator.received if each.target == USERS]
        assert name.lower().encode() not in {header.lower() for header, _ in received.headers}


async def test_the_whole_policy_can_come_from_variables() -> None:
    variables = {"SIDECAR_POLICY_ALLOW": "GET /**,POST /v2.01/*/users/**", "SIDECAR_POLICY_DENY": "GET /**/wallets/**"}
    async with served(environ=variables) as here:
        statuses = [
            (await here.call(method, target)).header("X-Sidecar-Error")
            for method, target in [("GET", USERS), ("GET", "/v2.01/acme/wallets/1"), ("POST", PAYOUTS)]
        ]
    assert statuses == [None, b"policy_denied", b"policy_denied"]
