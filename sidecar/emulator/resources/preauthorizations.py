"""Preauthorizations of cards: money is reserved, and taken later by one pay-in or several."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from sidecar.emulator import card_payments, money
from sidecar.emulator.engine.kinds import Kind, Transition, fields, one_of
from sidecar.emulator.engine.routes import Emulated, creates, lists, updates, views
from sidecar.emulator.resources import payins
from sidecar.emulator.resources.payins import pay_in

if TYPE_CHECKING:
    from sidecar.emulator.engine.calls import Call
    from sidecar.emulator.state import ClientState, Resource

#: How long money stays reserved, in seconds (Mangopay: "Preauthorization", 7 days).
_RESERVED_FOR: Final = 7 * 24 * 3600


def _reserve(client: ClientState, resource: Resource, at: int) -> None:
    resource.update(Status="SUCCEEDED", AuthorizationDate=at, **money.result(money.SUCCESS))
    card_payments.approve(client, resource)


PREAUTHORIZATION: Final = Kind(
    name="CardPreAuthorization",
    collection="CardPreAuthorization",
    prefix="preauth_m_",
    prompt="Confirm the reservation",
    returns="preAuthorizationId",
    template=fields(
        *("AuthorId", "DebitedFunds", "RemainingFunds", *card_payments.FIELDS),
        *("AuthorizationDate", "ExpirationDate", "PayInId", "ResultCode", "ResultMessage"),
        **card_payments.DEFAULTS,
        Status="CREATED",
        PaymentStatus="WAITING",
        PaymentType="CARD",
        ExecutionType="DIRECT",
        MultiCapture=False,
    ),
    read_only=card_payments.SET_HERE
    | {"RemainingFunds", "AuthorizationDate", "ExpirationDate", "PayInId", "ResultCode", "ResultMessage", "Status"}
    | {"PaymentType", "ExecutionType"},
    optional=frozenset({"PreferredCardNetwork", "PaymentCategory"}),
    required=("AuthorId", "DebitedFunds", "CardId", "SecureModeReturnURL"),
    links={"AuthorId": "User", "CardId": "Card"},
    money=("DebitedFunds",),
    checks={"PaymentStatus": one_of("WAITING", "CANCELED")},
    transitions=(
        *card_payments.authentication(
            _reserve,
            "PREAUTHORIZATION_SUCCEEDED",
            "PREAUTHORIZATION_FAILED",
            refused_sets={"PaymentStatus": "CANCELED"},
        ),
        Transition(
            name="expire",
            field="PaymentStatus",
            source=frozenset({"WAITING"}),
            target="EXPIRED",
            event="PREAUTHORIZATION_PAYMENT_EXPIRED",
        ),
    ),
)

PREAUTHORIZED: Final = msgspec.structs.replace(
    pay_in(
        "PREAUTHORIZED",
        "DIRECT",
        *("PreauthorizationId", "SecureModeReturnURL", "StatementDescriptor", "Culture", "CardId", "CardInfo"),
        optional=("SecureMode",),
        read_only=("CardId", "CardInfo"),
    ),
    required=(*payins.NEEDED, "PreauthorizationId"),
    links={**payins.LINKS, "PreauthorizationId": PREAUTHORIZATION.collection},
)


def complete(call: Call, resource: Resource) -> None:
    """Reserve the money at once, unless the payer has to authenticate."""
    resource.update(
        PaymentStatus="WAITING",
        RemainingFunds=dict(resource["DebitedFunds"]),
        ExpirationDate=call.at + _RESERVED_FOR,
    )
    card_payments.describe(resource)
    if not card_payments.challenge(call, resource):
        _reserve(call.client, resource, call.at)
    call.client.tell(f"PREAUTHORIZATION_{resource['Status']}", resource["Id"], call.at)


def change(call: Call, resource: Resource) -> None:
    """Give the money back if the platform says ``CANCELED``: from ``WAITING`` alone."""
    before = call.found(PREAUTHORIZATION.collection, resource["Id"])["PaymentStatus"]
    if resource["PaymentStatus"] == before:
        return
    if before != "WAITING":
        raise call.incorrect("PaymentStatus", f"The preauthorization is {before} and cannot be changed.")
    call.client.tell("PREAUTHORIZATION_PAYMENT_CANCELED", resource["Id"], call.at)


def capture(call: Call, resource: Resource) -> None:
    """Take reserved money: all of it once, or with ``MultiCapture`` part by part."""
    reserved = call.found(PREAUTHORIZATION.collection, resource["PreauthorizationId"])
    remaining, wanted = reserved["RemainingFunds"], resource["DebitedFunds"]
    if (reserved["Status"], reserved["PaymentStatus"]) != ("SUCCEEDED", "WAITING"):
        raise call.incorrect("PreauthorizationId", f"The preauthorization is {reserved['PaymentStatus']}.")
    if wanted["Currency"] != remaining["Currency"] or wanted["Amount"] > remaining["Amount"]:
        raise call.incorrect("DebitedFunds", "The preauthorization has less than this.")
    money.derive_amounts(call.client, resource)
    resource.update(CardId=reserved["CardId"], CardInfo=reserved["CardInfo"])
    money.succeed(call.client, resource, call.at)
    remaining["Amount"] -= wanted["Amount"]
    if not reserved["MultiCapture"] or not remaining["Amount"]:
        reserved.update(PaymentStatus="VALIDATED", PayInId=resource["Id"])
        call.client.tell("PREAUTHORIZATION_PAYMENT_VALIDATED", reserved["Id"], call.at)


EMULATED: Final = Emulated(
    scope="Payins",
    parents={"PreauthorizationId": PREAUTHORIZATION.collection},
    routes=(
        creates("preauthorizations/card/direct", PREAUTHORIZATION, complete),
        views("preauthorizations/{Id}", PREAUTHORIZATION),
        updates("preauthorizations/{Id}", PREAUTHORIZATION, change, {"PaymentStatus", "MultiCapture", "Tag"}),
        lists("users/{UserId}/preauthorizations", PREAUTHORIZATION, "AuthorId"),
        lists("cards/{CardId}/preauthorizations", PREAUTHORIZATION, "CardId"),
        lists("preauthorizations/{PreauthorizationId}/transactions", None, "PreauthorizationId"),
        creates("payins/preauthorized/direct", PREAUTHORIZED, capture, "PAYIN_NORMAL_SUCCEEDED"),
    ),
)
