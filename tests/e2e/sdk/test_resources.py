"""Cards and what else is emulated, by both official SDKs, each with what a person or a bank does in between."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from sidecar.testing import MangopayEmulator

if TYPE_CHECKING:
    from tests.e2e.sdk.app import SdkApp
    from tests.e2e.sdk.mangopay import Mangopay

pytestmark = pytest.mark.sdk


@pytest.fixture
def emulator(mangopay: Mangopay) -> MangopayEmulator:
    """What stands for persons, banks and Mangopay's own people."""
    return MangopayEmulator(mangopay.url)


@pytest.fixture
def user(app: SdkApp, emulator: MangopayEmulator) -> str:
    identifier = app.do("create_natural_user", email="zoe@example.org").id
    emulator.authenticate(identifier)
    return identifier


@pytest.fixture
def wallet(app: SdkApp, user: str) -> str:
    return app.do("create_wallet", owner=user, description="savings").id


@pytest.fixture
def card(app: SdkApp, user: str, emulator: MangopayEmulator) -> str:
    """A card of the user's, whose number went from the browser to Mangopay."""
    registration = app.do("register_card", user=user)
    data = emulator.tokenize_card(registration.value)
    finished = app.do("finish_card", registration=registration.id, data=data)
    assert finished.value["Status"] == "VALIDATED", finished
    card: str = reference(finished.value["CardId"])
    return card


def reference(value: Any) -> Any:
    """Return the Id that a field of one SDK holds, or the resource that another's does."""
    return value["Id"] if isinstance(value, dict) else value


def test_a_card_that_is_registered_is_charged_and_the_money_given_back(
    app: SdkApp, user: str, wallet: str, card: str
) -> None:
    read = app.do("read_card", card=card)
    assert (read.value["Alias"], read.value["ExpirationDate"]) == ("497010XXXXXX1119", "1249")
    paid = app.do("charge_card", user=user, wallet=wallet, card=card, amount=5_00, secure_mode="DEFAULT")
    assert (paid.value["Status"], paid.value["SecureModeRedirectURL"]) == ("SUCCEEDED", None)
    assert app.do("read_wallet", wallet=wallet).value["Balance"] == {"Amount": 5_00, "Currency": "EUR"}
    assert app.do("refund_pay_in", pay_in=paid.id, user=user).value["Status"] == "SUCCEEDED"
    assert app.do("read_wallet", wallet=wallet).value["Balance"]["Amount"] == 0


@pytest.mark.parametrize(("button", "status"), [("authenticate", "SUCCEEDED"), ("refuse", "FAILED")])
def test_a_payer_who_has_to_authenticate_goes_to_a_page_and_comes_back(
    button: str, status: str, app: SdkApp, emulator: MangopayEmulator, user: str, wallet: str, card: str
) -> None:
    paid = app.do("charge_card", user=user, wallet=wallet, card=card, amount=40_00, secure_mode="FORCE")
    assert paid.value["Status"] == "CREATED"
    back = emulator.press(paid.value["SecureModeRedirectURL"], button)
    assert back == f"https://shop.example.org/back?transactionId={paid.id}"
    assert app.do("read_pay_in", pay_in=paid.id).value["Status"] == status


def test_a_card_that_is_none_tells_why(app: SdkApp, emulator: MangopayEmulator, user: str) -> None:
    registration = app.do("register_card", user=user)
    data = emulator.tokenize_card(registration.value, expires="0120")
    finished = app.do("finish_card", registration=registration.id, data=data)
    assert (finished.value["Status"], finished.value["ResultCode"]) == ("ERROR", "02624")


def test_money_is_reserved_on_a_card_and_captured_later(
    app: SdkApp, emulator: MangopayEmulator, user: str, wallet: str, card: str
) -> None:
    reserved = app.do("preauthorize_card", user=user, card=card, amount=9_00)
    emulator.press(reserved.value["SecureModeRedirectURL"], "authenticate")
    waiting = app.do("read_preauthorization", preauthorization=reserved.id).value
    assert (waiting["Status"], waiting["PaymentStatus"]) == ("SUCCEEDED", "WAITING")
    captured = app.do("capture", user=user, wallet=wallet, preauthorization=reserved.id, amount=9_00)
    assert captured.value["Status"] == "SUCCEEDED"
    assert app.do("read_preauthorization", preauthorization=reserved.id).value["PaymentStatus"] == "VALIDATED"


