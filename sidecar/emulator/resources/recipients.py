"""Recipients of payouts: registered with an authentication of their owner, by a schema that depends on the country."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sidecar.emulator import sca
from sidecar.emulator.engine import acts
from sidecar.emulator.engine.bodies import given_fields
from sidecar.emulator.engine.calls import RefusalError
from sidecar.emulator.engine.kinds import Kind, Transition, fields, is_text, one_of
from sidecar.emulator.engine.routes import Emulated, creates, does, lists, views
from sidecar.emulator.messages import EmulatedResponse, json_response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sidecar.emulator.engine.calls import Call
    from sidecar.emulator.state import Resource

#: What the details of an account consist of, by method and, for a local transfer, by currency.
_LOCAL: Final[Mapping[str, tuple[str, ...]]] = {
    "AUD": ("AccountNumber", "BSBCode"),
    "CAD": ("AccountNumber", "InstitutionNumber", "BranchCode"),
    "EUR": ("IBAN",),
    "GBP": ("AccountNumber", "SortCode"),
    "USD": ("AccountNumber", "AccountType", "ABA"),
}
_INTERNATIONAL: Final = ("AccountNumber", "BIC")
#: The field that says who the recipient is, and the names in it, by the ``RecipientType``.
_PARTIES: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "Individual": ("IndividualRecipient", ("FirstName", "LastName")),
    "Business": ("BusinessRecipient", ("BusinessName",)),
}
_ADDRESS: Final = ("AddressLine1", "City", "PostalCode", "Country")
_METHODS: Final = ("LocalBankTransfer", "InternationalBankTransfer")

RECIPIENT: Final = Kind(
    name="Recipient",
    collection="Recipient",
    prefix="rec_m_",
    template=fields(
        *("UserId", "DisplayName", "PayoutMethodType", "RecipientType", "Currency", "Country", "PendingUserAction"),
        RecipientScope="PAYOUT",
        Status="PENDING",
    ),
    read_only=frozenset({"UserId", "Status", "PendingUserAction", "RecipientVerificationOfPayee"}),
    optional=frozenset({"IndividualRecipient", "BusinessRecipient", "RecipientVerificationOfPayee", *_METHODS}),
    required=("DisplayName", "PayoutMethodType", "RecipientType", "Currency"),
    checks={
        "PayoutMethodType": one_of(*_METHODS),
        "RecipientType": one_of(*_PARTIES),
        "Currency": is_text,
        "RecipientScope": one_of("PAYOUT", "PAYIN"),
    },
    transitions=(
        Transition(
            name=sca.AUTHENTICATE,
            source=frozenset({"PENDING"}),
            target="ACTIVE",
            sets={"PendingUserAction": None},
            event="RECIPIENT_ACTIVE",
        ),
        Transition(
            name=sca.REFUSE,
            source=frozenset({"PENDING"}),
            target="CANCELED",
            sets={"PendingUserAction": None},
            event="RECIPIENT_CANCELED",
        ),
    ),
)


def verification_of_payee(resource: Resource) -> dict[str, str]:
    """Return what the bank says of the payee's name: it matches."""
    return {
        "RecipientVerificationId": f"vop-{resource['Id']}",
        "RecipientVerificationCheck": "MATCH",
        "RecipientVerificationMessage": "The name matches the account",
    }


def complete(call: Call, resource: Resource) -> None:
    """Check what depends on the country, and have the user authenticate."""
    check(call, resource)
    resource["PendingUserAction"] = sca.pending(call, resource["UserId"], resource["Id"])
    if resource["Currency"] == "EUR":
        resource["RecipientVerificationOfPayee"] = verification_of_payee(resource)


