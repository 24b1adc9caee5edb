"""What all that is paid by card has in common: what is known of the card, and 3-D Secure.

With ``SecureMode`` ``FORCE`` and a ``SecureModeReturnURL`` the payer has to authenticate
at a page of the emulator's own; without, it goes through at once (Mangopay: "3DS").
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from sidecar.emulator import money
from sidecar.emulator.engine.kinds import Transition

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sidecar.emulator.engine.calls import Call
    from sidecar.emulator.engine.kinds import Change
    from sidecar.emulator.money import Result
    from sidecar.emulator.state import ClientState, Resource

#: What Mangopay knows of the sandbox's test card.
CARD_INFO: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "BIN": "497010",
        "IssuingBank": "LA BANQUE POSTALE",
        "IssuerCountryCode": "FR",
        "Type": "DEBIT",
        "Brand": "VISA",
        "SubType": None,
    }
)
#: The result of a payer who did not authenticate (Mangopay: "Error codes").
_NOT_AUTHENTICATED: Final[Result] = ("101301", "Secure mode: 3DSecure authentication has failed")

#: The fields of a payment by a card that is known, and those of them that are set here alone.
FIELDS: Final = (
    *("CardId", "SecureModeReturnURL", "SecureModeRedirectURL", "Culture", "BrowserInfo", "IpAddress"),
    *("Billing", "Shipping", "StatementDescriptor", "CardInfo", "SecurityInfo", "Applied3DSVersion"),
    "Requested3DSVersion",
)
DEFAULTS: Final[Mapping[str, Any]] = MappingProxyType({"SecureMode": "DEFAULT", "SecureModeNeeded": False})
SET_HERE: Final = frozenset(
    {"SecureModeRedirectURL", "SecureModeNeeded", "CardInfo", "SecurityInfo", "Applied3DSVersion"}
)


def authentication(
    change: Change,
    event: str,
    refused: str,
    *,
    on_refusal: Change | None = None,
    refused_sets: Mapping[str, Any] = MappingProxyType({}),
) -> tuple[Transition, Transition]:
    """Return what the payer does who has to authenticate: it, which leads to ``change`` and ``event``, or refuse it.

    A refusal sets ``refused_sets`` besides the result, and leads to ``on_refusal`` and the event ``refused``.
    """
    source = frozenset({"CREATED"})
    return (
        Transition(
            name="authenticate", label="Authenticate", source=source, target="SUCCEEDED", change=change, event=event
        ),
        Transition(
            name="refuse",
            label="Refuse",
            source=source,
            target="FAILED",
            sets={**refused_sets, **money.result(_NOT_AUTHENTICATED)},
            change=on_refusal,
            event=refused,
        ),
    )


def describe(resource: Resource) -> None:
    """Tell what is known of the card that pays."""
    resource.update(
        CardInfo=dict(CARD_INFO),
        SecurityInfo={"AVSResult": "NO_CHECK"},
        Applied3DSVersion=resource["Requested3DSVersion"] or "V2_1",
    )


def challenge(call: Call, resource: Resource) -> bool:
    """Tell whether the payer has to authenticate first; if so, say where."""
    if resource["SecureMode"] != "FORCE" or not resource["SecureModeReturnURL"]:
        return False
    resource.update(SecureModeNeeded=True, SecureModeRedirectURL=call.page(f"actions/{resource['Id']}"))
    return True


def approve(client: ClientState, resource: Resource) -> None:
    """Know the card to be good, after it has paid."""
    card = client.find("Card", resource["CardId"] or "")
    if card is not None:
        card["Validity"] = "VALID"
