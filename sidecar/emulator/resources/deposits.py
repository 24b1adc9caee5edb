"""Deposits: preauthorizations for rentals, which are captured whole, or in part with a complement after a no-show."""

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

#: How long money stays reserved, in seconds (Mangopay: "Deposit preauthorization", 30 days).
_RESERVED_FOR: Final = 30 * 24 * 3600
_EVENT: Final = "DEPOSIT_PREAUTHORIZATION"


def _reserve(client: ClientState, resource: Resource, at: int) -> None:
    del at
    resource.update(Status="SUCCEEDED", **money.result(money.SUCCESS))
    card_payments.approve(client, resource)


DEPOSIT: Final = Kind(
    name="Deposit",
    collection="Deposit",
    prefix="deposit_m_",
    prompt="Confirm the deposit",
    returns="depositId",
    template=fields(
        *("AuthorId", "DebitedFunds", *card_payments.FIELDS, "ExpirationDate", "ResultCode", "ResultMessage"),
        "PayinsLinked",
        **card_payments.DEFAULTS,
        Status="CREATED",
        PaymentStatus="WAITING",
        PaymentType="CARD",
        ExecutionType="DIRECT",
    ),
    read_only=card_payments.SET_HERE
    | {"ExpirationDate", "ResultCode", "ResultMessage", "Status", "PayinsLinked", "PaymentType", "ExecutionType"},
    optional=frozenset({"PreferredCardNetwork", "PaymentCategory"}),
    required=("AuthorId", "DebitedFunds", "CardId", "SecureModeReturnURL"),
    links={"AuthorId": "User", "CardId": "Card"},
    money=("DebitedFunds",),
    checks={"PaymentStatus": one_of("WAITING", "CANCELED", "NO_SHOW_REQUESTED")},
    transitions=(
        *card_payments.authentication(
            _reserve, f"{_EVENT}_PAYMENT_WAITING", f"{_EVENT}_FAILED", refused_sets={"PaymentStatus": "FAILED"}
        ),
        Transition(
            name="expire",
            field="PaymentStatus",
            source=frozenset({"WAITING", "TO_BE_COMPLETED", "NO_SHOW_REQUESTED"}),
            target="EXPIRED",
            event=f"{_EVENT}_PAYMENT_EXPIRED",
        ),
    ),
)

CAPTURE: Final = msgspec.structs.replace(
    pay_in(
        "PREAUTHORIZED",
        "DIRECT",
        *("DepositId", "StatementDescriptor", "Culture", "CardId", "CardInfo"),
        read_only=("CardId", "CardInfo"),
    ),
    required=(*payins.NEEDED, "DepositId"),
    links={**payins.LINKS, "DepositId": DEPOSIT.collection},
)
#: What each capture needs the deposit to be, what it makes of it, and where it is linked; by the end of its path.
_CAPTURES: Final = {
    "full-capture": (frozenset({"WAITING"}), "VALIDATED", "PayinCaptureId"),
    "capture-with-complement": (frozenset({"WAITING"}), "TO_BE_COMPLETED", "PayinCaptureId"),
    "complement": (frozenset({"TO_BE_COMPLETED", "NO_SHOW_REQUESTED"}), "VALIDATED", "PayinComplementId"),
}


def complete(call: Call, resource: Resource) -> None:
    """Reserve the money at once, unless the payer has to authenticate."""
    resource.update(
        PaymentStatus="WAITING",
        PayinsLinked={"PayinCaptureId": None, "PayinComplementId": None},
        ExpirationDate=call.at + _RESERVED_FOR,
    )
    card_payments.describe(resource)
    call.client.tell(f"{_EVENT}_CREATED", resource["Id"], call.at)
    if not card_payments.challenge(call, resource):
        _reserve(call.client, resource, call.at)
        call.client.tell(f"{_EVENT}_PAYMENT_WAITING", resource["Id"], call.at)


def change(call: Call, resource: Resource) -> None:
    """Give the money back (``CANCELED``), or keep it for a guest who did not come (``NO_SHOW_REQUESTED``)."""
    before = call.found(DEPOSIT.collection, resource["Id"])["PaymentStatus"]
    if resource["PaymentStatus"] == before:
        return
    if before != "WAITING":
        raise call.incorrect("PaymentStatus", f"The deposit is {before} and cannot be changed.")
    call.client.tell(f"{_EVENT}_PAYMENT_{resource['PaymentStatus']}", resource["Id"], call.at)


def capture(call: Call, resource: Resource) -> None:
    """Take the money, or a part of it."""
    deposit = call.found(DEPOSIT.collection, resource["DepositId"])
    needed, target, link = _CAPTURES[call.route.pattern.rpartition("/")[2]]
    if deposit["Status"] != "SUCCEEDED" or deposit["PaymentStatus"] not in needed:
        raise call.incorrect("DepositId", f"The deposit is {deposit['PaymentStatus']}.")
    if resource["DebitedFunds"]["Amount"] > deposit["DebitedFunds"]["Amount"]:
        raise call.incorrect("DebitedFunds", "The deposit has less than this.")
    money.derive_amounts(call.client, resource)
    resource.update(CardId=deposit["CardId"], CardInfo=deposit["CardInfo"])
    money.succeed(call.client, resource, call.at)
    deposit["PayinsLinked"][link] = resource["Id"]
    deposit["PaymentStatus"] = target
    call.client.tell(f"{_EVENT}_PAYMENT_{target}", deposit["Id"], call.at)


EMULATED: Final = Emulated(
    scope="Payins",
    parents={"DepositId": DEPOSIT.collection},
    routes=(
        creates("deposit-preauthorizations/card/direct", DEPOSIT, complete),
        views("deposit-preauthorizations/{Id}", DEPOSIT),
        updates("deposit-preauthorizations/{Id}", DEPOSIT, change, {"PaymentStatus", "Tag"}),
        lists("users/{UserId}/deposit-preauthorizations", DEPOSIT, "AuthorId"),
        lists("cards/{CardId}/deposit-preauthorizations", DEPOSIT, "CardId"),
        lists("deposit-preauthorizations/{DepositId}/transactions", None, "DepositId"),
        *(
            creates(f"payins/deposit-preauthorized/direct/{name}", CAPTURE, capture, "PAYIN_NORMAL_SUCCEEDED")
            for name in _CAPTURES
        ),
    ),
)
