"""Disputes as banks make them: for the control route ``disputes``, since no call does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sidecar.emulator import money
from sidecar.emulator.engine import acts
from sidecar.emulator.resources import disputes
from sidecar.emulator.resources.payins import CARD_DIRECT
from sidecar.emulator.resources.users import NATURAL_USER
from sidecar.emulator.resources.wallets import WALLET

if TYPE_CHECKING:
    from sidecar.emulator.engine.kinds import Kind
    from sidecar.emulator.state import ClientState, Resource

#: How long a dispute can be contested, in seconds.
_CONTESTED_FOR: Final = 7 * 24 * 3600
_FUNDS: Final = {"Currency": "EUR", "Amount": 1000}
#: What a round has: a dispute of each type in each status that it can have.
_ROUND: Final = (
    ("CONTESTABLE", "CREATED"),
    ("CONTESTABLE", "SUBMITTED"),
    ("CONTESTABLE", "PENDING_BANK_ACTION"),
    ("CONTESTABLE", "CLOSED"),
    ("CONTESTABLE", "PENDING_CLIENT_ACTION"),
    ("CONTESTABLE", "REOPENED_PENDING_CLIENT_ACTION"),
    ("RETRIEVAL", "PENDING_CLIENT_ACTION"),
    ("NOT_CONTESTABLE", "CLOSED"),
)


def make(client: ClientState, at: int, rounds: int) -> list[str]:
    """Make disputes of each type in each status, with the pay-ins that they are about; return their Ids."""
    user = _made(client, NATURAL_USER, at, FirstName="Dana", LastName="Dispute", Email="dana@example.com")
    wallet = _made(client, WALLET, at, Owners=[user["Id"]], Description="Disputed", Currency="EUR")
    wallet["Balance"] = {"Currency": "EUR", "Amount": 0}
    made = [
        _dispute(client, at, user["Id"], wallet["Id"], kind, status) for _ in range(rounds) for kind, status in _ROUND
    ]
    return [dispute["Id"] for dispute in made]


def _dispute(client: ClientState, at: int, user: str, wallet: str, kind: str, status: str) -> Resource:
    pay_in = _made(client, CARD_DIRECT, at, AuthorId=user, CreditedWalletId=wallet)
    pay_in.update(DebitedFunds=dict(_FUNDS), Fees={"Currency": "EUR", "Amount": 0})
    money.derive_amounts(client, pay_in)
    money.succeed(client, pay_in, at)
    dispute = _made(client, disputes.DISPUTE, at, DisputeType=kind, Status=status, InitialTransactionId=pay_in["Id"])
    dispute.update(
        DisputeReason={"DisputeReasonType": "FRAUD", "DisputeReasonMessage": "The card's holder disputes the payment"},
        DisputedFunds=dict(_FUNDS),
        ContestDeadlineDate=at + _CONTESTED_FOR,
    )
    if status in disputes.THEIRS:
        dispute["ContestedFunds"] = dict(_FUNDS)
        _made(
            client,
            disputes.DOCUMENT,
            at,
            DisputeId=dispute["Id"],
            UserId=user,
            Type="DELIVERY_PROOF",
            Status="VALIDATED",
        )
    if status == "CLOSED":
        dispute.update(disputes.LOST)
        disputes.lose(client, dispute, at)
    client.tell("DISPUTE_CREATED", dispute["Id"], at)
    return dispute


def _made(client: ClientState, kind: Kind, at: int, **values: Any) -> Resource:
    resource = acts.build(kind, client, at)
    resource.update(values)
    acts.keep(client, resource)
    return resource
