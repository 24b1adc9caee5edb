"""What concerns people: recipients, transfers that wait, UBO declarations, verifications, electronic money, reports."""

from __future__ import annotations

import csv
import io
import re

import pytest

from sidecar.core.deprecation import DEPRECATIONS
from sidecar.emulator.resources import catalogue
from tests.support.clock import FakeClock
from tests.support.emulator import EUR, NO_FEES, Platform, header, read
from tests.unit.emulator.test_emulator_table import RECIPIENT, UBO


@pytest.fixture
def platform() -> Platform:
    return Platform(FakeClock())


def owner(platform: Platform) -> str:
    identifier: str = platform.create("users/natural", {"FirstName": "O", "LastName": "W", "Email": "o@w"})["Id"]
    return identifier


# --- recipients ---


@pytest.mark.parametrize(("outcome", "status"), [("authenticate", "ACTIVE"), ("refuse", "CANCELED")])
def test_a_recipient_waits_for_the_user(platform: Platform, outcome: str, status: str) -> None:
    made = platform.create(f"users/{platform.user}/recipients", RECIPIENT)
    platform.visit(made["PendingUserAction"]["RedirectUrl"], {"outcome": outcome})
    seen = read(platform.call("GET", f"recipients/{made['Id']}"))
    assert (seen["Status"], seen["PendingUserAction"]) == (status, None)


def test_a_recipient_is_paid_out_to_once_it_is_active(platform: Platform) -> None:
    """As every payout to an account is that was not known before May 2026."""
    platform.pay_in("direct")
    made = platform.create(f"users/{platform.user}/recipients", RECIPIENT)
    amounts = {"DebitedFunds": {"Currency": "EUR", "Amount": 100}, "Fees": {"Currency": "EUR", "Amount": 0}}
    body = {"AuthorId": platform.user, "DebitedWalletId": platform.wallet, **amounts}
    for recipient in ({"RecipientId": made["Id"]}, {"RecipientId": "rec_m_none"}, {}):
        assert platform.call("POST", "payouts/bankwire", {**body, **recipient}).status == 400
    platform.visit(made["PendingUserAction"]["RedirectUrl"], {"outcome": "authenticate"})
    paid = platform.create("payouts/bankwire", {**body, "RecipientId": made["Id"]})
    assert (paid["Status"], paid["RecipientId"], paid["BankAccountId"]) == ("CREATED", made["Id"], None)


def test_a_recipient_is_deactivated_and_nothing_else(platform: Platform) -> None:
    path = f"recipients/{platform.create(f'users/{platform.user}/recipients', RECIPIENT)['Id']}"
    assert platform.call("PUT", path, {"Status": "ACTIVE"}).status == 400
    assert read(platform.call("PUT", path, {"Status": "DEACTIVATED"}))["Status"] == "DEACTIVATED"


def test_lists_of_recipients_are_filtered_by_scope(platform: Platform) -> None:
    made = platform.create(f"users/{platform.user}/recipients", RECIPIENT)["Id"]
    assert platform.list(f"users/{platform.user}/recipients?RecipientScope=PAYOUT") == [made]
    assert platform.list(f"users/{platform.user}/recipients?RecipientScope=PAYIN") == []


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"LocalBankTransfer": {"GBP": {"SortCode": "1"}}}, "LocalBankTransfer.AccountNumber"),
        ({"LocalBankTransfer": None}, "LocalBankTransfer.SortCode"),
        ({"PayoutMethodType": "InternationalBankTransfer"}, "InternationalBankTransfer.BIC"),
        ({"RecipientType": "Business"}, "BusinessRecipient.BusinessName"),
        ({"IndividualRecipient": "Alex"}, "IndividualRecipient.LastName"),
        ({"PayoutMethodType": "Pigeon"}, "PayoutMethodType"),
        ({"Currency": None}, "Currency"),
    ],
)
def test_a_recipient_is_validated_as_it_is_created(platform: Platform, change: dict[str, object], field: str) -> None:
    path = f"users/{platform.user}/recipients"
    for response in (platform.call("POST", f"{path}{tail}", {**RECIPIENT, **change}) for tail in ("", "/validate")):
        assert (response.status, field in read(response)["errors"]) == (400, True)
    assert platform.list(path) == []
    assert platform.call("POST", f"{path}/validate", RECIPIENT).status == 204
    assert platform.list(path) == []


