"""Declarations of the ultimate beneficial owners of a legal user: filled, submitted, and then judged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.emulator.engine import acts
from sidecar.emulator.engine.kinds import Kind, Transition, fields
from sidecar.emulator.engine.routes import Emulated, creates, does, lists, updates, views
from sidecar.emulator.engine.transitions import note_processed
from sidecar.emulator.messages import EmulatedResponse, json_response

if TYPE_CHECKING:
    from sidecar.emulator.engine.calls import Call
    from sidecar.emulator.state import Resource


_ASKED: Final = frozenset({"VALIDATION_ASKED"})

DECLARATION: Final = Kind(
    name="UboDeclaration",
    collection="UboDeclaration",
    prefix="ubodec_m_",
    template=fields("UserId", "ProcessedDate", "Reason", "Message", Status="CREATED", Ubos=()),
    read_only=frozenset({"UserId", "ProcessedDate", "Reason", "Message", "Status", "Ubos"}),
    transitions=(
        Transition(
            name="submit",
            source=frozenset({"CREATED", "INCOMPLETE"}),
            target="VALIDATION_ASKED",
            event="UBO_DECLARATION_VALIDATION_ASKED",
        ),
        Transition(
            name="validate", source=_ASKED, target="VALIDATED", change=note_processed, event="UBO_DECLARATION_VALIDATED"
        ),
        Transition(
            name="refuse",
            source=_ASKED,
            target="REFUSED",
            sets={"Reason": "DECLARATION_DO_NOT_MATCH_UBO_INFORMATION"},
            change=note_processed,
            event="UBO_DECLARATION_REFUSED",
        ),
        Transition(
            name="return",
            source=_ASKED,
            target="INCOMPLETE",
            sets={"Reason": "MISSING_UBO"},
            change=note_processed,
            event="UBO_DECLARATION_INCOMPLETE",
        ),
    ),
)

UBO: Final = Kind(
    name="Ubo",
    collection="Ubo",
    prefix="ubo_m_",
    template=fields(
        *("FirstName", "LastName", "Address", "Nationality", "Birthday", "Birthplace", "Status"), IsActive=True
    ),
    read_only=frozenset({"Status"}),
    required=("FirstName", "LastName", "Address", "Nationality", "Birthday", "Birthplace"),
)


def complete(call: Call, resource: Resource) -> None:
    """Start without owners; raises RefusalError for a natural user, who has none."""
    if call.found("User", resource["UserId"])["PersonType"] != "LEGAL":
        raise call.incorrect("UserId", "Only a legal user has ultimate beneficial owners.")
    resource["Ubos"] = []


def complete_ubo(call: Call, resource: Resource) -> None:
    """Belong to the declaration."""
    call.found("UboDeclaration", call.parameters["UboDeclarationId"])["Ubos"].append(resource)


def update(call: Call) -> EmulatedResponse:
    """Submit a declaration, or change its Tag; owners have paths of their own."""
    declaration = acts.find(call)
    if call.body().get("Status") == "VALIDATION_ASKED":
        if not declaration["Ubos"]:
            raise call.incorrect("Ubos", "The declaration has no UBO.")
        acts.carry_out(call, declaration, "submit")
    declaration.update(acts.given(call, creating=False))
    return json_response(200, declaration)


_PATH: Final = "users/{UserId}/kyc/ubodeclarations"
_UBOS: Final = f"{_PATH}/{{UboDeclarationId}}/ubos"

EMULATED: Final = Emulated(
    scope="Users.Verification",
    parents={"UboDeclarationId": "UboDeclaration"},
    routes=(
        creates(_PATH, DECLARATION, complete, "UBO_DECLARATION_CREATED", fixed={"UserId": "{UserId}"}),
        lists(_PATH, DECLARATION, "UserId"),
        views(f"{_PATH}/{{Id}}", DECLARATION),
        views("kyc/ubodeclarations/{Id}", DECLARATION),
        does("PUT", f"{_PATH}/{{Id}}", update, kind=DECLARATION),
        creates(_UBOS, UBO, complete_ubo),
        views(f"{_UBOS}/{{Id}}", UBO),
        updates(f"{_UBOS}/{{Id}}", UBO),
    ),
)
