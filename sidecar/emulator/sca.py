"""Strong customer authentication: who has to authenticate, where, and what comes of it.

A *ticket* (:class:`~sidecar.emulator.state.Ticket`) is what the URL of an authentication names: whose it is, and which
resource waits for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.emulator.engine import transitions
from sidecar.emulator.engine.calls import RefusalError
from sidecar.emulator.engine.kinds import kind_of
from sidecar.emulator.state import Ticket

if TYPE_CHECKING:
    from sidecar.emulator.engine.calls import Call
    from sidecar.emulator.state import ClientState, Resource

#: How long a user who has authenticated is not asked again, in seconds (Mangopay: "SCA on wallet access").
AUTHENTICATED_FOR: Final = 180 * 24 * 3600.0
#: The transitions of a resource that waits for its user.
AUTHENTICATE: Final = "authenticate"
REFUSE: Final = "refuse"


def pending(call: Call, user_id: str, resource_id: str | None = None) -> dict[str, str]:
    """Return a ``PendingUserAction`` with a URL of its own, where the user authenticates."""
    ticket = call.client.new_ticket(Ticket(user_id, resource_id))
    return {"RedirectUrl": call.page(f"sca/{ticket}")}


def default_context(call: Call) -> str:
    """Return what a call without ``ScaContext`` counts as."""
    settings = call.state.settings
    return settings.sca_context if settings.sca_for_owners else "USER_NOT_PRESENT"


def demand(call: Call, resource: Resource) -> None:
    """Raise RefusalError (401) if viewing ``resource``, a user or a wallet, needs an authentication first."""
    context = call.query.get("scacontext") if call.state.settings.sca_for_owners else None
    context = context or default_context(call)
    users = asked(call.client, resource, context, call.state.clock.wall())
    if users:
        url = pending(call, users[0])["RedirectUrl"]
        raise RefusalError(call.reports.sca_required(url, body=call.state.settings.sca_body))


def asked(client: ClientState, resource: Resource, context: str | None, wall: float) -> list[str]:
    """Return the users, by Id, who have to authenticate before ``resource`` is shown.

    A flag on the resource decides. Otherwise, if the user is present, every owner (also of
    a shared wallet) who is not authenticated at ``wall`` (Unix seconds) has to authenticate.
    A user is present unless ``context`` says otherwise (Mangopay: "SCA on wallet access").
    """
    users = resource.get("Owners") or [resource["Id"]]
    flagged = client.sca.get(resource["Id"])
    if flagged is not None:
        return users if flagged else []
    if context not in {None, "", "USER_PRESENT"}:
        return []
    found = [user for user in map(client.user, users) if user is not None]
    owners = [user["Id"] for user in found if user.get("UserCategory") == "OWNER"]
    return [owner for owner in owners if wall >= client.authenticated.get(owner, 0)]


def authenticate(client: ClientState, user_id: str, wall: float, seconds: float = AUTHENTICATED_FOR) -> None:
    """Let a user have authenticated at ``wall`` (Unix seconds), for ``seconds``.

    A user in PENDING_USER_ACTION becomes ACTIVE.
    """
    client.authenticated[user_id] = wall + seconds
    user = client.user(user_id)
    if user is not None and seconds > 0:
        _move(client, user, AUTHENTICATE, int(wall))


def settle(client: ClientState, ticket: Ticket, wall: float, *, authenticated: bool) -> None:
    """Let the user of a ticket have authenticated, or refused to."""
    if authenticated and ticket.user_id is not None:
        authenticate(client, ticket.user_id, wall)
    resource = None if ticket.resource_id is None else client.find_any(ticket.resource_id)
    if resource is not None:
        _move(client, resource, AUTHENTICATE if authenticated else REFUSE, int(wall))


def _move(client: ClientState, resource: Resource, name: str, at: int) -> None:
    """Carry out a transition if the kind has it and the status allows it: an authentication may come twice."""
    transition = kind_of(resource).transition(name)
    if transition is not None and resource.get(transition.field) in transition.source:
        transitions.move(client, resource, name, at)
