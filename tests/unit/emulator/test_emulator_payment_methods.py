"""Local payment methods, bank wires and direct debits: who waits, where, and what the money does."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.clock import FakeClock
from tests.support.emulator import EUR, NO_FEES, Platform, read


@pytest.fixture
def platform() -> Platform:
    return Platform(FakeClock())


def pay(platform: Platform, path: str, **fields: Any) -> dict[str, Any]:
    amounts = {"AuthorId": platform.user, "CreditedWalletId": platform.wallet, "DebitedFunds": EUR, "Fees": NO_FEES}
    return platform.create(f"payins/{path}", {**amounts, **fields})


def test_a_payer_decides_at_the_page_of_a_local_method(platform: Platform) -> None:
    pay_in = pay(platform, "payment-methods/ideal", ReturnURL="http://x", Bic="INGBNL2A", Culture="nl")
    assert pay_in["BankName"] == "INGBNL2A"
    response = platform.visit(pay_in["RedirectURL"], {"outcome": "pay"})
    assert response.status == 303
    assert platform.balance(platform.wallet) == 1000


def test_where_the_payer_is_sent_is_not_for_the_caller_to_say(platform: Platform) -> None:
    by_phone = pay(platform, "payment-methods/bizum", Phone="+34700000000", RedirectURL="http://elsewhere")
    assert by_phone.get("RedirectURL") != "http://elsewhere"


def test_bizum_asks_at_the_phone_or_at_a_page(platform: Platform) -> None:
    by_phone = pay(platform, "payment-methods/bizum", Phone="+34700000000")
    assert by_phone.keys().isdisjoint({"ReturnURL", "RedirectURL"})
    at_page = pay(platform, "payment-methods/bizum", ReturnURL="http://x")
    assert at_page["RedirectURL"].endswith(at_page["Id"])
    assert at_page["Phone"] is None


def test_blik_with_a_code_needs_no_page(platform: Platform) -> None:
    assert pay(platform, "payment-methods/blik", ReturnURL="http://x", Code="777365")["RedirectURL"] is None
    assert pay(platform, "payment-methods/blik", ReturnURL="http://x")["RedirectURL"] is not None


def test_cultures_are_shown_in_capitals(platform: Platform) -> None:
    pay_in = pay(platform, "payment-methods/bancontact", ReturnURL="http://x", Culture="fr")
    assert pay_in["Culture"] == "FR"


def test_a_payconiq_payment_tells_until_when_it_can_be_paid(platform: Platform) -> None:
    pay_in = pay(platform, "payconiq/web", ReturnURL="http://x", Country="BE")
    assert pay_in["ExpirationDate"] == platform.state.clock.wall() + 1200
    assert pay_in["DeepLinkURL"] == pay_in["QRCodeURL"] == pay_in["RedirectURL"]


def test_a_parcel_is_tracked_on_a_pay_in_by_paypal(platform: Platform) -> None:
    pay_in = pay(platform, "payment-methods/paypal", ReturnURL="http://x", LineItems=[{"Name": "n"}])
    tracking = {"TrackingNumber": "1", "Carrier": "FEDEX"}
    response = platform.call("PUT", f"payins/{pay_in['Id']}/trackings", tracking)
    assert read(response)["Trackings"] == [{**tracking, "NotifyBuyer": False}]
    assert platform.call("PUT", f"payins/{pay_in['Id']}/trackings", {"Carrier": "FEDEX"}).status == 400
    other = pay(platform, "payment-methods/twint", ReturnURL="http://x")
    assert platform.call("PUT", f"payins/{other['Id']}/trackings", tracking).status == 400
    recurring = platform.create(
        "recurringpayinregistrations",
        {
            "AuthorId": platform.user,
            "CreditedWalletId": platform.wallet,
            "PaymentType": "PAYPAL",
            "FirstTransactionDebitedFunds": EUR,
            "FirstTransactionFees": NO_FEES,
        },
    )
    body = {"RecurringPayinRegistrationId": recurring["Id"], "ReturnURL": "http://x"}
    repeated = platform.create("payins/payment-methods/paypal/recurring", body)
    response = platform.call("PUT", f"payins/{repeated['Id']}/trackings", tracking)
    assert read(response)["Trackings"] == [{**tracking, "NotifyBuyer": False}]


def test_what_was_told_paypal_can_be_read(platform: Platform) -> None:
    path = "payins/payment-methods/paypal/data-collection"
    made = platform.create(path, {"sender_first_name": "Jane", "Id": "mine"})
    told = read(platform.call("GET", f"{path}/{made['dataCollectionId']}"))
    assert told == {**made, "DataCollectionId": made["dataCollectionId"], "sender_first_name": "Jane"}
    assert platform.call("GET", f"{path}/mine").status == 404


@pytest.mark.parametrize(
    ("query", "banks"),
    [
        ("", {"DE": 5, "ES": 3, "FR": 4}),
        ("?CountryCodes=DE", {"DE": 5}),
        ("?CountryCodes=DE,ES&per_page=2", {"DE": 2, "ES": 2}),
        ("?CountryCodes=DE&per_page=2&page=3", {"DE": 1}),
        ("?CountryCodes=XX", {}),
    ],
)
def test_banks_are_told_by_country_and_page(platform: Platform, query: str, banks: dict[str, int]) -> None:
    told = read(platform.call("GET", f"payment-methods/openbanking/metadata/supported-banks{query}"))
    assert {each["CountryCode"]: len(each["Banks"]) for each in told["SupportedBanks"]["Countries"]} == banks


def test_a_bank_wire_brings_what_was_declared(platform: Platform) -> None:
    declared = {"DeclaredDebitedFunds": EUR, "DeclaredFees": {"Currency": "EUR", "Amount": 100}}
    body = {"AuthorId": platform.user, "CreditedWalletId": platform.wallet, **declared}
    wire = platform.create("payins/bankwire/direct", body)
    assert wire["BankAccount"]["Type"] == "IBAN"
    assert wire["WireReference"]
    refunds = f"payins/{wire['Id']}/refunds"
    for fields in ({}, {"DebitedFunds": EUR, "Fees": {"Currency": "EUR", "Amount": -1}}):
        early = platform.create(refunds, {"AuthorId": platform.user, **fields})
        assert (early["Status"], early["ResultCode"]) == ("FAILED", "001404")
    received = platform.settle(wire["Id"], "pay")
    assert (received["Status"], received["CreditedFunds"]["Amount"]) == ("SUCCEEDED", 900)
    assert platform.balance(platform.wallet) == 900
    assert platform.create(refunds, {"AuthorId": platform.user})["CreditedFunds"] == EUR
    assert platform.balance(platform.wallet) == 0


def test_a_signed_mandate_can_be_charged(platform: Platform) -> None:
    mandate = platform.mandate()["Id"]
    assert pay(platform, "directdebit/direct", MandateId=mandate)["ChargeDate"] is None
    platform.settle(mandate, "confirm")
    debit = pay(platform, "directdebit/direct", MandateId=mandate)
    assert (debit["Status"], debit["ChargeDate"] > platform.state.clock.wall()) == ("CREATED", True)
    platform.settle(debit["Id"], "pay")
    assert platform.balance(platform.wallet) == 1000
    assert len(platform.list(f"mandates/{mandate}/transactions")) == 2
