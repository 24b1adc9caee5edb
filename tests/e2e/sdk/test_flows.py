"""What platforms do all day, done by both official SDKs, unmodified and with dummy credentials, through the sidecar."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from typing import TYPE_CHECKING

import pytest

from tests.e2e.sdk.mangopay import Mangopay, header

if TYPE_CHECKING:
    from tests.e2e.sdk.app import SdkApp

pytestmark = pytest.mark.sdk

MEGABYTE = 1_000_000


@pytest.fixture(autouse=True)
def _no_token_is_asked_for(mangopay: Mangopay) -> object:
    """None of these flows is a reason to ask Mangopay for a token: the one from start-up serves them all."""
    yield
    assert mangopay.token_requests == 0


@pytest.fixture
def user(app: SdkApp, mangopay: Mangopay) -> str:
    identifier = app.do("create_natural_user", email="zoe@example.org").id
    mangopay.authenticate(identifier)
    return identifier


@pytest.fixture
def wallet(app: SdkApp, user: str) -> str:
    return app.do("create_wallet", owner=user, description="savings").id


def test_a_natural_user_is_created_read_and_changed(app: SdkApp, mangopay: Mangopay) -> None:
    created = app.do("create_natural_user", email="zoë@example.org")
    renamed = app.do("rename_natural_user", user=created.id, last_name="Łukasz-Nováková")
    read = app.do("read_user", user=created.id)

    assert (created.status, renamed.status, read.status) == (200, 200, 200)
    assert (created.value["FirstName"], created.value["LastName"]) == ("Zoë", "Müller-Łukasz")
    assert (read.value["LastName"], read.value["Email"]) == ("Łukasz-Nováková", "zoë@example.org")
    assert [request.method for request in mangopay.calls] == ["POST", "PUT", "GET"]


def test_a_legal_user_is_created_read_and_changed(app: SdkApp) -> None:
    created = app.do("create_legal_user", name="Fleurs & Cie")
    app.do("rename_legal_user", user=created.id, name="Fleurs & Filles")
    read = app.do("read_user", user=created.id)

    assert created.value["PersonType"] == "LEGAL"
    assert read.value["Name"] == "Fleurs & Filles"


def test_a_wallet_is_created_read_changed_and_listed(app: SdkApp, user: str) -> None:
    created = app.do("create_wallet", owner=user, description="savings")
    app.do("rename_wallet", wallet=created.id, description="rent")
    read = app.do("read_wallet", wallet=created.id)
    listed = app.do("list_wallets", user=user)

    assert read.value["Description"] == "rent"
    assert read.value["Balance"] == {"Amount": 0, "Currency": "EUR"}
    assert [item["Id"] for item in listed.value] == [created.id]


def test_a_card_pay_in_sends_the_payer_to_a_page(app: SdkApp, user: str, wallet: str) -> None:
    created = app.do("pay_in_by_card", user=user, wallet=wallet, amount=12_34)
    read = app.do("read_pay_in", pay_in=created.id)

    assert created.value["Status"] == "CREATED"
    assert "/pages/" in created.value["RedirectURL"]  # the emulator's own
    assert read.value["DebitedFunds"] == {"Amount": 12_34, "Currency": "EUR"}
    assert read.value["ReturnURL"].startswith("https://shop.example.org/back?a=b&c=d")


def test_a_transfer_moves_money_once(app: SdkApp, mangopay: Mangopay, user: str, wallet: str) -> None:
    receiver = app.do("create_legal_user", name="Seller").id
    mangopay.authenticate(receiver)
    other = app.do("create_wallet", owner=receiver, description="sales").id
    mangopay.fund(wallet, 500)
    executed = mangopay.executed

    made = app.do("transfer", user=user, receiver=receiver, to=other, amount=500, **{"from": wallet})
    read = app.do("read_transfer", transfer=made.id)

    assert read.value["Status"] == "SUCCEEDED"
    assert read.value["Tag"] == "naïve"
    assert app.do("read_wallet", wallet=other).value["Balance"] == {"Amount": 500, "Currency": "EUR"}
    assert mangopay.executed == executed + 1


def test_money_leaves_to_a_bank_account(app: SdkApp, mangopay: Mangopay, user: str, wallet: str) -> None:
    mangopay.fund(wallet, 100)
    account = app.do("add_bank_account", user=user)
    paid = app.do("pay_out", user=user, wallet=wallet, bank_account=account.id, amount=100)

    assert account.value["IBAN"] == "FR7630004000031234567890143"
    assert (paid.status, paid.value["Status"]) == (200, "CREATED")


def test_a_kyc_page_of_5_mb_arrives_byte_for_byte(app: SdkApp, mangopay: Mangopay, user: str) -> None:
    document = app.do("create_kyc_document", user=user).id
    told = app.do("upload_kyc_page", user=user, document=document, size=5 * MEGABYTE)
    submitted = app.do("submit_kyc_document", user=user, document=document)

    assert (told.status, told.error) == (204, None)
    (upload,) = [request for request in mangopay.calls if request.target.endswith("/pages")]
    file = json.loads(upload.body)["File"]
    assert hashlib.sha256(file.encode()).hexdigest() == told.value["FileSha256"]
    assert len(base64.b64decode(file)) == 5 * MEGABYTE
    assert header(upload, "Content-Length") == [str(len(upload.body))]
    assert submitted.value["Status"] == "VALIDATION_ASKED"


def test_a_settlement_file_is_uploaded_as_multipart(app: SdkApp, mangopay: Mangopay) -> None:
    told = app.do("upload_settlement", lines=1_000)

    assert (told.status, told.error) == (200, None)
    (upload,) = mangopay.calls
    assert upload.target == "/V3.0/acme/payins/intents/settlements"
    assert header(upload, "Content-Type")[0].startswith("multipart/form-data; boundary=")
    assert b"settlement.csv" in upload.body


def test_pages_are_told_in_the_headers_that_the_sdk_reads(app: SdkApp) -> None:
    newest = [app.do("create_natural_user", email=f"{name}@example.org").id for name in "abc"][::-1]

    first = app.do("list_users", page=1, per_page=2)
    second = app.do("list_users", page=2, per_page=2)

    assert [item["Id"] for item in first.value] == newest[:2]
    assert second.value[0]["Id"] == newest[2]
    assert int(first.headers["x-number-of-pages"]) >= 2
    assert int(first.headers["x-number-of-items"]) >= 3
    assert 'rel="next"' in first.headers["link"]
    assert "page=2&per_page=2" in first.headers["link"]


def test_one_resource_comes_without_paging_headers(app: SdkApp, user: str) -> None:
    read = app.do("read_user", user=user)

    assert not {"x-number-of-pages", "x-number-of-items", "link"} & read.headers.keys()


def test_a_hook_is_created_and_listed(app: SdkApp) -> None:
    url = f"https://shop.example.org/hooks/{secrets.token_hex(4)}?a=1&b=2"
    created = app.do("create_hook", event="PAYIN_NORMAL_SUCCEEDED", url=url)
    listed = app.do("list_hooks")

    assert created.value["Validity"] == "VALID"
    assert (created.id, url) in [(hook["Id"], hook["Url"]) for hook in listed.value]


def test_events_are_listed(app: SdkApp, user: str, wallet: str) -> None:
    pay_in = app.do("pay_in_by_card", user=user, wallet=wallet, amount=1_00).id
    events = app.do("list_events")

    assert ("PAYIN_NORMAL_CREATED", pay_in) in [(event["EventType"], event["ResourceId"]) for event in events.value]


def test_a_key_used_twice_is_refused_and_its_first_response_can_be_read(app: SdkApp, mangopay: Mangopay) -> None:
    key = secrets.token_hex(16)
    first = app.do("create_natural_user", email="once@example.org", key=key)
    again = app.do("create_natural_user", email="once@example.org", key=key)
    stored = app.do("read_stored_answer", key=key)

    assert [header(request, "Idempotency-Key") for request in mangopay.calls[:2]] == [[key], [key]]
    assert (again.status, again.value) == (409, None)
    assert again.error is not None
    assert again.error["Type"] == "idempotent_creation_conflict"
    assert mangopay.executed == 1
    assert stored.value["StatusCode"] == "200"
    assert stored.value["Resource"]["Id"] == first.id


def test_no_key_is_ever_invented(app: SdkApp, mangopay: Mangopay, user: str) -> None:
    app.do("create_wallet", owner=user, description="plain")

    assert [header(request, "Idempotency-Key") for request in mangopay.calls] == [[], []]
