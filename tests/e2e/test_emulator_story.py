"""What an app's own test does with the emulator, from an owner's authentication to a payout, by HTTP alone."""

from __future__ import annotations

import base64
import http.client
import http.server
import json
import threading
from contextlib import contextmanager
from queue import Queue
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, urlencode, urlsplit

from tests.support.emulator import ADDRESS, EUR, NATURAL_USER, NO_FEES
from tests.support.sidecar import Command

if TYPE_CHECKING:
    from collections.abc import Iterator

FORM: Final = "application/x-www-form-urlencoded"


class Platform:
    """An app that knows an address, and nothing else of the emulator."""

    def __init__(self, url: str) -> None:
        self._address = urlsplit(url).netloc
        form = urlencode({"grant_type": "client_credentials"})
        basic = base64.b64encode(b"acme:key").decode()
        issued = self.send(
            "POST", "/v2.01/oauth/token", form, {"Authorization": f"Basic {basic}", "Content-Type": FORM}
        )
        self._token = json.loads(issued)["access_token"]

    def send(self, method: str, target: str, body: str | None, headers: dict[str, str]) -> bytes:
        connection = http.client.HTTPConnection(self._address)
        try:
            connection.request(method, target, body, headers)
            response = connection.getresponse()
            content = response.read()
            assert response.status in {200, 303}, content
            return content
        finally:
            connection.close()

    def call(self, method: str, path: str, body: object = None) -> Any:
        authorization = {"Authorization": f"Bearer {self._token}"}
        data = None if body is None else json.dumps(body)
        return json.loads(self.send(method, f"/v2.01/acme/{path}", data, authorization))

    def open(self, url: str, **form: str) -> str:
        """Press a button on a page, as a person does; the page must be the emulator's own."""
        assert urlsplit(url).netloc == self._address
        return self.send("POST", urlsplit(url).path, urlencode(form), {"Content-Type": FORM}).decode()

    def settle(self, identifier: str, transition: str) -> None:
        body = {"client_id": "acme", "id": identifier, "transition": transition}
        self.send("POST", "/__emulator__/settle", json.dumps(body), {})


@contextmanager
def receiving() -> Iterator[tuple[str, Queue[tuple[str, str]]]]:
    """Receive hooks; yield the URL, and the events and Ids that were told."""
    told: Queue[tuple[str, str]] = Queue()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            self.send_response(200)
            self.end_headers()
            told.put((query["EventType"][0], query["RessourceId"][0]))

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/hooks", told
        finally:
            server.shutdown()
            thread.join()


def test_from_an_owner_s_authentication_to_a_payout() -> None:
    with Command("emulator", "--port", "0") as command, receiving() as (hooks, told):
        app = Platform(command.wait_for(r"^ready emulator=(\S+)$")[1])
        for event in ("PAYIN_NORMAL_SUCCEEDED", "PAYOUT_NORMAL_SUCCEEDED"):
            app.call("POST", "hooks", {"Url": hooks, "EventType": event})

        terms = {"TermsAndConditionsAccepted": True, "UserCategory": "OWNER"}
        person = {"Birthday": 188352000, "Nationality": "FR", "CountryOfResidence": "FR"}
        owner = app.call("POST", "sca/users/natural", {**NATURAL_USER, **terms, **person})
        app.open(owner["PendingUserAction"]["RedirectUrl"], outcome="authenticate")
        user = owner["Id"]
        assert app.call("GET", f"sca/users/{user}")["UserStatus"] == "ACTIVE"
        wallet = app.call("POST", "wallets", {"Owners": [user], "Description": "w", "Currency": "EUR"})["Id"]

        registration = app.call("POST", "cardregistrations", {"UserId": user, "Currency": "EUR"})
        keys = {"data": registration["PreregistrationData"], "accessKeyRef": registration["AccessKey"]}
        card = {"cardNumber": "4970107111111119", "cardExpirationDate": "1249", "cardCvx": "123"}
        data = app.open(registration["CardRegistrationURL"], **keys, **card)
        done = app.call("PUT", f"cardregistrations/{registration['Id']}", {"RegistrationData": data})
        amounts = {"AuthorId": user, "DebitedFunds": EUR, "Fees": NO_FEES}
        secure = {"CardId": done["CardId"], "SecureMode": "FORCE", "SecureModeReturnURL": hooks}
        paid = app.call("POST", "payins/card/direct", {**amounts, **secure, "CreditedWalletId": wallet})
        app.open(paid["SecureModeRedirectURL"], outcome="authenticate")
        assert told.get(timeout=30) == ("PAYIN_NORMAL_SUCCEEDED", paid["Id"])
        assert app.call("GET", f"wallets/{wallet}")["Balance"] == EUR

        details = {"OwnerName": "V", "OwnerAddress": ADDRESS, "IBAN": "FR76", "BIC": "BNPAFRPP"}
        account = app.call("POST", f"users/{user}/bankaccounts/iban", details)["Id"]
        payout = {**amounts, "DebitedWalletId": wallet, "BankAccountId": account}
        sent = app.call("POST", "payouts/bankwire", payout)["Id"]
        app.settle(sent, "send")
        assert told.get(timeout=30) == ("PAYOUT_NORMAL_SUCCEEDED", sent)
        assert app.call("GET", f"wallets/{wallet}")["Balance"]["Amount"] == 0
