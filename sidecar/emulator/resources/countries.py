"""What is allowed in which country: paths without a ClientId."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sidecar.emulator.engine import acts
from sidecar.emulator.engine.routes import Emulated, does
from sidecar.emulator.messages import json_response

if TYPE_CHECKING:
    from sidecar.emulator.engine.calls import Call
    from sidecar.emulator.messages import EmulatedResponse

#: Countries with an authorization; any other code is not found.
_COUNTRIES: Final = {"BE": "Belgium", "DE": "Germany", "ES": "Spain", "FR": "France", "GB": "United Kingdom"}
_LAST_UPDATE: Final = 1707210155


def list_all(call: Call) -> EmulatedResponse:
    """Show a page of all countries."""
    return acts.page(call, map(_authorization, _COUNTRIES))


def view(call: Call) -> EmulatedResponse:
    """Show one country."""
    code = call.parameters["Code"].upper()
    return json_response(200, _authorization(code)) if code in _COUNTRIES else call.reports.not_found("Country", code)


def _authorization(code: str) -> dict[str, Any]:
    blocked = {"BlockUserCreation": False, "BlockBankAccountCreation": False, "BlockPayout": False}
    return {
        "CountryCode": code,
        "CountryName": _COUNTRIES[code],
        "Authorization": blocked,
        "LastUpdate": _LAST_UPDATE,
    }


EMULATED: Final = Emulated(
    routes=(
        does("GET", "countries/authorizations", list_all, client=False),
        does("GET", "countries/{Code}/authorizations", view, client=False),
    ),
)