def test_a_schema_has_what_the_recipient_needs_and_nothing_of_others(platform: Platform) -> None:
    query = "payoutMethodType=LocalBankTransfer&recipientType=Individual&currency=GBP&country=GB"
    local = read(platform.call("GET", f"recipients/schema?{query}"))
    assert set(local["LocalBankTransfer"]["GBP"]) == {"AccountNumber", "SortCode"}
    assert local["Currency"]["AllowedValues"] == ["GBP"]
    assert local.keys().isdisjoint({"InternationalBankTransfer", "BusinessRecipient"})
    query = "payoutMethodType=InternationalBankTransfer&recipientType=Business&currency=GBP&country=GB"
    abroad = read(platform.call("GET", f"recipients/schema?{query}"))
    assert set(abroad["InternationalBankTransfer"]) == {"AccountNumber", "BIC"}
    assert platform.call("GET", "recipients/schema").status == 400


def test_a_currency_without_local_transfers_leaves_the_other_method(platform: Platform) -> None:
    methods = [
        read(platform.call("GET", f"recipients/payout-methods?country=X&currency={currency}"))["AvailablePayoutMethods"]
        for currency in ("EUR", "JPY")
    ]
    assert methods == [["LocalBankTransfer", "InternationalBankTransfer"], ["InternationalBankTransfer"]]


def test_the_payee_is_verified_where_the_scheme_does(platform: Platform) -> None:
    euros = {**RECIPIENT, "Currency": "EUR", "LocalBankTransfer": {"EUR": {"IBAN": "DE75"}}}
    verified = platform.create(f"users/{platform.user}/recipients", euros)
    assert verified["RecipientVerificationOfPayee"]["RecipientVerificationCheck"] == "MATCH"
    assert "RecipientVerificationOfPayee" not in platform.create(f"users/{platform.user}/recipients", RECIPIENT)


# --- transfers ---


def transfer(platform: Platform, author: str, amount: int, **fields: object) -> dict[str, object]:
    wallet = platform.new_wallet(author)
    platform.pay_in("direct", CreditedWalletId=wallet, DebitedFunds={"Currency": "EUR", "Amount": 9000}, Fees=NO_FEES)
    wallets = {"DebitedWalletId": wallet, "CreditedWalletId": platform.other_wallet}
    funds = {"DebitedFunds": {"Currency": "EUR", "Amount": amount}, "Fees": NO_FEES}
    return platform.create("transfers", {"AuthorId": author, **wallets, **funds, **fields})


@pytest.mark.parametrize(("outcome", "status", "moved"), [("authenticate", "SUCCEEDED", 3001), ("refuse", "FAILED", 0)])
def test_an_owners_transfer_waits_for_an_authentication(
    platform: Platform, outcome: str, status: str, moved: int
) -> None:
    made = transfer(platform, owner(platform), 3001)
    assert made["Status"] == "CREATED"
    assert platform.balance(platform.other_wallet) == 0
    pending = made["PendingUserAction"]
    assert isinstance(pending, dict)
    platform.visit(pending["RedirectUrl"], {"outcome": outcome})
    seen = read(platform.call("GET", f"transfers/{made['Id']}"))
    assert (seen["Status"], seen["PendingUserAction"]) == (status, None)
    assert platform.balance(platform.other_wallet) == moved


def test_no_transfer_waits_that_is_small_a_payers_or_made_without_the_user(platform: Platform) -> None:
    user = owner(platform)
    assert transfer(platform, user, 3000)["Status"] == "SUCCEEDED"
    assert transfer(platform, platform.user, 3001)["Status"] == "SUCCEEDED"
    assert transfer(platform, user, 3001, ScaContext="USER_NOT_PRESENT")["Status"] == "SUCCEEDED"
    platform.state.configure(sca_context="USER_NOT_PRESENT")
    assert transfer(platform, user, 3001)["Status"] == "SUCCEEDED"
    assert transfer(platform, user, 3001, ScaContext="USER_PRESENT")["Status"] == "CREATED"
    platform.control("POST", "authenticate", {"client_id": "acme", "id": user})
    assert transfer(platform, user, 3001, ScaContext="USER_PRESENT")["Status"] == "SUCCEEDED"


