"""Strong customer authentication: users who wait for it, the page where it is done, and what is shown then."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from sidecar.emulator import pages, sca
from sidecar.emulator.messages import EmulatedResponse, Request, split_path
from sidecar.emulator.state import Ticket
from tests.support.clock import FakeClock
from tests.support.emulator import ADDRESS, LEGAL_USER, NATURAL_USER, Direct, header, read

if TYPE_CHECKING:
    from collections.abc import Mapping

NATURAL: Final[Mapping[str, Any]] = {
    "FirstName": "Victor",
    "LastName": "Hugo",
    "Email": "victor@example.com",
    "TermsAndConditionsAccepted": True,
    "UserCategory": "PAYER",
}
OF_OWNER: Final = {"Birthday": 188352000, "Nationality": "FR", "CountryOfResidence": "FR"}
OWNER: Final = {**NATURAL, **OF_OWNER, "UserCategory": "OWNER"}
LEGAL_OWNER: Final = {
    "Name": "ACME",
    "LegalPersonType": "SOLETRADER",
    "Email": "acme@example.com",
    "LegalRepresentative": {"FirstName": "A", "LastName": "B", "Email": "a@example.com"},
    "HeadquartersAddress": ADDRESS,
    "TermsAndConditionsAccepted": True,
    "UserCategory": "OWNER",
}
WAITING: Final = "PENDING_USER_ACTION"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def mangopay(clock: FakeClock) -> Direct:
    return Direct(clock)


def url_in(resource: Mapping[str, Any]) -> str:
    url: str = resource["PendingUserAction"]["RedirectUrl"]
    return url


def visit(mangopay: Direct, url: str, method: str = "GET", body: bytes = b"") -> EmulatedResponse:
    """Open a page, as a browser without a token does."""
    target = "/" + url.partition("://")[2].partition("/")[2]
    path, _, query = target.partition("?")
    api = mangopay.emulator.api
    request = Request(method, target, split_path(path), query, ((b"Host", b"localhost"),), body, 0.0)
    return api.response(request, api.deliver(request))


# --- users -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("person", "body"), [("natural", OWNER), ("legal", LEGAL_OWNER)])
def test_an_owner_waits_for_the_authentication(mangopay: Direct, person: str, body: dict[str, Any]) -> None:
    owner = mangopay.create(f"sca/users/{person}", body)
    assert (owner["UserStatus"], owner["UserCategory"], owner["PersonType"]) == (WAITING, "OWNER", person.upper())
    assert url_in(owner).startswith("http://localhost/pages/acme/sca/")
    assert read(mangopay.call("GET", f"sca/users/{owner['Id']}")) == owner


def test_a_payer_does_not(mangopay: Direct) -> None:
    payer = mangopay.create("sca/users/natural", NATURAL)
    assert (payer["UserStatus"], payer["PendingUserAction"]) == ("ACTIVE", None)


@pytest.mark.parametrize("field", OF_OWNER)
def test_an_owner_has_to_tell_more_than_a_payer(mangopay: Direct, field: str) -> None:
    response = mangopay.call("POST", "sca/users/natural", {**OWNER, field: None})
    assert (response.status, list(read(response)["errors"])) == (400, [field])
    assert read(mangopay.call("GET", "users")) == []


@pytest.mark.parametrize("representative", ["A B", {}, {"FirstName": "A"}])
def test_a_representative_has_a_name(mangopay: Direct, representative: object) -> None:
    response = mangopay.call("POST", "sca/users/legal", {**LEGAL_OWNER, "LegalRepresentative": representative})
    assert (response.status, list(read(response)["errors"])) == (400, ["LegalRepresentative"])


def test_a_category_is_one_that_there_is(mangopay: Direct) -> None:
    response = mangopay.call("POST", "sca/users/natural", {**NATURAL, "UserCategory": "KING"})
    assert (response.status, list(read(response)["errors"])) == (400, ["UserCategory"])


def test_a_payer_becomes_an_owner_and_waits(mangopay: Direct) -> None:
    payer = mangopay.create("sca/users/natural", NATURAL)["Id"]
    path = f"sca/users/natural/{payer}/category"
    refused = mangopay.call("PUT", path, {"UserCategory": "OWNER"})
    unchanged = read(mangopay.call("GET", f"sca/users/{payer}"))
    owner = read(mangopay.call("PUT", path, {"UserCategory": "OWNER", **OF_OWNER, "ScaContext": "USER_PRESENT"}))
    assert (refused.status, unchanged["UserCategory"]) == (400, "PAYER")
    assert (owner["UserCategory"], owner["UserStatus"], owner["Nationality"]) == ("OWNER", WAITING, "FR")


@pytest.mark.parametrize(
    ("person", "body", "changes"),
    [
        ("natural", NATURAL_USER, {"UserCategory": "OWNER", **OF_OWNER}),
        ("legal", LEGAL_USER, {"UserCategory": "OWNER", "HeadquartersAddress": ADDRESS}),
    ],
)
@pytest.mark.parametrize("way", ["route", "page", "settle"])
def test_a_legacy_user_who_becomes_an_owner_waits_and_can_authenticate(
    mangopay: Direct, person: str, body: dict[str, Any], changes: dict[str, Any], way: str
) -> None:
    made = mangopay.create(f"users/{person}", body)
    identifier = made["Id"]
    owner = read(mangopay.call("PUT", f"sca/users/{person}/{identifier}/category", changes))
    assert ("PendingUserAction" in made, owner["UserStatus"]) == (False, WAITING)
    if way == "page":
        visit(mangopay, url_in(owner), "POST", b"outcome=authenticate")
    elif way == "route":
        mangopay.control("POST", "authenticate", {"client_id": "acme", "id": identifier})
    else:
        mangopay.control("POST", "settle", {"client_id": "acme", "id": identifier, "transition": "authenticate"})
    after = read(mangopay.call("GET", f"users/{person}/{identifier}"))
    assert (after["UserStatus"], after["PendingUserAction"]) == ("ACTIVE", None)


def test_an_update_cannot_change_the_category(mangopay: Direct) -> None:
    payer = mangopay.create("sca/users/natural", NATURAL)["Id"]
    changed = read(mangopay.call("PUT", f"sca/users/natural/{payer}", {"FirstName": "V", "UserCategory": "OWNER"}))
    assert (changed["FirstName"], changed["UserCategory"], changed["UserStatus"]) == ("V", "PAYER", "ACTIVE")


@pytest.mark.parametrize("what", ["enrollment", "consent"])
def test_each_enrolment_and_consent_has_a_url_of_its_own(mangopay: Direct, what: str) -> None:
    user = mangopay.create("sca/users/natural", NATURAL)["Id"]
    urls = [url_in(read(mangopay.call("POST", f"sca/users/{user}/{what}"))) for _ in range(2)]
    assert len(set(urls)) == 2
    assert mangopay.call("POST", f"sca/users/nobody/{what}").status == 404


def test_php_s_empty_body_is_no_body(mangopay: Direct) -> None:
    """Its SDK sends a JSON string for "nothing"."""
    user = mangopay.create("sca/users/natural", NATURAL)["Id"]
    assert mangopay.call("PUT", f"sca/users/natural/{user}", b'""').status == 200


def test_the_status_tells_of_the_enrolment(mangopay: Direct) -> None:
    owner = mangopay.create("sca/users/natural", OWNER)
    path = f"sca/users/{owner['Id']}/sca-status"
    before = read(mangopay.call("GET", path))
    visit(mangopay, url_in(owner), "POST", b"outcome=authenticate")
    after = read(mangopay.call("GET", path))
    assert (before["UserStatus"], before["IsEnrolled"], before["LastEnrollmentDate"]) == (WAITING, False, None)
    assert (after["UserStatus"], after["IsEnrolled"], after["LastEnrollmentDate"]) == ("ACTIVE", True, 1_700_000_000)
    assert after["ConsentScope"]["Transfer"] is True


def test_a_closed_user_stays_readable(mangopay: Direct) -> None:
    user = mangopay.create("sca/users/natural", NATURAL)["Id"]
    assert mangopay.call("DELETE", f"users/natural/{user}").status == 204
    assert read(mangopay.call("GET", f"sca/users/{user}"))["UserStatus"] == "CLOSED"


# --- the page --------------------------------------------------------------------------------------------------------


def test_the_page_says_who_is_asked_and_offers_both(mangopay: Direct) -> None:
    owner = mangopay.create("sca/users/natural", OWNER)
    shown = visit(mangopay, url_in(owner))
    html = shown.body.decode()
    assert (shown.status, shown.content_type) == (200, b"text/html; charset=utf-8")
    assert owner["Id"] in html
    assert 'lang="en"' in html
    assert [f'value="{choice}"' in html for choice in ("authenticate", "refuse")] == [True, True]
    assert "<script" not in html
    assert "default-src 'none'" in header(shown, "Content-Security-Policy")[0]


@pytest.mark.parametrize(("choice", "status"), [("authenticate", "ACTIVE"), ("refuse", WAITING)])
def test_what_is_chosen_there_happens(mangopay: Direct, choice: str, status: str) -> None:
    owner = mangopay.create("sca/users/natural", OWNER)
    response = visit(mangopay, url_in(owner), "POST", f"outcome={choice}".encode())
    after = read(mangopay.call("GET", f"sca/users/{owner['Id']}"))
    assert (response.status, after["UserStatus"], after["PendingUserAction"] is None) == (
        200,
        status,
        status == "ACTIVE",
    )


def test_it_leads_back_to_where_the_app_said(mangopay: Direct) -> None:
    owner = mangopay.create("sca/users/natural", OWNER)
    response = visit(mangopay, url_in(owner) + "?returnUrl=http%3A%2F%2Fshop%2Fback%3Fa%3D1", "POST", b"outcome=refuse")
    assert (response.status, header(response, "Location")) == (303, ["http://shop/back?a=1"])


@pytest.mark.parametrize("back", ["javascript:alert(1)", "/elsewhere", "http://x%0D%0AX: y", "http://[x", ""])
def test_it_leads_nowhere_else(mangopay: Direct, back: str) -> None:
    owner = mangopay.create("sca/users/natural", OWNER)
    response = visit(mangopay, f"{url_in(owner)}?returnUrl={back}", "POST", b"outcome=authenticate")
    assert (response.status, header(response, "Location")) == (200, [])


@pytest.mark.parametrize(
    ("path", "method", "body"),
    [
        ("/pages/acme/sca/sca_unknown", "GET", b""),
        ("/pages/acme/sca/sca_unknown", "POST", b"outcome=authenticate"),
        ("/pages/acme/elsewhere", "GET", b""),
        ("/pages/nobody/sca/sca_0000000000000001", "GET", b""),
        ("/pages", "GET", b""),
        ("/pages/acme", "GET", b""),
    ],
)
def test_what_there_is_not_is_a_page_as_well(mangopay: Direct, path: str, method: str, body: bytes) -> None:
    mangopay.create("sca/users/natural", OWNER)
    response = visit(mangopay, f"http://localhost{path}", method, body)
    assert (response.status, response.content_type) == (404, b"text/html; charset=utf-8")
    assert set(mangopay.state.clients) == {"acme"}


def test_a_choice_that_there_is_not_changes_nothing(mangopay: Direct) -> None:
    owner = mangopay.create("sca/users/natural", OWNER)
    assert visit(mangopay, url_in(owner), "POST", b"outcome=maybe").status == 400
    assert b"outcome=authenticate, outcome=refuse" in visit(mangopay, url_in(owner), "POST").body
    assert read(mangopay.call("GET", f"sca/users/{owner['Id']}"))["UserStatus"] == WAITING


def test_a_person_s_clicks_are_no_writes_of_the_app(mangopay: Direct) -> None:
    owner = mangopay.create("sca/users/natural", OWNER)
    for _ in range(2):
        assert visit(mangopay, url_in(owner), "POST", b"outcome=authenticate").status == 200
    assert mangopay.state.ledger.deliveries == 1


def test_what_a_page_says_is_escaped() -> None:
    response = pages.page("<b>", "<i>", choices={'"x"': "<u>"})
    assert b"<b>" not in response.body
    assert b"<i>" not in response.body
    assert b'"&quot;x&quot;"' in response.body


# --- what is seen with it --------------------------------------------------------------------------------------------


def test_the_challenge_leads_to_the_page_that_answers_it(mangopay: Direct) -> None:
    owner = mangopay.create("sca/users/natural", OWNER)["Id"]
    challenge = header(mangopay.call("GET", f"users/{owner}/wallets"), "WWW-Authenticate")[0]
    visit(mangopay, challenge.removeprefix("PendingUserAction RedirectUrl="), "POST", b"outcome=authenticate")
    assert mangopay.call("GET", f"users/{owner}/wallets").status == 200
    assert read(mangopay.call("GET", f"sca/users/{owner}"))["UserStatus"] == "ACTIVE"


def test_the_control_route_does_the_same(mangopay: Direct) -> None:
    owner = mangopay.create("sca/users/natural", OWNER)["Id"]
    assert mangopay.control("POST", "authenticate", {"client_id": "acme", "id": owner}).status == 200
    assert read(mangopay.call("GET", f"sca/users/{owner}"))["UserStatus"] == "ACTIVE"
    assert mangopay.call("GET", f"users/{owner}/wallets").status == 200


def test_a_resource_may_wait_for_its_user(mangopay: Direct) -> None:
    """What waits need not be the user: any kind with the transitions can."""
    client = mangopay.state.client("acme")
    owner = mangopay.create("sca/users/natural", OWNER)["Id"]
    other = mangopay.create("sca/users/natural", OWNER)["Id"]
    for authenticated, status in ((False, WAITING), (True, "ACTIVE")):
        sca.settle(client, Ticket(owner, other), 1.0, authenticated=authenticated)
        assert read(mangopay.call("GET", f"sca/users/{other}"))["UserStatus"] == status


# --- settling --------------------------------------------------------------------------------------------------------


def test_a_transition_from_the_wrong_status_is_refused_and_changes_nothing(mangopay: Direct) -> None:
    payer = mangopay.create("sca/users/natural", NATURAL)
    told = {"client_id": "acme", "id": payer["Id"], "transition": "authenticate"}
    response = mangopay.control("POST", "settle", told)
    assert (response.status, "not possible from ACTIVE" in read(response)["error"]) == (400, True)
    assert read(mangopay.call("GET", f"sca/users/{payer['Id']}")) == payer


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [({"id": "nothing"}, "no resource nothing"), ({"transition": "fly"}, "it has: authenticate")],
)
def test_settling_says_what_is_wrong(mangopay: Direct, changes: dict[str, str], complaint: str) -> None:
    owner = mangopay.create("sca/users/natural", OWNER)
    told = {"client_id": "acme", "id": owner["Id"], "transition": "authenticate", **changes}
    response = mangopay.control("POST", "settle", told)
    assert (response.status, complaint in read(response)["error"]) == (400, True)
