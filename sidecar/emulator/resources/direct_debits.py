"""Pay-ins by direct debit: at a page, or with a mandate that was signed before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from sidecar.emulator import money
from sidecar.emulator.engine.routes import Emulated, creates
from sidecar.emulator.resources.payins import pay_in

if TYPE_CHECKING:
    from sidecar.emulator.engine.calls import Call
    from sidecar.emulator.state import Resource

#: How long a bank takes to charge, in seconds.
_CHARGED_AFTER: Final = 2 * 24 * 3600
_NOT_SIGNED: Final[money.Result] = ("001833", "The Status of this Mandate does not allow for payments")
_SIGNED: Final = frozenset({"SUBMITTED", "ACTIVE"})

_WEB: Final = pay_in(
    *("DIRECT_DEBIT", "WEB", "ReturnURL", "RedirectURL", "Culture", "DirectDebitType", "SecureMode"),
    *("TemplateURL", "TemplateURLOptions", "StatementDescriptor"),
    read_only=("RedirectURL",),
)
WEB: Final = msgspec.structs.replace(_WEB, required=(*_WEB.required, "ReturnURL"))
_DIRECT: Final = pay_in(
    "DIRECT_DEBIT", "DIRECT", "MandateId", "ChargeDate", "StatementDescriptor", "Culture", read_only=("ChargeDate",)
)
DIRECT: Final = msgspec.structs.replace(
    _DIRECT, required=(*_DIRECT.required, "MandateId"), links={**_DIRECT.links, "MandateId": "Mandate"}
)


def complete_web(call: Call, resource: Resource) -> None:
    """Wait for the payer at a page of the emulator's own."""
    money.derive_amounts(call.client, resource)
    resource["RedirectURL"] = call.page(f"actions/{resource['Id']}")
    if resource["Culture"]:
        resource["Culture"] = str(resource["Culture"]).upper()
    call.client.tell("PAYIN_NORMAL_CREATED", resource["Id"], call.at)


def complete_direct(call: Call, resource: Resource) -> None:
    """Wait for the bank, or fail at once if the mandate is not signed."""
    money.derive_amounts(call.client, resource)
    if call.found("Mandate", resource["MandateId"])["Status"] in _SIGNED:
        resource["ChargeDate"] = call.at + _CHARGED_AFTER
    else:
        resource.update(Status="FAILED", **money.result(_NOT_SIGNED))
    call.client.tell(f"PAYIN_NORMAL_{resource['Status']}", resource["Id"], call.at)


EMULATED: Final = Emulated(
    scope="Payins",
    routes=(
        creates("payins/directdebit/web", WEB, complete_web),
        creates("payins/directdebit/direct", DIRECT, complete_direct),
    ),
)
