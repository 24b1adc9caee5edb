"""Conversions, and the wallets of the platform itself."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.clock import FakeClock
from tests.support.emulator import EUR, Platform, read


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def platform(clock: FakeClock) -> Platform:
    return Platform(clock)


def balance(platform: Platform, wallet: str) -> int:
    amount: int = read(platform.call("GET", f"clients/wallets/{wallet}"))["Balance"]["Amount"]
    return amount


def test_fees_are_earned_before_and_after_the_wallet_was_looked_at(platform: Platform) -> None:
    platform.pay_in("direct")
    assert balance(platform, "fees/eur") == 1_000_100
    platform.pay_in("direct")
    assert balance(platform, "FEES/EUR") == 1_000_200
    assert len(platform.list("clients/wallets/FEES/EUR/transactions")) == 3
    assert len(platform.list("clients/wallets/CREDIT/EUR/transactions")) == 1


def test_wallets_are_listed_by_what_they_are_for(platform: Platform) -> None:
    assert platform.list("clients/wallets/credit") == ["CREDIT_EUR", "CREDIT_GBP", "CREDIT_USD"]
    assert len(platform.list("clients/wallets")) == 6
    assert platform.call("GET", "clients/wallets/CREDIT/XXX").status == 404
    assert platform.call("GET", "clients/transactions").status == 501


def test_the_platform_is_paid_and_pays_out(platform: Platform) -> None:
    wire = platform.create(
        "clients/payins/bankwire/direct", {"CreditedWalletId": "CREDIT_EUR", "DeclaredDebitedFunds": EUR}
    )
    platform.settle(wire["Id"], "pay")
    assert balance(platform, "CREDIT/EUR") == 1_001_000
    account = platform.bank_account()["Id"]
    body = {"DebitedWalletId": "CREDIT_EUR", "DebitedFunds": EUR, "BankAccountId": account}
    payout = platform.create("clients/payouts", body)
    assert balance(platform, "CREDIT/EUR") == 1_000_000
    assert platform.settle(payout["Id"], "send")["Status"] == "SUCCEEDED"


def instant(platform: Platform, **fields: Any) -> dict[str, Any]:
    wallets = {"AuthorId": platform.user, "DebitedWalletId": platform.wallet, "CreditedWalletId": platform.pounds}
    sides = {"DebitedFunds": EUR, "CreditedFunds": {"Currency": "GBP"}}
    return platform.create("conversions/instant-conversion", {**wallets, **sides, **fields})


def test_a_conversion_moves_money_between_currencies(platform: Platform) -> None:
    assert instant(platform)["ResultCode"] == "001001"
    platform.fund()
    fees = {"Currency": "EUR", "Amount": 100}
    converted = instant(platform, Fees=fees)
    assert (converted["Status"], converted["CreditedFunds"]) == ("SUCCEEDED", {"Currency": "GBP", "Amount": 761})
    assert platform.balance(converted["CreditedWalletId"]) == 761
    assert platform.balance(platform.wallet) == 0
    assert [event["EventType"] for event in platform.events() if "CONVERSION" in event["EventType"]] == [
        "INSTANT_CONVERSION_FAILED",
        "INSTANT_CONVERSION_SUCCEEDED",
    ]


def test_the_side_without_an_amount_is_worked_out(platform: Platform) -> None:
    credited = {"Currency": "GBP", "Amount": 846}
    quote = platform.create("conversions/quote", {"DebitedFunds": {"Currency": "EUR"}, "CreditedFunds": credited})
    assert quote["DebitedFunds"] == EUR
    sides = {"DebitedFunds": {"Currency": "EUR"}, "CreditedFunds": {"Currency": "GBP"}}
    assert platform.call("POST", "conversions/quote", sides).status == 400
    for wrong in ({"Currency": "XXX", "Amount": 1}, {"Currency": "EUR", "Amount": -1}, 5):
        assert platform.call("POST", "conversions/quote", {**sides, "DebitedFunds": wrong}).status == 400


@pytest.mark.parametrize(
    ("fees", "taken"),
    [
        ({"Currency": "EUR", "Type": "PERCENTAGE", "Value": 10}, 100),
        ({"Currency": "EUR", "Type": "FIXED", "Value": 25}, 25),
        ({"Currency": "EUR", "Amount": 25}, 25),
    ],
)
def test_fees_are_a_share_or_an_amount(platform: Platform, fees: dict[str, Any], taken: int) -> None:
    body = {"DebitedFunds": EUR, "CreditedFunds": {"Currency": "GBP"}, "Fees": fees}
    quote = platform.create("conversions/quote", body)
    assert quote["Fees"] == {"Currency": "EUR", "Amount": taken}
    assert quote["RequestedFees"] == fees
    wallets = {"AuthorId": platform.user, "DebitedWalletId": platform.wallet, "CreditedWalletId": platform.pounds}
    platform.fund()
    before = balance(platform, "fees/eur")
    made = platform.create("conversions/quoted-conversion", {**wallets, "QuoteId": quote["Id"]})
    assert [made[field] for field in ("Status", "Fees", "RequestedFees")] == ["SUCCEEDED", quote["Fees"], fees]
    assert balance(platform, "fees/eur") == before + taken
    platform.fund()
    assert instant(platform, Fees=fees)["CreditedFunds"] == quote["CreditedFunds"]


def test_a_share_of_a_side_that_is_worked_out(platform: Platform) -> None:
    body = {"DebitedFunds": {"Currency": "EUR"}, "CreditedFunds": {"Currency": "GBP", "Amount": 761}}
    quote = platform.create("conversions/quote", {**body, "Fees": {"Type": "PERCENTAGE", "Value": 10}})
    assert (quote["DebitedFunds"], quote["Fees"]) == (EUR, {"Currency": "EUR", "Amount": 100})


@pytest.mark.parametrize(
    "fees",
    [
        *({"Currency": "EUR"}, {"Type": "PERCENTAGE"}, {"Type": "PERCENTAGE", "Value": 100}, 5),
        *({"Type": "SHARE", "Value": 1}, {"Type": "FIXED", "Value": -1}, {"Type": "FIXED", "Value": "1"}),
    ],
)
def test_fees_of_no_kind_are_refused(platform: Platform, fees: object) -> None:
    body = {"DebitedFunds": EUR, "CreditedFunds": {"Currency": "GBP"}, "Fees": fees}
    response = platform.call("POST", "conversions/quote", body)
    assert (response.status, list(read(response)["errors"])) == (400, ["Fees"])


def test_a_quote_expires(platform: Platform, clock: FakeClock) -> None:
    body = {"DebitedFunds": EUR, "CreditedFunds": {"Currency": "GBP"}, "Duration": 60}
    quote = platform.create("conversions/quote", body)["Id"]
    clock.step_wall(60)
    assert read(platform.call("GET", f"conversions/quote/{quote}"))["Status"] == "EXPIRED"
    wallets = {"DebitedWalletType": "CREDIT", "CreditedWalletType": "FEES"}
    assert platform.call("POST", "clients/conversions/quoted-conversion", {**wallets, "QuoteId": quote}).status == 400
    assert platform.call("POST", "conversions/quote", {**body, "Duration": "60"}).status == 400


def test_a_rate_is_told_in_both_directions(platform: Platform) -> None:
    there, back = (
        float(read(platform.call("GET", f"conversions/rate/{pair}"))["MarketRate"]) for pair in ("EUR/GBP", "gbp/eur")
    )
    assert there * back == pytest.approx(1, abs=1e-5)
    assert platform.call("GET", "conversions/rate/EUR/XXX").status == 400
