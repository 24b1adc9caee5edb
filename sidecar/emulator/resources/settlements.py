"""Settlements of an external provider (V3.0)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sidecar.emulator.engine import acts
from sidecar.emulator.engine.kinds import Kind, Transition, fields
from sidecar.emulator.engine.routes import PAGES, V3, Emulated, does, lists, views
from sidecar.emulator.messages import EmulatedResponse, json_response

if TYPE_CHECKING:
    from sidecar.emulator.engine.calls import Call
    from sidecar.emulator.state import Resource


def _check_name(value: Any) -> str | None:
    return None if isinstance(value, str) else "The FileName must be a string."


SETTLEMENT: Final = Kind(
    name="Settlement",
    collection="Settlement",
    prefix="settlement_m_",
    template=fields(
        *("SettlementId", "SettlementDate", "ExternalProviderName", "FileName", "UploadUrl"),
        Status="UPLOADED",
        DeclaredIntentAmount=0,
        ExternalProcessorFeesAmount=0,
        ActualSettlementAmount=0,
        FundsMissingAmount=0,
    ),
    read_only=frozenset({"SettlementId", "SettlementDate", "UploadUrl", "Status"}),
    required=("FileName",),
    checks={"FileName": _check_name},
    transitions=(
        Transition(name="reconcile", source=frozenset({"UPLOADED"}), target="RECONCILED"),
        Transition(name="reject", source=frozenset({"UPLOADED"}), target="REJECTED"),
    ),
)


def complete(call: Call, resource: Resource) -> None:
    """Repeat the Id under the name that settlements have for it."""
    resource["SettlementId"] = resource["Id"]
    resource["SettlementDate"] = call.at
    resource["UploadUrl"] = call.page(f"uploads/{resource['Id']}")


def upload(call: Call) -> EmulatedResponse:
    """Take a settlement file in multipart form, or the JSON with its name that newer SDKs send."""
    if _has_file(call):
        return json_response(200, acts.add(call, {}))
    return json_response(200, acts.add(call, {**acts.given(call, creating=True), "Status": "PENDING_UPLOAD"}))


def replace(call: Call) -> EmulatedResponse:
    """Take another file for a settlement, in either way."""
    settlement = acts.find(call)
    if _has_file(call):
        settlement["Status"] = "UPLOADED"
    else:
        settlement.update({**acts.given(call, creating=True), "Status": "PENDING_UPLOAD"})
    return json_response(200, settlement)


def _has_file(call: Call) -> bool:
    """Tell whether the body is a form with a file; raises RefusalError for a form without."""
    form = (call.request.header(b"content-type") or b"").lower().startswith(b"multipart/form-data")
    if form and b'name="file"' not in call.request.body:
        raise call.incorrect("file", "The file field is required.")
    return form


def take(call: Call) -> EmulatedResponse:
    """Take the file of a settlement at its pre-signed URL, without a token; the status says so."""
    settlement = call.client.find("Settlement", call.parameters["Settlement"])
    if settlement is None:
        return EmulatedResponse(404)
    settlement["Status"] = "UPLOADED"
    return EmulatedResponse(200)


_PATH: Final = "payins/intents/settlements"

EMULATED: Final = Emulated(
    scope="Payins",
    routes=(
        does("POST", _PATH, upload, kind=SETTLEMENT, effect=complete, version=V3),
        lists(_PATH, SETTLEMENT, version=V3),
        views(f"{_PATH}/{{Id}}", SETTLEMENT, version=V3),
        does("PUT", f"{_PATH}/{{Id}}", replace, kind=SETTLEMENT, version=V3),
        does("PUT", "uploads/{Settlement}", take, version=PAGES),
    ),
)
