"""The platform itself: what Mangopay knows of it."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any, Final

from sidecar.emulator.engine.routes import PAGES, Emulated, does
from sidecar.emulator.messages import EmulatedResponse, json_response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sidecar.emulator.engine.calls import Call

_PROFILE: Final[Mapping[str, Any]] = {
    **dict.fromkeys(("Logo", "PlatformDescription", "PlatformURL", "HeadquartersAddress", "TaxNumber")),
    "PrimaryThemeColour": "#403f64",
    "PrimaryButtonColour": "#403f64",
    **dict.fromkeys(("TechEmails", "AdminEmails", "FraudEmails", "BillingEmails"), ()),
    "PlatformCategorization": {"BusinessType": "MARKETPLACE", "Sector": "OTHERS"},
    "HeadquartersPhoneNumber": "+33111111111",
    "Licensor": "Mangopay S.A.",
}
_NO_SNIFFING: Final = ((b"X-Content-Type-Options", b"nosniff"),)
#: How files begin that a logo may be, and their media types.
_IMAGES: Final = {b"\x89PNG": b"image/png", b"\xff\xd8\xff": b"image/jpeg", b"GIF8": b"image/gif"}


def view(call: Call) -> EmulatedResponse:
    """Show the platform."""
    client_id = call.client.client_id
    return json_response(200, {"ClientId": client_id, "Name": client_id, **_PROFILE, **call.client.profile})


def update(call: Call) -> EmulatedResponse:
    """Change what the body names."""
    body = call.body()
    call.client.profile.update(
        {name: value for name, value in body.items() if value is not None and name != "ClientId"}
    )
    return view(call)


def upload_logo(call: Call) -> EmulatedResponse:
    """Take an image in base64."""
    try:
        image = base64.b64decode(str(call.body().get("File") or ""), validate=True)
    except (binascii.Error, ValueError):
        image = b""
    if not image.startswith(tuple(_IMAGES)):
        raise call.incorrect("File", "The File field must be an image (PNG, JPEG or GIF) in base64.")
    call.client.logo = image
    call.client.profile["Logo"] = call.page("logo")
    return EmulatedResponse(204)


def show_logo(call: Call) -> EmulatedResponse:
    """Show the logo to whoever has its URL."""
    logo = call.client.logo
    kinds = [kind for start, kind in _IMAGES.items() if logo.startswith(start)]
    return EmulatedResponse(200, logo, kinds[0], _NO_SNIFFING) if kinds else EmulatedResponse(404)


EMULATED: Final = Emulated(
    scope="Client.Details",
    routes=(
        does("GET", "clients", view),
        does("PUT", "clients", update),
        does("PUT", "clients/logo", upload_logo),
        does("GET", "logo", show_logo, version=PAGES),
    ),
)
