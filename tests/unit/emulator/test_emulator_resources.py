"""The emulated resources: what can be created, read and changed, and what is refused."""

from __future__ import annotations

import base64

import pytest

from tests.support.clock import FakeClock
from tests.support.emulator import ADDRESS, NATURAL_USER, Platform, read


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def platform(clock: FakeClock) -> Platform:
    return Platform(clock)


# --- users ---


def test_a_user_has_an_id_a_date_and_the_given_fields(platform: Platform) -> None:
    user = platform.create("users/natural", {**NATURAL_USER, "Birthday": 1300186358, "Address": ADDRESS})
    assert user["Id"].startswith("user_m_")
    assert (user["CreationDate"], user["Birthday"], user["PersonType"]) == (1_700_000_000, 1300186358, "NATURAL")
    assert user["Address"] == {**ADDRESS, "AddressLine2": None, "Region": None}


def test_ids_count_up_in_one_series(clock: FakeClock) -> None:
    platform = Platform(clock)
    assert (platform.user, platform.other, platform.wallet) == ("user_m_00001001", "user_m_00001002", "wlt_m_00001003")


def test_what_only_mangopay_sets_cannot_be_given(platform: Platform) -> None:
    given = {"Id": "mine", "CreationDate": 0, "KYCLevel": "REGULAR", "UserStatus": "CLOSED", "Nonsense": 1}
    user = platform.create("users/natural", {**NATURAL_USER, **given})
    assert user["CreationDate"] == 1_700_000_000
    assert (user["KYCLevel"], user["UserStatus"], "Nonsense" in user) == ("LIGHT", "ACTIVE", False)


@pytest.mark.parametrize("accepted", [True, 1])
def test_accepted_terms_get_a_date(platform: Platform, accepted: object) -> None:
    user = platform.create("users/natural", {**NATURAL_USER, "TermsAndConditionsAccepted": accepted})
    assert (user["TermsAndConditionsAccepted"], user["TermsAndConditionsAcceptedDate"]) == (True, 1_700_000_000)


def test_a_user_is_found_under_its_own_type_and_under_users(platform: Platform) -> None:
    paths = (f"users/{platform.user}", f"users/natural/{platform.user}", f"users/legal/{platform.user}")
    assert [platform.call("GET", path).status for path in paths] == [200, 200, 404]


def test_an_update_changes_what_it_names_and_nothing_else(platform: Platform) -> None:
    path = f"users/natural/{platform.user}"
    read(platform.call("PUT", path, {"FirstName": "V2", "LastName": None, "Id": "x", "PersonType": "LEGAL"}))
    user = read(platform.call("GET", path))
    assert (user["FirstName"], user["LastName"], user["Id"], user["PersonType"]) == (
        "V2",
        "Hugo",
        platform.user,
        "NATURAL",
    )


def test_a_closed_user_stays_readable(platform: Platform) -> None:
    response = platform.call("DELETE", f"users/natural/{platform.user}")
    assert (response.status, response.body) == (204, b"")
    assert read(platform.call("GET", f"users/{platform.user}"))["UserStatus"] == "CLOSED"


# --- errors ---


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("users/natural", {**NATURAL_USER, "Email": ""}, "Email"),
        ("users/natural", {**NATURAL_USER, "Email": "nobody"}, "Email"),
        ("users/natural", {**NATURAL_USER, "FirstName": None}, "FirstName"),
        ("users/natural", {**NATURAL_USER, "Address": "Paris"}, "Address"),
        ("users/natural", [], "Body"),
        ("users/natural", b"{", "Body"),
        ("users/legal", {}, "LegalPersonType"),
        ("wallets", {"Owners": [], "Description": "w", "Currency": "EUR"}, "Owners"),
        ("wallets", {"Owners": ["nobody"], "Description": "w", "Currency": "EUR"}, "Owners"),
        # The first user's Id, which there is.
        ("wallets", {"Owners": "user_m_00001001", "Description": "w", "Currency": "EUR"}, "Owners"),
        ("wallets", {"Owners": [["user_m_00001001"]], "Description": "w", "Currency": "EUR"}, "Owners"),
        ("payins/card/web", {"AuthorId": ["user_m_00001001"]}, "AuthorId"),
        ("cardregistrations", {"UserId": ["user_m_00001001"], "Currency": "EUR"}, "UserId"),
        ("cardregistrations", {"UserId": 5, "Currency": "EUR"}, "UserId"),
        ("payins/card/web", {"DebitedFunds": {"Currency": "EUR", "Amount": 2**63}}, "DebitedFunds"),
        ("users/natural", b'{"Tag": "\xff"}', "Body"),
        ("users/natural", b'{"Tag": "SCA", "Email": "\xff"}', "Body"),
        ("payins/card/web", {"DebitedFunds": {"Currency": "EUR", "Amount": -1}}, "DebitedFunds"),
        ("payins/card/web", {"DebitedFunds": {"Currency": "EUR", "Amount": "1"}}, "DebitedFunds"),
        ("payins/card/web", {"DebitedFunds": 5}, "DebitedFunds"),
        ("payins/card/web", {"CreditedWalletId": "nowhere"}, "CreditedWalletId"),
        ("hooks", {"Url": "http://x"}, "EventType"),
    ],
)
def test_a_body_that_does_not_validate_names_the_field(platform: Platform, path: str, body: object, field: str) -> None:
    response = platform.call("POST", path, body)
    report = read(response)
    assert (response.status, report["Type"]) == (400, "param_error")
    assert field in report["errors"]
    assert isinstance(report["Date"], int)


