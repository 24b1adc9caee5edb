"""Users, as they were made before strong customer authentication (deprecated since 2025-11): natural and legal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.emulator import sca
from sidecar.emulator.engine import acts
from sidecar.emulator.engine.kinds import BLANK_ADDRESS, Kind, Transition, fields
from sidecar.emulator.engine.routes import Emulated, creates, does, lists, updates, views
from sidecar.emulator.messages import EmulatedResponse

if TYPE_CHECKING:
    from sidecar.emulator.engine.calls import Call
    from sidecar.emulator.state import Resource

#: What no caller can set.
READ_ONLY: Final = frozenset(
    {"PersonType", "KYCLevel", "UserStatus", "TermsAndConditionsAcceptedDate", "ProofOfIdentity", "ProofOfAddress"}
    | {"PendingUserAction"}
)
#: What an owner waits for, also one who was made here and became an owner under SCA.
AUTHENTICATE: Final = Transition(
    name=sca.AUTHENTICATE,
    field="UserStatus",
    source=frozenset({"PENDING_USER_ACTION"}),
    target="ACTIVE",
    sets={"PendingUserAction": None},
)

NATURAL_USER: Final = Kind(
    name="NaturalUser",
    collection="User",
    prefix="user_m_",
    template=fields(
        *("FirstName", "LastName", "Address", "Birthday", "Nationality", "CountryOfResidence", "Occupation"),
        *("IncomeRange", "ProofOfIdentity", "ProofOfAddress", "Email", "TermsAndConditionsAcceptedDate"),
        Capacity="NORMAL",
        PersonType="NATURAL",
        KYCLevel="LIGHT",
        TermsAndConditionsAccepted=False,
        UserCategory="OWNER",
        UserStatus="ACTIVE",
    ),
    read_only=READ_ONLY,
    optional=frozenset({"PendingUserAction"}),
    required=("FirstName", "LastName", "Email"),
    transitions=(AUTHENTICATE,),
)

LEGAL_USER: Final = Kind(
    name="LegalUser",
    collection="User",
    prefix="user_m_",
    template=fields(
        *("Name", "LegalPersonType", "HeadquartersAddress", "LegalRepresentativeFirstName"),
        *("LegalRepresentativeLastName", "LegalRepresentativeAddress", "LegalRepresentativeEmail"),
        *("LegalRepresentativeBirthday", "LegalRepresentativeNationality"),
        *("LegalRepresentativeCountryOfResidence", "LegalRepresentativeProofOfIdentity", "Statute"),
        *("ProofOfRegistration", "ShareholderDeclaration", "CompanyNumber", "Email"),
        "TermsAndConditionsAcceptedDate",
        PersonType="LEGAL",
        KYCLevel="LIGHT",
        TermsAndConditionsAccepted=False,
        UserCategory="OWNER",
        UserStatus="ACTIVE",
    ),
    read_only=READ_ONLY,
    optional=frozenset({"PendingUserAction"}),
    required=("Name", "LegalPersonType", "LegalRepresentativeFirstName", "LegalRepresentativeLastName", "Email"),
    transitions=(AUTHENTICATE,),
)


def complete(call: Call, resource: Resource) -> None:
    """Make the acceptance of terms a boolean with a date, and addresses whole."""
    accepted = bool(resource["TermsAndConditionsAccepted"])
    resource["TermsAndConditionsAccepted"] = accepted
    if accepted and resource["TermsAndConditionsAcceptedDate"] is None:
        resource["TermsAndConditionsAcceptedDate"] = call.at
    for field in ("Address", "HeadquartersAddress", "LegalRepresentativeAddress"):
        if field in resource and resource[field] is None:
            resource[field] = dict(BLANK_ADDRESS)


def close(call: Call) -> EmulatedResponse:
    """Close a user, who can still be read."""
    acts.find(call)["UserStatus"] = "CLOSED"
    return EmulatedResponse(204)


EMULATED: Final = Emulated(
    scope="Users.Details",
    parents={"UserId": "User"},
    routes=(
        creates("users/natural", NATURAL_USER, complete),
        creates("users/legal", LEGAL_USER, complete),
        lists("users", NATURAL_USER),
        views("users/{Id}", NATURAL_USER),
        views("users/natural/{Id}", NATURAL_USER),
        views("users/legal/{Id}", LEGAL_USER),
        updates("users/natural/{Id}", NATURAL_USER, complete),
        updates("users/legal/{Id}", LEGAL_USER, complete),
        does("DELETE", "users/natural/{Id}", close, kind=NATURAL_USER),
        does("DELETE", "users/legal/{Id}", close, kind=LEGAL_USER),
    ),
)
