"""Card validations: whether a card is good, without a payment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.emulator import card_payments, money
from sidecar.emulator.engine.kinds import Kind, fields
from sidecar.emulator.engine.routes import Emulated, creates, views

if TYPE_CHECKING:
    from sidecar.emulator.engine.calls import Call
    from sidecar.emulator.state import ClientState, Resource


def _validate(client: ClientState, resource: Resource, at: int) -> None:
    resource.update(Status="SUCCEEDED", Validity="VALID", AuthorizationDate=at, **money.result(money.SUCCESS))
    card_payments.approve(client, resource)


def _invalidate(client: ClientState, resource: Resource, at: int) -> None:
    del at
    card = client.find("Card", resource["CardId"] or "")
    if card is not None:
        card["Validity"] = "INVALID"


CARD_VALIDATION: Final = Kind(
    name="CardValidation",
    collection="CardValidation",
    prefix="cardvalidation_m_",
    prompt="Confirm your card",
    returns="cardValidationId",
    template=fields(
        *("AuthorId", *card_payments.FIELDS, "AuthorizationDate", "ResultCode", "ResultMessage"),
        **card_payments.DEFAULTS,
        Status="CREATED",
        Validity="UNKNOWN",
        Type="CARD_VALIDATION",
    ),
    read_only=card_payments.SET_HERE
    | {"CardId", "AuthorizationDate", "ResultCode", "ResultMessage", "Status", "Validity", "Type"},
    optional=frozenset({"PreferredCardNetwork", "PaymentCategory"}),
    required=("AuthorId", "SecureModeReturnURL"),
    links={"AuthorId": "User"},
    transitions=card_payments.authentication(
        _validate,
        "CARD_VALIDATION_SUCCEEDED",
        "CARD_VALIDATION_FAILED",
        on_refusal=_invalidate,
        refused_sets={"Validity": "INVALID"},
    ),
)


def complete(call: Call, resource: Resource) -> None:
    """Find the card to be good at once, unless the payer has to authenticate."""
    card_payments.describe(resource)
    if not card_payments.challenge(call, resource):
        _validate(call.client, resource, call.at)
    call.client.tell(f"CARD_VALIDATION_{resource['Status']}", resource["Id"], call.at)


EMULATED: Final = Emulated(
    scope="Payins",
    routes=(
        creates("cards/{CardId}/validation", CARD_VALIDATION, complete, fixed={"CardId": "{CardId}"}),
        views("cards/{CardId}/validation/{Id}", CARD_VALIDATION),
    ),
)
