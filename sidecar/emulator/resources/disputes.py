"""Disputes of pay-ins with their documents, repudiations and settlement transfers.

No call makes a dispute, as at Mangopay: the control route ``disputes`` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sidecar.emulator import money
from sidecar.emulator.engine import acts
from sidecar.emulator.engine.bodies import is_money
from sidecar.emulator.engine.kinds import Kind, Transition, fields, one_of
from sidecar.emulator.engine.routes import Emulated, creates, does, lists, moves, updates, views
from sidecar.emulator.engine.transitions import note_processed
from sidecar.emulator.resources import document_pages

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sidecar.emulator.engine.calls import Call
    from sidecar.emulator.messages import EmulatedResponse
    from sidecar.emulator.state import ClientState, Resource

_OURS: Final = frozenset({"PENDING_CLIENT_ACTION", "REOPENED_PENDING_CLIENT_ACTION"})
#: Statuses in which a dispute waits for the bank.
THEIRS: Final = frozenset({"SUBMITTED", "PENDING_BANK_ACTION"})
#: What a lost dispute tells.
LOST: Final = {"ResultCode": "LOST", "ResultMessage": "The dispute was lost"}
_WON: Final = {"ResultCode": "WON", "ResultMessage": "The dispute was won"}


def _close(client: ClientState, resource: Resource, at: int) -> None:
    del client
    resource["ClosedDate"] = at


def lose(client: ClientState, resource: Resource, at: int) -> None:
    """Close a dispute at ``at`` (Unix seconds), and take the disputed funds back."""
    resource["ClosedDate"] = at
    repudiate(client, resource, at)


DISPUTE: Final = Kind(
    name="Dispute",
    collection="Dispute",
    prefix="dispute_m_",
    template=fields(
        *("InitialTransactionId", "ResultCode", "ResultMessage", "DisputeReason", "StatusMessage", "DisputedFunds"),
        *("ContestedFunds", "ContestDeadlineDate", "ClosedDate", "RepudiationId"),
        InitialTransactionType="PAYIN",
        DisputeType="CONTESTABLE",
        Status="CREATED",
    ),
    read_only=frozenset({"InitialTransactionId", "InitialTransactionType", "Status", "RepudiationId", "DisputeType"}),
    transitions=(
        Transition(
            name="demand",
            source=frozenset({"CREATED"}),
            target="PENDING_CLIENT_ACTION",
            event="DISPUTE_ACTION_REQUIRED",
        ),
        Transition(name="submit", source=_OURS, target="SUBMITTED", event="DISPUTE_SUBMITTED"),
        Transition(
            name="forward", source=frozenset({"SUBMITTED"}), target="PENDING_BANK_ACTION", event="DISPUTE_SENT_TO_BANK"
        ),
        Transition(
            name="reopen",
            source=THEIRS,
            target="REOPENED_PENDING_CLIENT_ACTION",
            event="DISPUTE_FURTHER_ACTION_REQUIRED",
        ),
        Transition(name="win", source=THEIRS, target="CLOSED", sets=_WON, change=_close, event="DISPUTE_CLOSED"),
        Transition(name="lose", source=THEIRS, target="CLOSED", sets=LOST, change=lose, event="DISPUTE_CLOSED"),
        Transition(
            name="close",
            source=frozenset({"CREATED", *_OURS, *THEIRS}),
            target="CLOSED",
            sets=LOST,
            change=lose,
            event="DISPUTE_CLOSED",
        ),
    ),
)

REPUDIATION: Final = Kind(
    name="Repudiation",
    collection="Repudiation",
    prefix="repudiation_m_",
    template=fields(
        *("InitialTransactionId", "RefundReason"),
        **{**money.TRANSACTION, "Nature": "REPUDIATION"},
        Type="PAYOUT",
        InitialTransactionType="PAYIN",
    ),
    transaction=True,
)


def _number(amount: Any) -> Any:
    """Return an amount as a number: SDKs' own examples of settlements have it as a string."""
    return int(amount) if isinstance(amount, str) and amount.isdecimal() and len(amount) < 16 else amount


