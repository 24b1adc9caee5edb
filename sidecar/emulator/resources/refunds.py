"""Refunds of pay-ins, transfers and payouts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.emulator import money
from sidecar.emulator.engine.kinds import Kind, fields
from sidecar.emulator.engine.routes import Emulated, creates, lists, views

if TYPE_CHECKING:
    from sidecar.emulator.engine.calls import Call
    from sidecar.emulator.state import Resource

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
    money=money.AMOUNTS,
    transaction=True,
)

_COLLECTION_OF: Final = {"PAYIN": "PayIn", "TRANSFER": "Transfer"}


def complete(call: Call, resource: Resource) -> None:
    """Send back what the first transaction moved, or as much of it as was asked for."""
    client = call.client
    first = call.found(_COLLECTION_OF[resource["InitialTransactionType"]], resource["InitialTransactionId"])
    for field in money.AMOUNTS:
        resource[field] = resource[field] or first[field]
    resource["Type"] = "PAYOUT" if first["Type"] == "PAYIN" else "TRANSFER"
    resource["DebitedWalletId"], resource["CreditedWalletId"] = first["CreditedWalletId"], first["DebitedWalletId"]
    resource["RefundReason"] = {"RefundReasonType": "INITIALIZED_BY_CLIENT", "RefundReasonMessage": None}
    money.derive_amounts(client, resource)
    money.succeed(client, resource, call.at)


_OF_PAY_IN: Final = {"InitialTransactionId": "{PayInId}", "InitialTransactionType": "PAYIN"}
_OF_TRANSFER: Final = {"InitialTransactionId": "{TransferId}", "InitialTransactionType": "TRANSFER"}
_BY: Final = "InitialTransactionId"

EMULATED: Final = Emulated(
    routes=(
        creates(
            "payins/{PayInId}/refunds",
            REFUND,
            complete,
            "PAYIN_REFUND_SUCCEEDED",
            fixed=_OF_PAY_IN,
            scope="Refunds.Payins",
        ),
        lists("payins/{PayInId}/refunds", REFUND, _BY, scope="Refunds.Payins"),
        creates(
            "transfers/{TransferId}/refunds",
            REFUND,
            complete,
            "TRANSFER_REFUND_SUCCEEDED",
            fixed=_OF_TRANSFER,
            scope="Refunds.Transfers",
        ),
        lists("transfers/{TransferId}/refunds", REFUND, _BY, scope="Refunds.Transfers"),
        lists("payouts/{PayOutId}/refunds", REFUND, _BY, scope="Refunds.Payouts"),
        lists("repudiations/{RepudiationId}/refunds", REFUND, _BY, scope="Refunds.Repudiations"),
        views("refunds/{Id}", REFUND, scope="Refunds.General"),
    ),
)
