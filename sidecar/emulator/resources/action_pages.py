"""The page where a person decides on what waits for one: pays, authenticates, signs, or refuses to.

Its buttons are the transitions that the resource's kind has a ``label`` for, and that its
status allows. The control route ``settle`` does the same without a browser.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from sidecar.emulator import pages
from sidecar.emulator.engine import transitions
from sidecar.emulator.engine.kinds import kind_of
from sidecar.emulator.engine.routes import PAGES, Emulated, does

if TYPE_CHECKING:
    from sidecar.emulator.engine.calls import Call
    from sidecar.emulator.messages import EmulatedResponse
    from sidecar.emulator.state import Resource


def show(call: Call) -> EmulatedResponse:
    """Show what can be done."""
    resource = _waiting(call)
    if resource is None:
        return pages.not_found()
    choices = _choices(resource)
    if not choices:
        return pages.page("Nothing to do", f"{_describe(resource)} Nothing waits for you.")
    return pages.page(kind_of(resource).prompt, _describe(resource), choices=choices)


def choose(call: Call) -> EmulatedResponse:
    """Do what the button says; then go back to where the app said."""
    resource = _waiting(call)
    chosen = pages.outcome(call.request.body)
    if resource is None:
        return pages.not_found()
    buttons = [each.name for each in kind_of(resource).transitions if each.label is not None]
    if chosen not in buttons:
        return pages.unclear(buttons)
    label = _choices(resource).get(chosen)
    if label is None:
        return pages.page("Too late", f"{_describe(resource)} This is no longer possible.", status=409)
    transitions.move(call.client, resource, chosen, call.at)
    back = _way_back(resource)
    return pages.redirect(back) if pages.is_web_url(back) else pages.page(label, "Done. You can close this page.")


def _waiting(call: Call) -> Resource | None:
    resource = call.client.find_any(call.parameters["Resource"])
    return None if resource is None or not kind_of(resource).prompt else resource


def _choices(resource: Resource) -> dict[str, str]:
    return {
        each.name: each.label
        for each in kind_of(resource).transitions
        if each.label is not None and resource[each.field] in each.source
    }


def _describe(resource: Resource) -> str:
    funds = resource.get("DebitedFunds")
    amount = "" if funds is None else f" of {funds['Amount'] / 100:.2f} {funds['Currency']}"
    return f"{kind_of(resource).name} {resource['Id']}{amount} has the status {resource['Status']}."


def _way_back(resource: Resource) -> str:
    url = str(resource.get("ReturnURL") or resource.get("ReturnUrl") or resource.get("SecureModeReturnURL") or "")
    parameter = kind_of(resource).returns
    if parameter is None or not url:
        return url
    return f"{url}{'&' if '?' in url else '?'}{parameter}={quote(resource['Id'])}"


EMULATED: Final = Emulated(
    routes=(
        does("GET", "actions/{Resource}", show, version=PAGES),
        does("POST", "actions/{Resource}", choose, version=PAGES),
    ),
)
