"""Cards: tokenization, validation, reservations, what is repeated, and the payer's page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from sidecar.emulator import tokenization
from tests.support.clock import FakeClock
from tests.support.emulator import EUR, NO_FEES, Platform, header, read

if TYPE_CHECKING:
    from collections.abc import Mapping

CARD: Final = {"cardNumber": "4970107111111119", "cardExpirationDate": "1229", "cardCvx": "123"}
NOVEMBER_2023: Final = 1_700_000_000.0


@pytest.fixture
def platform() -> Platform:
    return Platform(FakeClock())


def registration(platform: Platform) -> dict[str, Any]:
    return platform.create("cardregistrations", {"UserId": platform.user, "Currency": "EUR"})


def keys(registered: Mapping[str, Any]) -> dict[str, str]:
    return {"data": registered["PreregistrationData"], "accessKeyRef": registered["AccessKey"]}


def send_card(platform: Platform, registered: Mapping[str, Any], **fields: str) -> str:
    form = {**keys(registered), **CARD, **fields}
    return platform.visit(registered["CardRegistrationURL"], form).body.decode()


def complete(platform: Platform, registered: Mapping[str, Any], data: str) -> dict[str, Any]:
    done: dict[str, Any] = read(
        platform.call("PUT", f"cardregistrations/{registered['Id']}", {"RegistrationData": data})
    )
    return done


def with_card(platform: Platform, **fields: Any) -> dict[str, Any]:
    body = {"AuthorId": platform.user, "CardId": platform.new_card, "SecureModeReturnURL": "http://app.test/back?a=1"}
    return {**body, "DebitedFunds": EUR, **fields}


# --- tokenization ----------------------------------------------------------------------------------------------------


def test_a_card_goes_to_the_page_and_its_data_to_mangopay(platform: Platform) -> None:
    registered = registration(platform)
    data = send_card(platform, registered)
    done = complete(platform, registered, data)
    card = read(platform.call("GET", f"cards/{done['CardId']}"))
    assert data.startswith("data=")
    assert CARD["cardNumber"] not in data
    assert (done["Status"], done["ResultCode"], done["RegistrationData"]) == ("VALIDATED", "000000", data)
    assert (card["Alias"], card["ExpirationDate"], card["Validity"]) == ("497010XXXXXX1119", "1229", "UNKNOWN")


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"cardNumber": "4970107111111118"}, "02625"),
        ({"cardNumber": "497010"}, "02625"),
        ({"cardNumber": "x"}, "02625"),
        ({"cardExpirationDate": "1329"}, "02626"),
        ({"cardExpirationDate": ""}, "02626"),
        ({"cardExpirationDate": "1023"}, "02624"),
        ({"cardCvx": "12"}, "02627"),
        ({"accessKeyRef": "wrong"}, "09101"),
        ({"data": "wrong"}, "09101"),
    ],
)
def test_a_card_that_is_none_is_told_by_a_code(platform: Platform, fields: dict[str, str], code: str) -> None:
    registered = registration(platform)
    data = send_card(platform, registered, **fields)
    done = complete(platform, registered, data)
    assert data == f"errorCode={code}"
    assert (done["Status"], done["ResultCode"], done["CardId"]) == ("ERROR", code, None)
    assert done["ResultMessage"] == tokenization.MESSAGES[code]


def test_a_card_is_good_until_the_end_of_its_month() -> None:
    assert tokenization.tokenize({**CARD, "cardExpirationDate": "1123"}, NOVEMBER_2023).startswith("data=")


def test_spaces_in_a_number_do_not_matter() -> None:
    spaced = {**CARD, "cardNumber": "4970 1071 1111 1119"}
    assert tokenization.tokenize(spaced, NOVEMBER_2023) == tokenization.tokenize(CARD, NOVEMBER_2023)


def test_a_browser_may_send_the_card_with_a_script_or_be_sent_back(platform: Platform) -> None:
    registered = registration(platform)
    url = registered["CardRegistrationURL"]
    shown = platform.visit(url)
    scripted = platform.visit(url, {**keys(registered), **CARD})
    sent_back = platform.visit(url, {**keys(registered), **CARD, "returnURL": "http://app.test/back"})
    assert (shown.status, b"<form" in shown.body, b"<script" in shown.body) == (200, True, False)
    assert header(scripted, "Access-Control-Allow-Origin") == ["*"]
    assert sent_back.status == 303
    assert header(sent_back, "Location") == [f"http://app.test/back?{scripted.body.decode()}"]


def test_a_registration_that_is_not_there_has_no_page(platform: Platform) -> None:
    url = registration(platform)["CardRegistrationURL"]
    assert platform.visit(f"{url}0").status == 404
    assert platform.visit(f"{url}0", CARD).body == b"errorCode=09101"


# --- cards -----------------------------------------------------------------------------------------------------------


def test_cards_with_one_number_have_one_fingerprint(platform: Platform) -> None:
    ids = []
    for number in (CARD["cardNumber"], CARD["cardNumber"], "4111111111111111"):
        registered = registration(platform)
        ids.append(complete(platform, registered, send_card(platform, registered, cardNumber=number))["CardId"])
    fingerprint = read(platform.call("GET", f"cards/{ids[0]}"))["Fingerprint"]
    paid = platform.pay_in("direct", CardId=ids[1])["Id"]
    platform.pay_in("direct", CardId=ids[2])
    assert platform.list(f"cards/fingerprints/{fingerprint}") == ids[:2]
    assert platform.list(f"cards/fingerprints/{fingerprint}/transactions") == [paid]
    assert platform.list("cards/fingerprints/unknown") == []


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"Type": "BIN", "Bin": "497010"}, 200),
        ({"Type": "GOOGLE_PAY", "Token": "t"}, 200),
        ({"Type": "BIN"}, 400),
        ({"Type": "FAX"}, 400),
    ],
)
def test_metadata_tell_what_a_number_begins_with(platform: Platform, body: dict[str, str], status: int) -> None:
    response = platform.call("POST", "payment-methods/metadata", body)
    assert response.status == status
    if status == 200:
        assert (read(response)["IssuerCountryCode"], read(response)["BinData"][0]["CardType"]) == ("FR", "DEBIT")


def test_a_web_pay_in_shows_its_card(platform: Platform) -> None:
    paid = platform.pay_in()["Id"]
    path = f"payins/card/web/{paid}/extended"
    before = read(platform.call("GET", path))
    platform.settle(paid, "pay")
    shown = read(platform.call("GET", path))
    assert (shown["Id"], shown["PaymentType"], shown["Alias"]) == (paid, "CARD", tokenization.TEST_CARD.alias)
    assert (before["Id"], before["Alias"], before.keys()) == (paid, None, shown.keys())
    assert platform.call("GET", "payins/card/web/1000000/extended").status == 404


# --- reservations ----------------------------------------------------------------------------------------------------


def capture(platform: Platform, reserved: str, amount: int, path: str = "preauthorized/direct") -> Any:
    field = "PreauthorizationId" if path.startswith("pre") else "DepositId"
    funds = {"DebitedFunds": {"Currency": "EUR", "Amount": amount}, "Fees": NO_FEES}
    body = {"AuthorId": platform.user, "CreditedWalletId": platform.wallet, field: reserved, **funds}
    return platform.call("POST", f"payins/{path}", body)


def test_a_preauthorization_is_taken_once(platform: Platform) -> None:
    reserved = platform.create("preauthorizations/card/direct", with_card(platform))["Id"]
    taken = read(capture(platform, reserved, 700))
    seen = read(platform.call("GET", f"preauthorizations/{reserved}"))
    assert (seen["PaymentStatus"], seen["PayInId"]) == ("VALIDATED", taken["Id"])
    assert platform.balance(platform.wallet) == 700
    assert capture(platform, reserved, 100).status == 400
    assert platform.balance(platform.wallet) == 700


def test_with_multi_capture_it_is_taken_part_by_part(platform: Platform) -> None:
    reserved = platform.create("preauthorizations/card/direct", with_card(platform, MultiCapture=True))["Id"]
    statuses, remaining = [], []
    for amount in (600, 500, 400, 1):
        statuses.append(capture(platform, reserved, amount).status)
        remaining.append(read(platform.call("GET", f"preauthorizations/{reserved}"))["RemainingFunds"]["Amount"])
    assert (statuses, remaining) == ([200, 400, 200, 400], [400, 400, 0, 0])


@pytest.mark.parametrize("path", ["preauthorizations", "deposit-preauthorizations"])
def test_a_reservation_is_cancelled_once_and_then_cannot_be_taken(platform: Platform, path: str) -> None:
    reserved = platform.create(f"{path}/card/direct", with_card(platform))["Id"]
    changes = [
        platform.call("PUT", f"{path}/{reserved}", {"PaymentStatus": status})
        for status in ("VALIDATED", "CANCELED", "CANCELED", "WAITING")
    ]
    assert [response.status for response in changes] == [400, 200, 200, 400]
    taken = "preauthorized/direct" if path == "preauthorizations" else "deposit-preauthorized/direct/full-capture"
    assert capture(platform, reserved, 1, taken).status == 400
    assert platform.events()[-1]["EventType"].endswith("PREAUTHORIZATION_PAYMENT_CANCELED")


@pytest.mark.parametrize("path", ["preauthorizations", "deposit-preauthorizations"])
def test_a_reservation_expires(platform: Platform, path: str) -> None:
    reserved = platform.create(f"{path}/card/direct", with_card(platform))["Id"]
    assert platform.settle(reserved, "expire")["PaymentStatus"] == "EXPIRED"


def test_a_deposit_is_captured_and_completed(platform: Platform) -> None:
    reserved = platform.create("deposit-preauthorizations/card/direct", with_card(platform))["Id"]
    early = capture(platform, reserved, 100, "deposit-preauthorized/direct/complement")
    first = read(capture(platform, reserved, 600, "deposit-preauthorized/direct/capture-with-complement"))
    waiting = read(platform.call("GET", f"deposit-preauthorizations/{reserved}"))
    second = read(capture(platform, reserved, 100, "deposit-preauthorized/direct/complement"))
    seen = read(platform.call("GET", f"deposit-preauthorizations/{reserved}"))
    assert (early.status, waiting["PaymentStatus"], seen["PaymentStatus"]) == (400, "TO_BE_COMPLETED", "VALIDATED")
    assert seen["PayinsLinked"] == {"PayinCaptureId": first["Id"], "PayinComplementId": second["Id"]}
    assert platform.balance(platform.wallet) == 700


def test_no_capture_takes_more_than_was_reserved(platform: Platform) -> None:
    reserved = platform.create("deposit-preauthorizations/card/direct", with_card(platform))["Id"]
    assert capture(platform, reserved, 1001, "deposit-preauthorized/direct/full-capture").status == 400
    assert platform.balance(platform.wallet) == 0


# --- what is repeated ------------------------------------------------------------------------------------------------


def test_a_recurring_pay_in_takes_the_first_amount_then_the_next(platform: Platform) -> None:
    five = {"Currency": "EUR", "Amount": 500}
    first = {"FirstTransactionDebitedFunds": EUR, "FirstTransactionFees": NO_FEES}
    later = {"NextTransactionDebitedFunds": five, "NextTransactionFees": NO_FEES}
    who = {"AuthorId": platform.user, "CreditedWalletId": platform.wallet, "CardId": platform.new_card}
    path = "recurringpayinregistrations"
    registered = platform.create(path, {**who, **first, **later})["Id"]
    body = {"RecurringPayinRegistrationId": registered}
    paid = [platform.create("payins/recurring/card/direct", body) for _ in range(2)]
    other = platform.create("payins/recurring/card/direct", {**body, "DebitedFunds": {"Currency": "EUR", "Amount": 7}})
    seen = read(platform.call("GET", f"{path}/{registered}"))
    assert [each["DebitedFunds"]["Amount"] for each in (*paid, other)] == [1000, 500, 7]
    assert (seen["Status"], seen["CurrentState"]["PayinsLinked"]) == ("IN_PROGRESS", 3)
    assert seen["CurrentState"]["CumulatedDebitedAmount"] == {"Currency": "EUR", "Amount": 1507}
    assert seen["CurrentState"]["LastPayinId"] == other["Id"]
    assert platform.balance(platform.wallet) == 1507
    statuses = [platform.call("PUT", f"{path}/{registered}", {"Status": to}).status for to in ("CREATED", "ENDED")]
    assert statuses == [400, 200]
    assert platform.call("PUT", f"{path}/{registered}", {"Tag": "t"}).status == 400
    assert platform.call("POST", "payins/recurring/card/direct", body).status == 400


def test_what_is_repeated_by_card_needs_one(platform: Platform) -> None:
    first = {"FirstTransactionDebitedFunds": EUR, "FirstTransactionFees": NO_FEES}
    body = {"AuthorId": platform.user, "CreditedWalletId": platform.wallet, **first}
    response = platform.call("POST", "recurringpayinregistrations", body)
    assert (response.status, list(read(response)["errors"])) == (400, ["CardId"])


# --- the payer's page ------------------------------------------------------------------------------------------------


def forced(platform: Platform, path: str) -> tuple[dict[str, Any], str]:
    """Return what waits for the payer, and where it is seen."""
    body = with_card(platform, SecureMode="FORCE", CreditedWalletId=platform.wallet, Fees=NO_FEES)
    if path == "validation":
        seen = f"cards/{body['CardId']}/validation"
        return platform.create(seen, body), seen
    return platform.create(f"{path}/card/direct", body), path


@pytest.mark.parametrize("path", ["payins", "preauthorizations", "deposit-preauthorizations", "validation"])
@pytest.mark.parametrize(("outcome", "status"), [("authenticate", "SUCCEEDED"), ("refuse", "FAILED")])
def test_a_payer_authenticates_or_refuses_to(platform: Platform, path: str, outcome: str, status: str) -> None:
    waiting, seen = forced(platform, path)
    url = waiting["SecureModeRedirectURL"]
    shown = platform.visit(url)
    back = platform.visit(url, {"outcome": outcome})
    decided = read(platform.call("GET", f"{seen}/{waiting['Id']}"))
    assert (waiting["Status"], waiting["SecureModeNeeded"], decided["Status"]) == ("CREATED", True, status)
    assert shown.body.count(b"<button") == 2
    assert back.status == 303
    assert header(back, "Location")[0].startswith("http://app.test/back?a=1&")
    assert header(back, "Location")[0].endswith(f"={waiting['Id']}")
    assert decided["ResultCode"] == ("000000" if status == "SUCCEEDED" else "101301")
    again = platform.visit(url, {"outcome": outcome})
    assert (again.status, platform.visit(url).body.count(b"<button")) == (409, 0)


@pytest.mark.parametrize(
    ("outcome", "status", "code", "balance"),
    [("pay", "SUCCEEDED", "000000", 900), ("fail", "FAILED", "101101", 0), ("cancel", "FAILED", "101002", 0)],
)
def test_a_payer_pays_or_not(platform: Platform, outcome: str, status: str, code: str, balance: int) -> None:
    waiting = platform.pay_in(ReturnURL="http://app.test/back")
    back = platform.visit(waiting["RedirectURL"], {"outcome": outcome})
    seen = read(platform.call("GET", f"payins/{waiting['Id']}"))
    assert header(back, "Location") == [f"http://app.test/back?transactionId={waiting['Id']}"]
    assert (seen["Status"], seen["ResultCode"], platform.balance(platform.wallet)) == (status, code, balance)


def test_without_a_way_back_the_page_says_what_was_done(platform: Platform) -> None:
    page = platform.visit(platform.pay_in()["RedirectURL"], {"outcome": "pay"})
    assert (page.status, b"Done" in page.body) == (200, True)


@pytest.mark.parametrize("outcome", ["confirm", "refuse"])
def test_a_mandate_is_signed_or_not(platform: Platform, outcome: str) -> None:
    mandate = platform.mandate()
    back = platform.visit(mandate["RedirectURL"], {"outcome": outcome})
    seen = read(platform.call("GET", f"mandates/{mandate['Id']}"))
    assert header(back, "Location") == [f"http://x?MandateId={mandate['Id']}"]
    assert seen["Status"] == ("SUBMITTED" if outcome == "confirm" else "FAILED")
    assert platform.visit(mandate["DocumentURL"]).status == 200
    assert platform.visit(mandate["DocumentURL"] + "0").status == 404


@pytest.mark.parametrize("outcome", ["", "send", "authenticate"])
def test_a_page_does_only_what_it_has_a_button_for(platform: Platform, outcome: str) -> None:
    waiting = platform.pay_in()
    assert platform.visit(waiting["RedirectURL"], {"outcome": outcome}).status == 400
    assert read(platform.call("GET", f"payins/{waiting['Id']}"))["Status"] == "CREATED"


def test_what_no_person_decides_on_has_no_page(platform: Platform) -> None:
    assert platform.visit(f"http://localhost/pages/acme/actions/{platform.user}").status == 404
    assert platform.visit("http://localhost/pages/acme/actions/nothing").status == 404
    assert platform.visit("http://localhost/pages/acme/actions/nothing", {"outcome": "pay"}).status == 404
    assert platform.visit("http://localhost/pages/nobody/actions/nothing").status == 404


def test_a_form_that_presses_no_button_is_told_which_there_are(platform: Platform) -> None:
    """As from a test that was written by hand."""
    answer = platform.visit(platform.pay_in()["RedirectURL"], {"button": "pay"})
    assert answer.status == 400
    assert b"outcome=pay, outcome=fail, outcome=cancel" in answer.body