def test_a_mandate_is_signed_and_debited(app: SdkApp, emulator: MangopayEmulator, user: str, wallet: str) -> None:
    account = app.do("add_bank_account", user=user).id
    mandate = app.do("create_mandate", bank_account=account)
    emulator.press(mandate.value["RedirectURL"], "confirm")
    assert app.do("read_mandate", mandate=mandate.id).value["Status"] == "SUBMITTED"
    paid = app.do("debit_directly", user=user, wallet=wallet, mandate=mandate.id, amount=3_00)
    emulator.settle(paid.id, "pay")
    assert app.do("read_pay_in", pay_in=paid.id).value["Status"] == "SUCCEEDED"


@pytest.mark.parametrize("way", ["pay_in_by_wire", "pay_in_by_ideal"])
def test_a_payment_that_is_made_elsewhere_arrives(
    way: str, app: SdkApp, emulator: MangopayEmulator, user: str, wallet: str
) -> None:
    paid = app.do(way, user=user, wallet=wallet, amount=7_00)
    assert paid.value["Status"] == "CREATED"
    emulator.settle(paid.id, "pay")
    assert app.do("read_pay_in", pay_in=paid.id).value["Status"] == "SUCCEEDED"
    assert app.do("read_wallet", wallet=wallet).value["Balance"]["Amount"] == 7_00


def test_a_deposit_is_held(app: SdkApp, user: str, card: str) -> None:
    held = app.do("reserve_deposit", user=user, card=card, amount=100_00)
    assert held.value["DebitedFunds"] == {"Amount": 100_00, "Currency": "EUR"}
    assert held.value["PaymentStatus"] == "WAITING"


def test_what_people_have_to_prove_is_asked_for(app: SdkApp, user: str) -> None:
    owners = app.do("declare_owners", user=app.do("create_legal_user", name="Fleurs").id)
    assert owners.value["Status"] == "CREATED", owners
    verification = app.do("verify_identity", user=user)
    assert verification.value["Status"] == "PENDING"
    assert "/pages/" in verification.value["HostedUrl"]


def test_a_dispute_of_a_payment_is_read(app: SdkApp, emulator: MangopayEmulator) -> None:
    for dispute in emulator.make_disputes()[:2]:
        read = app.do("read_dispute", dispute=dispute)
        assert (read.id, read.value["DisputedFunds"]["Currency"]) == (dispute, "EUR")


def test_the_platform_looks_after_its_own(app: SdkApp, wallet: str) -> None:
    report = app.do("create_report")
    assert "/pages/" in app.do("read_report", report=report.id).value["DownloadURL"]  # it is ready
    rate = app.do("read_rate", debited="EUR", credited="GBP")
    assert float(rate.value["ClientRate"]) > 0
    fees = app.do("read_client_wallet", funds="FEES", currency="EUR")
    assert fees.value["FundsType"] == "FEES"
    account = app.do("open_virtual_account", wallet=wallet)
    assert account.value["Status"] == "ACTIVE"


def test_an_owner_who_authenticates_becomes_active(app: SdkApp, emulator: MangopayEmulator) -> None:
    owner = app.do("create_owner", email="vera@example.org")
    assert app.do("read_owner", user=owner.id).value["UserStatus"] == "PENDING_USER_ACTION"
    emulator.authenticate(owner.id)
    assert app.do("read_owner", user=owner.id).value["UserStatus"] == "ACTIVE"


def test_a_card_is_validated_without_a_payment(app: SdkApp, emulator: MangopayEmulator, user: str, card: str) -> None:
    asked = app.do("validate_card", user=user, card=card)
    assert asked.value["Status"] == "CREATED", asked
    emulator.press(asked.value["SecureModeRedirectURL"], "authenticate")
    assert app.do("read_card", card=card).value["Validity"] == "VALID"


def test_a_card_is_charged_again_and_again(app: SdkApp, user: str, wallet: str, card: str) -> None:
    registration = app.do("register_recurring", user=user, wallet=wallet, card=card, amount=2_00)
    charged = app.do("charge_recurring", registration=registration.id, amount=2_00)
    assert app.do("read_pay_in", pay_in=charged.id).value["Status"] == "SUCCEEDED"


def test_a_recipient_waits_for_its_owner(app: SdkApp, emulator: MangopayEmulator, user: str) -> None:
    added = app.do("add_recipient", user=user)
    assert added.value["Status"] == "PENDING", added
    emulator.settle(added.id, "authenticate")
    assert app.do("read_recipient", recipient=added.id).value["Status"] == "ACTIVE"


def test_a_payment_of_another_provider_is_told(app: SdkApp, user: str, wallet: str) -> None:
    told = app.do("authorize_intent", user=user, wallet=wallet, amount=10_00)
    assert app.do("read_intent", intent=told.id).value["Status"] == "AUTHORIZED", told


def test_the_platform_reads_itself(app: SdkApp) -> None:
    assert app.do("read_platform").value["ClientId"] == "acme"
