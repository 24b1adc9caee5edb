"""Stored answers, read by their ``Idempotency-Key``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.emulator.engine.routes import Emulated, does

if TYPE_CHECKING:
    from sidecar.emulator.engine.calls import Call
    from sidecar.emulator.messages import EmulatedResponse


def read(call: Call) -> EmulatedResponse:
    """Show the response that is kept under a key; 400 if there is none."""
    state = call.state
    stored = call.client.stored_responses.read(
        call.parameters["Key"], state.clock.wall(), state.settings.stored_answer_delay
    )
    return stored or call.reports.no_stored_response()


EMULATED: Final = Emulated(scope="Client.Developers", routes=(does("GET", "responses/{Key}", read),))
