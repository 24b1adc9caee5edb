"""Resources under an Id that a test already has written down: put there, and not made by a call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sidecar.emulator.engine import acts
from sidecar.emulator.resources import catalogue

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sidecar.emulator.engine.kinds import Kind
    from sidecar.emulator.state import ClientState, Resource


def place(client: ClientState, collection: str, identifier: str, fields: Mapping[str, Any], at: int) -> Resource:
    """Return a new resource of ``collection`` with this Id and these fields, read-only ones included.

    Of several kinds in the collection the one is taken whose first values agree most
    with ``fields`` (``PaymentType``, ``PersonType`` …). ``at`` is Unix seconds. Raises
    ValueError if there is no such collection, or another resource with this Id.
    """
    kinds = {id(route.kind): route.kind for route in catalogue().routes if route.kind is not None}.values()
    fitting = [kind for kind in kinds if kind.collection == collection]
    if not fitting:
        message = f"no collection {collection!r}; there are: {', '.join(sorted({kind.collection for kind in kinds}))}"
        raise ValueError(message)
    if client.find_any(identifier) is not None:
        message = f"{client.client_id} already has a resource {identifier}"
        raise ValueError(message)
    resource = acts.build(max(fitting, key=lambda kind: _agreement(kind, fields)), client, at)
    resource.update(fields)
    if collection == "Wallet" and resource["Balance"] is None:  # what moves money needs one
        resource["Balance"] = {"Currency": resource["Currency"] or "EUR", "Amount": 0}
    resource["Id"] = identifier
    acts.keep(client, resource)
    return resource


def _agreement(kind: Kind, fields: Mapping[str, Any]) -> int:
    return sum(kind.template.get(name) == value for name, value in fields.items())
