"""KYC documents: created, filled with pages, submitted, and then judged (``settle``)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from sidecar.emulator.engine.kinds import Kind, Transition, fields
from sidecar.emulator.engine.routes import Emulated, creates, does, lists, updates, views
from sidecar.emulator.messages import EmulatedResponse

if TYPE_CHECKING:
    from sidecar.emulator.engine.calls import Call
    from sidecar.emulator.state import ClientState, Resource


#: The alphabet of RFC 4648 section 4, in lines of whatever length.
_BASE64: Final = re.compile(r"[A-Za-z0-9+/\s]+={0,2}\s*")


def _judge(client: ClientState, resource: Resource, at: int) -> None:
    del client
    resource["ProcessedDate"] = at


KYC_DOCUMENT: Final = Kind(
    name="KYCDocument",
    collection="KYCDocument",
    prefix="kyc_doc_m_",
    template=fields(
        *("UserId", "Type", "RefusedReasonType", "RefusedReasonMessage", "ProcessedDate"), Status="CREATED", Flags=()
    ),
    read_only=frozenset({"UserId", "Flags", "ProcessedDate", "RefusedReasonType", "RefusedReasonMessage"}),
    required=("Type",),
    transitions=(
        Transition(
            name="validate",
            source=frozenset({"VALIDATION_ASKED"}),
            target="VALIDATED",
            change=_judge,
            event="KYC_SUCCEEDED",
        ),
        Transition(
            name="refuse",
            source=frozenset({"VALIDATION_ASKED"}),
            target="REFUSED",
            sets={"RefusedReasonType": "DOCUMENT_UNREADABLE"},
            change=_judge,
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
    document = call.found("KYCDocument", call.parameters["DocumentId"])
    check_file(call, call.body().get("File"))
    if document["Status"] != "CREATED":
        raise call.incorrect("Status", "The document is not in the status CREATED.")
    return EmulatedResponse(204)


def check_file(call: Call, file: Any) -> None:
    """Raise RefusalError for a page that is empty or not base64."""
    if not isinstance(file, str) or not file:
        raise call.incorrect("File", "The File field is required.")
    if not _BASE64.fullmatch(file):
        raise call.incorrect("File", "The File field must be encoded in base64.")


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
    ),
)
