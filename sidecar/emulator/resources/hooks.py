"""Hooks, and the events that they would tell of. Hooks are kept, and not called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.emulator.engine import acts
from sidecar.emulator.engine.kinds import Kind, fields
from sidecar.emulator.engine.routes import Emulated, creates, does, lists, updates, views

if TYPE_CHECKING:
    from sidecar.emulator.engine.calls import Call
    from sidecar.emulator.messages import EmulatedResponse

HOOK: Final = Kind(
    name="Hook",
    collection="Hook",
    prefix="hook_m_",
    template=fields("Url", "EventType", Status="ENABLED", Validity="VALID"),
    read_only=frozenset({"Validity"}),
    required=("Url", "EventType"),
)


def list_events(call: Call) -> EmulatedResponse:
    """Show a page of what happened."""
    return acts.page(call, call.client.events, "Date")


EMULATED: Final = Emulated(
    scope="Client.Developers",
    routes=(
        creates("hooks", HOOK),
        views("hooks/{Id}", HOOK),
        updates("hooks/{Id}", HOOK, settable={"Url", "Status", "Tag"}),
        lists("hooks", HOOK),
        does("GET", "events", list_events),
    ),
)
