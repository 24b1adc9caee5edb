"""Pay-ins by card: at a page (web), or at once with a card that is known (direct)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sidecar.emulator import money
from sidecar.emulator.engine.kinds import Kind, Transition, fields
from sidecar.emulator.engine.routes import Emulated, creates, views

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sidecar.emulator.engine.calls import Call
    from sidecar.emulator.state import ClientState, Resource

_PAYMENT_PAGE: Final = "https://homologation-secure-p.payline.com/webpayment/?reqCode=prepareStep2&token="
_CANCELLED: Final[money.Result] = ("101002", "The transaction has been cancelled by the user")
#: What Mangopay knows of the sandbox's test card.
CARD_INFO: Final = {
    "BIN": "497010",
    "IssuingBank": "LA BANQUE POSTALE",
    "IssuerCountryCode": "FR",
    "Type": "DEBIT",
    "Brand": "VISA",
    "SubType": None,
}


def _succeed(client: ClientState, resource: Resource, at: int) -> None:
    money.succeed(client, resource, at)


#: What the payer does at a page.
PAYING: Final = (
    Transition(
        name="pay",
        source=frozenset({"CREATED"}),
        target="SUCCEEDED",
        change=_succeed,
        event="PAYIN_NORMAL_SUCCEEDED",
    ),
    Transition(
        name="fail",
        source=frozenset({"CREATED"}),
        target="FAILED",
        sets=money.result(_CANCELLED),
        event="PAYIN_NORMAL_FAILED",
    ),
)


def pay_in(
    payment: str,
    execution: str,
    *names: str,
    optional: Iterable[str] = (),
    read_only: Iterable[str] = (),
    **values: Any,
) -> Kind:
    """Return the kind of pay-ins with this ``PaymentType`` and ``ExecutionType``.

    ``names`` and ``values`` are further fields, as :func:`~sidecar.emulator.engine.kinds.fields` takes them.
    """
    return Kind(
        name="PayIn",
        collection="PayIn",
        prefix="payin_m_",
        template=fields(
            *names, **money.TRANSACTION, Type="PAYIN", PaymentType=payment, ExecutionType=execution, **values
        ),
        read_only=money.READ_ONLY | {"PaymentType", "ExecutionType", *read_only},
        optional=frozenset(optional),
        required=("AuthorId", "CreditedWalletId", *money.AMOUNTS),
        links={"AuthorId": "User", "CreditedWalletId": "Wallet", "CreditedUserId": "User", "CardId": "Card"},
        money=money.AMOUNTS,
        transitions=PAYING,
        transaction=True,
    )


_CARD: Final = (
    *("CardType", "Culture", "ReturnURL", "RedirectURL", "TemplateURL", "TemplateURLOptions", "SecureMode"),
    *("SecureModeReturnURL", "SecureModeRedirectURL", "CardId", "StatementDescriptor", "Shipping", "Billing"),
)
_SET_HERE: Final = ("RedirectURL", "SecureModeRedirectURL", "BankName", "CardInfo", "SecurityInfo", "Applied3DSVersion")

CARD_WEB: Final = pay_in(
    "CARD", "WEB", *_CARD, optional=("Bic", "PreferredCardNetwork", "Reference"), read_only=_SET_HERE
)
CARD_DIRECT: Final = pay_in(
    "CARD",
    "DIRECT",
    *_CARD,
    *("BrowserInfo", "IpAddress", "CardInfo", "SecurityInfo", "Applied3DSVersion", "Requested3DSVersion"),
    optional=("PreferredCardNetwork", "PaymentCategory", "Reference"),
    read_only=_SET_HERE,
)


def complete_web(call: Call, resource: Resource) -> None:
    """Wait for the payer: the pay-in stays CREATED until it is settled."""
    money.derive_amounts(call.client, resource)
    resource["RedirectURL"] = _PAYMENT_PAGE + resource["Id"]
    if resource["CardType"] == "IDEAL" and resource.get("Bic"):
        resource["BankName"] = "RABOBANK"


def complete_direct(call: Call, resource: Resource) -> None:
    """Succeed at once, fill the wallet, and know the card to be good."""
    money.derive_amounts(call.client, resource)
    resource.update(
        CardInfo=dict(CARD_INFO),
        SecurityInfo={"AVSResult": "NO_CHECK"},
        Applied3DSVersion=resource["Requested3DSVersion"] or "V2_1",
    )
    card = call.client.find("Card", resource["CardId"] or "")
    if card is not None:
        card["Validity"] = "VALID"
    money.succeed(call.client, resource, call.at)


EMULATED: Final = Emulated(
    scope="Payins",
    parents={"PayInId": "PayIn"},
    routes=(
        creates("payins/card/web", CARD_WEB, complete_web, "PAYIN_NORMAL_CREATED"),
        creates("payins/card/direct", CARD_DIRECT, complete_direct, "PAYIN_NORMAL_SUCCEEDED"),
        views("payins/{Id}", CARD_WEB),
    ),
)
