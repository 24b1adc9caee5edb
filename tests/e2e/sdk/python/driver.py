"""An app on the official Python SDK, run by a test: one line of JSON in, one line of JSON out.

``{"do": "read_user", "with": {"user": "42"}}`` is answered by
``{"status": 200, "value": {…}, "error": null, "headers": {…}, "rate_limits": […]}``.

The SDK is used as its README says and is not changed. The Node app
(``../node/driver.mjs``) knows the same things to do.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any

import mangopay

mangopay.client_id = os.environ["MANGOPAY_CLIENT_ID"]
mangopay.apikey = os.environ["MANGOPAY_API_KEY"]
mangopay.api_sandbox_url = f"{os.environ['MANGOPAY_BASE_URL']}/v2.01/"

from mangopay import resources as mp  # noqa: E402 - as the README does: settings first, then the models
from mangopay.base import DoesNotExist  # noqa: E402
from mangopay.exceptions import APIError  # noqa: E402
from mangopay.signals import request_finished  # noqa: E402
from mangopay.utils import Address, Money  # noqa: E402

HANDLER = mangopay.get_default_handler()
ADDRESS = Address(address_line_1="1 rue des Fleurs", city="Paris", region="IDF", postal_code="75001", country="FR")


def euros(amount: int) -> Any:
    return Money(amount=amount, currency="EUR")


def saved(model: Any, key: str | None = None) -> Any:
    model.save(idempotency_key=key)
    return model


def changed(model: Any, reference: str, **fields: Any) -> Any:
    return model(**model.update(reference, **fields).execute(HANDLER))


THINGS_TO_DO: dict[str, Callable[..., Any]] = {}


def thing_to_do(function: Callable[..., Any]) -> Callable[..., Any]:
    THINGS_TO_DO[function.__name__] = function
    return function


@thing_to_do
def new_token() -> Any:
    _, token = HANDLER.auth_manager.authorization.oauth_token()
    return token


@thing_to_do
def create_natural_user(email: str, key: str | None = None) -> Any:
    model = mp.NaturalUser(
        first_name="Zoë",
        last_name="Müller-Łukasz",
        email=email,
        address=ADDRESS,
        birthday=300681000,
        nationality="FR",
        country_of_residence="FR",
        terms_and_conditions_accepted=True,
        user_category="OWNER",
    )
    return saved(model, key)


@thing_to_do
def create_natural_user_without_names(email: str) -> Any:
    return saved(mp.NaturalUser(first_name="", last_name="", email=email, user_category="OWNER"))


@thing_to_do
def rename_natural_user(user: str, last_name: str) -> Any:
    return changed(mp.NaturalUser, user, last_name=last_name, person_type="NATURAL")


@thing_to_do
def create_legal_user(name: str) -> Any:
    model = mp.LegalUser(
        name=name,
        email="office@example.org",
        legal_person_type="BUSINESS",
        headquarters_address=ADDRESS,
        legal_representative_first_name="Ana",
        legal_representative_last_name="Silva",
        legal_representative_birthday=300681000,
        legal_representative_nationality="PT",
        legal_representative_country_of_residence="PT",
        company_number="LU72HN11",
        terms_and_conditions_accepted=True,
        user_category="OWNER",
    )
    return saved(model)


@thing_to_do
def rename_legal_user(user: str, name: str) -> Any:
    return changed(mp.LegalUser, user, name=name, person_type="LEGAL")


@thing_to_do
def read_user(user: str) -> Any:
    return mp.User.get(user)


@thing_to_do
def list_users(page: int, per_page: int) -> Any:
    return mp.User.all(page=page, per_page=per_page, sort="CreationDate:DESC")


@thing_to_do
def create_wallet(owner: str, description: str) -> Any:
    return saved(mp.Wallet(owners=[mp.User(id=owner)], description=description, currency="EUR"))


@thing_to_do
def read_wallet(wallet: str, sca_context: str | None = None) -> Any:
    return mp.Wallet.get(wallet, **({"ScaContext": sca_context} if sca_context else {}))


@thing_to_do
def rename_wallet(wallet: str, description: str) -> Any:
    return changed(mp.Wallet, wallet, description=description)


@thing_to_do
def list_wallets(user: str) -> Any:
    return mp.Wallet.get_all_for_user(user)


@thing_to_do
def pay_in_by_card(user: str, wallet: str, amount: int, key: str | None = None) -> Any:
    model = mp.CardWebPayIn(
        author_id=user,
        credited_wallet_id=wallet,
        debited_funds=euros(amount),
        fees=euros(0),
        culture="FR",
        card_type="CB_VISA_MASTERCARD",
        return_url="https://shop.example.org/back?a=b&c=d",
    )
    return saved(model, key)


@thing_to_do
def read_pay_in(pay_in: str) -> Any:
    return mp.PayIn.get(pay_in)


@thing_to_do
def refund_pay_in(pay_in: str, user: str) -> Any:
    return saved(mp.PayInRefund(payin_id=pay_in, author_id=user))


@thing_to_do
def transfer(user: str, receiver: str, to: str, amount: int, **rest: str) -> Any:
    model = mp.Transfer(
        author_id=user,
        credited_user_id=receiver,
        debited_wallet_id=rest["from"],
        credited_wallet_id=to,
        debited_funds=euros(amount),
        fees=euros(0),
        tag="naïve",
    )
    return saved(model)


@thing_to_do
def read_transfer(transfer: str) -> Any:
    return mp.Transfer.get(transfer)


@thing_to_do
def add_bank_account(user: str) -> Any:
    model = mp.BankAccount(
        user_id=user,
        type="IBAN",
        owner_name="Zoë Müller",
        owner_address=ADDRESS,
        iban="FR7630004000031234567890143",
        bic="BNPAFRPP",
    )
    return saved(model)


@thing_to_do
def pay_out(user: str, wallet: str, bank_account: str, amount: int) -> Any:
    model = mp.BankWirePayOut(
        author_id=user,
        debited_wallet_id=wallet,
        bank_account_id=bank_account,
        debited_funds=euros(amount),
        fees=euros(0),
        bank_wire_ref="thanks",
    )
    return saved(model)


@thing_to_do
def create_kyc_document(user: str) -> Any:
    return saved(mp.Document(user_id=user, type="IDENTITY_PROOF"))


@thing_to_do
def upload_kyc_page(user: str, document: str, size: int) -> Any:
    page = (b"a page of a passport, " * (size // 22 + 1))[:size]
    file = base64.b64encode(page)
    saved(mp.Page(user_id=user, document_id=document, file=file))
    return {"FileSha256": hashlib.sha256(file).hexdigest()}


@thing_to_do
def submit_kyc_document(user: str, document: str) -> Any:
    return changed(mp.Document, document, user_id=user, status="VALIDATION_ASKED")


@thing_to_do
def read_kyc_document(document: str) -> Any:
    return mp.Document.get(document)


@thing_to_do
def upload_settlement(lines: int) -> Any:
    file = b"reference;amount\r\n" * lines
    _, settlement = HANDLER.multipart_request("POST", "/payins/intents/settlements", file, "settlement.csv", is_v3=True)
    return settlement


@thing_to_do
def create_hook(event: str, url: str) -> Any:
    return saved(mp.Notification(event_type=event, url=url))


@thing_to_do
def list_hooks() -> Any:
    return mp.Notification.all()


@thing_to_do
def list_events() -> Any:
    return mp.Event.all(per_page=100, sort="Date:DESC")


@thing_to_do
def read_stored_answer(key: str) -> Any:
    return mp.IdempotencyResponse.get(key)


_responses: list[Any] = []


def _remember(_sender: object = None, **what: Any) -> None:
    _responses.append(what["result"])


def plain(value: Any) -> Any:
    """Turn the SDK's models back into what went over the wire, as far as the SDK kept it."""
    if hasattr(value, "_meta"):
        return {api_name: plain(getattr(value, name, None)) for api_name, name in value._meta.api_names.items()}
    if hasattr(value, "to_api_json"):
        return plain(value.to_api_json())
    if isinstance(value, Money):
        return {"Amount": int(value.amount), "Currency": value.currency}
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [plain(item) for item in value]
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def rate_limits() -> list[dict[str, int]]:
    return [
        {
            "minutes": limit.interval_minutes,
            "made": limit.calls_made,
            "remaining": limit.calls_remaining,
            "reset": limit.reset_time_millis,
        }
        for limit in HANDLER.get_rate_limits() or []
    ]


def answer(what: str, args: dict[str, Any]) -> dict[str, Any]:
    _responses.clear()
    value = error = None
    try:
        value = plain(THINGS_TO_DO[what](**args))
    except APIError as problem:
        error = problem.content if problem.content is not None else {"Thrown": str(problem)}
    except DoesNotExist as problem:
        error = {"Thrown": f"{type(problem).__name__}: {problem}"}
    response = _responses[-1] if _responses else None
    return {
        "status": response.status_code if response is not None else None,
        "value": value,
        "error": error,
        "headers": {name.lower(): text for name, text in response.headers.items()} if response is not None else {},
        "rate_limits": rate_limits(),
    }


def main() -> None:
    request_finished.connect(_remember)
    for line in sys.stdin:
        question = json.loads(line)
        print(json.dumps(answer(question["do"], question["with"])), flush=True)
