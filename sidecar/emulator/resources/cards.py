"""Cards: those that came of registrations, by fingerprint, and what their numbers begin with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.emulator import card_payments, tokenization
from sidecar.emulator.engine import acts
from sidecar.emulator.engine.kinds import TRANSACTIONS, Kind, fields
from sidecar.emulator.engine.routes import Emulated, does, lists, updates, views
from sidecar.emulator.messages import json_response

if TYPE_CHECKING:
    from sidecar.emulator.engine.calls import Call
    from sidecar.emulator.messages import EmulatedResponse

CARD: Final = Kind(
    name="Card",
    collection="Card",
    prefix="card_m_",
    template=fields(
        *("UserId", "Currency", "CardHolderName"),
        ExpirationDate=tokenization.TEST_CARD.expiration,
        Alias=tokenization.TEST_CARD.alias,
        CardProvider="VISA",
        CardType="CB_VISA_MASTERCARD",
        Country="FR",
        Product="I",
        BankCode="00152",
        Active=True,
        Validity="UNKNOWN",
        Fingerprint=tokenization.TEST_CARD.fingerprint,
    ),
)


def list_transactions(call: Call) -> EmulatedResponse:
    """Show a page of what cards with a fingerprint have paid."""
    wanted = call.parameters["Fingerprint"]
    cards = {card["Id"] for card in call.client.collection("Card").values() if card["Fingerprint"] == wanted}
    paid = [each for each in call.client.collection(TRANSACTIONS).values() if each.get("CardId") in cards]
    return acts.page(call, paid)


def tell_metadata(call: Call) -> EmulatedResponse:
    """Tell what is known of a card by the first digits of its number (BIN), or of a Google Pay token."""
    body = call.body()
    kind, known = body.get("Type"), card_payments.CARD_INFO
    field = {"BIN": "Bin", "GOOGLE_PAY": "Token"}.get(str(kind))
    if field is None:
        raise call.incorrect("Type", "The Type must be one of BIN, GOOGLE_PAY.")
    if not isinstance(body.get(field), str):
        raise call.incorrect(field, f"The {field} field is required.")
    product = {"CardType": known["Type"], "CommercialIndicator": "PERSONAL", "Subtype": "CLASSIC", "Brand": "VISA"}
    told = {name: known[name] for name in ("IssuerCountryCode", "IssuingBank")}
    return json_response(200, {"Type": kind, field: body[field], **told, "BinData": [product]})


EMULATED: Final = Emulated(
    scope="Payins",
    parents={"CardId": "Card"},
    routes=(
        views("cards/{Id}", CARD),
        updates("cards/{Id}", CARD, settable={"Active", "Tag"}),
        lists("users/{UserId}/cards", CARD, "UserId"),
        lists("cards/{CardId}/transactions", None, "CardId"),
        lists("cards/fingerprints/{Fingerprint}", CARD, "Fingerprint"),
        does("GET", "cards/fingerprints/{Fingerprint}/transactions", list_transactions),
        does("POST", "payment-methods/metadata", tell_metadata),
    ),
)
