"""Pay-ins by bank wire: announced first, and there once the bank has received the money."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from sidecar.emulator import money
from sidecar.emulator.engine.routes import Emulated, creates
from sidecar.emulator.resources.payins import PAYING, pay_in

if TYPE_CHECKING:
    from sidecar.emulator.engine.calls import Call
    from sidecar.emulator.engine.kinds import Kind
    from sidecar.emulator.state import ClientState, Resource

_DECLARED: Final = ("DeclaredDebitedFunds", "DeclaredFees")


def _receive(client: ClientState, resource: Resource, at: int) -> None:
    """Receive what was declared, no more and no less."""
    resource.update(DebitedFunds=resource[_DECLARED[0]], Fees=resource[_DECLARED[1]])
    money.derive_amounts(client, resource)
    money.succeed(client, resource, at)


def _kind() -> Kind:
    kind = pay_in("BANK_WIRE", "DIRECT", *_DECLARED, "WireReference", "BankAccount")
    paying = tuple(msgspec.structs.replace(each, change=_receive) if each.name == "pay" else each for each in PAYING)
    return msgspec.structs.replace(
        kind,
        read_only=kind.read_only | {"WireReference", "BankAccount", *money.AMOUNTS},
        required=("AuthorId", "CreditedWalletId", *_DECLARED),
        money=_DECLARED,
        transitions=paying,
    )


BANK_WIRE: Final = _kind()


def complete(call: Call, resource: Resource) -> None:
    """Tell which account the money goes to, and what the wire says so that it is known."""
    if resource["CreditedUserId"] is None:
        resource["CreditedUserId"] = money.owner(call.client, resource["CreditedWalletId"])
    resource["WireReference"] = resource["Id"].upper()
    resource["BankAccount"] = {
        "Type": "IBAN",
        "OwnerName": "MANGOPAY",
        "OwnerAddress": {
            **dict.fromkeys(("AddressLine2", "Region")),
            "AddressLine1": "10 Boulevard Royal",
            "City": "Luxembourg",
            "PostalCode": "2449",
            "Country": "LU",
        },
        "IBAN": "LU320010001234567890",
        "BIC": "MPAYLUL1XXX",
    }


EMULATED: Final = Emulated(
    scope="Payins", routes=(creates("payins/bankwire/direct", BANK_WIRE, complete, "PAYIN_NORMAL_CREATED"),)
)
