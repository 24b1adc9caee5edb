"""A small shop: buyers pay sellers by card, and sellers are paid out.

It calls Mangopay through the sidecar, which MANGOPAY_BASE_URL names; it knows neither key nor token. Nothing but
Python's library, and orders are kept in memory: an example of the calls and their order, not of a good shop.
test_shop.py has its tests.
"""

import http.client
import json
import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

#: "_" stands for the ClientId, which the sidecar knows.
API = "/v2.01/_"
#: Seconds: the sidecar answers within its own timeouts, a token call and a second try included.
PATIENCE = 90
#: The namespace of the shop's Idempotency-Keys.
KEYS = uuid.UUID("6d4a6a80-4a7c-4dc4-9a87-7a3e5f1c2b10")
ADDRESS = {"AddressLine1": "1 rue des Fleurs", "City": "Paris", "PostalCode": "75001", "Country": "FR"}


class RefusedError(Exception):
    """Mangopay, or the sidecar, refused a call: ``report`` is its error report."""

    def __init__(self, status: int, report: Any) -> None:
        """``status`` is HTTP's."""
        super().__init__(f"{status} {report}")
        self.status = status
        self.report = report


def mangopay(method: str, path: str, body: object = None, key: str | None = None) -> Any:
    """Call Mangopay; ``key`` is the intention's Idempotency-Key. Raises RefusedError, OSError or HTTPException."""
    headers = {"Content-Type": "application/json"}
    if key is not None:
        headers["Idempotency-Key"] = key
    connection = http.client.HTTPConnection(urlsplit(os.environ["MANGOPAY_BASE_URL"]).netloc, timeout=PATIENCE)
    try:
        connection.request(method, f"{API}/{path}", None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        told = json.loads(answer.read() or b"null")
    finally:
        connection.close()
    if answer.status >= 400:
        raise RefusedError(answer.status, told)
    return told


def key_of(intention: str) -> str:
    """Return the Idempotency-Key of an intention: the same each time, so that trying again never pays twice."""
    return str(uuid.uuid5(KEYS, intention))


def euros(cents: int) -> dict[str, object]:
    """Return an amount as Mangopay writes it."""
    return {"Amount": cents, "Currency": "EUR"}


@dataclass
class Seller:
    """Who is paid."""

    user: str
    wallet: str
    #: The page where the seller authenticates, before anything can be paid out.
    authenticate_at: str


@dataclass
class Order:
    """What is bought: ``status`` goes from ``new`` to ``paid`` or ``unpaid``, and from ``paid`` to ``settled``."""

    number: str
    buyer: str
    seller: Seller
    cents: int
    status: str = "new"
    pay_in: str = ""
    payout: str = ""
    #: The page where the buyer authenticates for this payment; empty: there is none.
    authenticate_at: str = ""


class Shop:
    """The shop, whose pages are at ``url``: Mangopay calls ``/hooks`` there, and sends payers back to ``/back``."""

    def __init__(self, url: str) -> None:
        """Have Mangopay tell what becomes of payments and payouts."""
        self.url = url
        self.orders: dict[str, Order] = {}
        for event in ("PAYIN_NORMAL_SUCCEEDED", "PAYIN_NORMAL_FAILED", "PAYOUT_NORMAL_SUCCEEDED"):
            mangopay("POST", "hooks", {"EventType": event, "Url": f"{url}/hooks"})

    def new_seller(self, email: str) -> Seller:
        """Take on a seller, with a wallet; what is sold is paid into it."""
        person = {"FirstName": "Vera", "LastName": "Vendor", "Birthday": 300681000, "Nationality": "FR"}
        terms = {"UserCategory": "OWNER", "TermsAndConditionsAccepted": True, "CountryOfResidence": "FR"}
        user = mangopay("POST", "sca/users/natural", {**person, **terms, "Email": email, "Address": ADDRESS})
        wallet = mangopay("POST", "wallets", {"Owners": [user["Id"]], "Description": "Sales", "Currency": "EUR"})
        return Seller(user["Id"], wallet["Id"], user["PendingUserAction"]["RedirectUrl"])

    def new_buyer(self, email: str) -> str:
        """Take on a buyer; return the user's Id."""
        person = {"FirstName": "Ben", "LastName": "Buyer", "UserCategory": "PAYER", "TermsAndConditionsAccepted": True}
        user: dict[str, str] = mangopay("POST", "sca/users/natural", {**person, "Email": email, "Address": ADDRESS})
        return user["Id"]

    def begin_card(self, buyer: str) -> dict[str, str]:
        """Return what the buyer's browser needs to send a card to Mangopay, past the shop."""
        registration: dict[str, str] = mangopay("POST", "cardregistrations", {"UserId": buyer, "Currency": "EUR"})
        return registration

    def finish_card(self, registration: str, data: str) -> str:
        """Take what the browser got for the card; return the card's Id. Raises RefusedError for a card that is none."""
        done = mangopay("PUT", f"cardregistrations/{registration}", {"RegistrationData": data})
        if done["Status"] != "VALIDATED":
            raise RefusedError(400, {"Message": done["ResultMessage"], "Type": done["ResultCode"]})
        card: str = done["CardId"]
        return card

    def buy(self, buyer: str, card: str, seller: Seller, cents: int) -> Order:
        """Charge a card. Where the bank wants it, the buyer goes to ``authenticate_at``, and a hook tells the end."""
        order = Order(uuid.uuid4().hex, buyer, seller, cents)
        self.orders[order.number] = order
        payment = {
            "AuthorId": buyer,
            "CreditedWalletId": seller.wallet,
            "CardId": card,
            "DebitedFunds": euros(cents),
            "Fees": euros(cents // 10),
            "SecureMode": "FORCE",
            "SecureModeReturnURL": f"{self.url}/back",
        }
        paid = mangopay("POST", "payins/card/direct", payment, key_of(f"pay-in {order.number}"))
        order.pay_in, order.authenticate_at = paid["Id"], paid["SecureModeRedirectURL"] or ""
        self._take(order, paid["Status"])
        return order

    def look(self, order: Order) -> None:
        """Ask what became of a payment: hooks get lost."""
        self._take(order, mangopay("GET", f"payins/{order.pay_in}")["Status"])

    def pay_out(self, order: Order, iban: str) -> None:
        """Send what an order brought in to the seller's bank. Safe to try again."""
        seller = order.seller
        account = {"OwnerName": "Vera Vendor", "OwnerAddress": ADDRESS, "IBAN": iban}
        bank = mangopay("POST", f"users/{seller.user}/bankaccounts/iban", account, key_of(f"bank {order.number}"))
        payout = {
            "AuthorId": seller.user,
            "DebitedWalletId": seller.wallet,
            "DebitedFunds": euros(order.cents - order.cents // 10),
            "Fees": euros(0),
            "BankAccountId": bank["Id"],
        }
        order.payout = mangopay("POST", "payouts/bankwire", payout, key_of(f"payout {order.number}"))["Id"]

    def hear(self, event: Mapping[str, str]) -> None:
        """Take what a hook tells. Anybody can call one, twice too: so it is only a hint to look."""
        identifier = event.get("RessourceId", "")
        for order in self.orders.values():
            if order.pay_in == identifier:
                self.look(order)
            if order.payout == identifier and mangopay("GET", f"payouts/{identifier}")["Status"] == "SUCCEEDED":
                order.status = "settled"

    @staticmethod
    def _take(order: Order, status: str) -> None:
        if order.status == "new":
            order.status = {"SUCCEEDED": "paid", "FAILED": "unpaid"}.get(status, "new")


class Server(ThreadingHTTPServer):
    """The shop's pages, at a port of this machine (0: any free one)."""

    def __init__(self, port: int) -> None:
        """Listen. What listens can be called back, so the shop comes after."""
        super().__init__(("127.0.0.1", port), _Pages)
        self.shop = Shop(f"http://127.0.0.1:{self.server_port}")


class _Pages(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        """Answer a hook, or a payer who comes back."""
        parts = urlsplit(self.path)
        if parts.path == "/hooks":
            self.server.shop.hear({name: values[0] for name, values in parse_qs(parts.query).items()})
        self.send_response(200 if parts.path in {"/hooks", "/back"} else 404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


if __name__ == "__main__":
    with Server(int(os.environ.get("PORT", "3001"))) as server:
        print(f"shop at {server.shop.url}", flush=True)
        server.serve_forever()
