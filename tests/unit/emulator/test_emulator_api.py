"""The emulated API's gates: token, ClientId, rate limit, idempotency key, path."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from sidecar.emulator.sca import authenticate
from sidecar.emulator.settings import Credentials
from tests.support.clock import FakeClock
from tests.support.emulator import LEGAL_USER, NATURAL_USER, Direct, basic, header, issue_token, read

KEY = "0123456789abcdef"
RECIPIENT = "/v2.01/oauth/token/embedded/recipient"
CHECKOUT = "/v2.01/oauth/token/embedded/checkout"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def mangopay(clock: FakeClock) -> Direct:
    return Direct(clock)


# --- tokens ---


def test_the_401_of_a_token_is_the_documented_one(mangopay: Direct) -> None:
    mangopay.token = "unknown"
    response = mangopay.call("GET", "users")
    assert (response.status, read(response)) == (
        401,
        {
            "Message": "The authorization credentials are not valid",
            "Type": "invalid_credentials",
            "Date": 1_700_000_000,
        },
    )
    assert header(response, "WWW-Authenticate") == []


def test_the_type_of_the_401_can_be_the_older_one(mangopay: Direct) -> None:
    mangopay.state.configure(unauthorized_type="not_authorized")
    mangopay.token = "unknown"
    assert read(mangopay.call("GET", "users"))["Type"] == "not_authorized"


@pytest.mark.parametrize(
    ("token", "reason"),
    [(None, "missing"), ("unknown", "unknown"), ("valid", "wrong_client"), ("embedded", "wrong_scope")],
)
def test_a_refused_token_is_counted_by_reason(mangopay: Direct, token: str | None, reason: str) -> None:
    made = {
        "valid": issue_token(mangopay.emulator, "other"),
        "embedded": issue_token(mangopay.emulator, embedded=True),
    }
    mangopay.token = None if token is None else made.get(token, token)
    response = mangopay.call("GET", "users")
    assert response.status == (403 if reason == "wrong_scope" else 401)
    assert mangopay.state.stats.refused_tokens[reason] == 1


async def test_a_token_is_judged_by_when_the_request_arrived(clock: FakeClock) -> None:
    """A long upload that began with a good token is not refused at its end."""
    mangopay = Direct(clock, expires_in=5)
    assert mangopay.token is not None
    headers = ((b"Authorization", b"Bearer " + mangopay.token.encode()),)
    from sidecar.emulator.messages import Request, split_path

    request = Request("GET", "/v2.01/acme/users", split_path("/v2.01/acme/users"), "", headers, b"", clock.now())
    await clock.advance(10)
    assert mangopay.emulator.api.response(request).status == 200


@pytest.mark.parametrize("path", ["/v2.01/other/users", "/v2.01/_/users", "/V3.0/other/payins/intents/settlements"])
def test_the_path_of_another_client_is_an_authentication_failure(mangopay: Direct, path: str) -> None:
    response = mangopay.call("GET", path)
    assert (response.status, read(response)["Type"]) == (401, "invalid_credentials")
    assert header(response, "WWW-Authenticate") == []
    assert mangopay.state.stats.refused_tokens["wrong_client"] == 1


@pytest.mark.parametrize("segment", ["ACME", "%61cme"])
def test_a_client_id_is_compared_as_the_sidecar_compares_it(mangopay: Direct, segment: str) -> None:
    """A 401 here would look to the sidecar as if its token were bad."""
    assert mangopay.call("GET", f"/v2.01/{segment}/users").status == 200


# --- permission scopes of API keys ---


def new_token(mangopay: Direct, key: str) -> str:
    headers = ((b"Authorization", basic("acme", key).encode()),)
    response = mangopay.send("POST", "/v2.01/oauth/token", headers, b"grant_type=client_credentials")
    token: str = read(response)["access_token"]
    return token


@pytest.mark.parametrize(
    ("permissions", "status"),
    [
        (["Client.Developers:READ"], 200),
        (["Client.Developers:WRITE", "Users.Details:READ"], 403),
        ([], 403),
    ],
)
def test_reading_back_needs_a_permission_of_the_key(mangopay: Direct, permissions: list[str], status: int) -> None:
    mangopay.call("POST", "users/natural", NATURAL_USER, key=KEY)
    mangopay.state.credentials = Credentials({"acme": ["whole", "part"]}, permissions={"part": permissions})
    mangopay.token = new_token(mangopay, "part")
    response = mangopay.call("GET", f"responses/{KEY}")
    assert response.status == status
    assert status == 200 or read(response)["Type"] == "forbidden_ressource"
    mangopay.token = new_token(mangopay, "whole")
    assert mangopay.call("GET", f"responses/{KEY}").status == 200


@pytest.mark.parametrize("name", ["Client.Developers", "Client.Developers:DELETE", "Client.Everything:READ", ""])
def test_a_permission_that_mangopay_has_not_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no such permission"):
        Credentials(permissions={"key": [name]})


# --- embedded experiences ---


@pytest.mark.parametrize(
    ("path", "prefix", "scope"),
    [
        (RECIPIENT, "rec_", "bankaccounts:r bankaccounts:w"),
        (CHECKOUT, "chk_", "checkout.session:r checkout.session:w"),
    ],
)
def test_the_dedicated_key_gets_embedded_tokens(mangopay: Direct, path: str, prefix: str, scope: str) -> None:
    mangopay.token = issue_token(mangopay.emulator, embedded=True)
    token = read(mangopay.call("POST", path, {"clientId": "acme", "claims": {"userId": "user_m_1"}}))
    assert token["access_token"].startswith(prefix)
    assert (token["token_type"], token["expires_in"], token["scope"]) == ("Bearer", 900, scope)


def test_a_main_token_is_refused_on_the_embedded_paths(mangopay: Direct) -> None:
    response = mangopay.call("POST", RECIPIENT, {"clientId": "acme", "claims": {"userId": "user_m_1"}})
    assert (response.status, read(response)["Type"]) == (403, "forbidden_ressource")


@pytest.mark.parametrize(
    "body", [{"clientId": "_", "claims": {"userId": "u"}}, {"clientId": "acme", "claims": {}}, {"clientId": "acme"}, []]
)
def test_embedded_tokens_need_the_real_client_and_a_user(mangopay: Direct, body: object) -> None:
    mangopay.token = issue_token(mangopay.emulator, embedded=True)
    assert mangopay.call("POST", RECIPIENT, body).status == 400


# --- strong customer authentication ---


@pytest.fixture
def wallet(mangopay: Direct) -> dict[str, Any]:
    owner = mangopay.create("users/natural", {**NATURAL_USER, "UserCategory": "OWNER"})
    return mangopay.create("wallets", {"Owners": [owner["Id"]], "Description": "w", "Currency": "EUR"})


@pytest.mark.parametrize("path", ["wallets/{Id}", "wallets/{Id}/transactions"])
def test_a_flagged_wallet_asks_for_the_user(mangopay: Direct, wallet: dict[str, Any], path: str) -> None:
    mangopay.state.client("acme").sca[wallet["Id"]] = True
    response = mangopay.call("GET", path.format(**wallet))
    assert response.status == 401
    assert header(response, "WWW-Authenticate")[0].startswith("PendingUserAction RedirectUrl=http")
    assert mangopay.state.stats.refused_tokens == dict.fromkeys(mangopay.state.stats.refused_tokens, 0)


@pytest.mark.parametrize("path", ["wallets", "transactions"])
def test_a_flagged_user_asks_for_authentication_on_lists(mangopay: Direct, wallet: dict[str, Any], path: str) -> None:
    owner = wallet["Owners"][0]
    mangopay.state.client("acme").sca[owner] = True
    assert mangopay.call("GET", f"users/{owner}/{path}").status == 401
    assert mangopay.call("GET", f"users/{owner}").status == 200


SCA_VIEWS = ["wallets/{Id}", "wallets/{Id}/transactions", "users/{Owner}/wallets", "users/{Owner}/transactions"]


@pytest.mark.parametrize(
    ("query", "status"),
    [("", 401), ("?ScaContext=", 401), ("?ScaContext=USER_PRESENT", 401), ("?ScaContext=USER_NOT_PRESENT", 200)],
)
@pytest.mark.parametrize("path", SCA_VIEWS)
def test_an_owner_who_is_present_has_to_authenticate(
    mangopay: Direct, wallet: dict[str, Any], path: str, query: str, status: int
) -> None:
    response = mangopay.call("GET", path.format(Id=wallet["Id"], Owner=wallet["Owners"][0]) + query)
    assert response.status == status
    challenges = header(response, "WWW-Authenticate")
    assert [value.partition("=")[0] for value in challenges] == ["PendingUserAction RedirectUrl"] * (status == 401)


@pytest.mark.parametrize(
    "user", [{**NATURAL_USER, "UserCategory": None}, {**LEGAL_USER, "UserCategory": None}], ids=["natural", "legal"]
)
def test_a_user_is_an_owner_unless_told_otherwise(mangopay: Direct, user: dict[str, Any]) -> None:
    owner = mangopay.create("users/legal" if "Name" in user else "users/natural", user)
    assert owner["UserCategory"] == "OWNER"
    assert mangopay.call("GET", f"users/{owner['Id']}/wallets").status == 401


async def test_an_authentication_holds_for_180_days(clock: FakeClock) -> None:
    mangopay = Direct(clock, expires_in=1e9)
    owner = mangopay.create("users/natural", {**NATURAL_USER, "UserCategory": "OWNER"})["Id"]
    authenticate(mangopay.state.client("acme"), owner, clock.wall())
    statuses = [mangopay.call("GET", f"users/{owner}/wallets").status]
    await clock.advance(180 * 24 * 3600 - 1)
    statuses.append(mangopay.call("GET", f"users/{owner}/wallets").status)
    await clock.advance(1)
    statuses.append(mangopay.call("GET", f"users/{owner}/wallets").status)
    assert statuses == [200, 200, 401]


def test_every_owner_of_a_wallet_has_to_authenticate(clock: FakeClock, mangopay: Direct) -> None:
    owners = [mangopay.create("users/natural", {**NATURAL_USER, "UserCategory": "OWNER"})["Id"] for _ in range(2)]
    shared = mangopay.create("wallets", {"Owners": owners, "Description": "w", "Currency": "EUR"})["Id"]
    statuses = []
    for owner in owners:
        authenticate(mangopay.state.client("acme"), owner, clock.wall())
        statuses.append(mangopay.call("GET", f"wallets/{shared}").status)
    assert statuses == [401, 200]


def test_owners_are_asked_only_by_switch(mangopay: Direct, wallet: dict[str, Any]) -> None:
    mangopay.state.configure(sca_for_owners=False)
    assert mangopay.call("GET", f"wallets/{wallet['Id']}?ScaContext=USER_PRESENT").status == 200
    mangopay.state.client("acme").sca[wallet["Id"]] = True
    assert mangopay.call("GET", f"wallets/{wallet['Id']}").status == 401


def test_the_sca_401_comes_without_a_body_by_switch(mangopay: Direct, wallet: dict[str, Any]) -> None:
    mangopay.state.configure(sca_body=False)
    for response in (
        mangopay.call("GET", f"wallets/{wallet['Id']}"),
        mangopay.call("POST", "users/natural", {**NATURAL_USER, "Tag": "SCA"}),
    ):
        assert (response.status, response.body) == (401, b"")
        assert header(response, "WWW-Authenticate")[0].startswith("PendingUserAction RedirectUrl=http")


def test_a_flag_can_exempt_an_owner(mangopay: Direct, wallet: dict[str, Any]) -> None:
    mangopay.state.client("acme").sca[wallet["Id"]] = False
    assert mangopay.call("GET", f"wallets/{wallet['Id']}?ScaContext=USER_PRESENT").status == 200


# --- rate limits ---

#: The minute in which these tests are.
MINUTE = 1_700_000_000 - 1_700_000_000 % 60


def test_rate_headers_come_one_line_a_window(mangopay: Direct) -> None:
    mangopay.call("GET", "users")
    response = mangopay.call("GET", "users")
    assert header(response, "X-RateLimit") == ["2", "2", "2", "2"]
    assert header(response, "X-RateLimit-Remaining") == ["2298", "4498", "8798", "105598"]
    assert header(response, "X-RateLimit-Reset") == [str(MINUTE + span) for span in (900, 1800, 3600, 86400)]


def test_rate_headers_can_be_joined_into_one_line(mangopay: Direct) -> None:
    mangopay.state.configure(rate_headers="line", rate_limits=[10, 20])
    response = mangopay.call("GET", "users")
    assert header(response, "X-RateLimit-Remaining") == ["9, 19"]


def test_there_may_be_three_windows_of_other_lengths(mangopay: Direct) -> None:
    mangopay.state.configure(rate_windows=[1800, 3600, 86400], rate_limits=[4500, 8800, 105600])
    response = mangopay.call("GET", "users")
    assert header(response, "X-RateLimit-Remaining") == ["4499", "8799", "105599"]
    assert header(response, "X-RateLimit-Reset") == [str(MINUTE + span) for span in (1800, 3600, 86400)]


def test_a_window_keeps_its_count_when_others_come_and_go(mangopay: Direct) -> None:
    mangopay.call("GET", "users")
    mangopay.state.configure(rate_windows=[86400, 60], rate_limits=[105600, 100])
    assert header(mangopay.call("GET", "users"), "X-RateLimit") == ["2", "1"]


@pytest.mark.parametrize("lengths", [[0], [-60], [60, 60]])
def test_windows_that_are_none_are_refused(mangopay: Direct, lengths: list[int]) -> None:
    with pytest.raises(msgspec.ValidationError, match="different lengths"):
        mangopay.state.configure(rate_windows=lengths)


def test_rate_headers_can_be_left_out(mangopay: Direct) -> None:
    mangopay.state.configure(rate_headers="none")
    assert header(mangopay.call("GET", "users"), "X-RateLimit") == []


def test_a_used_up_window_refuses_only_by_switch(mangopay: Direct) -> None:
    mangopay.state.configure(rate_limits=[1])
    assert [mangopay.call("GET", "users").status for _ in range(2)] == [200, 200]
    mangopay.state.configure(enforce_rate_limits=True)
    response = mangopay.call("GET", "users")
    assert (response.status, read(response)["Type"], header(response, "Retry-After")) == (429, "rate_limit", [])


async def test_a_window_starts_again_after_its_time(clock: FakeClock, mangopay: Direct) -> None:
    mangopay.state.configure(rate_limits=[1], enforce_rate_limits=True)
    mangopay.call("GET", "users")
    await clock.advance(900)
    assert mangopay.call("GET", "users").status == 200


# --- paths ---


@pytest.mark.parametrize(
    "path",
    ["/v2.01/acme/users", "/v2.01/acme/users/", "/V2.01/acme/Users", "/v2_01/acme//users", "/V2_01/acme/USERS"],
)
def test_spelling_of_a_path_does_not_matter(mangopay: Direct, path: str) -> None:
    assert mangopay.call("GET", path).status == 200


@pytest.mark.parametrize(
    "path", ["clients/transactions", "users/x/y/z", "/v2/acme/users", "/v2.01", "/", "/v2.01/acme"]
)
def test_what_is_not_emulated_is_said_so(mangopay: Direct, path: str) -> None:
    response = mangopay.call("GET", path)
    assert response.status in {401, 501}
    if response.status == 501:
        assert read(response)["Type"] == "not_emulated"


def test_a_path_that_is_emulated_for_another_method_is_405(mangopay: Direct) -> None:
    response = mangopay.call("DELETE", "hooks")
    assert (response.status, header(response, "Allow")) == (405, ["GET, POST"])


def test_head_is_answered_as_get(mangopay: Direct) -> None:
    assert mangopay.call("HEAD", "users").status == 200


def test_chunked_requests_are_refused_only_by_switch(mangopay: Direct) -> None:
    chunked = ((b"Transfer-Encoding", b"chunked"),)
    assert mangopay.call("GET", "users", headers=chunked).status == 200
    mangopay.state.configure(refuse_chunked=True)
    assert mangopay.call("GET", "users", headers=chunked).status == 411


# --- tags as triggers ---


@pytest.mark.parametrize(("tag", "status"), [("SCA", 401), ("E429", 429), ("E500", 500), ("sca", 200), ("t", 200)])
def test_a_tag_can_ask_for_a_response(mangopay: Direct, tag: str, status: int) -> None:
    response = mangopay.call("POST", "users/natural", {**NATURAL_USER, "Tag": tag})
    assert response.status == status
    assert bool(header(response, "WWW-Authenticate")) is (tag == "SCA")


def test_triggers_can_be_switched_off(mangopay: Direct) -> None:
    mangopay.state.configure(triggers=False)
    assert mangopay.call("POST", "users/natural", {**NATURAL_USER, "Tag": "E500"}).status == 200


def test_a_trigger_word_in_another_place_means_nothing(mangopay: Direct) -> None:
    assert mangopay.call("POST", "users/natural", {**NATURAL_USER, "Occupation": "SCA"}).status == 200


# --- the test resources ---


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_echo_takes_every_method_and_counts_writes(mangopay: Direct, method: str) -> None:
    response = mangopay.call(method, "/__emulator__/echo?a=1", b"body", headers=((b"X-Odd", b"1"), (b"x-odd", b"2")))
    seen = read(response)
    assert (seen["method"], seen["target"], seen["body_length"]) == (method, "/__emulator__/echo?a=1", 4)
    assert seen["headers"] == [["X-Odd", "1"], ["x-odd", "2"]]
    assert mangopay.state.ledger.executions == (method != "GET")


def test_echo_needs_a_token_like_any_call(mangopay: Direct) -> None:
    mangopay.token = None
    assert mangopay.call("GET", "/__emulator__/echo").status == 401


def test_bytes_are_announced_and_generated_later(mangopay: Direct) -> None:
    response = mangopay.call("GET", "/__emulator__/bytes?size=50000000&chunked=1")
    assert (response.generated, response.chunked, response.body) == (50_000_000, True, b"")
    assert mangopay.call("GET", "/__emulator__/bytes?size=many").status == 400


# --- reset ---


def test_a_reset_of_one_client_leaves_the_others(mangopay: Direct) -> None:
    mangopay.create("users/natural", NATURAL_USER)
    mangopay.state.client("other").new_id("x")
    mangopay.state.reset("acme")
    assert mangopay.call("GET", "users").status == 401
    mangopay.token = issue_token(mangopay.emulator)
    assert read(mangopay.call("GET", "users")) == []
    assert mangopay.state.client("other").new_id("x") == "x00001002"


def test_a_full_reset_starts_again_with_the_first_settings(clock: FakeClock) -> None:
    mangopay = Direct(clock, expires_in=7)
    mangopay.state.configure(expires_in=9)
    mangopay.create("users/natural", NATURAL_USER)
    mangopay.state.reset()
    assert (mangopay.state.settings.expires_in, mangopay.state.clients, mangopay.state.ledger.entries()) == (7, {}, [])