def test_a_setting_says_what_a_call_without_a_context_counts_as(platform: Platform) -> None:
    path = f"wallets/{platform.new_wallet(owner(platform))}"
    assert platform.call("GET", path).status == 401
    platform.state.configure(sca_context="USER_NOT_PRESENT")
    assert platform.call("GET", path).status == 200
    assert platform.call("GET", f"{path}?ScaContext=USER_PRESENT").status == 401


# --- users ---


def test_legacy_users_are_told_to_be_deprecated(platform: Platform) -> None:
    body = {"FirstName": "O", "LastName": "W", "Email": "o@w"}
    assert header(platform.call("POST", "users/natural", body), "Deprecation") == ["@1763337600"]
    assert header(platform.call("GET", "users"), "Deprecation") == []


def test_every_deprecated_endpoint_is_emulated_and_so_is_what_takes_its_place() -> None:
    """The table is the sidecar's own: what it calls deprecated, the emulator marks."""
    marked = {route.deprecation for route in catalogue().routes}
    assert marked == {None, *DEPRECATIONS}
    endpoints = {(route.method, re.sub(r"{\w+}", "{}", route.pattern)) for route in catalogue().routes}
    for row in DEPRECATIONS:
        if row.successor:
            method, path = row.successor.split(" ")
            assert (method, re.sub(r"{\w+}", "{}", path)) in endpoints


def test_a_representative_is_completed_by_a_change(platform: Platform) -> None:
    person = {"FirstName": "A", "LastName": "B"}
    body = {"Name": "N", "LegalPersonType": "BUSINESS", "Email": "e@x", "TermsAndConditionsAccepted": True}
    user = platform.create("sca/users/legal", {**body, "UserCategory": "PAYER", "LegalRepresentative": person})["Id"]
    changes = {"UserCategory": "OWNER", "HeadquartersAddress": {}, "LegalRepresentative": {"Nationality": "FR"}}
    changed = read(platform.call("PUT", f"sca/users/legal/{user}/category", changes))
    told = {name: changed["LegalRepresentative"][name] for name in ("FirstName", "LastName", "Nationality")}
    assert told == {**person, "Nationality": "FR"}
    for wrong in ({"FirstName": "A"}, "A B"):
        made = platform.call("POST", "sca/users/legal", {**body, "UserCategory": "PAYER", "LegalRepresentative": wrong})
        assert made.status == 400


def test_a_representative_of_a_legacy_user_is_changed_under_sca(platform: Platform) -> None:
    """Legacy users tell of the representative field by field: what is not in a change stays, and both stay alike."""
    path = f"sca/users/legal/{platform.other}"
    changed = read(platform.call("PUT", path, {"LegalRepresentative": {"LastName": "C", "PhoneNumber": "1"}}))
    told = {name: changed["LegalRepresentative"][name] for name in ("FirstName", "LastName", "PhoneNumber")}
    assert told == {"FirstName": "A", "LastName": "C", "PhoneNumber": "1"}
    assert changed["LegalRepresentativeLastName"] == "C"
    assert platform.call("PUT", f"users/legal/{platform.other}", {"LegalRepresentativeFirstName": "Z"}).status == 200
    tagged = read(platform.call("PUT", path, {"Tag": "t"}))
    assert (tagged["Tag"], tagged["LegalRepresentativeFirstName"]) == ("t", "Z")
    again = read(platform.call("PUT", path, {"LegalRepresentative": {"Email": "e@x"}}))["LegalRepresentative"]
    assert (again["FirstName"], again["LastName"], again["PhoneNumber"], again["Email"]) == ("Z", "C", "1", "e@x")


