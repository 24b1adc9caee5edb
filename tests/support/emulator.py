"""An emulated Mangopay for a test: started on a free port, gone at the end, everything it knows at hand."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from sidecar.emulator.loopback import Trusted
from sidecar.emulator.messages import EmulatedResponse, Headers, Request, split_path
from sidecar.emulator.server import Emulator
from sidecar.emulator.settings import Credentials, Settings
from sidecar.runtime import SystemClock
from tests.support import canary
from tests.support.raw_client import RawClient, ReceivedResponse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping

    from sidecar.core.clock import Clock

#: Enough of a natural user to be accepted. A payer's wallet can be viewed without authentication.
NATURAL_USER: Final = {
    "FirstName": "Victor",
    "LastName": "Hugo",
    "Email": "victor@example.com",
    "UserCategory": "PAYER",
}
#: Ten euros.
EUR: Final = {"Currency": "EUR", "Amount": 1000}
NO_FEES: Final = {"Currency": "EUR", "Amount": 0}
ADDRESS: Final = {"AddressLine1": "1 rue", "City": "Paris", "PostalCode": "75001", "Country": "FR"}
LEGAL_USER: Final = {
    "Name": "ACME",
    "LegalPersonType": "BUSINESS",
    "LegalRepresentativeFirstName": "A",
    "LegalRepresentativeLastName": "B",
    "Email": "acme@example.com",
    "UserCategory": "PAYER",
}


def canary_token(size: int) -> str:
    """Return a token's value that no log, error or metric may ever show."""
    return canary.CANARY_TOKEN + secrets.token_hex(size)


def new_emulator(
    clock: Clock | None = None,
    *,
    credentials: Credentials | None = None,
    keep_received: int = 1000,
    trusted: Trusted | None = None,
    **settings: Any,
) -> Emulator:
    """Return an emulator that is not started. Its tokens are canaries; ``settings`` are those of Settings."""
    emulator = Emulator(
        clock or SystemClock(),
        settings=Settings(**settings),
        credentials=credentials,
        keep_received=keep_received,
        token_hex=canary_token,
    )
    emulator.trust(trusted or Trusted())
    return emulator


@asynccontextmanager
async def running_emulator(
    clock: Clock | None = None,
    *,
    port: int = 0,
    credentials: Credentials | None = None,
    keep_received: int = 1000,
    **settings: Any,
) -> AsyncIterator[Emulator]:
    """Run an emulator on 127.0.0.1; ``emulator.port`` is its port, ``emulator.url`` its base URL."""
    emulator = new_emulator(clock, credentials=credentials, keep_received=keep_received, **settings)
    await emulator.start("127.0.0.1", port)
    try:
        yield emulator
    finally:
        await emulator.stop()


def basic(client_id: str = "acme", api_key: str = "key") -> str:
    """Return Basic credentials (RFC 7617)."""
    return "Basic " + base64.b64encode(f"{client_id}:{api_key}".encode()).decode()


def issue_token(
    emulator: Emulator, client_id: str = "acme", *, embedded: bool = False, permissions: frozenset[str] | None = None
) -> str:
    """Return a token that was given out without a call of the token endpoint."""
    state = emulator.state
    expires_at = state.clock.now() + state.settings.expires_in
    return state.tokens.issue(client_id, embedded=embedded, expires_at=expires_at, permissions=permissions)


def request(method: str, target: str, headers: Iterable[tuple[str, str]] = (), body: bytes | None = None) -> bytes:
    """Return a request's bytes, with ``Host`` and, for a body, ``Content-Length``."""
    lines = [f"{method} {target} HTTP/1.1", "Host: localhost", *(f"{name}: {value}" for name, value in headers)]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


async def connect(emulator: Emulator) -> RawClient:
    """Return a connection to a running emulator: a context manager."""
    return await RawClient.connect(("127.0.0.1", emulator.port))


async def exchange(
    client: RawClient, method: str, target: str, headers: Iterable[tuple[str, str]] = (), body: bytes | None = None
) -> ReceivedResponse:
    """Send a request and receive its response."""
    await client.send(request(method, target, headers, body))
    return await client.response(head_only=method == "HEAD")


async def call(
    client: RawClient,
    emulator: Emulator,
    method: str,
    path: str,
    body: object = None,
    *,
    headers: tuple[tuple[str, str], ...] = (),
) -> ReceivedResponse:
    """Make an API call over a connection with a token of its own; ``body`` is sent as JSON."""
    authorization = ("Authorization", f"Bearer {issue_token(emulator)}")
    data = None if body is None else json.dumps(body).encode()
    return await exchange(client, method, path, (authorization, *headers), data)


