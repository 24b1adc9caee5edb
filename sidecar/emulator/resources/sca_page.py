"""The page where a person authenticates, whatever it is for: a stand-in for Mangopay's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.emulator import pages, sca
from sidecar.emulator.engine.routes import PAGES, Emulated, does

if TYPE_CHECKING:
    from sidecar.emulator.engine.calls import Call
    from sidecar.emulator.messages import EmulatedResponse


def show(call: Call) -> EmulatedResponse:
    """Show the page."""
    ticket = call.client.tickets.get(call.parameters["Ticket"])
    if ticket is None:
        return pages.not_found()
    user = "A user" if ticket.user_id is None else f"User {ticket.user_id}"
    return pages.page(
        "Confirm that it is you",
        f"{user} of {call.client.client_id} is asked for strong customer authentication.",
        choices={sca.AUTHENTICATE: "Authenticate", sca.REFUSE: "Refuse"},
    )


def choose(call: Call) -> EmulatedResponse:
    """Let a person have authenticated, or refused to; then go back to where the app said (``returnUrl``)."""
    ticket = call.client.tickets.get(call.parameters["Ticket"])
    chosen = pages.outcome(call.request.body)
    if ticket is None:
        return pages.not_found()
    if chosen not in {sca.AUTHENTICATE, sca.REFUSE}:
        return pages.unclear((sca.AUTHENTICATE, sca.REFUSE))
    authenticated = chosen == sca.AUTHENTICATE
    sca.settle(call.client, ticket, call.state.clock.wall(), authenticated=authenticated)
    back = call.query.get("returnurl", "")
    if pages.is_web_url(back):
        return pages.redirect(back)
    return pages.page("Thank you" if authenticated else "Refused", "You can close this page.")


EMULATED: Final = Emulated(
    routes=(
        does("GET", "sca/{Ticket}", show, version=PAGES),
        does("POST", "sca/{Ticket}", choose, version=PAGES),
    ),
)
