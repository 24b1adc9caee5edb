"""What goes wrong at Mangopay reaches the SDK as Mangopay said it, once, and the SDK can read it."""

from __future__ import annotations

import pytest

from tests.e2e.sdk.app import SdkApp
from tests.e2e.sdk.mangopay import CLIENT_ID, Mangopay
from tests.support import canary
from tests.support.ports import free_port
from tests.support.sidecar import Sidecar

pytestmark = pytest.mark.sdk


@pytest.fixture
def closed_port() -> int:
    """A port that nobody listens on."""
    return free_port()


def test_a_validation_error_names_the_fields(app: SdkApp, mangopay: Mangopay) -> None:
    told = app.do("create_natural_user_without_names", email="nobody@example.org")

    assert (told.status, told.value) == (400, None)
    assert told.error is not None
    assert told.error["Type"] == "param_error"
    assert {"FirstName", "LastName"} <= told.error["errors"].keys()
    assert mangopay.token_requests == 0


def test_an_unknown_resource_is_a_404(app: SdkApp, mangopay: Mangopay) -> None:
    told = app.do("read_user", user="user_m_nobody")

    assert (told.status, told.value) == (404, None)
    assert told.error
    assert len(mangopay.calls) == 1


def test_a_rate_limit_is_passed_on_and_not_retried(app: SdkApp, mangopay: Mangopay) -> None:
    mangopay.configure(enforce_rate_limits=True, rate_limits=[0, 4_500])
    told = app.do("list_events")

    assert told.status == 429
    assert told.error is not None
    assert told.error["Type"] == "rate_limit"
    assert told.headers["x-ratelimit-remaining"].startswith("0, ")
    assert "retry-after" not in told.headers
    assert (len(mangopay.calls), mangopay.token_requests) == (1, 0)


@pytest.mark.parametrize("style", ["lines", "line"])
def test_the_sdk_reads_every_rate_limit_window(app: SdkApp, mangopay: Mangopay, style: str) -> None:
    mangopay.configure(rate_headers=style)
    told = app.do("list_events")

    assert [limit["minutes"] for limit in told.rate_limits] == [15, 30, 60, 24 * 60]
    assert [limit["made"] + limit["remaining"] for limit in told.rate_limits] == [2_300, 4_500, 8_800, 105_600]


@pytest.mark.parametrize("context", ["USER_PRESENT", None])
def test_an_sca_challenge_reaches_the_app_untouched(app: SdkApp, mangopay: Mangopay, context: str | None) -> None:
    user = app.do("create_natural_user", email="owner@example.org").id
    wallet = app.do("create_wallet", owner=user, description="sensitive").id
    told = app.do("read_wallet", wallet=wallet, sca_context=context)

    assert told.status == 401
    assert told.error is not None
    assert told.error["Type"] == "sca_required"
    assert told.headers["www-authenticate"].startswith(f"PendingUserAction RedirectUrl={mangopay.url}/pages/acme/sca/")
    assert "x-sidecar-recovered" not in told.headers
    assert (len(mangopay.calls), mangopay.token_requests) == (3, 0)


def test_a_server_error_is_passed_on_and_a_write_not_repeated(app: SdkApp, mangopay: Mangopay) -> None:
    mangopay.fault("status=503 POST")
    told = app.do("create_legal_user", name="Unlucky")

    assert told.status == 503
    assert told.error is not None
    assert told.error["Type"] == "service_unavailable"
    assert len(mangopay.calls) == 1


def test_an_error_of_the_sidecars_own_reads_like_one_of_mangopays(
    sdk: str, mangopay: Mangopay, closed_port: int
) -> None:
    with (
        Sidecar(f"http://127.0.0.1:{closed_port}", client_id=CLIENT_ID) as sidecar,
        SdkApp(sdk, sidecar.url, client_id=CLIENT_ID) as app,
    ):
        told = app.do("create_legal_user", name="Too early")

    assert told.error is not None
    assert told.status in {502, 503}
    assert told.error["Type"] == f"sidecar_{told.headers['x-sidecar-error']}"
    assert isinstance(told.error["Date"], int)
    assert told.error["errors"] is None
    assert told.headers["x-sidecar-outcome"] == "not-sent"
    assert mangopay.received == []


def test_with_a_caller_key_the_sdk_needs_it_for_its_api_key(sdk: str, mangopay: Mangopay) -> None:
    with Sidecar(mangopay.url, client_id=CLIENT_ID, listen={"caller_key": canary.CANARY_CALLER_KEY}) as sidecar:
        with SdkApp(sdk, sidecar.url, client_id=CLIENT_ID, api_key=canary.CANARY_CALLER_KEY) as friend:
            allowed = friend.do("list_hooks")
        with SdkApp(sdk, sidecar.url, client_id=CLIENT_ID, api_key="dummy") as stranger:
            refused = stranger.do("list_hooks")

    assert (allowed.status, allowed.error) == (200, None)
    assert refused.error is not None
    assert refused.error["Type"] == "sidecar_caller_not_allowed"
    assert len(mangopay.calls) == 1
