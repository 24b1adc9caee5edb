"""A person in a browser, at the emulator's pages: pays, registers a card, authenticates, and sees what happens."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen

import pytest

from tests.support.emulator import EUR, NATURAL_USER, NO_FEES, issue_token, running_emulator

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.emulator.server import Emulator
    from tests.support.background import Background
    from tests.support.browser import Tab


class Mangopay:
    """A running emulator, as a platform calls it."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator
        self.url = emulator.url
        self.token = issue_token(emulator)

    def call(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        request = Request(f"{self.url}/v2.01/acme/{path}", method=method)
        request.add_header("Authorization", f"Bearer {self.token}")
        request.data = None if body is None else json.dumps(body).encode()
        with urlopen(request) as response:
            found: dict[str, Any] = json.load(response)
        return found

    def wallet(self) -> dict[str, str]:
        user = self.call("POST", "users/natural", NATURAL_USER)["Id"]
        wallet = self.call("POST", "wallets", {"Owners": [user], "Description": "w", "Currency": "EUR"})["Id"]
        return {"AuthorId": user, "CreditedWalletId": wallet}


@pytest.fixture
def mangopay(background: Background) -> Mangopay:
    return Mangopay(background.enter(running_emulator()))


def test_a_payer_pays(mangopay: Mangopay, open_tab: Callable[..., Tab]) -> None:
    back = f"{mangopay.url}/"
    body = {**mangopay.wallet(), "DebitedFunds": EUR, "Fees": NO_FEES, "ReturnURL": back}
    paid = mangopay.call("POST", "payins/card/web", body)
    tab = open_tab(paid["RedirectURL"])
    assert "10.00 EUR" in tab.page.inner_text("main")
    tab.page.get_by_role("button", name="Pay").click()
    tab.page.wait_for_url(f"{back}?transactionId={paid['Id']}")
    assert mangopay.call("GET", f"payins/{paid['Id']}")["Status"] == "SUCCEEDED"


def test_a_payer_registers_a_card(mangopay: Mangopay, open_tab: Callable[..., Tab]) -> None:
    who = {"UserId": mangopay.wallet()["AuthorId"], "Currency": "EUR"}
    registration = mangopay.call("POST", "cardregistrations", who)
    tab = open_tab(registration["CardRegistrationURL"])
    tab.page.get_by_label("Card number").fill("4970107111111119")
    tab.page.get_by_label("Expiry date (MMYY)").fill("1249")
    tab.page.get_by_label("Security code").fill("123")
    tab.page.get_by_role("button", name="Register").click()
    tab.page.get_by_text("data=").wait_for()
    done = {"RegistrationData": tab.page.inner_text("body").strip()}
    registered = mangopay.call("PUT", f"cardregistrations/{registration['Id']}", done)
    assert mangopay.call("GET", f"cards/{registered['CardId']}")["Alias"] == "497010XXXXXX1119"


def test_an_owner_authenticates(mangopay: Mangopay, open_tab: Callable[..., Tab]) -> None:
    terms = {"TermsAndConditionsAccepted": True, "UserCategory": "OWNER"}
    more = {"Birthday": 188352000, "Nationality": "FR", "CountryOfResidence": "FR"}
    owner = mangopay.call("POST", "sca/users/natural", {**NATURAL_USER, **terms, **more})
    tab = open_tab(owner["PendingUserAction"]["RedirectUrl"])
    tab.page.get_by_role("button", name="Authenticate").click()
    tab.page.get_by_text("You can close this page.").wait_for()
    assert mangopay.call("GET", f"sca/users/{owner['Id']}")["UserStatus"] == "ACTIVE"


def test_a_developer_sees_requests_and_switches_faults(mangopay: Mangopay, open_tab: Callable[..., Tab]) -> None:
    mangopay.wallet()
    tab = open_tab(f"{mangopay.url}/")
    assert "/v2.01/acme/wallets" in tab.page.inner_text("main")
    tab.page.get_by_label("Rule, such as").fill("status=503 GET times=1")
    tab.page.get_by_role("button", name="Add").click()
    tab.page.get_by_role("button", name="Remove").wait_for()
    assert [rule["value"] for rule in mangopay.emulator.faults.snapshot()] == ["503"]
    tab.page.get_by_role("button", name="Remove").click()
    tab.page.get_by_role("button", name="Remove").wait_for(state="detached")
    assert mangopay.emulator.faults.snapshot() == []