def test_electronic_money_is_what_moved_in_the_period(platform: Platform) -> None:
    platform.fund()
    platform.transfer()
    path = f"users/{platform.user}/emoney"
    told = [read(platform.call("GET", f"{path}/{period}")) for period in ("2023", "2023/11", "2023/12", "2022")]
    assert [each["CreditedEMoney"]["Amount"] for each in told] == [1000, 1000, 0, 0]
    assert [each["DebitedEMoney"]["Amount"] for each in told] == [1000, 1000, 0, 0]
    assert read(platform.call("GET", f"{path}/2023?currency=gbp"))["CreditedEMoney"] == {"Currency": "GBP", "Amount": 0}
    for period in ("23", "0000", "٠٠٠٠", "2023/13", "2023/0", "2023/x"):
        assert platform.call("GET", f"{path}/{period}").status == 400


def test_a_closed_user_is_blocked(platform: Platform) -> None:
    path = f"users/{platform.user}"
    assert read(platform.call("GET", f"{path}/Regulatory"))["ScopeBlocked"] == {"Inflows": False, "Outflows": False}
    platform.call("DELETE", f"users/natural/{platform.user}")
    assert read(platform.call("GET", f"{path}/blockStatus"))["ScopeBlocked"] == {"Inflows": True, "Outflows": True}


@pytest.mark.parametrize(("number", "status"), [("AB123456", 200), ("123", 400), (5, 400), (None, 400)])
def test_a_companys_number_looks_like_one(platform: Platform, number: object, status: int) -> None:
    body = {"CompanyNumber": {"CompanyNumber": number, "CountryCode": "IT"}}
    assert platform.call("POST", "users/data-formats/validation", body).status == status


def test_an_owner_of_a_company_is_declared(platform: Platform) -> None:
    path = f"users/{platform.other}/kyc/ubodeclarations/{platform.declaration}"
    assert platform.call("PUT", path, {"Status": "VALIDATION_ASKED"}).status == 400
    made = platform.create(f"{path}/ubos", UBO)
    changed = read(platform.call("PUT", f"{path}/ubos/{made['Id']}", {"FirstName": "C", "isActive": False}))
    assert (changed["FirstName"], changed["IsActive"]) == ("C", False)
    assert read(platform.call("GET", f"{path}/ubos/{made['Id']}")) == changed
    submitted = read(platform.call("PUT", path, {"Status": "VALIDATION_ASKED", "Ubos": []}))
    assert (submitted["Status"], submitted["Ubos"]) == ("VALIDATION_ASKED", [changed])
    assert platform.call("PUT", path, {"Status": "VALIDATION_ASKED"}).status == 400
    returned = platform.settle(submitted["Id"], "return")
    assert (returned["Status"], returned["Reason"]) == ("INCOMPLETE", "MISSING_UBO")


def test_a_natural_user_has_no_declaration(platform: Platform) -> None:
    assert platform.call("POST", f"users/{platform.user}/kyc/ubodeclarations", b'""').status == 400
    assert platform.call("POST", f"users/{platform.other}/kyc/ubodeclarations", b'""').status == 200


def test_papers_are_shown_at_a_page(platform: Platform) -> None:
    made = platform.create(f"users/{platform.user}/identity-verifications", {"ReturnUrl": "http://app/back"})
    response = platform.visit(made["HostedUrl"], {"outcome": "validate"})
    assert (response.status, header(response, "Location")) == (303, ["http://app/back"])
    seen = read(platform.call("GET", f"identity-verifications/{made['Id']}"))
    assert (seen["Status"], seen["Checks"][0]["CheckStatus"]) == ("VALIDATED", "VALIDATED")


def test_pages_of_a_kyc_document_are_consulted(platform: Platform) -> None:
    document = platform.create(f"users/{platform.user}/kyc/documents", {"Type": "IDENTITY_PROOF"})["Id"]
    assert read(platform.call("POST", f"kyc/documents/{document}/consult", b'""')) == []
    platform.call("POST", f"users/{platform.user}/kyc/documents/{document}/pages", {"File": "aGVsbG8="})
    (page,) = read(platform.call("POST", f"kyc/documents/{document}/consult"))
    assert platform.visit(page["Url"]).status == 200


