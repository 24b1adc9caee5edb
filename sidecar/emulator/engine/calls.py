"""A row of the table, and a request on its way through it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import msgspec

from sidecar.core.deprecation import deprecation_of_route
from sidecar.emulator.engine.bodies import parse_object
from sidecar.emulator.messages import EmulatedResponse, Request
from sidecar.emulator.paging import parse_query

if TYPE_CHECKING:
    from sidecar.core.deprecation import Deprecation
    from sidecar.emulator.engine.kinds import Kind
    from sidecar.emulator.reports import Reports
    from sidecar.emulator.state import ClientState, Resource, State

V2: Final = "v2.01"
V3: Final = "v3.0"
#: Stands for the version in paths that people's browsers open, without a token: ``/pages/{ClientId}/…``.
PAGES: Final = "pages"


def is_page(segments: tuple[str, ...]) -> bool:
    """Tell whether a path is that of a page, or of anything else that needs no token."""
    return segments[:1] == (PAGES,)


def is_token_endpoint(segments: tuple[str, ...]) -> bool:
    """Tell whether a path is the token endpoint's."""
    return len(segments) == 3 and segments[1].lower() == "oauth" and segments[2].lower() == "token"


#: Answers a call.
Act = Callable[["Call"], EmulatedResponse]
#: Completes a resource that was just made or changed, before it is shown.
Effect = Callable[["Call", "Resource"], None]
#: Raises RefusalError if a resource, or what hangs on it, must not be viewed.
Guard = Callable[["Call", "Resource"], None]


class RefusalError(Exception):
    """The call is answered with an error; nothing was changed."""

    def __init__(self, response: EmulatedResponse) -> None:
        super().__init__(response.status)
        self.response = response


class Route(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One row.

    ``pattern`` follows the version and the ClientId, or the version alone if not
    ``client``; ``{UserId}`` stands for any segment, and names that a file has in its
    ``parents`` must exist. ``fixed`` fields are set whatever the caller sends.
    A list holds what has the last parameter in one of the fields ``by``. ``settable``
    narrows what an update may set. ``guard`` may refuse that it is viewed or listed.
    ``scope``: what an API key needs a permission for, by default that of the file.
    ``transition``: the one that the path asks for.
    """

    method: str
    pattern: str
    act: Act
    kind: Kind | None = None
    fixed: Mapping[str, str] = MappingProxyType({})
    effect: Effect | None = None
    event: str | None = None
    by: tuple[str, ...] = ()
    settable: frozenset[str] | None = None
    transition: str | None = None
    guard: Guard | None = None
    scope: str | None = None
    version: str = V2
    client: bool = True

    @property
    def deprecation(self) -> Deprecation | None:
        """What Mangopay says of this endpoint, if it calls it deprecated: the table is the sidecar's."""
        return deprecation_of_route(self.method, self.pattern) if self.version == V2 and self.client else None

    @property
    def changes(self) -> bool:
        """Whether a success is an execution that must not happen twice."""
        return self.method not in {"GET", "HEAD"}


class Call(msgspec.Struct, frozen=True, eq=False):
    """An authorized request on a known path. ``at`` is Unix seconds."""

    request: Request
    client: ClientState
    route: Route
    parameters: dict[str, str]
    at: int
    state: State
    reports: Reports
    parents: Mapping[str, str]
    token_hex: Callable[[int], str]

    @property
    def kind(self) -> Kind:
        """The row's type of resource; only for rows that have one."""
        assert self.route.kind is not None  # noqa: S101 - the table is ours, a test walks it
        return self.route.kind

    @property
    def query(self) -> dict[str, str]:
        """The query's parameters by name in lower case."""
        return parse_query(self.request.query)

    @property
    def here(self) -> str:
        """The emulator's own base URL, as the caller knows it."""
        return self.request.base_url(self.state.scheme)

    def page(self, path: str) -> str:
        """Return the URL of a page of this ClientId, for a person's browser."""
        return f"{self.here}/pages/{self.client.client_id}/{path}"

    def body(self) -> dict[str, Any]:
        """Return the members of the JSON object in the body; raises RefusalError if it is none."""
        body = parse_object(self.request.body)
        if body is None:
            raise self.incorrect("Body", "The body must be a JSON object.")
        return body

    def found(self, collection: str, identifier: str) -> Resource:
        """Return a resource; raises RefusalError if there is none with this Id."""
        resource = self.client.find(collection, identifier)
        if resource is None:
            raise RefusalError(self.reports.not_found(collection, identifier))
        return resource

    def incorrect(self, field: str, problem: str) -> RefusalError:
        """Return the refusal (400) of one field, to be raised."""
        return RefusalError(self.reports.incorrect({field: problem}))
