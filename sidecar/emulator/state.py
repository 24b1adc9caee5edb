"""Everything the emulated Mangopay remembers: by ClientId, and of the token endpoint."""

from __future__ import annotations

import itertools
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

import msgspec

from sidecar.emulator.idempotency import StoredResponses
from sidecar.emulator.ledger import Ledger
from sidecar.emulator.rates import Rates
from sidecar.emulator.tokens import Lockout, Tokens

if TYPE_CHECKING:
    from sidecar.core.clock import Clock
    from sidecar.emulator.settings import Credentials, Settings

#: Identifiers count up from here, in one series for each ClientId.
_FIRST: Final = 1001


class ResourceType(Protocol):
    """What is remembered of a resource's type; the rest is said in :mod:`sidecar.emulator.engine.kinds`."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def collection(self) -> str:
        """The collection that its resources are listed in."""


class Ticket(msgspec.Struct, frozen=True):
    """One authentication that a user was asked for; ``resource_id`` waits for it.

    A fault or a Tag asks for that of nobody in particular.
    """

    user_id: str | None
    resource_id: str | None = None


class Resource(dict[str, Any]):
    """One resource: its fields, and its type.

    ``due``: the transition that is decided and takes place when the resource is viewed, unless another does before.
    """

    __slots__ = ("due", "kind")

    def __init__(self, kind: ResourceType, fields: dict[str, Any]) -> None:
        super().__init__(fields)
        self.kind: Final = kind
        self.due: str | None = None


class Collection(OrderedDict[str, Resource]):
    """Resources of one type by Id, oldest first; beyond ``kept`` the oldest are dropped."""

    def __init__(self, kept: int) -> None:
        super().__init__()
        self._kept = kept

    def add(self, resource: Resource) -> None:
        """Add a resource under its ``Id``."""
        self[resource["Id"]] = resource
        if len(self) > self._kept:
            self.popitem(last=False)


#: Is told of each event: of which ClientId, and what.
Told = Callable[["ClientState", dict[str, Any]], None]


class ClientState:
    """The resources, idempotency keys and rate counts of one ClientId."""

    def __init__(self, client_id: str, kept: int, told: Told) -> None:
        self._told = told
        self.client_id: Final = client_id
        self.collections: Final[dict[str, Collection]] = {}
        self.events: Final[deque[dict[str, Any]]] = deque(maxlen=kept)
        self.stored_responses: Final = StoredResponses(kept)
        self.rates: Final = Rates()
        #: Whether viewing a resource, by Id, asks for SCA; one that is not here decides by ``ScaContext``.
        self.sca: Final[dict[str, bool]] = {}
        #: Until when (Unix seconds) a user, by Id, counts as authenticated.
        self.authenticated: Final[dict[str, float]] = {}
        #: The authentications that users were asked for, by what their URL ends with.
        self.tickets: Final[OrderedDict[str, Ticket]] = OrderedDict()
        self.profile: dict[str, Any] = {}
        #: The platform's logo, an image.
        self.logo = b""
        self._kept = kept
        self._next = _FIRST
        self._next_ticket: Final = itertools.count(1)

    def collection(self, name: str) -> Collection:
        """Return the resources of one type."""
        found = self.collections.get(name)
        if found is None:
            found = self.collections[name] = Collection(self._kept)
        return found

    def find(self, name: str, identifier: str) -> Resource | None:
        """Return the resource of type ``name`` with this Id, or None."""
        found = self.collections.get(name)
        return None if found is None else found.get(identifier)

    def find_any(self, identifier: str) -> Resource | None:
        """Return the resource of whatever type with this Id, or None."""
        return next((found[identifier] for found in self.collections.values() if identifier in found), None)

    def user(self, identifier: str) -> Resource | None:
        """Return the user with this Id, or None."""
        return self.find("User", identifier)

    def tell(self, event: str, resource_id: str, at: int) -> None:
        """Tell of something that happened at ``at`` (Unix seconds)."""
        happened = {"ResourceId": resource_id, "EventType": event, "Date": at}
        self.events.append(happened)
        self._told(self, happened)

    def new_ticket(self, ticket: Ticket) -> str:
        """Keep an authentication that a user is asked for; return what its URL ends with."""
        name = f"sca_{next(self._next_ticket):016x}"
        self.tickets[name] = ticket
        if len(self.tickets) > self._kept:
            self.tickets.popitem(last=False)
        return name

    def new_id(self, prefix: str) -> str:
        """Return the next identifier, like ``user_m_00001001``."""
        serial, self._next = self._next, self._next + 1
        return f"{prefix}{serial:08d}"


class TokenRequest(msgspec.Struct, frozen=True):
    """One call of the token endpoint that was answered from here; ``at`` is Unix seconds."""

    at: float
    client_id: str | None
    status: int


class Stats:
    """Counts since the last reset."""

    def __init__(self) -> None:
        self.connections = 0
        self.requests = 0
        #: Requests whose body never arrived whole.
        self.cut_requests = 0
        self.faults = 0
        self.token_requests = 0
        self.token_calls: Final[deque[TokenRequest]] = deque(maxlen=10_000)
        #: Calls with a Bearer that was not accepted, by reason.
        self.refused_tokens: Final = dict.fromkeys(
            ("missing", "unknown", "expired", "revoked", "wrong_client", "wrong_scope"), 0
        )

    def snapshot(self) -> dict[str, object]:
        """Return everything as plain values."""
        return {
            "connections": self.connections,
            "requests": self.requests,
            "cut_requests": self.cut_requests,
            "faults": self.faults,
            "token_requests": self.token_requests,
            "token_calls": [msgspec.structs.asdict(call) for call in self.token_calls],
            "refused_tokens": dict(self.refused_tokens),
        }


class State:
    """The whole memory of one emulator.

    ``kept`` bounds each collection, the ledger and the idempotency keys, so that
    load tests do not fill the machine.
    """

    def __init__(
        self,
        clock: Clock,
        settings: Settings,
        credentials: Credentials,
        token_hex: Callable[[int], str],
        kept: int = 100_000,
    ) -> None:
        self.clock: Final = clock
        self.settings = settings
        self.credentials = credentials
        self.tokens = Tokens(token_hex)
        self.lockout: Final = Lockout()
        self.ledger: Final = Ledger(kept)
        self.stats = Stats()
        self.clients: Final[dict[str, ClientState]] = {}
        #: How URLs of the emulator's own begin.
        self.scheme: Literal["http", "https"] = "http"
        #: What events are told to.
        self.told: Told = lambda client, event: None
        self._token_hex = token_hex
        self._kept = kept
        self._initial_settings = settings
        self._initial_credentials: Final = credentials

    def client(self, client_id: str) -> ClientState:
        """Return the state of ``client_id``, made on first use."""
        found = self.clients.get(client_id)
        if found is None:
            found = self.clients[client_id] = ClientState(client_id, self._kept, self._tell)
        return found

    def _tell(self, client: ClientState, event: dict[str, Any]) -> None:
        self.told(client, event)

    def start_with(self, settings: Settings) -> None:
        """Use ``settings``, also after a reset of everything."""
        self.settings = self._initial_settings = settings

    def configure(self, **changes: object) -> None:
        """Change settings; raises msgspec.ValidationError if one is unknown or of the wrong type."""
        self.settings = self.settings.changed(changes)

    def age_stored_responses(self, seconds: float, *, client_id: str | None = None, key: str | None = None) -> int:
        """Make stored responses older by ``seconds``; return how many."""
        clients = [self.client(client_id)] if client_id is not None else list(self.clients.values())
        return sum(client.stored_responses.age(seconds, key) for client in clients)

    def reset(self, client_id: str | None = None) -> None:
        """Forget one ClientId's resources, keys and tokens; without one, everything, settings included."""
        if client_id is not None:
            self.clients.pop(client_id, None)
            self.tokens.revoke(client_id=client_id)
            return
        self.clients.clear()
        self.tokens = Tokens(self._token_hex)
        self.lockout.clear()
        self.ledger.clear()
        self.stats = Stats()
        self.settings = self._initial_settings
        self.credentials = self._initial_credentials
