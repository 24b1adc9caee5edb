"""Mandates of direct debits: signed by the user at a page, then active until somebody ends them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.emulator import money
from sidecar.emulator.engine.kinds import Kind, Transition, fields
from sidecar.emulator.engine.routes import Emulated, creates, lists, moves, views

if TYPE_CHECKING:
    from sidecar.emulator.engine.calls import Call
    from sidecar.emulator.state import Resource

MANDATE: Final = Kind(
    name="Mandate",
    collection="Mandate",
    prefix="mandate_m_",
    template=fields(
        *("UserId", "BankAccountId", "RecipientId", "ReturnURL", "RedirectURL", "DocumentURL", "Culture"),
        *("ResultCode", "ResultMessage", "BankReference"),
        Scheme="SEPA",
        Status="CREATED",
        ExecutionType="WEB",
        MandateType="DIRECT_DEBIT",
    ),
    read_only=frozenset(
        {"UserId", "RedirectURL", "DocumentURL", "Status", "ResultCode", "ResultMessage", "BankReference", "Scheme"}
        | {"ExecutionType", "MandateType"}
    ),
    required=("BankAccountId", "Culture", "ReturnURL"),
    links={"BankAccountId": "BankAccount"},
    transitions=(
        Transition(name="confirm", source=frozenset({"CREATED"}), target="SUBMITTED", event="MANDATE_SUBMITTED"),
        Transition(name="activate", source=frozenset({"SUBMITTED"}), target="ACTIVE", event="MANDATE_ACTIVATED"),
        Transition(
            name="cancel",
            source=frozenset({"SUBMITTED", "ACTIVE"}),
            target="FAILED",
            sets=money.result((money.SUCCESS[0], "Cancelled by the platform")),
            event="MANDATE_FAILED",
            refusal=("mandate_cannot_be_cancelled", "The mandate cannot be cancelled in its present status"),
        ),
    ),
)


def complete(call: Call, resource: Resource) -> None:
    """Belong to the bank account's owner, and wait for a signature."""
    account = call.found("BankAccount", resource["BankAccountId"])
    identifier = resource["Id"]
    separator = "&" if "?" in resource["ReturnURL"] else "?"
    resource["UserId"] = account["UserId"]
    resource["ReturnURL"] = f"{resource['ReturnURL']}{separator}MandateId={identifier}"
    resource["RedirectURL"] = f"https://api.sandbox.mangopay.com/sandbox/mandate/confirm/{identifier}"
    resource["DocumentURL"] = f"https://mangopay-sandbox.s3.amazonaws.com/mandate_preview/{identifier}.pdf"


EMULATED: Final = Emulated(
    scope="Payins",
    parents={"MandateId": "Mandate"},
    routes=(
        creates("mandates/directdebit/web", MANDATE, complete, "MANDATE_CREATED"),
        views("mandates/{Id}", MANDATE),
        moves("mandates/{Id}/cancel", MANDATE, "cancel", settable=frozenset()),
        lists("mandates", MANDATE),
        lists("mandates/{MandateId}/transactions", None, "MandateId"),
        lists("users/{UserId}/mandates", MANDATE, "UserId"),
        lists("users/{UserId}/bankaccounts/{BankAccountId}/mandates", MANDATE, "BankAccountId"),
    ),
)