def _check_amount(value: Any) -> str | None:
    if isinstance(value, dict) and is_money({**value, "Amount": _number(value.get("Amount"))}):
        return None
    return "The value must have a Currency and an Amount of at least 0."


SETTLEMENT_TRANSFER: Final = Kind(
    name="SettlementTransfer",
    collection="SettlementTransfer",
    prefix="settlement_transfer_m_",
    template=fields("RepudiationId", **{**money.TRANSACTION, "Nature": "SETTLEMENT"}, Type="TRANSFER"),
    read_only=money.READ_ONLY | {"RepudiationId", "DebitedWalletId", "CreditedWalletId"},
    required=("AuthorId", *money.AMOUNTS),
    links={"AuthorId": "User"},
    checks=dict.fromkeys(money.AMOUNTS, _check_amount),
    transaction=True,
)

_SUBMITTED: Final = frozenset({"VALIDATION_ASKED"})


DOCUMENT: Final = Kind(
    name="DisputeDocument",
    collection="DisputeDocument",
    prefix="dispute_doc_m_",
    template=fields(
        *("DisputeId", "UserId", "Type", "RefusedReasonType", "RefusedReasonMessage", "ProcessedDate"), Status="CREATED"
    ),
    read_only=frozenset({"DisputeId", "UserId", "RefusedReasonType", "RefusedReasonMessage", "ProcessedDate"}),
    required=("Type",),
    checks={"Status": one_of("CREATED", "VALIDATION_ASKED")},
    transitions=(
        Transition(
            name="validate",
            source=_SUBMITTED,
            target="VALIDATED",
            change=note_processed,
            event="DISPUTE_DOCUMENT_SUCCEEDED",
        ),
        Transition(
            name="refuse",
            source=_SUBMITTED,
            target="REFUSED",
            sets={"RefusedReasonType": "DOCUMENT_UNREADABLE"},
            change=note_processed,
            event="DISPUTE_DOCUMENT_FAILED",
        ),
    ),
)


def repudiate(client: ClientState, dispute: Resource, at: int) -> None:
    """Take the disputed funds back from the wallet that the pay-in went to."""
    pay_in = client.find("PayIn", dispute["InitialTransactionId"])
    if pay_in is None or dispute["RepudiationId"] is not None:
        return
    repudiation = acts.build(REPUDIATION, client, at)
    nothing = {"Currency": dispute["DisputedFunds"]["Currency"], "Amount": 0}
    repudiation.update(
        InitialTransactionId=pay_in["Id"],
        AuthorId=pay_in["AuthorId"],
        DebitedWalletId=pay_in["CreditedWalletId"],
        DebitedFunds=dict(dispute["DisputedFunds"]),
        CreditedFunds=dict(dispute["DisputedFunds"]),
        Fees=nothing,
        RefundReason=dispute["DisputeReason"],
    )
    money.succeed(client, repudiation, at)
    acts.keep(client, repudiation)
    dispute["RepudiationId"] = repudiation["Id"]


def settle(call: Call, resource: Resource) -> None:
    """Let the author pay for what was repudiated, out of the wallet that it was taken from."""
    repudiation = call.found("Repudiation", resource["RepudiationId"])
    resource["CreditedWalletId"] = repudiation["DebitedWalletId"]
    for field in money.AMOUNTS:
        resource[field] = {**resource[field], "Amount": _number(resource[field]["Amount"])}
    money.derive_amounts(call.client, resource)
    money.succeed(call.client, resource, call.at)


def complete_document(call: Call, resource: Resource) -> None:
    """Belong to the author of the disputed pay-in, and start as CREATED."""
    dispute = call.found("Dispute", resource["DisputeId"])
    pay_in = call.client.find("PayIn", dispute["InitialTransactionId"])
    resource["UserId"] = None if pay_in is None else pay_in["AuthorId"]
    resource["Status"] = "CREATED"


def add_page(call: Call) -> EmulatedResponse:
    """Take a page of a document that is not submitted yet."""
    return document_pages.add(call, call.found("DisputeDocument", call.parameters["DisputeDocumentId"]))


