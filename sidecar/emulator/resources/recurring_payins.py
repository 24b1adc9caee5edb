"""Recurring pay-ins: a registration, then a pay-in of the payer's own (CIT) and those of the platform (MIT)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from sidecar.emulator import card_payments, money
from sidecar.emulator.engine.kinds import Kind, fields, one_of
from sidecar.emulator.engine.routes import Emulated, creates, updates, views
from sidecar.emulator.resources import payins
from sidecar.emulator.resources.payins import pay_in

if TYPE_CHECKING:
    from sidecar.emulator.engine.calls import Call
    from sidecar.emulator.state import Resource

_FIRST: Final = ("FirstTransactionDebitedFunds", "FirstTransactionFees")
_NEXT: Final = ("NextTransactionDebitedFunds", "NextTransactionFees")
_BY_PAYPAL: Final = "PAYPAL"

REGISTRATION: Final = Kind(
    name="RecurringPayinRegistration",
    collection="RecurringPayinRegistration",
    prefix="recurring_m_",
    template=fields(
        *("AuthorId", "CardId", "CreditedUserId", "CreditedWalletId", *_FIRST, *_NEXT, "Billing", "Shipping"),
        *("EndDate", "Frequency", "TotalAmount", "CycleNumber", "CurrentState"),
        FixedNextAmount=False,
        FractionedPayment=False,
        Migration=False,
        FreeCycles=0,
        RecurringType="CUSTOM",
        PaymentType="CARD_DIRECT",
        Status="CREATED",
    ),
    read_only=frozenset({"TotalAmount", "CycleNumber", "CurrentState", "RecurringType"}),
    optional=frozenset({"ProfilingAttemptReference"}),
    required=("AuthorId", "CreditedWalletId", *_FIRST),
    links={"AuthorId": "User", "CardId": "Card", "CreditedUserId": "User", "CreditedWalletId": "Wallet"},
    money=(*_FIRST, *_NEXT),
    checks={
        "PaymentType": one_of("CARD_DIRECT", _BY_PAYPAL),
        "Status": one_of("CREATED", "AUTHENTICATION_NEEDED", "IN_PROGRESS", "ENDED"),
    },
)

_REGISTERED: Final = "RecurringPayinRegistrationId"
#: The registration knows who pays how much to whom; a pay-in may say another amount.
_TAKEN_OVER: Final = ("AuthorId", "CreditedWalletId", "CreditedUserId")
_LINKS: Final = {**payins.LINKS, _REGISTERED: REGISTRATION.collection}
RECURRING_CARD: Final = msgspec.structs.replace(
    pay_in(
        "CARD",
        "DIRECT",
        *(*card_payments.FIELDS, _REGISTERED),
        **card_payments.DEFAULTS,
        read_only=(*card_payments.SET_HERE, *_TAKEN_OVER, "CardId"),
        optional=("PreferredCardNetwork", "PaymentCategory"),
    ),
    required=(_REGISTERED,),
    links=_LINKS,
    transitions=payins.BY_CARD,
    prompt="Confirm the recurring payment",
)
RECURRING_PAYPAL: Final = msgspec.structs.replace(
    pay_in(
        _BY_PAYPAL,
        "WEB",
        *("ReturnURL", "RedirectURL", "CancelURL", "StatementDescriptor", "Shipping", "ShippingPreference"),
        *("Reference", "LineItems", "Culture", "PaypalBuyerAccountEmail", _REGISTERED),
        read_only=("RedirectURL", "PaypalBuyerAccountEmail", "Trackings", *_TAKEN_OVER),
        optional=("DataCollectionId", "Trackings"),
    ),
    required=(_REGISTERED, "ReturnURL"),
    links=_LINKS,
)


def register(call: Call, resource: Resource) -> None:
    """Wait for the first pay-in."""
    if resource["PaymentType"] != _BY_PAYPAL and not resource["CardId"]:
        raise call.incorrect("CardId", "The CardId field is required.")
    nothing = {"Currency": resource[_FIRST[0]]["Currency"], "Amount": 0}
    resource.update(
        Status="CREATED",
        CreditedUserId=resource["CreditedUserId"] or money.owner(call.client, resource["CreditedWalletId"]),
        CurrentState={
            "PayinsLinked": 0,
            "CumulatedDebitedAmount": dict(nothing),
            "CumulatedFeesAmount": dict(nothing),
            "LastPayinId": None,
        },
    )


def change(call: Call, resource: Resource) -> None:
    """Take another card or address, or end: what has ended stays so."""
    before = call.found(REGISTRATION.collection, resource["Id"])["Status"]
    if before == "ENDED":
        raise call.incorrect("Status", "The recurring pay-in has ended.")
    if resource["Status"] not in {before, "ENDED"}:
        raise call.incorrect("Status", "The Status can be set to ENDED alone.")
    if resource["Status"] == "ENDED":
        call.client.tell("RECURRING_REGISTRATION_ENDED", resource["Id"], call.at)


def pay_by_card(call: Call, resource: Resource) -> None:
    """Take the next payment from the registered card."""
    registration = _count(call, resource)
    resource["CardId"] = registration["CardId"]
    card_payments.describe(resource)
    if not card_payments.challenge(call, resource):
        money.succeed(call.client, resource, call.at)
    call.client.tell(f"PAYIN_NORMAL_{resource['Status']}", resource["Id"], call.at)


def pay_by_paypal(call: Call, resource: Resource) -> None:
    """Wait for the payer at PayPal's page."""
    _count(call, resource)
    resource["RedirectURL"] = call.page(f"actions/{resource['Id']}")


def _count(call: Call, resource: Resource) -> Resource:
    """Let a pay-in be one more of its registration; return that."""
    registration = call.found(REGISTRATION.collection, resource[_REGISTERED])
    if registration["Status"] == "ENDED":
        raise call.incorrect(_REGISTERED, "The recurring pay-in has ended.")
    state = registration["CurrentState"]
    resource.update({field: registration[field] for field in _TAKEN_OVER})
    for field, first, later in zip(money.AMOUNTS, _FIRST, _NEXT, strict=True):
        planned = registration[later] if state["PayinsLinked"] else None
        resource[field] = dict(resource[field] or planned or registration[first])
    money.derive_amounts(call.client, resource)
    state["PayinsLinked"] += 1
    state["LastPayinId"] = resource["Id"]
    state["CumulatedDebitedAmount"]["Amount"] += resource["DebitedFunds"]["Amount"]
    state["CumulatedFeesAmount"]["Amount"] += resource["Fees"]["Amount"]
    if registration["Status"] != "IN_PROGRESS":
        registration["Status"] = "IN_PROGRESS"
        call.client.tell("RECURRING_REGISTRATION_IN_PROGRESS", registration["Id"], call.at)
    return registration


EMULATED: Final = Emulated(
    scope="Payins",
    routes=(
        creates("recurringpayinregistrations", REGISTRATION, register, "RECURRING_REGISTRATION_CREATED"),
        views("recurringpayinregistrations/{Id}", REGISTRATION),
        updates(
            "recurringpayinregistrations/{Id}",
            REGISTRATION,
            change,
            {"CardId", "Billing", "Shipping", "Status", "Tag"},
        ),
        creates("payins/recurring/card/direct", RECURRING_CARD, pay_by_card),
        creates("payins/payment-methods/paypal/recurring", RECURRING_PAYPAL, pay_by_paypal, "PAYIN_NORMAL_CREATED"),
    ),
)
