"""Card registrations, and the cards that come of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.emulator import money
from sidecar.emulator.engine import acts
from sidecar.emulator.engine.kinds import Kind, fields
from sidecar.emulator.engine.routes import Emulated, creates, lists, updates, views

if TYPE_CHECKING:
    from sidecar.emulator.engine.calls import Call
    from sidecar.emulator.state import Resource

CARD_REGISTRATION: Final = Kind(
    name="CardRegistration",
    collection="CardRegistration",
    prefix="cardreg_m_",
    template=fields(
        *("UserId", "Currency", "AccessKey", "PreregistrationData", "RegistrationData", "CardId"),
        *("CardRegistrationURL", "ResultCode", "ResultMessage", "CardHolderName"),
        CardType="CB_VISA_MASTERCARD",
        Status="CREATED",
    ),
    read_only=frozenset(
        {"AccessKey", "PreregistrationData", "CardRegistrationURL", "CardId", "ResultCode", "ResultMessage", "Status"}
    ),
    required=("UserId", "Currency"),
    links={"UserId": "User"},
    sought=frozenset({"UserId"}),
)

CARD: Final = Kind(
    name="Card",
    collection="Card",
    prefix="card_m_",
    template=fields(
        *("UserId", "Currency", "CardHolderName"),
        ExpirationDate="1229",
        Alias="497010XXXXXX4422",
        CardProvider="VISA",
        CardType="CB_VISA_MASTERCARD",
        Country="FR",
        Product="I",
        BankCode="00152",
        Active=True,
        Validity="UNKNOWN",
        Fingerprint="50a6a8da09654c4cab901814a741f924",
    ),
)


def complete(call: Call, resource: Resource) -> None:
    """Give out what a browser would take to the card tokenization server."""
    del call
    resource["AccessKey"] = "1X0m87dmM2LiwFgxPLBJ"
    resource["PreregistrationData"] = f"preregistration-{resource['Id']}"
    resource["CardRegistrationURL"] = "https://homologation-webpayment.payline.com/webpayment/getToken"


def register(call: Call, resource: Resource) -> None:
    """Make a card of ``RegistrationData`` that starts with ``data=``; anything else is an error."""
    data = resource["RegistrationData"]
    if not isinstance(data, str) or resource["CardId"] is not None:
        return
    if not data.startswith("data="):
        resource.update(Status="ERROR", **money.result(("105299", "Token processing error")))
        return
    card = acts.build(CARD, call.client, call.at)
    for field in ("UserId", "Currency", "CardType", "CardHolderName"):
        card[field] = resource[field]
    acts.keep(call.client, card)
    resource.update(Status="VALIDATED", CardId=card["Id"], **money.result(money.SUCCESS))


EMULATED: Final = Emulated(
    scope="Payins",
    parents={"CardId": "Card"},
    routes=(
        creates("cardregistrations", CARD_REGISTRATION, complete),
        views("cardregistrations/{Id}", CARD_REGISTRATION),
        updates("cardregistrations/{Id}", CARD_REGISTRATION, register),
        views("cards/{Id}", CARD),
        updates("cards/{Id}", CARD, settable={"Active", "Tag"}),
        lists("users/{UserId}/cards", CARD, "UserId"),
        lists("cards/{CardId}/transactions", None, "CardId"),
    ),
)
