"""The shop's own tests: what an app tests with the sidecar and the emulator, by the fixtures of its pytest plugin.

From a clone, in one command, without an account and without a network::

    uvx --from . --with pytest mangopay-sidecar wrap --emulator -- python -m pytest deploy/example-app

Without ``wrap`` the fixtures start an emulator and a sidecar themselves: ``python -m pytest`` alone does.
"""

import threading
import urllib.request
from collections.abc import Callable, Iterator

import pytest
from shop import Order, RefusedError, Server, Shop, mangopay

from sidecar.testing import MangopayEmulator, MangopaySidecar

IBAN = "FR7630004000031234567890143"


@pytest.fixture
def shop(mangopay_sidecar: MangopaySidecar) -> Iterator[Shop]:
    """The shop, open: it finds the sidecar by MANGOPAY_BASE_URL, which the fixture has set."""
    with Server(0) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.shop
        server.shutdown()
        thread.join()


@pytest.fixture
def buy(shop: Shop, mangopay_emulator: MangopayEmulator) -> Callable[[], Order]:
    """Have somebody buy something for 40 euros."""

    def buy() -> Order:
        seller, buyer = shop.new_seller("vera@example.com"), shop.new_buyer("ben@example.com")
        registration = shop.begin_card(buyer)
        card = shop.finish_card(registration["Id"], mangopay_emulator.tokenize_card(registration))
        return shop.buy(buyer, card, seller, 4_000)

    return buy


def balance(order: Order) -> int:
    """Return the cents in the seller's wallet; Mangopay shows it to a seller who has authenticated."""
    cents: int = mangopay("GET", f"wallets/{order.seller.wallet}")["Balance"]["Amount"]
    return cents


def test_an_order_is_paid_by_card_and_the_seller_is_paid_out(
    shop: Shop, buy: Callable[[], Order], mangopay_emulator: MangopayEmulator
) -> None:
    order = buy()
    assert order.status == "new"
    back = mangopay_emulator.press(order.authenticate_at, "authenticate")
    assert back == f"{shop.url}/back?transactionId={order.pay_in}"
    urllib.request.urlopen(back).close()
    mangopay_emulator.wait_for_delivery("PAYIN_NORMAL_SUCCEEDED", order.pay_in)
    assert order.status == "paid"

    mangopay_emulator.press(order.seller.authenticate_at, "authenticate")
    assert balance(order) == 3_600  # the shop keeps a tenth
    shop.pay_out(order, IBAN)
    mangopay_emulator.settle(order.payout, "send")
    mangopay_emulator.wait_for_delivery("PAYOUT_NORMAL_SUCCEEDED", order.payout)
    assert order.status == "settled"
    assert balance(order) == 0
    assert mangopay_emulator.ledger.executed_twice() == []


def test_a_buyer_who_does_not_authenticate_has_not_paid(
    buy: Callable[[], Order], mangopay_emulator: MangopayEmulator
) -> None:
    order = buy()
    mangopay_emulator.settle(order.pay_in, "refuse")  # as the page's button does
    mangopay_emulator.wait_for_delivery("PAYIN_NORMAL_FAILED", order.pay_in)
    assert order.status == "unpaid"


def test_a_card_that_is_none_is_refused(shop: Shop, mangopay_emulator: MangopayEmulator) -> None:
    registration = shop.begin_card(shop.new_buyer("ben@example.com"))
    data = mangopay_emulator.tokenize_card(registration, number="4970107111111110")
    with pytest.raises(RefusedError, match="02625"):
        shop.finish_card(registration["Id"], data)


def test_a_hook_that_gets_lost_is_not_missed(
    shop: Shop, buy: Callable[[], Order], mangopay_emulator: MangopayEmulator
) -> None:
    mangopay_emulator.fault("hook-lost event=PAYIN_NORMAL_SUCCEEDED")
    order = buy()
    mangopay_emulator.settle(order.pay_in, "authenticate")
    mangopay_emulator.wait_for_delivery("PAYIN_NORMAL_SUCCEEDED", outcome="lost")
    assert order.status == "new"
    shop.look(order)
    assert order.status == "paid"


@pytest.mark.parametrize(
    "fault",
    [
        "reset=after POST /v2.01/*/payouts times=1",  # it was executed, and nobody heard so
        "unauthorized POST /v2.01/*/payouts times=1",  # the token was revoked a moment ago
    ],
)
def test_a_payout_happens_once_whatever_breaks(
    fault: str, shop: Shop, buy: Callable[[], Order], mangopay_emulator: MangopayEmulator
) -> None:
    order = buy()
    mangopay_emulator.settle(order.pay_in, "authenticate")
    mangopay_emulator.fault(fault)
    shop.pay_out(order, IBAN)
    assert order.payout
    (payout,) = mangopay_emulator.ledger.find("POST", "/payouts/bankwire")
    assert payout.executions == 1
