"""What a running sidecar exposes: nothing missing at the start, each 401 counted once, right to Prometheus' eyes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sidecar.telemetry.exposition import CONTENT_TYPE, PREFIX
from tests.support import prometheus
from tests.support.app import running_pair
from tests.support.metrics import METRICS
from tests.support.promtool import run_promtool
from tests.support.raw_client import RawClient, ReceivedResponse

if TYPE_CHECKING:
    from tests.support.app import App, Pair

USERS = "/v2.01/acme/users"
#: Shown only where there is something to show: a token, a rate window, a certificate, a shared store, watched hooks.
CONDITIONAL = {
    *("token_expiry_timestamp_seconds", "rate_limit_remaining", "rate_limit_reset_timestamp_seconds"),
    *("client_certificate_expiry_timestamp_seconds", "store_up", "hooks"),
}


async def scrape(app: App) -> ReceivedResponse:
    with await RawClient.connect(("127.0.0.1", app.admin_port)) as client:
        await client.send(
            b"GET /metrics HTTP/1.1\r\nHost: sidecar.internal\r\nAccept: text/plain;version=0.0.4\r\n\r\n"
        )
        return await client.response()


async def families(app: App) -> dict[str, prometheus.Family]:
    read = prometheus.parse((await scrape(app)).body.decode())
    return {name.removeprefix(PREFIX): family for name, family in read.items()}


async def unauthorized(pair: Pair) -> dict[str, float]:
    family = (await families(pair.app))["unauthorized_total"]
    return {kind: family.value(kind=kind) for kind in ("token", "sca", "futile")}


async def test_a_sidecar_that_has_served_nothing_exposes_every_family_it_can() -> None:
    async with running_pair(token_prefetch="false", mangopay_embedded_api_key="embedded-api-key") as pair:
        seen = await families(pair.app)
        assert set(seen) == set(METRICS) - CONDITIONAL
        for name in ("requests_total", "errors_total", "token_requests_total", "unauthorized_total", "recovered_total"):
            assert set(seen[name].samples.values()) == {0}
        for name in ("token_requests_total", "latched"):
            credentials = {dict(labels)["credential"] for _, labels in seen[name].samples}
            assert credentials == {"api", "embedded"}


async def test_prometheus_finds_no_fault_with_the_exposition() -> None:
    async with running_pair() as pair:
        assert (await pair.call("GET", USERS)).status == 200
        assert (await pair.call("GET", "/v2.01/acme/../x")).status == 400
        response = await scrape(pair.app)
        assert response.header("Content-Type") == CONTENT_TYPE.encode()
        assert set(prometheus.parse(response.body.decode())) == {
            PREFIX + name
            for name in set(METRICS) - {"client_certificate_expiry_timestamp_seconds", "store_up", "hooks"}
        }
        assert run_promtool("check", "metrics", stdin=response.body) == ""


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        (None, "ok"),
        ("lockout token", "locked_out"),
        ("invalid-client token", "refused"),
        ("status=503 token", "transient"),
    ],
)
async def test_a_token_request_counts_in_a_series_that_was_there_before(fault: str | None, outcome: str) -> None:
    async with running_pair(token_prefetch="false") as pair:
        before = (await families(pair.app))["token_requests_total"]
        if fault is not None:
            pair.emulator.faults.add(fault)
        await pair.call("GET", USERS)
        after = (await families(pair.app))["token_requests_total"]
        assert set(before.samples) == set(after.samples)
        assert after.value(credential="api", outcome=outcome) >= 1
        assert sum(value > 0 for value in after.samples.values()) == 1


async def test_a_revoked_token_counts_once_as_a_token_401() -> None:
    async with running_pair() as pair:
        assert (await pair.call("GET", USERS)).status == 200
        pair.emulator.state.tokens.revoke()
        assert (await pair.call("GET", USERS)).header("X-Sidecar-Recovered") == b"token"
        assert await unauthorized(pair) == {"token": 1, "sca": 0, "futile": 0}
        assert (await families(pair.app))["recovered_total"].value(how="token") == 1


async def test_each_401_is_counted_once_whatever_becomes_of_it() -> None:
    """A resource that always says 401: the first asks for a token, its resend and all later ones are futile."""
    async with running_pair() as pair:
        pair.emulator.faults.add("unauthorized GET /v2.01/acme/bad")
        for _ in range(5):
            assert (await pair.call("GET", "/v2.01/acme/bad")).status == 401
        delivered = sum(each.target == "/v2.01/acme/bad" for each in pair.emulator.received)
        assert await unauthorized(pair) == {"token": 1, "sca": 0, "futile": delivered - 1}


async def test_an_sca_401_is_of_its_own_kind() -> None:
    async with running_pair() as pair:
        pair.emulator.faults.add("sca GET /v2.01/acme/wallets")
        assert (await pair.call("GET", "/v2.01/acme/wallets/1")).status == 401
        assert await unauthorized(pair) == {"token": 0, "sca": 1, "futile": 0}
