"""Fault rules: how they are written, which requests they catch, and how often."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from sidecar.emulator import canned
from sidecar.emulator.fault_rules import ACTIONS, Family, Rule, Stage, from_mapping, parse
from sidecar.emulator.faults import Faults
from sidecar.emulator.messages import split_path
from sidecar.emulator.reports import Reports
from sidecar.emulator.wire import form, whole
from tests.support.clock import FakeClock
from tests.support.emulator import header, read

if TYPE_CHECKING:
    from collections.abc import Callable

TOKEN = ("v2.01", "oauth", "token")
USERS = ("v2.01", "acme", "users")
#: Where a card is tokenized: by whoever has the URL, without a token.
CARD_PAGE = ("pages", "acme", "cards", "cardreg_m_1")


def faults(*rules: str, chance: Callable[[], float] = lambda: 0.0) -> Faults:
    made = Faults(chance)
    for rule in rules:
        made.add(rule)
    return made


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("status=503", Rule(action="status", value="503")),
        ("reset=after", Rule(action="reset", stage=Stage.AFTER)),
        ("reset stage=after", Rule(action="reset", stage=Stage.AFTER)),
        ("hang token", Rule(action="hang", path="token")),
        (
            "status=503 POST,PUT /v2.01/*/wallets times=2 skip=1 probability=0.05 delay=1.5 answer_delay=2",
            Rule(
                action="status",
                value="503",
                method="POST,PUT",
                path="/v2.01/*/wallets",
                times=2,
                skip=1,
                probability=0.05,
                delay=1.5,
                answer_delay=2,
            ),
        ),
        ("pass delay=2 api", Rule(action="pass", delay=2, path="api")),
        ("  truncate=5  ", Rule(action="truncate", value="5")),
    ],
)
def test_a_rule_in_text(text: str, rule: Rule) -> None:
    assert parse(text) == rule


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "empty fault"),
        ("explode", "no such fault: 'explode'"),
        ("status=503 sometimes", "'sometimes' is no condition"),
        ("status=503 color=red", "color"),
        ("status=503 times=often", "times"),
        ("status=nine", "bad fault status"),
        ("status=199", "from 200 to 599"),
        ("status=600", "from 200 to 599"),
        ("status=5e2", "from 200 to 599"),
        ("edge=103", "from 200 to 599"),
        ("sca=never", "no-body"),
        ("reset=soon", "stage"),
        ("status=503 stage=during", "cannot happen at the stage during"),
        ("hang=connect", "cannot happen at the stage connect"),
        ("truncate stage=before", "cannot happen at the stage before"),
        ("truncate=abc", "could not convert string to float: 'abc'"),
        ("truncate=-1", "from 0 to 1000000000"),
        ("truncate=inf", "from 0 to 1000000000"),
        ("content-length=nan", "from -1000000000 to 1000000000"),
        ("oversized=-1", "from 0 to 1000000000"),
        ("oversized=1e30", "from 0 to 1000000000"),
        *((f"{action}=-1", "from 0 to") for action in ("trickle", "interim", "long-header", "hook-late", "hook-swap")),
        ("status=503 probability=2", "probability"),
        ("status=503 probability=-0.1", "probability"),
        ("status=503 probability=nan", "probability"),
        ("status=503 times=-1", "times"),
        ("status=503 skip=-1", "skip"),
        ("pass delay=-1", "delay"),
        ("pass delay=nan", "delay"),
        ("pass answer_delay=inf", "answer_delay"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_with_a_sentence(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse(text)


@pytest.mark.parametrize(
    "text", ["content-length=-7", "truncate=0", "status=503 probability=1 times=0", "trickle=0.05"]
)
def test_a_number_at_the_edge_is_taken(text: str) -> None:
    assert parse(text).action in text


@pytest.mark.parametrize("action", [None, 5, ["status"]])
def test_an_action_from_json_that_is_no_text_is_refused_with_a_sentence(action: object) -> None:
    with pytest.raises(ValueError, match="no such fault"):
        from_mapping({"action": action})


def test_a_rule_from_json_may_have_numbers_as_they_are() -> None:
    fields = {"action": "status", "value": 503, "times": 1, "delay": 0.5}
    assert from_mapping(fields) == Rule(action="status", value=503, times=1, delay=0.5)


@pytest.mark.parametrize(
    ("condition", "method", "segments", "caught"),
    [
        ("", "GET", USERS, True),
        ("", "POST", TOKEN, True),
        ("POST", "POST", USERS, True),
        ("POST", "GET", USERS, False),
        ("GET,POST", "GET", USERS, True),
        ("token", "POST", TOKEN, True),
        ("token", "POST", USERS, False),
        ("token", "POST", (*TOKEN, "embedded", "recipient"), False),
        ("api", "POST", TOKEN, False),
        ("api", "POST", USERS, True),
        ("api", "POST", CARD_PAGE, False),
        ("token", "POST", CARD_PAGE, False),
        ("", "POST", CARD_PAGE, True),
        ("/pages/*/cards", "POST", CARD_PAGE, True),
        ("/v2.01/acme", "GET", USERS, True),
        ("/V2_01/ACME/Users/", "GET", USERS, True),
        ("/v2.01/*/users", "GET", USERS, True),
        ("/v2.01/*/wallets", "GET", USERS, False),
        ("/v2.01/acme/users/x", "GET", USERS, False),
    ],
)
def test_which_requests_a_rule_catches(condition: str, method: str, segments: tuple[str, ...], caught: bool) -> None:
    assert (faults(f"reset {condition}").pick(method, segments) is not None) is caught


def test_a_rule_fires_so_many_times_after_so_many_others() -> None:
    made = faults("reset times=2 skip=1")
    assert [made.pick("GET", USERS) is not None for _ in range(5)] == [False, True, True, False, False]


def test_the_first_rule_that_fires_decides() -> None:
    made = faults("status=500 times=1", "status=503")
    picked = [made.pick("GET", USERS) for _ in range(2)]
    assert [rule.value for rule in picked if rule is not None] == ["500", "503"]


@pytest.mark.parametrize(("drawn", "fires"), [(0.0499, True), (0.05, False)])
def test_a_probability_is_drawn_for_each_match(drawn: float, fires: bool) -> None:
    assert (faults("reset probability=0.05", chance=lambda: drawn).pick("GET", USERS) is not None) is fires


def test_a_rule_for_connections_catches_no_request() -> None:
    made = faults("reset=connect times=1")
    assert made.pick("GET", USERS) is None
    assert [made.pick_connect() is not None for _ in range(2)] == [True, False]


def test_a_rule_for_requests_catches_no_connection() -> None:
    assert faults("reset").pick_connect() is None


def test_rules_can_be_taken_out_one_by_one_or_all() -> None:
    made = Faults(lambda: 0.0)
    first, second = made.add("reset"), made.add(Rule(action="hang"))
    assert (made.remove(first), made.remove(first)) == (True, False)
    assert [rule["id"] for rule in made.snapshot()] == [second]
    made.clear()
    assert not made


def test_how_often_a_rule_fired_is_told() -> None:
    made = Faults(lambda: 0.0)
    number = made.add("reset POST")
    made.pick("POST", USERS)
    made.pick("GET", USERS)
    assert (made.fired(number), made.snapshot()[0]["fired"], made.fired(99)) == (1, 1, 0)


# --- answers in place of the real one ---


@pytest.mark.parametrize("for_token", [False, True])
@pytest.mark.parametrize("status", range(200, 600))
def test_a_fault_may_have_any_status(status: int, for_token: bool) -> None:
    response = canned.response(parse(f"status={status}"), Reports(FakeClock()), "", for_token=for_token)
    assert response.status == status
    assert bool(response.body) is (status not in {204, 304})
    assert whole(form(response, b"", head_only=False, keep_alive=True)).pieces[0].startswith(b"HTTP/1.1 %d " % status)


@pytest.mark.parametrize("status", [204, 304])
def test_a_status_without_a_body_has_none_whatever_the_fault_says(status: int) -> None:
    rule = from_mapping({"action": "status", "value": status, "body": "xyz"})
    assert canned.response(rule, Reports(FakeClock()), "", for_token=False).body == b""


@pytest.mark.parametrize("for_token", [False, True])
@pytest.mark.parametrize("status", [403, 429, 502, 503, 504, *range(520, 527)])
def test_the_edge_answers_with_a_page(status: int, for_token: bool) -> None:
    reports = Reports(FakeClock())
    response, other = (canned.response(parse(f"edge={status}"), reports, "", for_token=for_token) for _ in range(2))
    assert (response.status, response.content_type) == (status, b"text/html; charset=UTF-8")
    assert response.body.lower().startswith(b"<!doctype html>")
    assert str(status).encode() in response.body
    (ray,) = header(response, "CF-Ray")
    assert re.fullmatch(r"[0-9a-f]{16}-[A-Z]{3}", ray)
    assert ray[:16].encode() in response.body
    assert header(other, "CF-Ray") != [ray]


def test_the_edge_may_say_something_else() -> None:
    rule = from_mapping({"action": "edge", "value": 403, "body": "error code: 1020"})
    response = canned.response(rule, Reports(FakeClock()), "", for_token=True)
    assert (response.status, response.body) == (403, b"error code: 1020")


@pytest.mark.parametrize(("text", "bodiless"), [("sca", False), ("sca=no-body", True)])
def test_the_sca_401_may_come_without_a_body(text: str, bodiless: bool) -> None:
    url = "http://localhost/pages/acme/sca/1"
    response = canned.response(parse(text), Reports(FakeClock()), "", for_token=False, sca_url=url)
    assert header(response, "WWW-Authenticate") == [f"PendingUserAction RedirectUrl={url}"]
    assert (response.body == b"") is bodiless


@pytest.mark.parametrize(
    ("text", "status", "members"),
    [
        ("status=503", 503, {"Type": "service_unavailable"}),
        ("status=429", 429, {"Type": "rate_limit"}),
        ("status", 500, {"Type": "internal_server_error"}),
        ("unauthorized", 401, {"Type": "invalid_credentials"}),
        ("unauthorized=not_authorized", 401, {"Type": "not_authorized"}),
        ("sca", 401, {"Type": "sca_required"}),
        ("rate-limit", 429, {"Type": "rate_limit"}),
        ("forbidden", 403, {"Type": "forbidden_ressource"}),
        ("invalid-client", 401, {"error": "invalid_client"}),
        ("lockout", 400, {"error": "unauthorized_client"}),
    ],
)
def test_canned_answers(text: str, status: int, members: dict[str, Any]) -> None:
    response = canned.response(parse(text), Reports(FakeClock()), "invalid_credentials", for_token=False)
    assert response.status == status
    assert members.items() <= read(response).items()


def test_the_token_endpoint_fails_in_oauths_words() -> None:
    response = canned.response(parse("status=503"), Reports(FakeClock()), "invalid_credentials", for_token=True)
    assert read(response) == {"error": "service_unavailable"}


@pytest.mark.parametrize(
    ("text", "status", "kind", "size"),
    [
        ("not-json", 200, b"text/html; charset=utf-8", None),
        ("oversized", 200, b"application/json; charset=utf-8", 70_000),
        ("oversized=500000", 200, b"application/json; charset=utf-8", 500_000),
        ("empty", 200, b"application/json; charset=utf-8", 0),
        ("status=204", 204, b"application/json; charset=utf-8", 0),
    ],
)
def test_canned_answers_that_are_no_error_reports(text: str, status: int, kind: bytes, size: int | None) -> None:
    response = canned.response(parse(text), Reports(FakeClock()), "", for_token=True)
    assert (response.status, response.content_type) == (status, kind)
    assert size is None or size <= len(response.body) <= size + 100


def test_a_redirect_goes_where_it_is_told() -> None:
    response = canned.response(parse("redirect=http://evil.example/"), Reports(FakeClock()), "", for_token=True)
    assert (response.status, header(response, "Location")) == (302, ["http://evil.example/"])


def test_a_status_may_bring_its_own_body() -> None:
    rule = Rule(action="status", value=200, body='{"access_token": 5}')
    assert read(canned.response(rule, Reports(FakeClock()), "", for_token=True)) == {"access_token": 5}


def test_every_answering_action_has_a_response() -> None:
    for action in (name for name, family in ACTIONS.items() if family is Family.RESPONSE):
        assert canned.response(Rule(action=action), Reports(FakeClock()), "x", for_token=False).status


def test_paths_are_split_as_requests_are() -> None:
    assert split_path("/V2_01//acme/Users/") == ("v2.01", "acme", "Users")
