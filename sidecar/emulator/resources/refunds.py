"""Refunds of pay-ins, transfers and payouts: never more than was paid, and never more than the wallet has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sidecar.emulator import money
from sidecar.emulator.engine.bodies import is_money
from sidecar.emulator.engine.kinds import Kind, fields
from sidecar.emulator.engine.routes import Emulated, creates, lists, views

if TYPE_CHECKING:
    from sidecar.emulator.engine.calls import Call
    from sidecar.emulator.state import ClientState, Resource

# Why a refund fails (Mangopay: "Error codes", category Refund).
_REFUNDED: Final[money.Result] = ("001401", "Transaction has already been successfully refunded")
_NOT_REFUNDABLE: Final[money.Result] = ("001404", "No more refunds can be created against this transaction")
_TOO_MUCH: Final[money.Result] = ("005403", "The refund cannot exceed initial transaction amount")
_TOO_MANY_FEES: Final[money.Result] = ("005404", "The refunded fees cannot exceed initial fee amount")


def _check_fees(value: Any) -> str | None:
    """Fees are given back as a negative amount."""
    amount = value.get("Amount") if isinstance(value, dict) else None
    if type(amount) is int and is_money({**value, "Amount": abs(amount)}):
        return None
    return "The field Fees must have a Currency and an Amount, negative to give fees back."


REFUND: Final = Kind(
    name="Refund",
    collection="Refund",
    prefix="refund_m_",
    template=fields(
        *("InitialTransactionId", "InitialTransactionType", "RefundReason", "Reference", "StatementDescriptor"),
        **{**money.TRANSACTION, "Nature": "REFUND"},
        Type="PAYOUT",
    ),
    read_only=money.READ_ONLY | {"InitialTransactionId", "InitialTransactionType", "RefundReason"},
    required=("AuthorId",),
    links={"AuthorId": "User"},
    money=("DebitedFunds",),
    checks={"Fees": _check_fees},
    transaction=True,
)

_COLLECTION_OF: Final = {"PAYIN": "PayIn", "TRANSFER": "Transfer"}


def complete(call: Call, resource: Resource) -> None:
    """Send back what the first transaction moved, fees included, or as much of it as was asked for."""
    client = call.client
    first = call.found(_COLLECTION_OF[resource["InitialTransactionType"]], resource["InitialTransactionId"])
    resource["Type"] = "PAYOUT" if first["Type"] == "PAYIN" else "TRANSFER"
    resource["DebitedWalletId"], resource["CreditedWalletId"] = first["CreditedWalletId"], first["DebitedWalletId"]
    resource["RefundReason"] = {"RefundReasonType": "INITIALIZED_BY_CLIENT", "RefundReasonMessage": None}
    if _has_amounts(first):
        _fill_amounts(resource, first)
        money.derive_amounts(client, resource)
    problem = _problem(client, resource, first)
    if problem is None:
        money.succeed(client, resource, call.at)
    else:
        resource.update(Status="FAILED", **money.result(problem))
    client.tell(f"{resource['InitialTransactionType']}_REFUND_{resource['Status']}", resource["Id"], call.at)


def _has_amounts(first: Resource) -> bool:
    """Tell whether a transaction has amounts: a wire has none before it has come."""
    return all(first[field] is not None for field in (*money.AMOUNTS, "CreditedFunds"))


def _fill_amounts(resource: Resource, first: Resource) -> None:
    """Take out of the wallet what came in, and out of the platform's what it kept, unless amounts are given."""
    fees = first["Fees"]
    whole = resource["DebitedFunds"] is None
    resource["DebitedFunds"] = resource["DebitedFunds"] or dict(first["CreditedFunds"])
    resource["Fees"] = resource["Fees"] or {**fees, "Amount": -fees["Amount"] if whole else 0}


def _problem(client: ClientState, resource: Resource, first: Resource) -> money.Result | None:
    """Return why this refund fails, or None."""
    if first["Status"] != "SUCCEEDED" or not _has_amounts(first):
        return _NOT_REFUNDABLE
    paid, given = first["DebitedFunds"]["Amount"], _refunded(client, first, "CreditedFunds")
    if given >= paid > 0:
        return _REFUNDED
    if given + resource["CreditedFunds"]["Amount"] > paid:
        return _TOO_MUCH
    if -(_refunded(client, first, "Fees") + resource["Fees"]["Amount"]) > first["Fees"]["Amount"]:
        return _TOO_MANY_FEES
    return None if money.covered(client, resource) else money.TOO_LITTLE


def _refunded(client: ClientState, first: Resource, field: str) -> int:
    """Return the sum of ``field`` over all refunds of a transaction that went through."""
    refunds = client.collection(REFUND.collection).values()
    return sum(
        each[field]["Amount"]
        for each in refunds
        if each["InitialTransactionId"] == first["Id"] and each["Status"] == "SUCCEEDED"
    )


_OF_PAY_IN: Final = {"InitialTransactionId": "{PayInId}", "InitialTransactionType": "PAYIN"}
_OF_TRANSFER: Final = {"InitialTransactionId": "{TransferId}", "InitialTransactionType": "TRANSFER"}
_BY: Final = "InitialTransactionId"

EMULATED: Final = Emulated(
    routes=(
        creates(
            "payins/{PayInId}/refunds",
            REFUND,
            complete,
            fixed=_OF_PAY_IN,
            scope="Refunds.Payins",
        ),
        lists("payins/{PayInId}/refunds", REFUND, _BY, scope="Refunds.Payins"),
        creates(
            "transfers/{TransferId}/refunds",
            REFUND,
            complete,
            fixed=_OF_TRANSFER,
            scope="Refunds.Transfers",
        ),
        lists("transfers/{TransferId}/refunds", REFUND, _BY, scope="Refunds.Transfers"),
        lists("payouts/{PayOutId}/refunds", REFUND, _BY, scope="Refunds.Payouts"),
        lists("repudiations/{RepudiationId}/refunds", REFUND, _BY, scope="Refunds.Repudiations"),
        views("refunds/{Id}", REFUND, scope="Refunds.General"),
    ),
)
