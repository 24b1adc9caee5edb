"""Each emulated resource is used by both official SDKs: one table, a row for each file of the emulator."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import pytest

from sidecar.emulator.engine.routes import Match
from sidecar.emulator.messages import split_path
from sidecar.emulator.resources import catalogue, files
from sidecar.testing import MangopayEmulator
from tests.e2e.sdk.test_resources import reference

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sidecar.emulator.server import Received
    from tests.e2e.sdk.app import SdkApp
    from tests.e2e.sdk.mangopay import Mangopay

Arguments = dict[str, Any]

#: What no call of an SDK reaches, and why.
NOT_FOR_SDKS: Final = {
    "action_pages": "a browser opens it",
    "sca_page": "a browser opens it",
    "document_pages": "a browser opens it",
    "embedded_tokens": "the SDKs know no embedded components",
}
#: Of each other file, the thing that an app does, as ``driver`` and ``resources`` in ``node`` and ``python`` know it,
#: and with what: a string that is a name in ``known`` stands for that resource's Id.
FLOWS: Final[dict[str, tuple[str, Arguments]]] = {
    "bank_accounts": ("add_bank_account", {"user": "user"}),
    "bank_wires": ("pay_in_by_wire", {"user": "user", "wallet": "wallet", "amount": 100}),
    "card_registrations": ("register_card", {"user": "user"}),
    "card_validations": ("validate_card", {"user": "user", "card": "card"}),
    "cards": ("read_card", {"card": "card"}),
    "client_wallets": ("read_client_wallet", {"funds": "FEES", "currency": "EUR"}),
    "clients": ("read_platform", {}),
    "conversions": ("read_rate", {"debited": "EUR", "credited": "GBP"}),
    "countries": ("read_country", {"country": "FR"}),
    "deposits": ("reserve_deposit", {"user": "user", "card": "card", "amount": 100}),
    "direct_debits": ("debit_directly", {"user": "user", "wallet": "wallet", "mandate": "mandate", "amount": 100}),
    "disputes": ("read_dispute", {"dispute": "dispute"}),
    "hooks": ("list_hooks", {}),
    "identity_verifications": ("verify_identity", {"user": "user"}),
    "intents": ("authorize_intent", {"user": "user", "wallet": "wallet", "amount": 100}),
    "kyc_documents": ("create_kyc_document", {"user": "user"}),
    "mandates": ("create_mandate", {"bank_account": "bank_account"}),
    "pay_by_bank": ("list_banks", {}),
    "payins": ("pay_in_by_card", {"user": "user", "wallet": "wallet", "amount": 100}),
    "payment_methods": ("pay_in_by_ideal", {"user": "user", "wallet": "wallet", "amount": 100}),
    "payouts": ("pay_out", {"user": "user", "wallet": "wallet", "bank_account": "bank_account", "amount": 1}),
    "paypal_data_collections": ("tell_paypal", {"details": {"sender_account_id": "a", "sender_country_code": "FR"}}),
    "preauthorizations": ("preauthorize_card", {"user": "user", "card": "card", "amount": 100}),
    "recipients": ("add_recipient", {"user": "user"}),
    "recurring_payins": ("register_recurring", {"user": "user", "wallet": "wallet", "card": "card", "amount": 100}),
    "refunds": ("refund_pay_in", {"pay_in": "pay_in", "user": "user"}),
    "reports": ("create_report", {}),
    "responses": ("read_stored_answer", {"key": "key"}),
    "sca_users": ("create_owner", {"email": "vera@example.org"}),
    "settlements": ("upload_settlement", {"lines": 10}),
    "transfers": ("transfer", {"user": "user", "receiver": "user", "from": "wallet", "to": "wallet", "amount": 1}),
    "ubo_declarations": ("declare_owners", {"user": "company"}),
    "user_details": ("read_block_status", {"user": "user"}),
    "users": ("create_natural_user", {"email": "zoe@example.org"}),
    "virtual_accounts": ("open_virtual_account", {"wallet": "wallet"}),
    "wallets": ("create_wallet", {"owner": "user", "description": "savings"}),
}


def test_each_emulated_resource_has_a_flow() -> None:
    """Whoever adds a file adds a row, or says why no SDK uses it."""
    assert FLOWS.keys() | NOT_FOR_SDKS.keys() == files().keys()
    assert not FLOWS.keys() & NOT_FOR_SDKS.keys()


@pytest.fixture(scope="module")
def known(app: SdkApp, mangopay_server: Mangopay) -> Mapping[str, str]:
    """The Ids of what the flows are about, made by the same app.

    For an app that comes back after the other one they are made anew, at the same emulator: so no key is used twice.
    """
    emulator, key = MangopayEmulator(mangopay_server.url), secrets.token_hex(16)
    user = app.do("create_natural_user", email="zoe@example.org", key=key).id
    emulator.authenticate(user)
    wallet = app.do("create_wallet", owner=user, description="savings").id
    registration = app.do("register_card", user=user)
    tokenized = emulator.tokenize_card(registration.value)
    finished = app.do("finish_card", registration=registration.id, data=tokenized)
    card = reference(finished.value["CardId"])
    paid = app.do("charge_card", user=user, wallet=wallet, card=card, amount=5_00, secure_mode="DEFAULT").id
    account = app.do("add_bank_account", user=user).id
    return {
        "user": user,
        "wallet": wallet,
        "card": card,
        "pay_in": paid,
        "bank_account": account,
        "mandate": app.do("create_mandate", bank_account=account).id,
        "company": app.do("create_legal_user", name="Fleurs").id,
        "dispute": emulator.make_disputes()[0],
        "key": key,
    }


def row(request: Received) -> tuple[str, str, str] | None:
    """Return which row of the emulator's tables a request met."""
    match = catalogue().find(request.method, split_path(urlsplit(request.target).path))
    return (match.route.version, match.route.method, match.route.pattern) if isinstance(match, Match) else None


def with_id(value: Any, known: Mapping[str, str]) -> Any:
    """Return the Id that ``value`` is a name for, or ``value``."""
    return known.get(value, value) if isinstance(value, str) else value


@pytest.mark.sdk
@pytest.mark.parametrize("file", FLOWS)
def test_an_sdk_uses_it(file: str, app: SdkApp, known: Mapping[str, str], mangopay: Mangopay) -> None:
    what, arguments = FLOWS[file]
    told = app.do(what, **{name: with_id(value, known) for name, value in arguments.items()})
    assert (told.error, told.status) == (None, 200)
    rows = {(route.version, route.method, route.pattern) for route in files()[file].routes}
    assert rows & {row(request) for request in mangopay.calls}, [request.target for request in mangopay.calls]