def consult(call: Call) -> EmulatedResponse:
    """Tell where the pages of a document can be looked at."""
    return document_pages.consult(call, call.found("DisputeDocument", call.parameters["DisputeDocumentId"]))


def transactions(call: Call) -> EmulatedResponse:
    """Show the repudiation of a dispute, and the transfers that settle it."""
    wanted = call.found("Dispute", call.parameters["DisputeId"])["RepudiationId"]
    repudiations = (each for each in call.client.collection("Repudiation").values() if each["Id"] == wanted)
    return acts.page(call, [*repudiations, *_settlements(call.client, wanted)])


def _settlements(client: ClientState, repudiation: str | None) -> Iterator[Resource]:
    transfers = client.collection("SettlementTransfer").values()
    return (each for each in transfers if repudiation is not None and each["RepudiationId"] == repudiation)


def of_pay_ins(call: Call) -> EmulatedResponse:
    """Show the disputes of one pay-in, or of the pay-ins of a user or into a wallet."""
    field = {"PayInId": "Id", "UserId": "AuthorId", "WalletId": "CreditedWalletId"}
    ((name, identifier),) = call.parameters.items()
    pay_ins = call.client.collection("PayIn").values()
    concerned = {pay_in["Id"] for pay_in in pay_ins if pay_in[field[name]] == identifier}
    disputes = call.client.collection("Dispute").values()
    return acts.page(call, [each for each in disputes if each["InitialTransactionId"] in concerned])


def pending_settlement(call: Call) -> EmulatedResponse:
    """Show the disputes that were repudiated and not settled yet."""
    disputes = call.client.collection("Dispute").values()
    repudiated = (each for each in disputes if each["RepudiationId"] is not None)
    return acts.page(call, [each for each in repudiated if not any(_settlements(call.client, each["RepudiationId"]))])


EMULATED: Final = Emulated(
    scope="Disputes.General",
    parents={
        "DisputeId": "Dispute",
        "DisputeDocumentId": "DisputeDocument",
        "RepudiationId": "Repudiation",
    },
    routes=(
        lists("disputes", DISPUTE),
        does("GET", "disputes/pendingsettlement", pending_settlement),
        views("disputes/{Id}", DISPUTE),
        updates("disputes/{Id}", DISPUTE, settable={"Tag"}),
        moves("disputes/{Id}/submit", DISPUTE, "submit", settable=frozenset({"ContestedFunds"})),
        moves("disputes/{Id}/close", DISPUTE, "close", settable=frozenset()),
        does("GET", "disputes/{DisputeId}/transactions", transactions),
        does("GET", "users/{UserId}/disputes", of_pay_ins),
        does("GET", "wallets/{WalletId}/disputes", of_pay_ins),
        does("GET", "payins/{PayInId}/disputes", of_pay_ins),
        creates("disputes/{DisputeId}/documents", DOCUMENT, complete_document, fixed={"DisputeId": "{DisputeId}"}),
        lists("disputes/{DisputeId}/documents", DOCUMENT, "DisputeId"),
        updates("disputes/{DisputeId}/documents/{Id}", DOCUMENT, settable={"Status", "Tag"}),
        does("POST", "disputes/{DisputeId}/documents/{DisputeDocumentId}/pages", add_page),
        lists("dispute-documents", DOCUMENT),
        views("dispute-documents/{Id}", DOCUMENT),
        does("POST", "dispute-documents/{DisputeDocumentId}/consult", consult),
        views("repudiations/{Id}", REPUDIATION),
        creates(
            "repudiations/{RepudiationId}/settlementtransfer",
            SETTLEMENT_TRANSFER,
            settle,
            "TRANSFER_SETTLEMENT_SUCCEEDED",
            fixed={"RepudiationId": "{RepudiationId}"},
            scope="Disputes.Settlement",
        ),
        views("settlements/{Id}", SETTLEMENT_TRANSFER, scope="Disputes.Settlement"),
    ),
)
