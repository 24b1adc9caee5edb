"""Wallets, and the transactions of wallets and users: what an owner has to authenticate for before viewing it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.emulator import sca
from sidecar.emulator.engine.kinds import Kind, fields
from sidecar.emulator.engine.routes import Emulated, creates, lists, updates, views

if TYPE_CHECKING:
    from sidecar.emulator.engine.calls import Call
    from sidecar.emulator.state import Resource

WALLET: Final = Kind(
    name="Wallet",
    collection="Wallet",
    prefix="wlt_m_",
    template=fields("Owners", "Description", "Currency", "Balance", FundsType="DEFAULT"),
    read_only=frozenset({"Balance", "FundsType"}),
    required=("Owners", "Description", "Currency"),
    links={"Owners": "User"},
    several=frozenset({"Owners"}),
)


def complete(call: Call, resource: Resource) -> None:
    """Start with an empty balance."""
    del call
    resource["Balance"] = {"Currency": resource["Currency"], "Amount": 0}


EMULATED: Final = Emulated(
    scope="Wallet.Details",
    parents={"WalletId": "Wallet"},
    routes=(
        creates("wallets", WALLET, complete),
        views("wallets/{Id}", WALLET, guard=sca.demand),
        updates("wallets/{Id}", WALLET, settable={"Description", "Tag"}),
        lists("users/{UserId}/wallets", WALLET, "Owners", guard=sca.demand),
        lists("wallets/{WalletId}/transactions", None, "DebitedWalletId", "CreditedWalletId", guard=sca.demand),
        lists("users/{UserId}/transactions", None, "AuthorId", "CreditedUserId", guard=sca.demand),
    ),
)