# --- accounts, payouts, reports ---


def test_a_virtual_account_is_closed(platform: Platform) -> None:
    path = f"wallets/{platform.wallet}/virtual-accounts"
    made = platform.create(path, {"Country": "GB", "VirtualAccountPurpose": "Collection"})
    assert made["Capabilities"]["Currencies"] == ["GBP"]
    closed = read(platform.call("PUT", f"{path}/{made['Id']}"))
    assert (closed["Status"], closed["Active"]) == ("CLOSED", False)
    assert platform.call("POST", path, {"Country": "XX", "VirtualAccountPurpose": "Collection"}).status == 400
    countries = {each["Country"] for each in read(platform.call("GET", "virtual-accounts/availability"))["Collection"]}
    assert {"FR", "GB"} < countries


def test_a_banking_alias_is_deactivated(platform: Platform) -> None:
    made = platform.create(f"wallets/{platform.wallet}/bankingaliases/iban", {"OwnerName": "V", "Country": "LU"})
    assert made["CreditedUserId"] == platform.user
    changed = read(platform.call("PUT", f"bankingaliases/{made['Id']}", {"Active": False, "IBAN": "mine"}))
    assert (changed["Active"], changed["IBAN"]) == (False, made["IBAN"])


def test_an_account_with_an_iban_is_paid_at_once(platform: Platform) -> None:
    body = {"AuthorId": platform.user, "DebitedFunds": EUR, "DebitedWalletId": platform.wallet}
    iban = {**body, "BankAccountId": platform.bank_account()["Id"]}
    assert read(platform.call("POST", "payouts/reachability", iban))["InstantPayout"]["IsReachable"] is True
    path = f"users/{platform.user}/bankaccounts/other"
    other = platform.create(path, {"OwnerName": "V", "OwnerAddress": {}, "AccountNumber": "1"})["Id"]
    told = read(platform.call("POST", "payouts/reachability", {**body, "BankAccountId": other}))["InstantPayout"]
    assert (told["IsReachable"], told["UnreachableReason"]["Code"]) == (False, "121999")
    assert platform.call("POST", "payouts/reachability", {**iban, "AuthorId": None}).status == 400


def test_a_report_is_ready_when_it_is_read_and_has_what_was_asked_for(platform: Platform) -> None:
    pay_in = platform.pay_in("direct")
    columns = ["Id", "DebitedFundsAmount", "DebitedFundsCurrency", "Nonsense"]
    made = platform.create("reports/transactions", {"Columns": columns})
    assert made["Status"] == "PENDING"
    assert read(platform.call("GET", f"reports/{made['Id']}"))["Status"] == "READY_FOR_DOWNLOAD"
    rows = list(csv.reader(io.StringIO(platform.visit(made["DownloadURL"]).body.decode())))
    assert rows == [columns, [pay_in["Id"], "1000", "EUR", ""]]
    assert platform.visit(made["DownloadURL"].replace("report_m_", "no")).status == 404


@pytest.mark.parametrize("path", ["reports", "reporting/reports"])
def test_a_report_that_was_made_before_it_is_read_stays_so(platform: Platform, path: str) -> None:
    body = {"ReportType": "ECHO_INTENT", "AfterDate": 1, "BeforeDate": 2}
    made = platform.create("reports/wallets" if path == "reports" else path, body)["Id"]
    settled = platform.settle(made, "generate")
    assert read(platform.call("GET", f"{path}/{made}")) == settled


def test_a_report_of_the_second_generation_names_its_columns(platform: Platform) -> None:
    body = {"ReportType": "ECHO_INTENT", "AfterDate": 1, "BeforeDate": 2, "Columns": ["Id", "Amount"]}
    made = platform.create("reporting/reports", body)
    assert made["Columns"] == [{"Name": "Id", "IsDefault": True}, {"Name": "Amount", "IsDefault": False}]
    assert read(platform.call("GET", f"reporting/reports/{made['Id']}"))["Status"] == "GENERATED"
    intent = platform.captured["Id"]
    assert platform.visit(made["DownloadURL"]).body == f"Id,Amount\r\n{intent},1000\r\n".encode()
