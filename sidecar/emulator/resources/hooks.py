"""Hooks, and the events that they are called for (:mod:`sidecar.emulator.hooks`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.emulator.engine import acts
from sidecar.emulator.engine.kinds import Kind, fields, is_text, one_of
from sidecar.emulator.engine.routes import Emulated, creates, does, lists, updates, views

if TYPE_CHECKING:
    from sidecar.emulator.engine.calls import Call
    from sidecar.emulator.messages import EmulatedResponse
    from sidecar.emulator.state import Resource

HOOK: Final = Kind(
    name="Hook",
    collection="Hook",
    prefix="hook_m_",
    template=fields("Url", "EventType", Status="ENABLED", Validity="VALID"),
    read_only=frozenset({"Validity"}),
    required=("Url", "EventType"),
    checks={"Url": is_text, "EventType": is_text, "Status": one_of("ENABLED", "DISABLED")},
)


def rearm(call: Call, resource: Resource) -> None:
    """Trust a hook again that was disabled and is enabled now."""
    before = call.found(HOOK.collection, resource["Id"])["Status"]
    if (before, resource["Status"]) == ("DISABLED", "ENABLED"):
        resource["Validity"] = "VALID"


def list_events(call: Call) -> EmulatedResponse:
    """Show a page of what happened."""
    return acts.page(call, call.client.events, "Date")


EMULATED: Final = Emulated(
    scope="Client.Developers",
    routes=(
        creates("hooks", HOOK),
        views("hooks/{Id}", HOOK),
        updates("hooks/{Id}", HOOK, rearm, {"Url", "Status", "Tag"}),
        lists("hooks", HOOK),
        does("GET", "events", list_events),
    ),
)
