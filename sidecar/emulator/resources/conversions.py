"""Conversions between wallets of different currencies, at once or at a rate that was quoted before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from sidecar.emulator import money
from sidecar.emulator.engine.bodies import LARGEST, is_amount, is_money
from sidecar.emulator.engine.kinds import Kind, Transition, fields, one_of
from sidecar.emulator.engine.routes import Emulated, creates, does, views
from sidecar.emulator.messages import json_response
from sidecar.emulator.resources import client_wallets

if TYPE_CHECKING:
    from sidecar.emulator.engine.calls import Call
    from sidecar.emulator.messages import EmulatedResponse
    from sidecar.emulator.state import Resource

#: What a euro is worth on the market, and what of it a client gets.
_EURO: Final = {"EUR": 1.0, "GBP": 0.85, "USD": 1.1, "CHF": 0.95, "PLN": 4.3, "SEK": 11.2, "NOK": 11.6, "DKK": 7.46}
_CLIENT_SHARE: Final = 0.995
#: How long a quote holds, in seconds, unless the caller says otherwise.
_QUOTED_FOR: Final = 300


def _check_side(value: Any) -> str | None:
    # A list of them, and not the table: what is no string may be no key either.
    if isinstance(value, dict) and value.get("Currency") in [*_EURO] and is_amount(value.get("Amount") or 0):
        return None
    return f"The value must have an Amount, or none yet, and a Currency: one of {', '.join(_EURO)}."


def _check_fees(value: Any) -> str | None:
    if is_money(value):
        return None
    wanted = value.get("Value") if isinstance(value, dict) and value.get("Type") in _FEES else None
    if isinstance(wanted, int | float) and 0 <= wanted <= LARGEST and (value["Type"] == "FIXED" or wanted < 100):
        return None
    return f"Fees have a Value, and a Type: one of {', '.join(_FEES)}; or, as before, an Amount and a Currency."


#: What a Value of Fees can mean: a share of the debited funds in percent, or an amount.
_FEES: Final = ("PERCENTAGE", "FIXED")
_SIDES: Final = ("DebitedFunds", "CreditedFunds")
_CHECKS: Final = {**dict.fromkeys(_SIDES, _check_side), "Fees": _check_fees}

QUOTE: Final = Kind(
    name="Quote",
    collection="Quote",
    prefix="quote_m_",
    template=fields(
        *(*_SIDES, "Fees", "RequestedFees", "ExpirationDate", "ConversionRateResponse"),
        Duration=_QUOTED_FOR,
        Status="ACTIVE",
    ),
    read_only=frozenset({"RequestedFees", "ExpirationDate", "ConversionRateResponse", "Status"}),
    required=_SIDES,
    checks=_CHECKS,
    transitions=(Transition(name="expire", source=frozenset({"ACTIVE"}), target="EXPIRED"),),
)

INSTANT: Final = Kind(
    name="Conversion",
    collection="Conversion",
    prefix="conversion_m_",
    template=fields("QuoteId", "ConversionRateResponse", "RequestedFees", **money.TRANSACTION, Type="CONVERSION"),
    read_only=(money.READ_ONLY - {"CreditedFunds"})
    | {"QuoteId", "ConversionRateResponse", "RequestedFees", "CreditedUserId"},
    required=("AuthorId", "DebitedWalletId", "CreditedWalletId", *_SIDES),
    links={"AuthorId": "User", "DebitedWalletId": "Wallet", "CreditedWalletId": "Wallet"},
    checks=_CHECKS,
    transaction=True,
)
QUOTED: Final = msgspec.structs.replace(
    INSTANT,
    name="QuotedConversion",
    read_only=money.READ_ONLY | {"ConversionRateResponse", "RequestedFees", "CreditedUserId", *_SIDES, "Fees"},
    required=("AuthorId", "DebitedWalletId", "CreditedWalletId", "QuoteId"),
    links={**INSTANT.links, "QuoteId": "Quote"},
    checks={},
)
_WALLET_TYPES: Final = {
    "DebitedWalletType": one_of(*client_wallets.FUNDS_TYPES),
    "CreditedWalletType": one_of(*client_wallets.FUNDS_TYPES),
}
_OF_CLIENT: Final = INSTANT.read_only | {"AuthorId", "DebitedWalletId", "CreditedWalletId"}
CLIENT_INSTANT: Final = msgspec.structs.replace(
    INSTANT,
    name="ClientConversion",
    template={**INSTANT.template, **dict.fromkeys(_WALLET_TYPES)},
    read_only=_OF_CLIENT,
    required=(*_WALLET_TYPES, *_SIDES),
    links={},
    checks={**_WALLET_TYPES, **INSTANT.checks},
)
CLIENT_QUOTED: Final = msgspec.structs.replace(
    CLIENT_INSTANT,
    name="ClientQuotedConversion",
    read_only=(_OF_CLIENT | {*_SIDES, "Fees", "CreditedFunds"}) - {"QuoteId"},
    required=(*_WALLET_TYPES, "QuoteId"),
    links={"QuoteId": "Quote"},
    checks=_WALLET_TYPES,
)


def rate(call: Call) -> EmulatedResponse:
    """Tell what a currency is worth in another."""
    debited, credited = (call.parameters[name].upper() for name in ("DebitedCurrency", "CreditedCurrency"))
    for currency in (debited, credited):
        if currency not in _EURO:
            raise call.incorrect("Currency", f"The currency must be one of {', '.join(_EURO)}.")
    return json_response(200, _rate(debited, credited, call.at))


def _rate(debited: str, credited: str, at: int) -> dict[str, Any]:
    market = _EURO[credited] / _EURO[debited]
    return {
        "DebitedCurrency": debited,
        "CreditedCurrency": credited,
        "ClientRate": f"{market * _CLIENT_SHARE:.6f}",
        "MarketRate": f"{market:.6f}",
        "MarketRateDate": at,
    }


def convert(call: Call, resource: Resource) -> None:
    """Work out the side that has no amount yet, and tell the rate."""
    debited, credited = (dict(resource[side]) for side in _SIDES)
    told = _rate(debited["Currency"], credited["Currency"], call.at)
    worth = float(told["ClientRate"])
    requested = resource["Fees"]
    share, fixed = _terms(requested)
    if debited.get("Amount"):
        fees = fixed + round(debited["Amount"] * share)
        credited["Amount"] = round(max(0, debited["Amount"] - fees) * worth)
    elif credited.get("Amount"):
        converted = round(credited["Amount"] / worth)
        debited["Amount"] = round((converted + fixed) / (1 - share))
        fees = debited["Amount"] - converted
    else:
        raise call.incorrect("DebitedFunds", "One of the two sides must have an Amount.")
    if requested is not None:
        resource.update(RequestedFees=requested, Fees={"Currency": debited["Currency"], "Amount": fees})
    resource.update(DebitedFunds=debited, CreditedFunds=credited, ConversionRateResponse=told)


def _terms(requested: dict[str, Any] | None) -> tuple[float, int]:
    """Return what part of the debited funds is taken as fees, and what amount besides."""
    if requested is None:
        return 0.0, 0
    if requested.get("Type") == "PERCENTAGE":
        return requested["Value"] / 100, 0
    return 0.0, requested["Amount"] if is_money(requested) else round(requested["Value"])


def complete_quote(call: Call, resource: Resource) -> None:
    """Hold the rate for as long as was asked for."""
    if not is_amount(resource["Duration"]):
        raise call.incorrect("Duration", "The Duration must be a number of seconds.")
    convert(call, resource)
    resource["ExpirationDate"] = call.at + resource["Duration"]


def view_quote(call: Call) -> EmulatedResponse:
    """Show a quote, which may have expired."""
    return json_response(200, _current(call, call.parameters["QuoteId"]))


def _current(call: Call, identifier: str) -> Resource:
    quote = call.found("Quote", identifier)
    if quote["Status"] == "ACTIVE" and call.at >= quote["ExpirationDate"]:
        quote["Status"] = "EXPIRED"
    return quote


def complete_instant(call: Call, resource: Resource) -> None:
    """Convert at today's rate."""
    convert(call, resource)
    resource["Fees"] = resource["Fees"] or {"Currency": resource["DebitedFunds"]["Currency"], "Amount": 0}
    _move(call, resource)