@pytest.mark.parametrize(
    "path",
    ["users/nope", "users/natural/nope", "wallets/nope", "users/nope/wallets", "payins/nope", "payins/nope/refunds"],
)
def test_what_is_not_there_is_a_404_in_mangopays_spelling(platform: Platform, path: str) -> None:
    response = platform.call("GET", path)
    assert (response.status, read(response)["Type"]) == (404, "ressource_not_found")
    assert "nope" in read(response)["errors"]["RessourceNotFound"]


def test_updating_what_is_not_there_is_a_404(platform: Platform) -> None:
    assert platform.call("PUT", "hooks/nope", {"Status": "DISABLED"}).status == 404
    assert platform.call("DELETE", "users/natural/nope").status == 404


@pytest.mark.parametrize("body", [b"[]", {"Email": "nobody"}])
def test_an_update_is_validated_as_well(platform: Platform, body: object) -> None:
    assert platform.call("PUT", f"users/natural/{platform.user}", body).status == 400


# --- KYC documents ---


def test_a_document_takes_pages_until_it_is_submitted(platform: Platform) -> None:
    path = f"users/{platform.user}/KYC/documents"
    document = platform.create(path, {"Type": "IDENTITY_PROOF"})
    assert document["Id"].startswith("kyc_doc_m_")
    page = {"File": base64.b64encode(b"x" * 10_000_000).decode()}
    assert platform.call("POST", f"{path}/{document['Id']}/pages", page).status == 204
    for file in ("", "not/base64!", 5):
        assert platform.call("POST", f"{path}/{document['Id']}/pages", {"File": file}).status == 400
    assert platform.call("PUT", f"{path}/{document['Id']}", {"Status": "VALIDATION_ASKED"}).status == 200
    assert platform.call("POST", f"{path}/{document['Id']}/pages", page).status == 400
    assert platform.list(path) == platform.list("kyc/documents") == [document["Id"]]
    assert read(platform.call("GET", f"kyc/documents/{document['Id']}"))["Status"] == "VALIDATION_ASKED"


# --- hooks, events, countries, settlements, the platform itself ---


def test_a_hook_can_be_disabled(platform: Platform) -> None:
    hook = platform.create("hooks", {"Url": "http://x", "EventType": "PAYIN_NORMAL_SUCCEEDED"})
    assert (hook["Status"], hook["Validity"]) == ("ENABLED", "VALID")
    assert read(platform.call("PUT", f"hooks/{hook['Id']}", {"Status": "DISABLED"}))["Status"] == "DISABLED"
    assert platform.list("hooks?Status=ENABLED") == []


def test_events_tell_what_happened(platform: Platform) -> None:
    pay_in = platform.pay_in()
    platform.transfer()
    events = read(platform.call("GET", "events?EventType=PAYIN_NORMAL_CREATED"))
    assert events == [{"ResourceId": pay_in["Id"], "EventType": "PAYIN_NORMAL_CREATED", "Date": 1_700_000_000}]
    assert read(platform.call("GET", "events?AfterDate=1700000000")) == []
    assert len(read(platform.call("GET", "events?BeforeDate=1700000001"))) == 2


def test_countries_have_no_client_id(platform: Platform) -> None:
    france = read(platform.call("GET", "/v2.01/countries/fr/authorizations"))
    assert (france["CountryCode"], france["Authorization"]["BlockPayout"]) == ("FR", False)
    assert france in read(platform.call("GET", "/v2.01/countries/authorizations"))
    assert platform.call("GET", "/v2.01/countries/XX/authorizations").status == 404


def test_a_settlement_takes_a_multipart_file(platform: Platform) -> None:
    form = b'--b\r\nContent-Disposition: form-data; name="file"; filename="f.csv"\r\n\r\na;b\r\n--b--\r\n'
    multipart = ((b"Content-Type", b"multipart/form-data; boundary=b"),)
    path = "/V3.0/acme/payins/intents/settlements"
    response = platform.call("POST", path, form, headers=multipart)
    settlement = read(response)
    assert (response.status, settlement["Status"]) == (200, "UPLOADED")
    assert read(platform.call("GET", f"{path}/{settlement['SettlementId']}")) == settlement
    assert platform.call("POST", path, b"--b--", headers=multipart).status == 400


def test_a_settlement_takes_a_file_name_too(platform: Platform) -> None:
    path = "/v3.0/acme/payins/intents/settlements"
    settlement = platform.create(path, {"FileName": "f.csv"})
    assert (settlement["Status"], settlement["FileName"]) == ("PENDING_UPLOAD", "f.csv")
    assert platform.call("POST", path, {}).status == 400
    assert platform.list(path) == [settlement["Id"]]


def test_the_platform_can_be_read_and_changed(platform: Platform) -> None:
    assert read(platform.call("GET", "clients"))["ClientId"] == "acme"
    changed = read(platform.call("PUT", "clients", {"PlatformURL": "https://x", "ClientId": "other", "Logo": None}))
    assert (changed["PlatformURL"], changed["ClientId"]) == ("https://x", "acme")
    assert platform.call("PUT", "clients", b"[]").status == 400


@pytest.mark.parametrize("file", ["qqqq", "not base64!", None, base64.b64encode(b"<svg>").decode()])
def test_a_logo_is_an_image(platform: Platform, file: str | None) -> None:
    response = platform.call("PUT", "clients/logo", {"File": file})
    assert (response.status, list(read(response)["errors"])) == (400, ["File"])
    image = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()
    assert platform.call("PUT", "clients/logo", {"File": image}).status == 204


def test_a_payout_tells_that_the_name_was_compared(platform: Platform) -> None:
    assert platform.pay_out()["RecipientVerificationOfPayee"]["RecipientVerificationCheck"] == "MATCH"


def test_the_platform_has_a_phone_number(platform: Platform) -> None:
    assert read(platform.call("GET", "clients"))["HeadquartersPhoneNumber"]
