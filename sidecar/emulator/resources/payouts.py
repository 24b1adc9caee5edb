"""Payouts to bank accounts: the bank is slow, so they stay CREATED until they are settled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.emulator import money
from sidecar.emulator.engine.kinds import Kind, Transition, fields
from sidecar.emulator.engine.routes import Emulated, creates, does, views
from sidecar.emulator.messages import json_response
from sidecar.emulator.resources.recipients import verification_of_payee

if TYPE_CHECKING:
    from sidecar.emulator.engine.calls import Call
    from sidecar.emulator.messages import EmulatedResponse
    from sidecar.emulator.state import ClientState, Resource

_NOT_COVERED: Final[money.Result] = ("002998", money.TOO_LITTLE[1])
_REFUSED: Final[money.Result] = ("121999", "Generic withdrawal error")
#: A lack of funds shows only when the payout is read: Mangopay looks at the wallet after it has answered.
_FAIL: Final = "fail"


def _is_taken(resource: Resource) -> bool:
    """Tell whether the money has left the wallet: what was not covered is due to fail."""
    return resource.due != _FAIL


def _send(client: ClientState, resource: Resource, at: int) -> None:
    """Send the money, or fail if it was not taken and the wallet still has too little."""
    taken = _is_taken(resource)
    if taken or money.covered(client, resource):
        if not taken:
            money.debit(client, resource)
        money.credit(client, resource)
        resource.update(ExecutionDate=at, **money.result(money.SUCCESS))
    else:
        resource.update(Status="FAILED", **money.result(_NOT_COVERED))
    client.tell(f"PAYOUT_NORMAL_{resource['Status']}", resource["Id"], at)


def _give_back(client: ClientState, resource: Resource, at: int) -> None:
    del at
    if _is_taken(resource):
        money.give_back(client, resource)


PAY_OUT: Final = Kind(
    name="PayOut",
    collection="PayOut",
    prefix="payout_m_",
    template=fields(
        *("BankAccountId", "BankWireRef", "PaymentRef", "ModeApplied", "FallbackReason", "RecipientId"),
        "RecipientVerificationOfPayee",
        **money.TRANSACTION,
        Type="PAYOUT",
        PaymentType="BANK_WIRE",
        ExecutionType="DIRECT",
        PayoutModeRequested="STANDARD",
        ModeRequested="STANDARD",
    ),
    read_only=money.READ_ONLY
    | {"PaymentType", "ExecutionType", "ModeApplied", "FallbackReason", "RecipientVerificationOfPayee"}
    | {"CreditedWalletId"},
    required=("AuthorId", "DebitedWalletId", *money.AMOUNTS),
    links={
        "AuthorId": "User",
        "DebitedWalletId": "Wallet",
        "BankAccountId": "BankAccount",
        "RecipientId": "Recipient",
    },
    money=money.AMOUNTS,
    transitions=(
        Transition(name="send", source=frozenset({"CREATED"}), target="SUCCEEDED", change=_send),
        Transition(
            name="refuse",
            source=frozenset({"CREATED"}),
            target="FAILED",
            sets=money.result(_REFUSED),
            change=_give_back,
            event="PAYOUT_NORMAL_FAILED",
        ),
        Transition(
            name=_FAIL,
            source=frozenset({"CREATED"}),
            target="FAILED",
            sets=money.result(_NOT_COVERED),
            change=_give_back,
            event="PAYOUT_NORMAL_FAILED",
        ),
    ),
    transaction=True,
)


def complete(call: Call, resource: Resource) -> None:
    """Take the money from the wallet; if it has too little, the payout is going to fail."""
    if not (resource["BankAccountId"] or resource["RecipientId"]):
        raise call.incorrect("BankAccountId", "The BankAccountId or the RecipientId field is required.")
    recipient = call.client.find("Recipient", resource["RecipientId"] or "")
    if recipient is not None and recipient["Status"] != "ACTIVE":
        raise call.incorrect("RecipientId", f"The recipient is {recipient['Status']}.")
    money.derive_amounts(call.client, resource)
    resource["RecipientVerificationOfPayee"] = verification_of_payee(resource)
    if money.covered(call.client, resource):
        money.debit(call.client, resource)
    else:
        resource.due = _FAIL


def reach(call: Call) -> EmulatedResponse:
    """Tell whether an account can be paid at once: one with an IBAN can."""
    body = call.body()
    for field in ("AuthorId", "DebitedFunds", "DebitedWalletId"):
        if not body.get(field):
            raise call.incorrect(field, f"The {field} field is required.")
    account = call.found("BankAccount", str(body.get("BankAccountId")))
    reason = None if account["Type"] == "IBAN" else {"Code": "121999", "Message": "The bank cannot be reached"}
    return json_response(200, {"InstantPayout": {"IsReachable": reason is None, "UnreachableReason": reason}})


EMULATED: Final = Emulated(
    scope="Payouts",
    parents={"PayOutId": "PayOut"},
    routes=(
        creates("payouts/bankwire", PAY_OUT, complete, "PAYOUT_NORMAL_CREATED"),
        views("payouts/bankwire/{Id}", PAY_OUT),
        views("payouts/{Id}", PAY_OUT),
        does("POST", "payouts/reachability", reach),
    ),
)