def complete_quoted(call: Call, resource: Resource) -> None:
    """Convert at the rate of a quote that has not expired; raises RefusalError if it has."""
    quote = _current(call, resource["QuoteId"])
    if quote["Status"] != "ACTIVE":
        raise call.incorrect("QuoteId", "The quote has expired.")
    for field in (*_SIDES, "ConversionRateResponse"):
        resource[field] = dict(quote[field])
    resource["RequestedFees"] = quote["RequestedFees"]
    resource["Fees"] = quote["Fees"] or {"Currency": quote["DebitedFunds"]["Currency"], "Amount": 0}
    _move(call, resource)


def _move(call: Call, resource: Resource) -> None:
    for side in ("Debited", "Credited"):
        funds_type = resource.get(f"{side}WalletType")
        if funds_type is not None:
            resource[f"{side}WalletId"] = f"{funds_type}_{resource[f'{side}Funds']['Currency']}"
    resource["CreditedUserId"] = money.owner(call.client, resource["CreditedWalletId"])
    if money.covered(call.client, resource):
        money.succeed(call.client, resource, call.at)
    else:
        resource.update(Status="FAILED", **money.result(money.TOO_LITTLE))
    call.client.tell(f"INSTANT_CONVERSION_{resource['Status']}", resource["Id"], call.at)


EMULATED: Final = Emulated(
    scope="Conversions",
    parents={"QuoteId": "Quote"},
    routes=(
        does("GET", "conversions/rate/{DebitedCurrency}/{CreditedCurrency}", rate),
        creates("conversions/quote", QUOTE, complete_quote),
        does("GET", "conversions/quote/{QuoteId}", view_quote),
        creates("conversions/instant-conversion", INSTANT, complete_instant),
        creates("conversions/quoted-conversion", QUOTED, complete_quoted),
        does(
            "POST",
            "clients/conversions/instant-conversion",
            client_wallets.create,
            kind=CLIENT_INSTANT,
            effect=complete_instant,
        ),
        does(
            "POST",
            "clients/conversions/quoted-conversion",
            client_wallets.create,
            kind=CLIENT_QUOTED,
            effect=complete_quoted,
        ),
        views("conversions/{Id}", INSTANT),
    ),
)
