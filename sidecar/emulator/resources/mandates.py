"""Mandates of direct debits: signed by the user at a page, then active until somebody ends them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.emulator import money, pages
from sidecar.emulator.engine.kinds import Kind, Transition, fields, is_text
from sidecar.emulator.engine.routes import PAGES, Emulated, creates, does, lists, moves, views

if TYPE_CHECKING:
    from sidecar.emulator.engine.calls import Call
    from sidecar.emulator.messages import EmulatedResponse
    from sidecar.emulator.state import Resource

#: The result of a mandate that its user did not sign (Mangopay: "Error codes").
_UNSIGNED: Final[money.Result] = ("101004", "Mandate is not confirmed by the user")

MANDATE: Final = Kind(
    name="Mandate",
    collection="Mandate",
    prompt="Sign the mandate",
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
    checks={"ReturnURL": is_text},
    transitions=(
        Transition(
            name="confirm", label="Sign", source=frozenset({"CREATED"}), target="SUBMITTED", event="MANDATE_SUBMITTED"
        ),
        Transition(
            name="refuse",
            label="Refuse",
            source=frozenset({"CREATED"}),
            target="FAILED",
            sets=money.result(_UNSIGNED),
            event="MANDATE_FAILED",
        ),
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
    resource["RedirectURL"] = call.page(f"actions/{identifier}")
    resource["DocumentURL"] = call.page(f"mandates/{identifier}")


def show(call: Call) -> EmulatedResponse:
    """Show the text of a mandate to whoever has its URL."""
    mandate = call.client.find("Mandate", call.parameters["Mandate"])
    if mandate is None:
        return pages.not_found()
    text = f"User {mandate['UserId']} lets {call.client.client_id} collect money from {mandate['BankAccountId']}."
    return pages.page(f"Mandate {mandate['Id']}", text, f"Scheme {mandate['Scheme']}, status {mandate['Status']}.")


EMULATED: Final = Emulated(
    scope="Payins",
    parents={"MandateId": "Mandate"},
    routes=(
        creates("mandates/directdebit/web", MANDATE, complete, "MANDATE_CREATED"),
        views("mandates/{Id}", MANDATE),
        does("GET", "mandates/{Mandate}", show, version=PAGES),
        moves("mandates/{Id}/cancel", MANDATE, "cancel", settable=frozenset()),
        lists("mandates", MANDATE),
        lists("mandates/{MandateId}/transactions", None, "MandateId"),
        lists("users/{UserId}/mandates", MANDATE, "UserId"),
        lists("users/{UserId}/bankaccounts/{BankAccountId}/mandates", MANDATE, "BankAccountId"),
    ),
)
