"""The control routes: each changes or tells one thing, and refuses what it does not understand."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sidecar.emulator.control import is_local
from sidecar.emulator.loopback import Trusted
from sidecar.emulator.messages import EmulatedResponse, Headers, Request, split_path
from tests.support.clock import FakeClock
from tests.support.emulator import NATURAL_USER, Direct, basic, issue_token, read


@pytest.fixture
def mangopay() -> Direct:
    return Direct(FakeClock())


def control(
    mangopay: Direct,
    method: str,
    route: str,
    body: object = None,
    *,
    peer: str = "127.0.0.1",
    host: str = "localhost:18090",
    headers: Headers = (),
) -> EmulatedResponse:
    path = f"/__emulator__/{route}"
    data = b"" if body is None else json.dumps(body).encode()
    request = Request(method, path, split_path(path), "", ((b"Host", host.encode()), *headers), data, 0.0)
    return mangopay.emulator.control.response(request, peer)


@pytest.mark.parametrize(
    ("peer", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        (None, True),
        ("10.0.0.1", False),
        ("::ffff:10.0.0.1", False),
        ("fe80::1%eth0", False),
        ("nonsense", False),
    ],
)
def test_who_is_loopback(peer: str | None, loopback: bool) -> None:
    assert is_local(peer) is loopback


def test_another_machine_is_refused(mangopay: Direct) -> None:
    assert control(mangopay, "POST", "revoke", peer="10.0.0.1").status == 403
    assert mangopay.call("GET", "users").status == 200


def test_another_machine_that_is_trusted_is_not_refused() -> None:
    mangopay = Direct(FakeClock(), trusted=Trusted(["172.16.0.0/12", "build"]))
    peers = ("172.18.0.1", "::ffff:172.18.0.1", "173.18.0.1", "build")
    assert [control(mangopay, "GET", "stats", peer=peer).status for peer in peers] == [200, 200, 403, 403]
    browser = ((b"Origin", b"https://evil.example"),)
    assert control(mangopay, "GET", "stats", peer="172.18.0.1", headers=browser).status == 403


def test_a_browser_is_refused(mangopay: Direct) -> None:
    assert control(mangopay, "GET", "stats", headers=((b"Origin", b"https://evil.example"),)).status == 403


@pytest.mark.parametrize(
    ("peer", "host", "status"),
    [
        *(
            ("127.0.0.1", host, 200)
            for host in ("127.0.0.1:18090", "localhost", "[::1]:18090", "a.localhost", "Localhost.")
        ),
        # Addresses are no names that a page could have: 0.0.0.0 is what the command itself tells of --host 0.0.0.0.
        *(("127.0.0.1", host, 200) for host in ("0.0.0.0:18090", "10.1.2.3:18090", "build:1", "ci.example.com")),
        *(("127.0.0.1", host, 403) for host in ("evil.example", "evil.example:18090", "", "emulator:18090")),
        ("127.0.0.1", "127.0.0.1.evil.example", 403),
        # GitHub's runner comes to the published port; GitLab's job and containers have names for each other.
        *(("172.18.0.1", host, 200) for host in ("127.0.0.1:18090", "172.18.0.2:18090", "emulator:18090", "build")),
        *(("172.18.0.1", host, 200) for host in ("ci.example.com:18090", "192.168.1.5")),
        *(("172.18.0.1", host, 403) for host in ("evil.example:18090", "evil.example.", "")),
        ("173.18.0.1", "127.0.0.1:18090", 403),
        ("173.18.0.1", "emulator", 403),
    ],
)
def test_nobody_reads_them_by_a_name_of_their_own(peer: str, host: str, status: int) -> None:
    """A page from elsewhere whose name leads here is read by a browser that sends no Origin with a GET."""
    mangopay = Direct(FakeClock(), trusted=Trusted(["172.16.0.0/12", "build", "ci.example.com"]))
    for route in ("ledger", "stats", "index"):
        assert control(mangopay, "GET", route, peer=peer, host=host).status == status
    assert control(mangopay, "POST", "revoke", peer=peer, host=host).status == status


@pytest.mark.parametrize(
    ("method", "route", "body"),
    [
        ("POST", "reset", {"everything": True}),
        ("POST", "settings", {"expires_in": "soon"}),
        ("POST", "settings", {"no_such_setting": 1}),
        ("POST", "settings", {"hook_timeout": 0}),
        ("POST", "settings", {"hook_retries": [1, -1]}),
        ("POST", "settings", {"rate_limits": [-1]}),
        ("POST", "settings", {"stored_answer_delay": -1}),
        ("POST", "lockout", {"seconds": "long"}),
        ("POST", "sca", {"client_id": "acme"}),
        ("POST", "authenticate", {"client_id": "acme"}),
        ("POST", "authenticate", {"client_id": "acme", "id": "nobody"}),
        ("POST", "settings", {"rate_windows": [60, 60]}),
        ("POST", "credentials", {"permissions": {"key": ["Everything"]}}),
        ("POST", "faults", {"action": "edge", "value": 103}),
        ("POST", "faults", {"action": "explode"}),
        ("POST", "faults", {"rule": "reset=soon"}),
        ("POST", "credentials", {"api_keys": ["x"]}),
        ("POST", "age", {}),
        ("POST", "revoke", []),
    ],
)
def test_a_body_that_is_not_understood_is_a_400_and_changes_nothing(
    mangopay: Direct, method: str, route: str, body: object
) -> None:
    before = mangopay.state.settings
    assert control(mangopay, method, route, body).status == 400
    assert mangopay.state.settings == before


@pytest.mark.parametrize(("method", "route"), [("GET", "revoke"), ("POST", "nothing"), ("POST", "")])
def test_an_unknown_route_is_a_404(mangopay: Direct, method: str, route: str) -> None:
    assert control(mangopay, method, route).status == 404


def test_revoke_ends_every_token_or_those_of_one_client(mangopay: Direct) -> None:
    issue_token(mangopay.emulator, "other")
    assert read(control(mangopay, "POST", "revoke", {"client_id": "other"})) == {"revoked": 1}
    assert mangopay.call("GET", "users").status == 200
    assert read(control(mangopay, "POST", "revoke")) == {"revoked": 1}
    assert mangopay.call("GET", "users").status == 401


@pytest.mark.parametrize("route", ["settings", "token"])
def test_settings_change_and_are_told(mangopay: Direct, route: str) -> None:
    told = read(control(mangopay, "POST", route, {"expires_in": 5, "invalidates_older": True}))
    assert (told["expires_in"], told["invalidates_older"]) == (5, True)
    assert read(control(mangopay, "GET", "settings")) == told


def test_credentials_can_be_narrowed_and_are_not_told(mangopay: Direct) -> None:
    response = control(mangopay, "POST", "credentials", {"api_keys": {"acme": ["s3cret"]}, "any_client": False})
    assert b"s3cret" not in response.body
    authorization = ((b"Authorization", basic("acme", "other").encode()),)
    assert mangopay.send("POST", "/v2.01/oauth/token", authorization, b"grant_type=client_credentials").status == 401


def test_lockout_locks_for_a_time_and_clears(mangopay: Direct) -> None:
    assert read(control(mangopay, "POST", "lockout", {"seconds": 12})) == {"locked": True}
    assert read(control(mangopay, "POST", "lockout", {"clear": True})) == {"locked": False}
    assert read(control(mangopay, "POST", "lockout")) == {"locked": True}


def test_sca_flags_a_resource_and_takes_the_flag_away(mangopay: Direct) -> None:
    user = mangopay.create("users/natural", NATURAL_USER)["Id"]
    wallet = mangopay.create("wallets", {"Owners": [user], "Description": "w", "Currency": "EUR"})["Id"]
    statuses = []
    for required in (True, False, None):
        control(mangopay, "POST", "sca", {"client_id": "acme", "id": wallet, "required": required})
        statuses.append(mangopay.call("GET", f"wallets/{wallet}").status)
    assert statuses == [401, 200, 200]
    assert mangopay.state.client("acme").sca == {}


def test_authenticate_stands_for_the_user_at_the_sca_page(mangopay: Direct) -> None:
    owner = mangopay.create("users/natural", {**NATURAL_USER, "UserCategory": "OWNER"})["Id"]
    before = mangopay.call("GET", f"users/{owner}/wallets").status
    told = read(control(mangopay, "POST", "authenticate", {"client_id": "acme", "id": owner}))
    assert told == {"id": owner, "until": 1_700_000_000 + 180 * 24 * 3600}
    assert (before, mangopay.call("GET", f"users/{owner}/wallets").status) == (401, 200)
    control(mangopay, "POST", "authenticate", {"client_id": "acme", "id": owner, "seconds": 0})
    assert mangopay.call("GET", f"users/{owner}/wallets").status == 401


def test_a_key_can_be_given_some_permissions(mangopay: Direct) -> None:
    keys = {"api_keys": {"acme": ["part"]}, "permissions": {"part": ["Users.Details:READ"]}}
    assert control(mangopay, "POST", "credentials", keys).status == 200
    assert mangopay.state.credentials.permissions("part") == frozenset({"Users.Details:READ"})
    assert mangopay.state.credentials.permissions("another") is None


def test_faults_are_added_listed_and_removed(mangopay: Direct) -> None:
    first = read(control(mangopay, "POST", "faults", {"rule": "status=503 POST times=2"}))["id"]
    second = read(control(mangopay, "POST", "faults", {"action": "hang", "path": "token"}))["id"]
    listed: list[dict[str, Any]] = read(control(mangopay, "GET", "faults"))
    assert [(rule["id"], rule["action"], rule["fired"]) for rule in listed] == [
        (first, "status", 0),
        (second, "hang", 0),
    ]
    assert read(control(mangopay, "DELETE", "faults", {"id": first})) == {"removed": True}
    control(mangopay, "DELETE", "faults")
    assert read(control(mangopay, "GET", "faults")) == []


def test_the_ledger_and_the_stats_are_told(mangopay: Direct) -> None:
    mangopay.call("POST", "users/natural", NATURAL_USER)
    ledger = read(control(mangopay, "GET", "ledger"))
    assert (ledger["executions"], ledger["entries"][0]["executions"]) == (1, 1)
    assert read(control(mangopay, "GET", "stats"))["refused_tokens"]["revoked"] == 0


def test_stored_answers_can_be_aged(mangopay: Direct) -> None:
    mangopay.call("POST", "users/natural", NATURAL_USER, key="0123456789abcdef")
    assert read(control(mangopay, "POST", "age", {"seconds": 3600})) == {"aged": 1}


def test_reset_forgets_one_client_or_everything(mangopay: Direct) -> None:
    mangopay.call("POST", "users/natural", NATURAL_USER)
    mangopay.emulator.faults.add("reset")
    control(mangopay, "POST", "reset", {"client_id": "acme"})
    assert (mangopay.state.ledger.executions, bool(mangopay.emulator.faults)) == (1, True)
    control(mangopay, "POST", "reset")
    assert (mangopay.state.ledger.executions, bool(mangopay.emulator.faults)) == (0, False)
