"""Changes of status: a resource goes from one to the next as its kind's table says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.emulator.engine.kinds import kind_of

if TYPE_CHECKING:
    from sidecar.emulator.engine.kinds import Transition
    from sidecar.emulator.state import ClientState, Resource


class NotAllowedError(ValueError):
    """The resource's status does not allow the transition."""

    def __init__(self, transition: Transition, status: object) -> None:
        super().__init__(f"{transition.name} is not possible from {status}")
        self.transition = transition


def move(client: ClientState, resource: Resource, name: str, at: int) -> None:
    """Carry out a transition of ``resource`` at ``at`` (Unix seconds); a transition that was due later is dropped.

    Raises NotAllowedError, and changes nothing, if its status does not allow it, and
    ValueError if its kind has no such transition.
    """
    kind = kind_of(resource)
    transition = kind.transition(name)
    if transition is None:
        names = ", ".join(each.name for each in kind.transitions)
        message = f"a {kind.name} has no transition {name!r}; it has: {names or 'none'}"
        raise ValueError(message)
    status = resource.get(transition.field)
    if status not in transition.source:
        raise NotAllowedError(transition, status)
    resource[transition.field] = transition.target
    resource.update(transition.sets)
    if transition.change is not None:
        transition.change(client, resource, at)
    resource.due = None
    if transition.event is not None:
        client.tell(transition.event, resource["Id"], at)


def note_processed(client: ClientState, resource: Resource, at: int) -> None:
    """Note when a document or a declaration was judged."""
    del client
    resource["ProcessedDate"] = at
