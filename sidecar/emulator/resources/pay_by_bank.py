"""Banks that Pay by Bank works with, by country."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sidecar.emulator.engine.routes import Emulated, does
from sidecar.emulator.messages import json_response

if TYPE_CHECKING:
    from sidecar.emulator.engine.calls import Call
    from sidecar.emulator.messages import EmulatedResponse

_SCHEMES: Final = ["SEPA_CREDIT_TRANSFER", "SEPA_INSTANT_CREDIT_TRANSFER"]
_BANKS: Final = {
    "DE": ("Commerzbank", "Deutsche Bank", "ING", "N26", "Sparkasse"),
    "ES": ("Banco Santander", "BBVA", "CaixaBank"),
    "FR": ("BNP Paribas", "Crédit Agricole", "La Banque Postale", "Société Générale"),
}


def supported(call: Call) -> EmulatedResponse:
    """Show the banks of the countries in ``CountryCodes``, by default of all; pages are of banks within a country."""
    query = call.query
    wanted = query.get("countrycodes", "").upper().split(",") if query.get("countrycodes") else list(_BANKS)
    size, number = _number(query.get("per_page"), 100), _number(query.get("page"), 1)
    start = (number - 1) * size
    countries = [
        {"CountryCode": code, "Banks": [_bank(code, name) for name in _BANKS[code][start : start + size]]}
        for code in _BANKS
        if code in wanted
    ]
    return json_response(200, {"SupportedBanks": {"Countries": countries}})


def _bank(code: str, name: str) -> dict[str, Any]:
    return {"BankName": f"{code.lower()}-{name.lower().replace(' ', '-')}", "Scheme": _SCHEMES, "Name": name}


def _number(text: str | None, default: int) -> int:
    return max(1, int(text)) if text is not None and text.isdecimal() and len(text) < 6 else default


EMULATED: Final = Emulated(
    scope="Payins", routes=(does("GET", "payment-methods/openbanking/metadata/supported-banks", supported),)
)
