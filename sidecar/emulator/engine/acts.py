"""What a row can do without code of its own: create, view, update, move, list."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

from sidecar.emulator import paging
from sidecar.emulator.engine import transitions
from sidecar.emulator.engine.bodies import find_errors, find_missing, given_fields
from sidecar.emulator.engine.calls import Call, RefusalError
from sidecar.emulator.engine.kinds import TRANSACTIONS, Kind, kind_of
from sidecar.emulator.messages import EmulatedResponse, json_response
from sidecar.emulator.state import Resource

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sidecar.emulator.state import ClientState


def execute(call: Call) -> EmulatedResponse:
    """Return the response; a success of a write has changed the state."""
    try:
        for name, identifier in call.parameters.items():
            collection = call.parents.get(name)
            if collection is not None:
                call.found(collection, identifier)
        return call.route.act(call)
    except RefusalError as refusal:
        return refusal.response


def create(call: Call) -> EmulatedResponse:
    """Make a resource of the body."""
    return json_response(200, add(call, given(call, creating=True)))


def given(call: Call, *, creating: bool) -> dict[str, Any]:
    """Return the fields in the body that count; raises RefusalError if they do not validate."""
    return checked(call, call.kind, given_fields(call.kind, call.body(), call.route.settable), creating=creating)


def checked(call: Call, kind: Kind, fields: dict[str, Any], *, creating: bool) -> dict[str, Any]:
    """Return ``fields``, which are of a ``kind``; raises RefusalError if they do not validate."""
    missing = find_missing(kind, fields, call.client)
    if missing is not None:
        raise RefusalError(call.reports.not_found(*missing))
    errors = find_errors(kind, fields, call.client, creating=creating)
    if errors:
        raise RefusalError(call.reports.incorrect(errors))
    return fields


def build(kind: Kind, client: ClientState, at: int) -> Resource:
    """Return a new resource of ``kind``, not yet listed anywhere."""
    resource = Resource(kind, deepcopy(dict(kind.template)))
    resource["Id"] = client.new_id(kind.prefix)
    resource["CreationDate"] = at
    return resource


def keep(client: ClientState, resource: Resource) -> None:
    """List a resource where it belongs."""
    client.collection(resource.kind.collection).add(resource)
    if kind_of(resource).transaction:
        client.collection(TRANSACTIONS).add(resource)


def add(call: Call, fields: dict[str, Any]) -> Resource:
    """Make, complete and list a resource of the row's kind; ``fields`` are in order."""
    route, client = call.route, call.client
    resource = build(call.kind, client, call.at)
    resource.update(fields)
    for field, value in route.fixed.items():
        resource[field] = call.parameters[value[1:-1]] if value.startswith("{") else value
    if route.effect is not None:
        route.effect(call, resource)
    keep(client, resource)
    if route.event is not None:
        client.tell(route.event, resource["Id"], call.at)
    return resource


def find(call: Call) -> Resource:
    """Return the resource that ``{Id}`` names; a natural user is none under ``users/legal``.

    Raises RefusalError if there is none.
    """
    resource = call.found(call.kind.collection, call.parameters["Id"])
    person = resource.get("PersonType")
    asked_for = {"natural", "legal"}.intersection(call.route.pattern.split("/"))
    if person is not None and asked_for and person.lower() not in asked_for:
        raise RefusalError(call.reports.not_found(call.kind.collection, call.parameters["Id"]))
    return resource


def view(call: Call) -> EmulatedResponse:
    """Show a resource, unless the user has to authenticate first."""
    resource = find(call)
    if call.route.guard is not None:
        call.route.guard(call, resource)
    if resource.due is not None:
        transitions.move(call.client, resource, resource.due, call.at)
    return json_response(200, resource)


def update(call: Call) -> EmulatedResponse:
    """Change what the body names."""
    resource = find(call)
    # What is refused half-way must have changed nothing: the change is made to a copy.
    changed = Resource(resource.kind, deepcopy(dict(resource)))
    changed.update(given(call, creating=False))
    if call.route.effect is not None:
        call.route.effect(call, changed)
    resource.update(changed)
    return json_response(200, resource)


def move(call: Call) -> EmulatedResponse:
    """Carry out the row's transition, with what else the body names."""
    resource = find(call)
    name = call.route.transition
    assert name is not None  # noqa: S101 - the table is ours, a test walks it
    fields = given(call, creating=False)
    carry_out(call, resource, name)
    resource.update(fields)
    return json_response(200, resource)


def carry_out(call: Call, resource: Resource, name: str) -> None:
    """Carry out a transition; raises RefusalError (400) if the status does not allow it."""
    try:
        transitions.move(call.client, resource, name, call.at)
    except transitions.NotAllowedError as refused:
        kind, message = refused.transition.refusal
        raise RefusalError(call.reports.error(400, kind, message)) from None


def listed(call: Call) -> EmulatedResponse:
    """Show a page of a collection, unless the user has to authenticate first."""
    route, client, parameters = call.route, call.client, call.parameters
    if route.guard is not None:
        name, identifier = next(iter(parameters.items()))
        route.guard(call, call.found(call.parents[name], identifier))
    collection = client.collection(TRANSACTIONS if route.kind is None else route.kind.collection)
    items: Iterable[Resource] = collection.values()
    if route.by:
        wanted = list(parameters.values())[-1]
        items = [item for item in items if any(_holds(item.get(field), wanted) for field in route.by)]
    return page(call, items)


def page(call: Call, items: Iterable[dict[str, Any]], date_field: str = "CreationDate") -> EmulatedResponse:
    """Return the page of ``items`` that the query asks for."""
    return paging.page(items, call.query, call.here + call.request.path, date_field)


def _holds(value: Any, wanted: str) -> bool:
    return wanted in value if isinstance(value, list) else value == wanted
