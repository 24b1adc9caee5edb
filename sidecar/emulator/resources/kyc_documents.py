"""KYC documents: created, filled with pages, submitted, and then judged (``settle``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.emulator.engine.kinds import Kind, Transition, fields, one_of
from sidecar.emulator.engine.routes import Emulated, creates, does, lists, updates, views
from sidecar.emulator.engine.transitions import note_processed
from sidecar.emulator.resources import document_pages

if TYPE_CHECKING:
    from sidecar.emulator.engine.calls import Call
    from sidecar.emulator.messages import EmulatedResponse
    from sidecar.emulator.state import Resource


KYC_DOCUMENT: Final = Kind(
    name="KYCDocument",
    collection="KYCDocument",
    prefix="kyc_doc_m_",
    template=fields(
        *("UserId", "Type", "RefusedReasonType", "RefusedReasonMessage", "ProcessedDate"), Status="CREATED", Flags=()
    ),
    read_only=frozenset({"UserId", "Flags", "ProcessedDate", "RefusedReasonType", "RefusedReasonMessage"}),
    required=("Type",),
    checks={"Status": one_of("CREATED", "VALIDATION_ASKED")},
    transitions=(
        Transition(
            name="validate",
            source=frozenset({"VALIDATION_ASKED"}),
            target="VALIDATED",
            change=note_processed,
            event="KYC_SUCCEEDED",
        ),
        Transition(
            name="refuse",
            source=frozenset({"VALIDATION_ASKED"}),
            target="REFUSED",
            sets={"RefusedReasonType": "DOCUMENT_UNREADABLE"},
            change=note_processed,
            event="KYC_FAILED",
        ),
    ),
)


def complete(call: Call, resource: Resource) -> None:
    """Start as CREATED, whatever the caller said."""
    del call
    resource["Status"] = "CREATED"


def add_page(call: Call) -> EmulatedResponse:
    """Take a page of a document that is not submitted yet."""
    return document_pages.add(call, call.found("KYCDocument", call.parameters["DocumentId"]))


def consult(call: Call) -> EmulatedResponse:
    """Tell where the pages of a document can be looked at."""
    return document_pages.consult(call, call.found("KYCDocument", call.parameters["DocumentId"]))


EMULATED: Final = Emulated(
    scope="Users.Verification",
    parents={"DocumentId": "KYCDocument"},
    routes=(
        creates("users/{UserId}/kyc/documents", KYC_DOCUMENT, complete, "KYC_CREATED", fixed={"UserId": "{UserId}"}),
        lists("users/{UserId}/kyc/documents", KYC_DOCUMENT, "UserId"),
        views("users/{UserId}/kyc/documents/{Id}", KYC_DOCUMENT),
        updates("users/{UserId}/kyc/documents/{Id}", KYC_DOCUMENT, settable={"Status", "Tag"}),
        does("POST", "users/{UserId}/kyc/documents/{DocumentId}/pages", add_page),
        lists("kyc/documents", KYC_DOCUMENT),
        views("kyc/documents/{Id}", KYC_DOCUMENT),
        does("POST", "kyc/documents/{DocumentId}/consult", consult),
    ),
)
