"""Pay-ins by local payment methods, PayPal and wallets of phones: most wait for the payer at a page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from sidecar.emulator import money
from sidecar.emulator.engine.routes import Emulated, Route, creates, does
from sidecar.emulator.messages import json_response
from sidecar.emulator.resources.payins import pay_in

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sidecar.emulator.engine.calls import Call
    from sidecar.emulator.engine.kinds import Kind
    from sidecar.emulator.messages import EmulatedResponse
    from sidecar.emulator.state import Resource

#: How long a Payconiq payment can be paid, in seconds.
_PAYCONIQ_LIFE: Final = 20 * 60
_SET_HERE: Final = frozenset(
    {
        *("RedirectURL", "DeepLinkURL", "QRCodeURL", "ExpirationDate", "PaymentMethod", "ProcessingStatus"),
        *("PaypalPayerID", "PaypalOrderID", "PaypalBuyerAccountEmail", "BuyerCountry", "BuyerFirstname"),
        *("BuyerLastname", "BuyerPhone", "Trackings", "SecureModeRedirectURL", "SecureModeNeeded", "CardInfo"),
    }
)
#: What a page needs, and what every method may have.
_PAGE: Final = ("ReturnURL", "RedirectURL")
_COMMON: Final = ("StatementDescriptor", "ProfilingAttemptReference")
_PAYPAL: Final = (
    *("Culture", "Shipping", "ShippingAddress", "ShippingPreference", "LineItems", "Reference", "CancelURL"),
    *("PaypalPayerID", "PaypalOrderID", "PaypalBuyerAccountEmail", "DataCollectionId"),
    *("BuyerCountry", "BuyerFirstname", "BuyerLastname", "BuyerPhone"),
)


def method(
    payment: str,
    *names: str,
    needs: Iterable[str] = ("ReturnURL",),
    execution: str = "WEB",
    optional: Iterable[str] = (),
    **values: Any,
) -> Kind:
    """Return the kind of pay-ins by one payment method; ``needs``: what must be given beyond the amounts."""
    kind = pay_in(payment, execution, *_COMMON, *names, optional=optional, **values)
    settled_here = _SET_HERE & {*kind.template, *kind.optional}
    return msgspec.structs.replace(kind, required=(*kind.required, *needs), read_only=kind.read_only | settled_here)


def paypal(*needs: str) -> Kind:
    """Return the kind of pay-ins by PayPal; ``needs`` as in :func:`method`."""
    return method("PAYPAL", *_PAGE, *_PAYPAL, needs=needs, Trackings=())


PAYPAL: Final = paypal("ReturnURL", "LineItems")
_PAYCONIQ: Final = method(
    *("PAYCONIQ", *_PAGE, "Country", "DeepLinkURL", "QRCodeURL", "ExpirationDate"), needs=("ReturnURL", "Country")
)
_DIRECT: Final = (
    *("BrowserInfo", "IpAddress", "Billing", "Shipping", "SecureMode", "SecureModeReturnURL"),
    *("SecureModeRedirectURL", "ReturnURL", "CardInfo"),
)
_GOOGLE_PAY: Final = (*_DIRECT, "PaymentData")

#: Methods by their path.
METHODS: Final[dict[str, Kind]] = {
    "payins/paypal/web": paypal("ReturnURL"),
    "payins/payconiq/web": _PAYCONIQ,
    "payins/payment-methods/paypal": PAYPAL,
    "payins/payment-methods/payconiq": _PAYCONIQ,
    "payins/payment-methods/bancontact": method("BCMC", *_PAGE, "Culture", "DeepLinkURL", Recurring=False),
    "payins/payment-methods/bizum": method("BIZUM", "Phone", needs=(), optional=_PAGE),
    "payins/payment-methods/blik": method("BLIK", *_PAGE, "Code", "IpAddress", "BrowserInfo", needs=()),
    "payins/payment-methods/giropay": method("GIROPAY", *_PAGE),
    "payins/payment-methods/ideal": method("IDEAL", *_PAGE, "Bic", "BankName"),
    "payins/payment-methods/klarna": method(
        *("KLARNA", *_PAGE, "LineItems", "Country", "Culture", "Phone", "Email", "AdditionalData", "Billing"),
        *("Shipping", "Reference"),
        needs=("ReturnURL", "LineItems", "Country"),
        PaymentMethod="pay_later",
    ),
    "payins/payment-methods/mbway": method("MBWAY", "Phone", needs=("Phone",)),
    "payins/payment-methods/multibanco": method("MULTIBANCO", *_PAGE),
    "payins/payment-methods/openbanking": method(
        *("PAY_BY_BANK", *_PAGE, "Country", "IBAN", "BIC", "BankName", "Culture", "Scheme", "PaymentFlow"),
        needs=("ReturnURL", "Country"),
        ProcessingStatus="PENDING_SUCCEEDED",
    ),
    "payins/payment-methods/satispay": method("SATISPAY", *_PAGE, "Country", needs=("ReturnURL", "Country")),
    "payins/payment-methods/swish": method(
        "SWISH", *_PAGE, "DeepLinkURL", "QRCodeURL", needs=("ReturnURL",), PaymentFlow="WEB"
    ),
    "payins/payment-methods/twint": method("TWINT", *_PAGE),
}
#: Methods that are through at once: the phone has asked its owner.
DIRECT: Final[dict[str, Kind]] = {
    "payins/applepay/direct": method("APPLEPAY", *_DIRECT, "PaymentData", execution="DIRECT", needs=("PaymentData",)),
    "payins/googlepay/direct": method("GOOGLEPAY", *_GOOGLE_PAY, execution="DIRECT", needs=("PaymentData",)),
    "payins/payment-methods/googlepay": method("GOOGLE_PAY", *_GOOGLE_PAY, execution="DIRECT", needs=("PaymentData",)),
}


def complete(call: Call, resource: Resource) -> None:
    """Wait for the payer, at a page of the emulator's own unless the method asks at the payer's phone."""
    money.derive_amounts(call.client, resource)
    page = call.page(f"actions/{resource['Id']}")
    at_page = resource.get("ReturnURL") and not resource.get("Phone" if resource["PaymentType"] == "BIZUM" else "Code")
    if at_page:
        resource["RedirectURL"] = page
    for field in ("DeepLinkURL", "QRCodeURL"):
        if field in resource:
            resource[field] = page
    if "ExpirationDate" in resource:
        resource["ExpirationDate"] = call.at + _PAYCONIQ_LIFE
    if resource.get("Culture"):
        resource["Culture"] = str(resource["Culture"]).upper()
    if resource["PaymentType"] == "IDEAL" and resource["Bic"]:
        resource["BankName"] = resource["Bic"]


def complete_direct(call: Call, resource: Resource) -> None:
    """Succeed at once, and fill the wallet."""
    money.derive_amounts(call.client, resource)
    money.succeed(call.client, resource, call.at)


def track(call: Call) -> EmulatedResponse:
    """Add the number of a parcel to a pay-in by PayPal."""
    resource = call.found("PayIn", call.parameters["PayInId"])
    body = call.body()
    if resource["PaymentType"] != "PAYPAL":
        raise call.incorrect("PaymentType", "Only a PayPal pay-in has trackings.")
    for field in ("TrackingNumber", "Carrier"):
        if not body.get(field):
            raise call.incorrect(field, f"The {field} field is required.")
    tracking = {
        **{name: body[name] for name in ("TrackingNumber", "Carrier")},
        "NotifyBuyer": bool(body.get("NotifyBuyer")),
    }
    resource["Trackings"] = [*(resource.get("Trackings") or ()), tracking]
    return json_response(200, resource)


def _routes() -> tuple[Route, ...]:
    waiting = (creates(path, kind, complete, "PAYIN_NORMAL_CREATED") for path, kind in METHODS.items())
    done = (creates(path, kind, complete_direct, "PAYIN_NORMAL_SUCCEEDED") for path, kind in DIRECT.items())
    return (*waiting, *done)


EMULATED: Final = Emulated(
    scope="Payins", routes=(*_routes(), does("PUT", "payins/{PayInId}/trackings", track, kind=PAYPAL))
)
