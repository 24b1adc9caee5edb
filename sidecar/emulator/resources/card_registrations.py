"""Card registrations, and the page that takes the card (``CardRegistrationURL``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.emulator import money, pages, tokenization
from sidecar.emulator.engine import acts
from sidecar.emulator.engine.kinds import Kind, fields
from sidecar.emulator.engine.routes import PAGES, Emulated, creates, does, updates, views
from sidecar.emulator.messages import EmulatedResponse
from sidecar.emulator.resources.cards import CARD

if TYPE_CHECKING:
    from sidecar.emulator.engine.calls import Call
    from sidecar.emulator.state import Resource

_ACCESS_KEY: Final = "1X0m87dmM2LiwFgxPLBJ"
_TEXT: Final = b"text/plain; charset=utf-8"
#: A browser on the app's page sends the card here with a script, and reads what comes back.
_ANY_ORIGIN: Final = ((b"Access-Control-Allow-Origin", b"*"), (b"Cache-Control", b"no-store"))

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


def complete(call: Call, resource: Resource) -> None:
    """Give out what a browser takes to the page."""
    resource["AccessKey"] = _ACCESS_KEY
    resource["PreregistrationData"] = f"preregistration-{resource['Id']}"
    resource["CardRegistrationURL"] = call.page(f"cards/{resource['Id']}")


def register(call: Call, resource: Resource) -> None:
    """Make a card of ``RegistrationData`` that starts with ``data=``; anything else is an error."""
    data = resource["RegistrationData"]
    if not isinstance(data, str) or resource["CardId"] is not None:
        return
    known = tokenization.read(data)
    if known is None:
        code = tokenization.error_code(data)
        resource.update(Status="ERROR", **money.result((code, tokenization.MESSAGES[code])))
        return
    card = acts.build(CARD, call.client, call.at)
    for field in ("UserId", "Currency", "CardType", "CardHolderName"):
        card[field] = resource[field]
    card.update(Alias=known.alias, ExpirationDate=known.expiration, Fingerprint=known.fingerprint)
    acts.keep(call.client, card)
    resource.update(Status="VALIDATED", CardId=card["Id"], **money.result(money.SUCCESS))


def ask(call: Call) -> EmulatedResponse:
    """Show a form for the card."""
    registration = call.client.find("CardRegistration", call.parameters["Registration"])
    if registration is None:
        return pages.not_found()
    hidden = {"data": registration["PreregistrationData"], "accessKeyRef": registration["AccessKey"]}
    return pages.form(
        "Register a card",
        f"For user {registration['UserId']} of {call.client.client_id}. Only test cards, such as 4970107111111119.",
        inputs={
            "cardNumber": "Card number",
            "cardExpirationDate": "Expiry date (MMYY)",
            "cardCvx": "Security code",
        },
        hidden={**hidden, "returnURL": call.query.get("returnurl", "")},
        submit="Register",
    )


def tokenize(call: Call) -> EmulatedResponse:
    """Take the card, and tell what is to become the ``RegistrationData``; with ``returnURL`` by a redirect."""
    registration = call.client.find("CardRegistration", call.parameters["Registration"])
    form = pages.fields(call.request.body)
    keys = (form.get("data"), form.get("accessKeyRef"))
    if registration is None or keys != (registration["PreregistrationData"], registration["AccessKey"]):
        result = f"{tokenization.ERROR}09101"
    else:
        result = tokenization.tokenize(form, call.at)
    back = form.get("returnURL", "")
    if pages.is_web_url(back):
        return pages.redirect(f"{back}{'&' if '?' in back else '?'}{result}")
    return EmulatedResponse(200, result.encode(), _TEXT, _ANY_ORIGIN)


EMULATED: Final = Emulated(
    scope="Payins",
    routes=(
        creates("cardregistrations", CARD_REGISTRATION, complete),
        views("cardregistrations/{Id}", CARD_REGISTRATION),
        updates("cardregistrations/{Id}", CARD_REGISTRATION, register),
        does("GET", "cards/{Registration}", ask, version=PAGES),
        does("POST", "cards/{Registration}", tokenize, version=PAGES),
    ),
)
