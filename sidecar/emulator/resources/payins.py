"""Pay-ins by card: at a page (web), or at once with a card that is known (direct)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from sidecar.emulator import card_payments, money, tokenization
from sidecar.emulator.engine import acts
from sidecar.emulator.engine.kinds import BLANK_ADDRESS, Kind, Transition, fields
from sidecar.emulator.engine.routes import Emulated, creates, does, views
from sidecar.emulator.messages import json_response

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sidecar.emulator.engine.calls import Call
    from sidecar.emulator.messages import EmulatedResponse
    from sidecar.emulator.state import ClientState, Resource

_CANCELLED: Final[money.Result] = ("101002", "The transaction has been cancelled by the user")
_DECLINED: Final[money.Result] = ("101101", "Transaction refused by the bank (Do not honor)")


def _succeed_by_card(client: ClientState, resource: Resource, at: int) -> None:
    money.succeed(client, resource, at)
    card_payments.approve(client, resource)


_PAID: Final = "PAYIN_NORMAL_SUCCEEDED"
_UNPAID: Final = "PAYIN_NORMAL_FAILED"
_WAITING: Final = frozenset({"CREATED"})
#: What the payer, or the payer's bank, does at a page.
PAYING: Final = (
    Transition(name="pay", label="Pay", source=_WAITING, target="SUCCEEDED", change=money.succeed, event=_PAID),
    Transition(
        name="fail", label="Fail", source=_WAITING, target="FAILED", sets=money.result(_DECLINED), event=_UNPAID
    ),
    Transition(
        name="cancel", label="Cancel", source=_WAITING, target="FAILED", sets=money.result(_CANCELLED), event=_UNPAID
    ),
)
#: What the payer does who has to authenticate before a known card pays.
BY_CARD: Final = card_payments.authentication(_succeed_by_card, _PAID, _UNPAID)
#: What every pay-in needs, and what it refers to.
NEEDED: Final = ("AuthorId", "CreditedWalletId", *money.AMOUNTS)
LINKS: Final = {"AuthorId": "User", "CreditedWalletId": "Wallet", "CreditedUserId": "User", "CardId": "Card"}


def pay_in(
    payment: str,
    execution: str,
    *names: str,
    optional: Iterable[str] = (),
    read_only: Iterable[str] = (),
    **values: Any,
) -> Kind:
    """Return the kind of pay-ins with this ``PaymentType`` and ``ExecutionType``.

    ``names`` and ``values`` are further fields, as :func:`~sidecar.emulator.engine.kinds.fields` takes them.
    What else is different about it is for :func:`msgspec.structs.replace`.
    """
    return Kind(
        name="PayIn",
        collection="PayIn",
        prefix="payin_m_",
        prompt="Pay",
        returns="transactionId",
        template=fields(
            *names, **money.TRANSACTION, Type="PAYIN", PaymentType=payment, ExecutionType=execution, **values
        ),
        read_only=money.READ_ONLY | {"PaymentType", "ExecutionType", "DebitedWalletId", *read_only},
        optional=frozenset(optional),
        required=NEEDED,
        links=LINKS,
        money=money.AMOUNTS,
        transitions=PAYING,
        transaction=True,
    )


CARD_WEB: Final = pay_in(
    "CARD",
    "WEB",
    *("CardType", "Culture", "ReturnURL", "RedirectURL", "TemplateURL", "TemplateURLOptions", "SecureMode"),
    *("CardId", "StatementDescriptor", "Shipping", "Billing"),
    optional=("Bic", "PreferredCardNetwork", "Reference"),
    read_only=("RedirectURL", "BankName"),
)
CARD_DIRECT: Final = msgspec.structs.replace(
    pay_in(
        "CARD",
        "DIRECT",
        *("CardType", *card_payments.FIELDS),
        **card_payments.DEFAULTS,
        optional=("PreferredCardNetwork", "PaymentCategory", "Reference"),
        read_only=card_payments.SET_HERE,
    ),
    transitions=BY_CARD,
    prompt="Confirm the payment",
)


def complete_web(call: Call, resource: Resource) -> None:
    """Wait for the payer: the pay-in stays CREATED until it is settled."""
    money.derive_amounts(call.client, resource)
    resource["RedirectURL"] = call.page(f"actions/{resource['Id']}")
    for field in ("Billing", "Shipping"):
        resource[field] = resource[field] or {"FirstName": None, "LastName": None, "Address": dict(BLANK_ADDRESS)}
    if resource["CardType"] == "IDEAL" and resource.get("Bic"):
        resource["BankName"] = "RABOBANK"


def complete_direct(call: Call, resource: Resource) -> None:
    """Succeed at once and fill the wallet, unless the payer has to authenticate."""
    money.derive_amounts(call.client, resource)
    card_payments.describe(resource)
    if not card_payments.challenge(call, resource):
        _succeed_by_card(call.client, resource, call.at)
    call.client.tell(f"PAYIN_NORMAL_{resource['Status']}", resource["Id"], call.at)


def view_card(call: Call) -> EmulatedResponse:
    """Show the card that a payer used at the page; until then, none is known."""
    pay_in = acts.find(call)
    shown = {name: pay_in[name] for name in ("Id", "PaymentType", "ExecutionType")}
    card = dict.fromkeys(("ExpirationDate", "Alias", "Fingerprint", "CardType", "Country"))
    if pay_in["Status"] == "SUCCEEDED":
        known = tokenization.TEST_CARD
        card.update(ExpirationDate=known.expiration, Alias=known.alias, Fingerprint=known.fingerprint)
        card.update(CardType="CB_VISA_MASTERCARD", Country="FR")
    return json_response(200, {**shown, **card})


EMULATED: Final = Emulated(
    scope="Payins",
    parents={"PayInId": "PayIn"},
    routes=(
        creates("payins/card/web", CARD_WEB, complete_web, "PAYIN_NORMAL_CREATED"),
        creates("payins/card/direct", CARD_DIRECT, complete_direct),
        views("payins/{Id}", CARD_WEB),
        does("GET", "payins/card/web/{Id}/extended", view_card, kind=CARD_WEB),
    ),
)
