"""The SDK's token is worth nothing at Mangopay, and the sidecar's is mended without the app noticing."""

from __future__ import annotations

import pytest

from tests.e2e.sdk.app import SdkApp
from tests.e2e.sdk.mangopay import CLIENT_ID, FRESH_CLIENT_ID, Mangopay
from tests.support.sidecar import Sidecar

pytestmark = pytest.mark.sdk


def test_two_token_calls_give_two_tokens_and_none_reaches_mangopay(app: SdkApp, mangopay: Mangopay) -> None:
    first, second = app.do("new_token").value, app.do("new_token").value

    assert first["access_token"] != second["access_token"]
    assert {first["token_type"], second["token_type"]} == {"Bearer"}
    assert 60 < first["expires_in"] < 2_147_483
    assert mangopay.received == []


def test_a_read_survives_a_revoked_token(app: SdkApp, mangopay: Mangopay) -> None:
    app.do("list_hooks")
    mangopay.revoke()
    told = app.do("list_hooks")

    assert (told.status, told.error) == (200, None)
    assert told.headers["x-sidecar-recovered"] == "token"
    assert (mangopay.token_requests, len(mangopay.calls)) == (1, 3)


def test_a_write_survives_a_revoked_token_and_happens_once(app: SdkApp, mangopay: Mangopay) -> None:
    mangopay.revoke()
    told = app.do("create_legal_user", name="Just in time")

    assert (told.status, told.value["Name"]) == (200, "Just in time")
    first, second = mangopay.calls
    assert first.body == second.body
    assert (mangopay.token_requests, mangopay.executed) == (1, 1)


def test_one_token_serves_both_sdks(mangopay: Mangopay, python_sdk: str, node_sdk: str) -> None:
    with Sidecar(mangopay.url, client_id=FRESH_CLIENT_ID) as sidecar:
        for name in (python_sdk, node_sdk):
            with SdkApp(name, sidecar.url, client_id=FRESH_CLIENT_ID) as app:
                user = app.do("create_natural_user", email="a@example.org").id
                assert app.do("create_wallet", owner=user, description="w").status == 200
                assert app.do("list_events").status == 200

    assert (mangopay.token_requests, len(mangopay.calls)) == (1, 6)


def test_the_placeholder_of_a_client_id_is_enough(sdk: str, sidecar: Sidecar, mangopay: Mangopay) -> None:
    with SdkApp(sdk, sidecar.url, client_id="_") as app:
        told = app.do("list_hooks")

    assert (told.status, told.error) == (200, None)
    assert [request.target for request in mangopay.calls] == [f"/v2.01/{CLIENT_ID}/hooks"]
