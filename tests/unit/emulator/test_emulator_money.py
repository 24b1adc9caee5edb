"""Pay-ins, transfers, payouts, refunds, and what they are made with."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.clock import FakeClock
from tests.support.emulator import NO_FEES, Platform, read


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def platform(clock: FakeClock) -> Platform:
    return Platform(clock)


# --- money ---


def test_a_web_pay_in_waits_for_the_payer(platform: Platform) -> None:
    pay_in = platform.pay_in(ReturnURL="http://x", CardType="CB_VISA_MASTERCARD", Culture="EN", Status="SUCCEEDED")
    assert (pay_in["Status"], pay_in["PaymentType"], pay_in["ExecutionType"]) == ("CREATED", "CARD", "WEB")
    assert pay_in["CreditedFunds"] == {"Currency": "EUR", "Amount": 900}
    assert pay_in["CreditedUserId"] == platform.user
    assert pay_in["RedirectURL"] == f"http://localhost/pages/acme/actions/{pay_in['Id']}"
    assert platform.balance(platform.wallet) == 0


def test_a_direct_pay_in_fills_the_wallet(platform: Platform) -> None:
    assert platform.pay_in("direct")["Status"] == "SUCCEEDED"
    assert platform.balance(platform.wallet) == 900


def test_a_wallet_that_was_placed_takes_part_in_money(platform: Platform) -> None:
    """Without owners nobody is credited, and its balance begins at 0."""
    placed = platform.control("POST", "place", {"client_id": "acme", "collection": "Wallet", "id": "w1"})
    assert read(placed)["Balance"] == {"Currency": "EUR", "Amount": 0}
    paid = platform.pay_in("direct", CreditedWalletId="w1")
    assert (paid["Status"], paid["CreditedUserId"]) == ("SUCCEEDED", None)
    assert read(platform.call("GET", "wallets/w1"))["Balance"] == {"Currency": "EUR", "Amount": 900}
    declared = {f"Declared{name}": {"Currency": "EUR", "Amount": 100} for name in ("DebitedFunds", "Fees")}
    wire = platform.create("payins/bankwire/direct", {"AuthorId": platform.user, "CreditedWalletId": "w1", **declared})
    assert wire["CreditedUserId"] is None
    assert platform.call("GET", f"users/{platform.user}/emoney/2026").status == 200


def test_a_transfer_moves_money(platform: Platform) -> None:
    platform.fund()
    assert platform.transfer()["Status"] == "SUCCEEDED"
    assert (platform.balance(platform.wallet), platform.balance(platform.other_wallet)) == (0, 1000)


def test_a_transfer_beyond_the_balance_fails(platform: Platform) -> None:
    transfer = platform.transfer()
    assert (transfer["Status"], transfer["ResultCode"], transfer["ExecutionDate"]) == ("FAILED", "001001", None)
    assert (platform.balance(platform.wallet), platform.balance(platform.other_wallet)) == (0, 0)
    assert [event["EventType"] for event in platform.events()] == ["TRANSFER_NORMAL_FAILED"]


def test_a_refund_of_a_transfer_moves_it_back(platform: Platform) -> None:
    platform.fund()
    transfer = platform.transfer()
    refund = platform.create(f"transfers/{transfer['Id']}/refunds", {"AuthorId": platform.user})
    assert (refund["InitialTransactionId"], refund["Type"], refund["Nature"]) == (transfer["Id"], "TRANSFER", "REFUND")
    assert (platform.balance(platform.wallet), platform.balance(platform.other_wallet)) == (1000, 0)
    assert platform.list(f"transfers/{transfer['Id']}/refunds") == [refund["Id"]]


def test_a_partial_refund_of_a_pay_in(platform: Platform) -> None:
    pay_in = platform.pay_in("direct")
    part = {"DebitedFunds": {"Currency": "EUR", "Amount": 300}, "Fees": NO_FEES}
    refund = platform.create(f"payins/{pay_in['Id']}/refunds", {"AuthorId": platform.user, **part})
    assert (refund["CreditedFunds"]["Amount"], refund["Status"], refund["Type"]) == (300, "SUCCEEDED", "PAYOUT")
    assert platform.balance(platform.wallet) == 600
    assert read(platform.call("GET", f"refunds/{refund['Id']}")) == refund


def refund(platform: Platform, of: str, **fields: Any) -> dict[str, Any]:
    made: dict[str, Any] = platform.create(f"{of}/refunds", {"AuthorId": platform.user, **fields})
    return made


def kept(platform: Platform) -> int:
    """What the platform has of fees."""
    amount: int = read(platform.call("GET", "clients/wallets/FEES/EUR"))["Balance"]["Amount"]
    return amount


def euros(amount: int) -> dict[str, Any]:
    return {"Currency": "EUR", "Amount": amount}


def test_a_whole_refund_gives_the_fees_back_too(platform: Platform) -> None:
    """Of 10.00 paid, 1.00 went to the platform and 9.00 into the wallet."""
    fees = kept(platform)
    pay_in = platform.paid_in
    assert kept(platform) == fees + 100
    made = refund(platform, f"payins/{pay_in}")
    amounts = [made[field]["Amount"] for field in ("DebitedFunds", "Fees", "CreditedFunds")]
    assert amounts == [900, -100, 1000]
    assert (platform.balance(platform.wallet), kept(platform)) == (0, fees)


def test_a_part_leaves_the_fees_unless_they_are_given(platform: Platform) -> None:
    pay_in = platform.paid_in
    part = refund(platform, f"payins/{pay_in}", DebitedFunds=euros(300))
    rest = refund(platform, f"payins/{pay_in}", DebitedFunds=euros(600), Fees=euros(-100))
    assert [made["CreditedFunds"]["Amount"] for made in (part, rest)] == [300, 700]
    assert [made["Status"] for made in (part, rest)] == ["SUCCEEDED", "SUCCEEDED"]
    assert platform.balance(platform.wallet) == 0


@pytest.mark.parametrize(
    ("before", "fields", "code"),
    [
        ([{}], {}, "001401"),
        ([], {"DebitedFunds": euros(1001)}, "005403"),
        ([{"DebitedFunds": euros(500)}], {"DebitedFunds": euros(501)}, "005403"),
        ([], {"DebitedFunds": euros(100), "Fees": euros(-101)}, "005404"),
        ([{"DebitedFunds": euros(1), "Fees": euros(-60)}], {"DebitedFunds": euros(1), "Fees": euros(-41)}, "005404"),
        ([], {"DebitedFunds": euros(901)}, "001001"),
    ],
)
def test_no_more_is_refunded_than_was_paid_and_is_there(
    platform: Platform, before: list[dict[str, Any]], fields: dict[str, Any], code: str
) -> None:
    pay_in = platform.paid_in
    for each in before:
        assert refund(platform, f"payins/{pay_in}", **each)["Status"] == "SUCCEEDED"
    balance = platform.balance(platform.wallet)
    failed = refund(platform, f"payins/{pay_in}", **fields)
    assert (failed["Status"], failed["ResultCode"], failed["ExecutionDate"]) == ("FAILED", code, None)
    assert platform.balance(platform.wallet) == balance
    assert platform.events()[-1]["EventType"] == "PAYIN_REFUND_FAILED"


def test_what_was_not_paid_cannot_be_refunded(platform: Platform) -> None:
    failed = refund(platform, f"payins/{platform.pay_in()['Id']}")
    assert (failed["Status"], failed["ResultCode"]) == ("FAILED", "001404")
    failed = refund(platform, f"transfers/{platform.transfer()['Id']}")
    assert (failed["Status"], failed["ResultCode"]) == ("FAILED", "001404")
    assert platform.events()[-1]["EventType"] == "TRANSFER_REFUND_FAILED"


@pytest.mark.parametrize("fees", [{"Currency": "EUR"}, {"Currency": "EUR", "Amount": "1"}, {"Amount": -1}, 5])
def test_fees_that_are_no_money_are_refused(platform: Platform, fees: object) -> None:
    response = platform.call("POST", f"payins/{platform.paid_in}/refunds", {"AuthorId": platform.user, "Fees": fees})
    assert (response.status, list(read(response)["errors"])) == (400, ["Fees"])


def test_a_payout_takes_the_money_and_waits_for_the_bank(platform: Platform) -> None:
    platform.fund()
    pay_out = platform.pay_out()
    assert (pay_out["Status"], platform.balance(platform.wallet)) == ("CREATED", 0)
    for path in ("payouts/bankwire/", "payouts/"):
        assert read(platform.call("GET", path + pay_out["Id"])) == pay_out


@pytest.mark.parametrize(
    ("transition", "status", "balance"),
    [("send", "SUCCEEDED", 4000), ("refuse", "FAILED", 5000), ("fail", "FAILED", 5000)],
)
def test_a_payout_s_money_is_gone_or_back_in_the_wallet(
    platform: Platform, transition: str, status: str, balance: int
) -> None:
    for _ in range(5):
        platform.fund()
    pay_out = platform.pay_out()["Id"]
    settled = platform.settle(pay_out, transition)
    assert (settled["Status"], platform.balance(platform.wallet)) == (status, balance)
    assert read(platform.call("GET", f"payouts/{pay_out}")) == settled
    assert platform.events()[-1] == {
        "ResourceId": pay_out,
        "EventType": f"PAYOUT_NORMAL_{status}",
        "Date": 1_700_000_000,
    }


def test_a_payout_beyond_the_balance_fails_when_it_is_looked_at(platform: Platform) -> None:
    pay_out = platform.pay_out()
    seen = read(platform.call("GET", f"payouts/{pay_out['Id']}"))
    assert (pay_out["Status"], seen["Status"], seen["ResultCode"]) == ("CREATED", "FAILED", "002998")
    assert read(platform.call("GET", f"payouts/{pay_out['Id']}")) == seen
    assert platform.balance(platform.wallet) == 0


@pytest.mark.parametrize("transition", ["send", "refuse", "fail"])
def test_a_payout_that_was_not_covered_fails_and_moves_nothing(platform: Platform, transition: str) -> None:
    pay_out = platform.pay_out()["Id"]
    settled = platform.settle(pay_out, transition)
    assert (settled["Status"], settled["ExecutionDate"], platform.balance(platform.wallet)) == ("FAILED", None, 0)
    assert platform.events()[-1]["EventType"] == "PAYOUT_NORMAL_FAILED"
    assert read(platform.call("GET", f"payouts/{pay_out}")) == settled


def test_a_payout_that_was_not_covered_is_sent_once_the_wallet_has_enough(platform: Platform) -> None:
    pay_out = platform.pay_out()["Id"]
    for _ in range(2):
        platform.fund()
    settled = platform.settle(pay_out, "send")
    assert (settled["Status"], platform.balance(platform.wallet)) == ("SUCCEEDED", 1000)
    assert read(platform.call("GET", f"payouts/{pay_out}")) == settled


def test_the_fees_of_a_payout_are_the_platform_s_once_it_is_sent(platform: Platform) -> None:
    platform.fund()
    fees = kept(platform)
    pay_out = platform.pay_out(Fees=euros(100))["Id"]
    assert kept(platform) == fees
    platform.settle(pay_out, "send")
    assert (platform.balance(platform.wallet), kept(platform)) == (0, fees + 100)


@pytest.mark.parametrize(("transition", "status", "balance"), [("pay", "SUCCEEDED", 900), ("fail", "FAILED", 0)])
def test_a_web_pay_in_is_paid_or_not(platform: Platform, transition: str, status: str, balance: int) -> None:
    settled = platform.settle(platform.pay_in()["Id"], transition)
    assert (settled["Status"], platform.balance(platform.wallet)) == (status, balance)
    assert platform.events()[-1]["EventType"] == f"PAYIN_NORMAL_{status}"


def test_a_pay_in_takes_from_no_wallet_and_a_payout_fills_none(platform: Platform) -> None:
    """Mangopay knows no such wallet of either."""
    assert platform.pay_in("direct", Fees=NO_FEES, DebitedWalletId=platform.wallet)["DebitedWalletId"] is None
    platform.settle(platform.pay_out(CreditedWalletId=platform.other_wallet)["Id"], "send")
    assert (platform.balance(platform.wallet), platform.balance(platform.other_wallet)) == (0, 0)


def test_transactions_are_listed_by_wallet_and_by_user(platform: Platform) -> None:
    pay_in, transfer = platform.pay_in()["Id"], platform.transfer()["Id"]
    assert platform.list(f"wallets/{platform.wallet}/transactions") == [pay_in, transfer]
    assert platform.list(f"wallets/{platform.other_wallet}/transactions") == [transfer]
    assert platform.list(f"users/{platform.user}/transactions?Type=TRANSFER") == [transfer]


# --- cards, bank accounts, mandates ---


def test_a_card_comes_of_a_registration(platform: Platform) -> None:
    registration = platform.create("cardregistrations", {"UserId": platform.user, "Currency": "EUR"})
    assert registration["Status"] == "CREATED"
    assert registration["CardRegistrationURL"] == f"http://localhost/pages/acme/cards/{registration['Id']}"
    path = f"cardregistrations/{registration['Id']}"
    done = read(platform.call("PUT", path, {"RegistrationData": "data=abc"}))
    assert done["Status"] == "VALIDATED"
    assert platform.list(f"users/{platform.user}/cards") == [done["CardId"]]
    assert platform.call("PUT", path, {"RegistrationData": "data=again"}).status == 200
    assert len(platform.list(f"users/{platform.user}/cards")) == 1
    assert read(platform.call("PUT", f"cards/{done['CardId']}", {"Active": False}))["Active"] is False


def test_a_registration_with_bad_data_fails(platform: Platform) -> None:
    registration = platform.create("cardregistrations", {"UserId": platform.user, "Currency": "EUR"})
    path = f"cardregistrations/{registration['Id']}"
    assert read(platform.call("PUT", path, {"RegistrationData": "errorCode=02625"}))["Status"] == "ERROR"


def test_a_bank_account_belongs_to_the_user_in_the_path(platform: Platform) -> None:
    account = platform.bank_account()
    assert (account["Type"], account["UserId"]) == ("IBAN", platform.user)
    assert platform.list(f"users/{platform.user}/bankaccounts") == [account["Id"]]
    assert platform.list(f"users/{platform.other}/bankaccounts") == []
    closed = read(platform.call("PUT", f"users/{platform.user}/bankaccounts/{account['Id']}", {"Active": False}))
    assert closed["Active"] is False


def test_a_mandate_can_be_listed_and_cancelled(platform: Platform) -> None:
    mandate = platform.mandate()
    account = mandate["BankAccountId"]
    assert (mandate["Status"], mandate["UserId"]) == ("CREATED", platform.user)
    for path in (
        "mandates",
        f"users/{platform.user}/mandates",
        f"users/{platform.user}/bankaccounts/{account}/mandates",
    ):
        assert platform.list(path) == [mandate["Id"]]
    refused = platform.call("PUT", f"mandates/{mandate['Id']}/cancel/")
    assert (refused.status, read(refused)["Type"]) == (400, "mandate_cannot_be_cancelled")
    platform.settle(mandate["Id"], "confirm")
    assert read(platform.call("PUT", f"mandates/{mandate['Id']}/cancel/"))["Status"] == "FAILED"


@pytest.mark.parametrize(("url", "separator"), [("http://x", "?"), ("http://x/?a=b", "&")])
def test_a_mandate_s_user_comes_back_with_its_id(platform: Platform, url: str, separator: str) -> None:
    mandate = platform.mandate(ReturnURL=url)
    assert mandate["ReturnURL"] == f"{url}{separator}MandateId={mandate['Id']}"


def test_a_card_that_was_paid_with_is_valid(platform: Platform) -> None:
    card = platform.card()
    before = read(platform.call("GET", f"cards/{card}"))["Validity"]
    platform.pay_in("direct", CardId=card)
    assert (before, read(platform.call("GET", f"cards/{card}"))["Validity"]) == ("UNKNOWN", "VALID")


def test_a_direct_pay_in_tells_of_the_card_and_the_checks(platform: Platform) -> None:
    given = {"BrowserInfo": {"Language": "FR"}, "IpAddress": "::1", "Billing": {"FirstName": "V"}}
    pay_in = platform.pay_in("direct", Requested3DSVersion="V2_1", **given)
    assert given.items() <= pay_in.items()
    assert (pay_in["SecurityInfo"], pay_in["Applied3DSVersion"]) == ({"AVSResult": "NO_CHECK"}, "V2_1")
    assert pay_in["CardInfo"]["BIN"] == "497010"


def test_an_ideal_pay_in_knows_the_bank(platform: Platform) -> None:
    pay_in = platform.pay_in(CardType="IDEAL", Bic="RABONL2U", Billing={"FirstName": "V"})
    assert (pay_in["BankName"], pay_in["Billing"]) == ("RABOBANK", {"FirstName": "V"})
    assert "BankName" not in platform.pay_in()


def test_an_account_is_ended_unless_told_otherwise(platform: Platform) -> None:
    path = f"users/{platform.user}/bankaccounts/{platform.bank_account()['Id']}"
    assert [read(platform.call("PUT", path, body))["Active"] for body in ({"Active": True}, {"Tag": "t"})] == [
        True,
        False,
    ]


def test_a_card_for_nobody_is_a_404(platform: Platform) -> None:
    response = platform.call("POST", "cardregistrations", {"UserId": "nobody", "Currency": "EUR"})
    assert (response.status, read(response)["Type"]) == (404, "ressource_not_found")
