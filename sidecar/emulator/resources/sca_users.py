"""Users under strong customer authentication: made, changed, categorized, enrolled, and asked for consent.

An owner waits for the authentication (``PENDING_USER_ACTION``) until it is done at the
page that ``PendingUserAction.RedirectUrl`` names, or by the control route ``authenticate``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sidecar.emulator import sca
from sidecar.emulator.engine.kinds import Kind, fields, one_of
from sidecar.emulator.engine.routes import Emulated, Route, creates, does, updates, views
from sidecar.emulator.messages import EmulatedResponse, json_response
from sidecar.emulator.resources import users

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sidecar.emulator.engine.calls import Call
    from sidecar.emulator.state import Resource

_READ_ONLY: Final = users.READ_ONLY | {"LegalRepresentativeProofOfIdentity"}
_CATEGORY: Final = one_of("PAYER", "OWNER", "PLATFORM")
_COMMON: Final[dict[str, Any]] = {
    "KYCLevel": "LIGHT",
    "TermsAndConditionsAccepted": False,
    "TermsAndConditionsAcceptedDate": None,
    "UserCategory": None,
    "UserStatus": "ACTIVE",
    "PendingUserAction": None,
}
_REPRESENTATIVE: Final = (
    *("FirstName", "LastName", "Birthday", "Nationality", "CountryOfResidence"),
    *("Email", "PhoneNumber", "PhoneNumberCountry"),
)


def _check_representative(value: Any) -> str | None:
    return None if isinstance(value, dict) else "A LegalRepresentative is an object."


NATURAL_USER: Final = Kind(
    name="NaturalUserSca",
    collection="User",
    prefix="user_m_",
    template=fields(
        *("FirstName", "LastName", "Address", "Birthday", "Nationality", "CountryOfResidence", "Occupation"),
        *("IncomeRange", "ProofOfIdentity", "ProofOfAddress", "Email", "PhoneNumber", "PhoneNumberCountry"),
        Capacity="NORMAL",
        PersonType="NATURAL",
        **_COMMON,
    ),
    read_only=_READ_ONLY,
    required=("FirstName", "LastName", "Email", "TermsAndConditionsAccepted", "UserCategory"),
    checks={"UserCategory": _CATEGORY},
    transitions=(users.AUTHENTICATE,),
)

LEGAL_USER: Final = Kind(
    name="LegalUserSca",
    collection="User",
    prefix="user_m_",
    template=fields(
        *("Name", "LegalPersonType", "HeadquartersAddress", "LegalRepresentative", "LegalRepresentativeAddress"),
        *("LegalRepresentativeProofOfIdentity", "Statute", "ProofOfRegistration", "ShareholderDeclaration"),
        *("CompanyNumber", "Email"),
        PersonType="LEGAL",
        **_COMMON,
    ),
    read_only=_READ_ONLY,
    required=("Name", "LegalPersonType", "LegalRepresentative", "Email", "TermsAndConditionsAccepted", "UserCategory"),
    checks={"UserCategory": _CATEGORY, "LegalRepresentative": _check_representative},
    transitions=(users.AUTHENTICATE,),
)

#: What an owner has to tell, beyond what a payer has to.
_OF_OWNERS: Final = {"NATURAL": ("Birthday", "Nationality", "CountryOfResidence"), "LEGAL": ("HeadquartersAddress",)}
_ON_CATEGORIZING: Final = frozenset(
    {
        *("UserCategory", "TermsAndConditionsAccepted", "Birthday", "Nationality", "CountryOfResidence"),
        *("LegalRepresentative", "HeadquartersAddress", "CompanyNumber", "PhoneNumber", "PhoneNumberCountry"),
    }
)


def complete(call: Call, resource: Resource) -> None:
    """Have an owner authenticate; raises RefusalError for one who has not told what an owner has to."""
    if resource["UserCategory"] == "OWNER":
        for field in _OF_OWNERS[resource["PersonType"]]:
            if resource[field] is None:
                raise call.incorrect(field, f"The {field} field is required for an owner.")
        resource["UserStatus"] = "PENDING_USER_ACTION"
        resource["PendingUserAction"] = sca.pending(call, resource["Id"])
    complete_details(call, resource)


def complete_details(call: Call, resource: Resource) -> None:
    """Make addresses and the representative whole: a change may tell a part of the latter.

    Of a user that was not made under SCA, fields of their own tell of the representative; they go along.
    """
    users.complete(call, resource)
    before: Mapping[str, Any] = call.client.user(resource["Id"]) or {}
    given = resource.get("LegalRepresentative")
    if given is None or given == before.get("LegalRepresentative"):
        return
    own = {name: f"LegalRepresentative{name}" for name in _REPRESENTATIVE}
    known = before.get("LegalRepresentative") or {}
    told = {name: before[field] for name, field in own.items() if field in before}
    representative = {**dict.fromkeys(_REPRESENTATIVE), **known, **told, **given}
    if not (representative["FirstName"] and representative["LastName"]):
        raise call.incorrect("LegalRepresentative", "A LegalRepresentative has a FirstName and a LastName.")
    resource["LegalRepresentative"] = representative
    resource.update({field: representative[name] for name, field in own.items() if field in resource})


def ask(call: Call) -> EmulatedResponse:
    """Ask a user to enrol, or for consent: a URL of its own each time."""
    return json_response(200, {"PendingUserAction": sca.pending(call, call.parameters["UserId"])})


def status(call: Call) -> EmulatedResponse:
    """Tell how a user stands with strong customer authentication."""
    user = call.found("User", call.parameters["UserId"])
    until = call.client.authenticated.get(user["Id"])
    enrolled = None if until is None else int(until - sca.AUTHENTICATED_FOR)
    consent = dict.fromkeys(
        ("ContactInformationUpdate", "RecipientRegistration", "Transfer", "ViewAccountInformation"),
        enrolled is not None,
    )
    told = {"UserStatus": user["UserStatus"], "IsEnrolled": enrolled is not None, "LastEnrollmentDate": enrolled}
    return json_response(200, {**told, "LastConsentCollectionDate": enrolled, "ConsentScope": consent})


def _routes_of(kind: Kind, person: str) -> tuple[Route, ...]:
    """Return the paths that natural and legal users have each."""
    settable = frozenset(kind.settable.values())
    return (
        creates(f"sca/users/{person}", kind, complete),
        views(f"sca/users/{person}/{{Id}}", kind),
        updates(f"sca/users/{person}/{{Id}}", kind, complete_details, settable - {"UserCategory"}),
        updates(f"sca/users/{person}/{{Id}}/category", kind, complete, settable & _ON_CATEGORIZING),
    )


EMULATED: Final = Emulated(
    scope="Users.Details",
    routes=(
        *_routes_of(NATURAL_USER, "natural"),
        *_routes_of(LEGAL_USER, "legal"),
        views("sca/users/{Id}", NATURAL_USER),
        does("POST", "sca/users/{UserId}/enrollment", ask),
        does("POST", "sca/users/{UserId}/consent", ask),
        does("GET", "sca/users/{UserId}/sca-status", status),
    ),
)
