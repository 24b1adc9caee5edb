"""The emulated token endpoint: what it takes, what it gives, and when it locks the door."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest

from sidecar.emulator.settings import Credentials
from sidecar.emulator.token_endpoint import read_grant_type
from tests.support.clock import FakeClock
from tests.support.emulator import Direct, basic, read

if TYPE_CHECKING:
    from sidecar.emulator.messages import EmulatedResponse

FORM = b"grant_type=client_credentials"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def mangopay(clock: FakeClock) -> Direct:
    return Direct(clock)


def ask(
    mangopay: Direct, credentials: str | None = None, body: bytes = FORM, path: str = "/v2.01/oauth/token"
) -> EmulatedResponse:
    authorization = basic() if credentials is None else credentials
    return mangopay.send("POST", path, ((b"Authorization", authorization.encode()),), body)


@pytest.mark.parametrize(
    "path", ["/v2.01/oauth/token", "/v2.01/oauth/token/", "/V2_01/oauth/token", "/v2.01/OAuth/Token"]
)
def test_every_spelling_of_the_path_gives_a_token(mangopay: Direct, path: str) -> None:
    response = ask(mangopay, path=path)
    assert response.status == 200
    assert read(response)["token_type"] == "Bearer"


def test_a_token_opens_the_api_of_its_client(mangopay: Direct) -> None:
    mangopay.token = read(ask(mangopay))["access_token"]
    assert mangopay.call("GET", "users").status == 200


def test_two_calls_give_two_tokens_that_are_both_good(mangopay: Direct) -> None:
    tokens = [read(ask(mangopay))["access_token"] for _ in range(2)]
    assert tokens[0] != tokens[1]
    for mangopay.token in tokens:
        assert mangopay.call("GET", "users").status == 200


@pytest.mark.parametrize(
    ("body", "grant"),
    [
        (b"grant_type=client_credentials", "client_credentials"),
        (b"scope=x&grant_type=client_credentials", "client_credentials"),
        (b'{"grant_type": "client_credentials"}', "client_credentials"),
        (
            b'--b\r\nContent-Disposition: attachment; name="grant_type"\r\n\r\nclient_credentials\r\n--b--',
            "client_credentials",
        ),
        (b'"grant_type" client_credentials', "client_credentials"),
        (b"grant_type=password", "password"),
        (b'{"grant_type": 7}', None),
        (b'["grant_type"]', None),
        (b'{"grant_type"', None),
        (b'{"grant_type": "\xff"}', None),
        (b"--b\r\n--b--", None),
        (b"", None),
    ],
)
def test_the_grant_type_is_read_in_every_form_that_sdks_send(body: bytes, grant: str | None) -> None:
    assert read_grant_type(body) == grant


@pytest.mark.parametrize(
    ("credentials", "body", "status", "error"),
    [
        ("", FORM, 401, "invalid_client"),
        ("Basic !", FORM, 401, "invalid_client"),
        ("Basic /w==", FORM, 401, "invalid_client"),
        ("Basic YWNtZQ==", FORM, 401, "invalid_client"),
        (basic("", "key"), FORM, 401, "invalid_client"),
        (basic("acme", ""), FORM, 401, "invalid_client"),
        ("Bearer x", FORM, 401, "invalid_client"),
        (basic(), b"", 400, "invalid_request"),
        (basic(), b"grant_type=password", 400, "unsupported_grant_type"),
    ],
)
def test_what_is_wrong_gets_an_oauth_error(
    mangopay: Direct, credentials: str, body: bytes, status: int, error: str
) -> None:
    response = ask(mangopay, credentials, body)
    assert response.status == status
    assert read(response)["error"] == error


def test_another_method_is_refused(mangopay: Direct) -> None:
    assert mangopay.call("GET", "/v2.01/oauth/token").status == 405


def test_a_client_with_known_keys_takes_no_other_key() -> None:
    credentials = Credentials({"acme": ["right"]}, any_client=False)
    kinds = [credentials.kind(*pair) for pair in (("acme", "right"), ("acme", "wrong"), ("other", "right"))]
    assert [kind is not None for kind in kinds] == [True, False, False]


def test_keys_do_not_show_in_credentials() -> None:
    credentials = Credentials({"acme": ["right"]})
    assert "right" not in repr(credentials) + repr(vars(credentials))


def test_a_token_lives_exactly_its_seconds(clock: FakeClock, mangopay: Direct) -> None:
    mangopay.state.configure(expires_in=5)
    token = read(ask(mangopay))
    mangopay.token = token["access_token"]
    statuses = []
    for now in (1004.9, 1005.0):
        clock._now = now
        statuses.append(mangopay.call("GET", "users").status)
    assert (token["expires_in"], statuses) == (5, [200, 401])


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"expires_in": "1200"}, {"expires_in": "1200"}),
        ({"expires_in": True}, {"expires_in": True}),
        ({"token_type": "bearer"}, {"token_type": "bearer"}),
        ({"access_token": 5}, {"access_token": 5}),
    ],
)
def test_the_response_can_be_made_odd(mangopay: Direct, changes: dict[str, Any], told: dict[str, Any]) -> None:
    mangopay.state.configure(token_answer=changes)
    assert told.items() <= read(ask(mangopay)).items()


def test_a_member_can_be_left_out_of_the_response(mangopay: Direct) -> None:
    mangopay.state.configure(token_answer={"expires_in": None})
    assert "expires_in" not in read(ask(mangopay))


@pytest.mark.parametrize(("invalidates", "status"), [(False, 200), (True, 401)])
def test_a_new_token_ends_older_ones_only_by_switch(mangopay: Direct, invalidates: bool, status: int) -> None:
    mangopay.state.configure(invalidates_older=invalidates)
    mangopay.token = read(ask(mangopay))["access_token"]
    ask(mangopay)
    assert mangopay.call("GET", "users").status == status


def test_a_new_main_token_leaves_the_embedded_one_alone(mangopay: Direct) -> None:
    mangopay.state.configure(invalidates_older=True)
    embedded = read(ask(mangopay, basic("acme", "embedded-api-key")))["access_token"]
    ask(mangopay)
    mangopay.token = embedded
    claims = {"clientId": "acme", "claims": {"userId": "u"}}
    assert mangopay.call("POST", "/v2.01/oauth/token/embedded/recipient", claims).status == 200


# --- lockout ---


def test_a_locked_account_gets_no_token_with_the_right_key_either(clock: FakeClock, mangopay: Direct) -> None:
    mangopay.state.lockout.lock(clock.now() + 12)
    response = ask(mangopay)
    assert response.status == 400
    assert read(response) == {
        "error": "unauthorized_client",
        "error_description": ("This account has been temporarily locked for security reasons. Please try again later."),
    }


def test_a_lockout_does_not_touch_tokens_given_out_before(mangopay: Direct) -> None:
    mangopay.state.lockout.lock(math.inf)
    assert mangopay.call("GET", "users").status == 200


async def test_a_lockout_ends_by_itself(clock: FakeClock, mangopay: Direct) -> None:
    mangopay.state.lockout.lock(clock.now() + 12)
    await clock.advance(12)
    assert ask(mangopay).status == 200


def test_repeated_bad_credentials_lock_the_account(mangopay: Direct) -> None:
    mangopay.state.configure(lockout_after=3, lockout_seconds=30)
    statuses = [ask(mangopay, "Basic nonsense").status for _ in range(4)]
    assert statuses == [401, 401, 401, 400]


def test_a_success_between_bad_credentials_starts_the_count_again(mangopay: Direct) -> None:
    mangopay.state.configure(lockout_after=2)
    statuses = [ask(mangopay, credentials).status for credentials in ("Basic !", basic(), "Basic !", basic())]
    assert statuses == [401, 200, 401, 200]


def test_by_default_nobody_is_locked_out(mangopay: Direct) -> None:
    assert {ask(mangopay, "Basic nonsense").status for _ in range(50)} == {401}


# --- the record ---


def test_every_token_request_is_recorded(mangopay: Direct) -> None:
    ask(mangopay)
    ask(mangopay, "Basic nonsense")
    stats = mangopay.state.stats
    assert stats.token_requests == 2
    assert [(call.client_id, call.status) for call in stats.token_calls] == [("acme", 200), (None, 401)]


def test_a_revoked_token_is_refused_and_counted(mangopay: Direct) -> None:
    assert mangopay.state.tokens.revoke(client_id="acme") == 1
    assert mangopay.call("GET", "users").status == 401
    assert mangopay.state.stats.refused_tokens["revoked"] == 1


def test_one_token_can_be_revoked_among_several(mangopay: Direct) -> None:
    other = read(ask(mangopay))["access_token"]
    assert mangopay.state.tokens.revoke(other) == 1
    assert mangopay.call("GET", "users").status == 200