class Direct:
    """Asks an emulator without a socket between: for tests of what it decides."""

    def __init__(self, clock: Clock, *, client_id: str = "acme", **settings: Any) -> None:
        self.emulator: Final = new_emulator(clock, **settings)
        self.state: Final = self.emulator.state
        self.client_id = client_id
        self.token: str | None = issue_token(self.emulator, client_id)

    def call(
        self, method: str, path: str, body: object = None, *, key: str | None = None, headers: Headers = ()
    ) -> EmulatedResponse:
        """Return the response to a call; ``path`` follows the ClientId unless it starts with a slash."""
        if self.token is not None:
            headers = (*headers, (b"Authorization", b"Bearer " + self.token.encode()))
        if key is not None:
            headers = (*headers, (b"Idempotency-Key", key.encode()))
        target = path if path.startswith("/") else f"/v2.01/{self.client_id}/{path}"
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.send(method, target, headers, data)

    def send(self, method: str, target: str, headers: Headers = (), body: bytes = b"") -> EmulatedResponse:
        """Return the response to a request as it is."""
        path, _, query = target.partition("?")
        arrived = self.state.clock.now()
        request = Request(method, target, split_path(path), query, headers, body, arrived)
        api = self.emulator.api
        return api.response(request, api.deliver(request))

    def visit(self, url: str, form: Mapping[str, str] | None = None) -> EmulatedResponse:
        """Open a page as a browser does, without a token; with ``form`` press its button."""
        target = "/" + url.partition("://")[2].partition("/")[2]
        method, body = ("GET", b"") if form is None else ("POST", urlencode(form).encode())
        return self.send(method, target, ((b"Host", b"localhost"),), body)

    def control(self, method: str, route: str, body: object = None) -> EmulatedResponse:
        """Return the response of a control route."""
        path = f"/__emulator__/{route}"
        data = b"" if body is None else json.dumps(body).encode()
        request = Request(method, path, split_path(path), "", ((b"Host", b"localhost"),), data, 0.0)
        return self.emulator.control.response(request, "127.0.0.1")

    def create(self, path: str, body: object) -> dict[str, Any]:
        """Create a resource that must be accepted, and return it."""
        response = self.call("POST", path, body)
        assert response.status == 200, response.body
        resource: dict[str, Any] = read(response)
        return resource


