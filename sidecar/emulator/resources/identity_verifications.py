"""Identity verifications: a person shows papers at a page, and Mangopay decides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.emulator import pages
from sidecar.emulator.engine import transitions
from sidecar.emulator.engine.kinds import Kind, Transition, fields
from sidecar.emulator.engine.routes import PAGES, Emulated, creates, does, lists, views

if TYPE_CHECKING:
    from sidecar.emulator.engine.calls import Call
    from sidecar.emulator.messages import EmulatedResponse
    from sidecar.emulator.state import ClientState, Resource

_WAITING: Final = frozenset({"PENDING"})
_VALIDATE: Final = "validate"
_REFUSE: Final = "refuse"


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
    transitions=(
        Transition(
            name=_VALIDATE,
            source=_WAITING,
            target="VALIDATED",
            change=_check,
            event="IDENTITY_VERIFICATION_VALIDATED",
        ),
        Transition(
            name=_REFUSE, source=_WAITING, target="REFUSED", change=_check, event="IDENTITY_VERIFICATION_FAILED"
        ),
        Transition(name="expire", source=_WAITING, target="TIMEOUT", event="IDENTITY_VERIFICATION_TIMEOUT"),
    ),
)


def complete(call: Call, resource: Resource) -> None:
    """Wait for the person at a page of the emulator's own."""
    resource["HostedUrl"] = call.page(f"identity-verifications/{resource['Id']}")
    resource["LastUpdate"] = call.at


def show(call: Call) -> EmulatedResponse:
    """Show the page."""
    verification = call.client.find("IdentityVerification", call.parameters["Verification"])
    if verification is None or verification["Status"] not in _WAITING:
        return pages.not_found()
    return pages.page(
        "Show your papers",
        f"User {verification['UserId']} of {call.client.client_id} is asked who they are.",
        choices={_VALIDATE: "Show good papers", _REFUSE: "Show papers that are refused"},
    )


def choose(call: Call) -> EmulatedResponse:
    """Decide as was chosen, and go back to where the app said."""
    verification = call.client.find("IdentityVerification", call.parameters["Verification"])
    chosen = pages.outcome(call.request.body)
    if verification is None or chosen not in {_VALIDATE, _REFUSE} or verification["Status"] not in _WAITING:
        return pages.not_found()
    transitions.move(call.client, verification, chosen, call.at)
    back = str(verification["ReturnUrl"])
    return pages.redirect(back) if pages.is_web_url(back) else pages.page("Thank you", "You can close this page.")


_PATH: Final = "users/{UserId}/identity-verifications"
_PAGE: Final = "identity-verifications/{Verification}"

EMULATED: Final = Emulated(
    scope="Users.Verification",
    routes=(
        creates(_PATH, VERIFICATION, complete, "IDENTITY_VERIFICATION_PENDING", fixed={"UserId": "{UserId}"}),
        lists(_PATH, VERIFICATION, "UserId"),
        views("identity-verifications/{Id}", VERIFICATION),
        does("GET", _PAGE, show, version=PAGES),
        does("POST", _PAGE, choose, version=PAGES),
    ),
)