def check(call: Call, given: Mapping[str, Any]) -> None:
    """Raise RefusalError if the account's details, or who the recipient is, are not told as the schema says."""
    errors = {}
    method, currency = given["PayoutMethodType"], given["Currency"]
    needed = _LOCAL.get(currency, ()) if method == _METHODS[0] else _INTERNATIONAL
    details = given.get(method)
    if method == _METHODS[0] and isinstance(details, dict):
        details = details.get(currency)
    for name in _missing(details, needed):
        errors[f"{method}.{name}"] = f"The {name} field is required."
    field, names = _PARTIES[given["RecipientType"]]
    for name in _missing(given.get(field), names):
        errors[f"{field}.{name}"] = f"The {name} field is required."
    if errors:
        raise RefusalError(call.reports.incorrect(errors))


def _missing(details: Any, needed: tuple[str, ...]) -> list[str]:
    told = details if isinstance(details, dict) else {}
    return [name for name in needed if not told.get(name)]


def validate(call: Call) -> EmulatedResponse:
    """Check a recipient without making one."""
    check(call, acts.checked(call, RECIPIENT, given_fields(RECIPIENT, call.body()), creating=True))
    return EmulatedResponse(204)


def deactivate(call: Call) -> EmulatedResponse:
    """End a recipient: nothing else can be changed."""
    recipient = acts.find(call)
    if call.body().get("Status") != "DEACTIVATED":
        raise call.incorrect("Status", "The Status can only become DEACTIVATED.")
    recipient["Status"] = "DEACTIVATED"
    call.client.tell("RECIPIENT_DEACTIVATED", recipient["Id"], call.at)
    return json_response(200, recipient)


def schema(call: Call) -> EmulatedResponse:
    """Tell which fields a recipient needs; those of other methods and types are absent."""
    query = call.query
    method = _asked(call, "payoutmethodtype", _METHODS)
    person = _asked(call, "recipienttype", tuple(_PARTIES))
    currency, country = query.get("currency", "EUR").upper(), query.get("country", "").upper()
    field, names = _PARTIES[person]
    address = {name: _property(name) for name in _ADDRESS}
    local = method == _METHODS[0]
    details = {name: _property(name) for name in (_LOCAL.get(currency, ()) if local else _INTERNATIONAL)}
    return json_response(
        200,
        {
            "DisplayName": _property("DisplayName"),
            "Currency": _property("Currency", allowed=[currency]),
            "Country": _property("Country", allowed=[country]),
            "RecipientType": _property("RecipientType", allowed=[person]),
            "PayoutMethodType": _property("PayoutMethodType", allowed=[method]),
            "RecipientScope": _property("RecipientScope", required=False, allowed=["PAYOUT", "PAYIN"]),
            "Tag": _property("Tag", required=False),
            method: {currency: details} if local else details,
            field: {**{name: _property(name) for name in names}, "Address": address},
        },
    )


def _asked(call: Call, name: str, allowed: tuple[str, ...]) -> str:
    value = call.query.get(name, "")
    if value not in allowed:
        raise call.incorrect(name, f"The value must be one of {', '.join(allowed)}.")
    return value


def _property(name: str, *, required: bool = True, allowed: list[str] | None = None) -> dict[str, Any]:
    return {
        "Required": required,
        "MaxLength": 255,
        "MinLength": 1 if required else 0,
        "Pattern": "^.*$",
        "AllowedValues": allowed,
        "Label": name,
        "EndUserDisplay": "Form" if allowed is None else "Hidden",
    }


def payout_methods(call: Call) -> EmulatedResponse:
    """Tell how a recipient in a country can be paid."""
    local = call.query.get("currency", "").upper() in _LOCAL
    return json_response(200, {"AvailablePayoutMethods": list(_METHODS if local else _METHODS[1:])})


EMULATED: Final = Emulated(
    scope="Bankaccounts",
    parents={"RecipientId": "Recipient"},
    routes=(
        creates("users/{UserId}/recipients", RECIPIENT, complete, fixed={"UserId": "{UserId}"}),
        does("POST", "users/{UserId}/recipients/validate", validate),
        lists("users/{UserId}/recipients", RECIPIENT, "UserId"),
        does("GET", "recipients/schema", schema),
        does("GET", "recipients/payout-methods", payout_methods),
        views("recipients/{Id}", RECIPIENT),
        does("PUT", "recipients/{Id}", deactivate, kind=RECIPIENT),
    ),
)
