"""Transfers between wallets: through at once, or refused for lack of funds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.emulator import money
from sidecar.emulator.engine.kinds import Kind, fields
from sidecar.emulator.engine.routes import Emulated, creates, views

if TYPE_CHECKING:
    from sidecar.emulator.engine.calls import Call
    from sidecar.emulator.state import Resource

TRANSFER: Final = Kind(
    name="Transfer",
    collection="Transfer",
    prefix="transfer_m_",
    template=fields(**money.TRANSACTION, Type="TRANSFER"),
    read_only=money.READ_ONLY,
    required=("AuthorId", "DebitedWalletId", "CreditedWalletId", *money.AMOUNTS),
    links={
        "AuthorId": "User",
        "CreditedUserId": "User",
        "DebitedWalletId": "Wallet",
        "CreditedWalletId": "Wallet",
    },
    money=money.AMOUNTS,
    transaction=True,
)


def complete(call: Call, resource: Resource) -> None:
    """Move the money, or fail if the wallet has too little."""
    money.derive_amounts(call.client, resource)
    if money.covered(call.client, resource):
        money.succeed(call.client, resource, call.at)
    else:
        resource.update(Status="FAILED", **money.result(money.TOO_LITTLE))
    call.client.tell(f"TRANSFER_NORMAL_{resource['Status']}", resource["Id"], call.at)


EMULATED: Final = Emulated(
    scope="Transfers",
    parents={"TransferId": "Transfer"},
    routes=(
        creates("transfers", TRANSFER, complete),
        views("transfers/{Id}", TRANSFER),
    ),
)