class Platform(Direct):
    """A platform with two users and a wallet each, to hang further resources on."""

    def __init__(self, clock: Clock, *, trusted: Trusted | None = None) -> None:
        super().__init__(clock, trusted=trusted)
        self.user = self.create("users/natural", NATURAL_USER)["Id"]
        self.other = self.create("users/legal", LEGAL_USER)["Id"]
        self.wallet = self.new_wallet(self.user)
        self.other_wallet = self.new_wallet(self.other)

    def new_wallet(self, owner: str) -> str:
        identifier: str = self.create("wallets", {"Owners": [owner], "Description": "w", "Currency": "EUR"})["Id"]
        return identifier

    def pay_in(self, how: str = "web", **fields: Any) -> dict[str, Any]:
        amounts = {"DebitedFunds": EUR, "Fees": {"Currency": "EUR", "Amount": 100}}
        return self.create(
            f"payins/card/{how}", {"AuthorId": self.user, "CreditedWalletId": self.wallet, **amounts, **fields}
        )

    def transfer(self) -> dict[str, Any]:
        wallets = {"DebitedWalletId": self.wallet, "CreditedWalletId": self.other_wallet}
        return self.create("transfers", {"AuthorId": self.user, "DebitedFunds": EUR, "Fees": NO_FEES, **wallets})

    def bank_account(self) -> dict[str, Any]:
        return self.create(
            f"users/{self.user}/bankaccounts/iban", {"OwnerName": "V", "OwnerAddress": ADDRESS, "IBAN": "FR76"}
        )

    def pay_out(self, **fields: Any) -> dict[str, Any]:
        return self.create(
            "payouts/bankwire/",
            {
                "AuthorId": self.user,
                "DebitedWalletId": self.wallet,
                "DebitedFunds": EUR,
                "Fees": NO_FEES,
                "BankAccountId": self.bank_account()["Id"],
                **fields,
            },
        )

    def mandate(self, **fields: Any) -> dict[str, Any]:
        account = self.bank_account()["Id"]
        return self.create(
            "mandates/directdebit/web/", {"BankAccountId": account, "Culture": "EN", "ReturnURL": "http://x", **fields}
        )

    def fund(self) -> None:
        """Let the user's wallet have ten euros."""
        self.pay_in("direct", Fees=NO_FEES)

    @property
    def funded(self) -> str:
        """The user's wallet, with ten euros more in it."""
        self.fund()
        return self.wallet

    @property
    def paid_in(self) -> str:
        """The Id of a new pay-in that succeeded."""
        identifier: str = self.pay_in("direct")["Id"]
        return identifier

    @property
    def dispute(self) -> str:
        """The Id of one more dispute that can be contested, over ten euros of a user of its own."""
        identifiers = read(self.control("POST", "disputes", {"client_id": self.client_id}))["ids"]
        identifier: str = identifiers[4]
        return identifier

    @property
    def repudiation(self) -> str:
        """The Id of the repudiation that one more dispute ended with."""
        identifier: str = read(self.call("PUT", f"disputes/{self.dispute}/close"))["RepudiationId"]
        return identifier

    @property
    def captured(self) -> dict[str, Any]:
        """One more intent of ten euros that is captured, with one line item of the user's wallet."""
        made = self.create(f"/V3.0/{self.client_id}/payins/intents", self.intent())
        captured: dict[str, Any] = self.create(f"/V3.0/{self.client_id}/payins/intents/{made['Id']}/captures", {})
        return captured

    def intent(self) -> dict[str, Any]:
        """Return a body that makes an intent."""
        seller = {"AuthorId": self.user, "WalletId": self.wallet}
        item = {"Seller": seller, "Sku": "1", "Quantity": 2, "UnitAmount": 500}
        return {"Amount": 1000, "Currency": "EUR", "ExternalData": {}, "LineItems": [item]}

    @property
    def declaration(self) -> str:
        """The Id of one more UBO declaration of the legal user."""
        identifier: str = self.create(f"users/{self.other}/kyc/ubodeclarations", {})["Id"]
        return identifier

    @property
    def pounds(self) -> str:
        """The Id of one more wallet of the user's, in pounds."""
        body = {"Owners": [self.user], "Description": "w", "Currency": "GBP"}
        identifier: str = self.create("wallets", body)["Id"]
        return identifier

    @property
    def new_card(self) -> str:
        """The Id of one more card of the user."""
        return self.card()

    def card(self) -> str:
        """Return the Id of a card of the user."""
        path = "cardregistrations"
        registration = self.create(path, {"UserId": self.user, "Currency": "EUR"})["Id"]
        identifier: str = read(self.call("PUT", f"{path}/{registration}", {"RegistrationData": "data=a"}))["CardId"]
        return identifier

    def settle(self, identifier: str, transition: str) -> dict[str, Any]:
        """Let happen what a resource waits for, and return it."""
        told = {"client_id": self.client_id, "id": identifier, "transition": transition}
        response = self.control("POST", "settle", told)
        assert response.status == 200, response.body
        resource: dict[str, Any] = read(response)
        return resource

    def events(self) -> list[dict[str, Any]]:
        """Return what happened, oldest first."""
        happened: list[dict[str, Any]] = read(self.call("GET", "events?per_page=100"))
        return happened

    def balance(self, wallet: str) -> int:
        amount: int = read(self.call("GET", f"wallets/{wallet}"))["Balance"]["Amount"]
        return amount

    def list(self, path: str) -> list[str]:
        return [item["Id"] for item in read(self.call("GET", path))]


def read(response: EmulatedResponse | ReceivedResponse) -> Any:
    """Return a response's JSON."""
    return json.loads(response.body)


def header(response: EmulatedResponse | ReceivedResponse, name: str) -> list[str]:
    """Return the values of a response's header, in order."""
    return [value.decode("latin-1") for key, value in response.headers if key.decode().lower() == name.lower()]


def authorized(emulator: Emulator, method: str, target: str, body: bytes | None = None) -> bytes:
    """Return a request with a good token."""
    return request(method, target, [("Authorization", f"Bearer {issue_token(emulator)}")], body)


def user(tag: str = "") -> bytes:
    """Return the body that makes a natural user."""
    return json.dumps({**NATURAL_USER, "Tag": tag}).encode()


async def until_received(emulator: Emulator, count: int = 1) -> None:
    """Wait until so many requests have been read."""
    while len(emulator.received) < count:
        await asyncio.sleep(0)
