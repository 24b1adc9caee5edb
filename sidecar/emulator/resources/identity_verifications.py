"""Identity verifications: a person shows papers at a page, and Mangopay decides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.emulator.engine.kinds import Kind, Transition, fields
from sidecar.emulator.engine.routes import Emulated, creates, lists, views

if TYPE_CHECKING:
    from sidecar.emulator.engine.calls import Call
    from sidecar.emulator.state import ClientState, Resource

_WAITING: Final = frozenset({"PENDING"})


def _check(client: ClientState, resource: Resource, at: int) -> None:
    """Note what was looked at."""
    status = resource["Status"]
    check = {"CheckId": client.new_id("check_"), "Type": "IDENTITY_DOCUMENT_VERIFICATION", "CheckStatus": status}
    resource["LastUpdate"] = at
    resource["Checks"] = [{**check, "CreationDate": at, "LastUpdate": at, "Data": [], "Reasons": []}]


VERIFICATION: Final = Kind(
    name="IdentityVerification",
    collection="IdentityVerification",
    prefix="idver_m_",
    template=fields("UserId", "HostedUrl", "ReturnUrl", "LastUpdate", Status="PENDING", Checks=()),
    read_only=frozenset({"UserId", "HostedUrl", "LastUpdate", "Status", "Checks"}),
    required=("ReturnUrl",),
    prompt="Show your papers",
    transitions=(
        Transition(
            name="validate",
            label="Show good papers",
            source=_WAITING,
            target="VALIDATED",
            change=_check,
            event="IDENTITY_VERIFICATION_VALIDATED",
        ),
        Transition(
            name="refuse",
            label="Show papers that are refused",
            source=_WAITING,
            target="REFUSED",
            change=_check,
            event="IDENTITY_VERIFICATION_FAILED",
        ),
        Transition(name="expire", source=_WAITING, target="TIMEOUT", event="IDENTITY_VERIFICATION_TIMEOUT"),
    ),
)


def complete(call: Call, resource: Resource) -> None:
    """Wait for the person at a page of the emulator's own."""
    resource["HostedUrl"] = call.page(f"actions/{resource['Id']}")
    resource["LastUpdate"] = call.at


_PATH: Final = "users/{UserId}/identity-verifications"

EMULATED: Final = Emulated(
    scope="Users.Verification",
    routes=(
        creates(_PATH, VERIFICATION, complete, "IDENTITY_VERIFICATION_PENDING", fixed={"UserId": "{UserId}"}),
        lists(_PATH, VERIFICATION, "UserId"),
        views("identity-verifications/{Id}", VERIFICATION),
    ),
)
