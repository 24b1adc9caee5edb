"""Transfers between wallets: through at once, refused for lack of funds, or waiting for an owner to authenticate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.emulator import money, sca
from sidecar.emulator.engine.kinds import Kind, Transition, fields, one_of
from sidecar.emulator.engine.routes import Emulated, creates, views

if TYPE_CHECKING:
    from sidecar.emulator.engine.calls import Call
    from sidecar.emulator.state import ClientState, Resource

#: Up to this amount, in minor units, nobody has to authenticate.
_EXEMPT: Final = 3000
_WAITING: Final = frozenset({"CREATED"})
_REFUSED: Final[money.Result] = ("105399", "The user did not authenticate")


def _go_through(client: ClientState, resource: Resource, at: int) -> None:
    """Move the money, or fail if the wallet has too little."""
    if money.covered(client, resource):
        money.succeed(client, resource, at)
    else:
        resource.update(Status="FAILED", **money.result(money.TOO_LITTLE))
    client.tell(f"TRANSFER_NORMAL_{resource['Status']}", resource["Id"], at)


TRANSFER: Final = Kind(
    name="Transfer",
    collection="Transfer",
    prefix="transfer_m_",
    template=fields("PendingUserAction", **money.TRANSACTION, Type="TRANSFER"),
    read_only=money.READ_ONLY | {"PendingUserAction"},
    optional=frozenset({"ScaContext"}),
    required=("AuthorId", "DebitedWalletId", "CreditedWalletId", *money.AMOUNTS),
    links={
        "AuthorId": "User",
        "CreditedUserId": "User",
        "DebitedWalletId": "Wallet",
        "CreditedWalletId": "Wallet",
    },
    money=money.AMOUNTS,
    checks={"ScaContext": one_of("USER_PRESENT", "USER_NOT_PRESENT")},
    transitions=(
        Transition(
            name=sca.AUTHENTICATE,
            source=_WAITING,
            target="SUCCEEDED",
            sets={"PendingUserAction": None},
            change=_go_through,
        ),
        Transition(
            name=sca.REFUSE,
            source=_WAITING,
            target="FAILED",
            sets={"PendingUserAction": None, **money.result(_REFUSED)},
            event="TRANSFER_NORMAL_FAILED",
        ),
    ),
    transaction=True,
)


def complete(call: Call, resource: Resource) -> None:
    """Go through, unless the author has to authenticate first."""
    money.derive_amounts(call.client, resource)
    context = resource.pop("ScaContext", None) or sca.default_context(call)
    if context == "USER_PRESENT" and _needs_authentication(call, resource):
        resource["PendingUserAction"] = sca.pending(call, resource["AuthorId"], resource["Id"])
        call.client.tell("TRANSFER_NORMAL_CREATED", resource["Id"], call.at)
    else:
        _go_through(call.client, resource, call.at)


def _needs_authentication(call: Call, resource: Resource) -> bool:
    """Tell whether the money of an owner who has not authenticated leaves the owner, and is more than is exempt."""
    author = call.found("User", resource["AuthorId"])
    leaves = resource["CreditedUserId"] != resource["AuthorId"]
    asked = sca.asked(call.client, author, "USER_PRESENT", call.state.clock.wall())
    return leaves and bool(asked) and bool(resource["DebitedFunds"]["Amount"] > _EXEMPT)


EMULATED: Final = Emulated(
    scope="Transfers",
    parents={"TransferId": "Transfer"},
    routes=(
        creates("transfers", TRANSFER, complete),
        views("transfers/{Id}", TRANSFER),
    ),
)
