"""Mangopay as seen from a request: who may call, which key was used before, what the response is.

The order of the checks is: token, ClientId, rate limit, ``Idempotency-Key``, path,
the API key's permission, body. Nothing here touches a socket.
"""

from __future__ import annotations

from datetime import UTC, datetime, time
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

import msgspec

from sidecar.emulator import pages
from sidecar.emulator.engine import acts
from sidecar.emulator.engine.calls import PAGES, Call, is_page, is_token_endpoint
from sidecar.emulator.engine.routes import Match
from sidecar.emulator.idempotency import well_formed
from sidecar.emulator.index import nearest_route
from sidecar.emulator.ledger import WRITES, Entry
from sidecar.emulator.messages import EmulatedResponse, Headers, Request
from sidecar.emulator.probes import PROBES
from sidecar.emulator.resources import catalogue
from sidecar.emulator.state import Ticket
from sidecar.emulator.token_endpoint import TokenEndpoint
from sidecar.emulator.tokens import Token, TokenStanding

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import date

    from sidecar.emulator.reports import Reports
    from sidecar.emulator.state import ClientState, State

#: Where the control routes and the two test resources live: a path that Mangopay has not.
CONTROL: Final = "__emulator__"
#: The ClientId in URLs of pages that no ClientId asked for.
_NOBODY: Final = "_"


class Granted(msgspec.Struct, frozen=True):
    """A request whose token and ClientId are in order; ``entry`` is a write's in the ledger."""

    request: Request
    client: ClientState
    token: Token
    entry: Entry | None


class Api:
    """Answers everything but the control routes."""

    def __init__(self, state: State, reports: Reports, token_hex: Callable[[int], str]) -> None:
        self._state = state
        self._reports = reports
        self._token_hex = token_hex
        self.token_endpoint: Final = TokenEndpoint(state)

    def deliver(self, request: Request) -> Entry | None:
        """Enter a write that has arrived whole into the ledger; None for anything else."""
        if request.method not in WRITES or is_token_endpoint(request.segments) or is_page(request.segments):
            return None
        return self._state.ledger.deliver(request)

    def response(self, request: Request, entry: Entry | None = None) -> EmulatedResponse:
        """Return Mangopay's response to ``request``, whose ledger entry is ``entry``."""
        if is_token_endpoint(request.segments):
            return self.token_endpoint.response(request)
        if is_page(request.segments):
            return self._open(request)
        granted = self._authorize(request)
        if isinstance(granted, EmulatedResponse):
            return granted
        client = self._state.client(granted.client_id)
        within = client.rates.count(self._state.clock.wall(), self._state.settings.windows)
        if self._state.settings.enforce_rate_limits and not within:
            response = self._reports.rate_limit()
        else:
            response = self._keyed(Granted(request, client, granted, entry))
        return _with_headers(response, self._rate_headers(client))

    def sca_url(self, request: Request, client: ClientState | None = None) -> str:
        """Return the URL of a new authentication that nobody in particular is asked for."""
        client = client or self._state.client(_path_client(request) or _NOBODY)
        ticket = client.new_ticket(Ticket(None))
        return f"{request.base_url(self._state.scheme)}/{PAGES}/{client.client_id}/sca/{ticket}"

    def _rate_headers(self, client: ClientState) -> Headers:
        settings = self._state.settings
        return client.rates.headers(self._state.clock.wall(), settings.windows, settings.rate_headers)

    def _authorize(self, request: Request) -> Token | EmulatedResponse:
        """Return the token of a call that may go on, else the refusal."""
        state, refused = self._state, self._state.stats.refused_tokens
        scheme, _, value = (request.header(b"authorization") or b"").partition(b" ")
        if scheme.lower() != b"bearer":
            refused["missing"] += 1
            return self._unauthorized(request, _path_client(request))
        standing, token = state.tokens.check(value.decode("latin-1").strip(), request.arrived)
        if token is None or standing is not TokenStanding.VALID:
            refused[standing.value] += 1
            return self._unauthorized(request, _path_client(request))
        if not _is_of(token.client_id, _path_client(request)):
            # A wrong ClientId is an authentication failure too (Mangopay: "HTTP response codes", 401).
            refused["wrong_client"] += 1
            return self._unauthorized(request, token.client_id)
        if token.embedded is not _is_embedded(request.segments):
            refused["wrong_scope"] += 1
            return self._reports.forbidden()
        return token

    def _unauthorized(self, request: Request, client_id: str | None) -> EmulatedResponse:
        """Return the token 401; by switch it uses up the request's ``Idempotency-Key``."""
        response = self._reports.unauthorized(self._state.settings.unauthorized_type)
        key = _key(request)
        if self._state.settings.burn_keys_on_401 and key is not None and client_id is not None and well_formed(key):
            stored = self._state.client(client_id).stored_responses
            wall = self._state.clock.wall()
            if not stored.used(key, wall):
                stored.store(key, request.path, response, wall)
        return response

    def _keyed(self, granted: Granted) -> EmulatedResponse:
        """Refuse a used ``Idempotency-Key``, and keep the response under a new one."""
        request, client = granted.request, granted.client
        key = _key(request)
        if key is None:
            return self._act(granted)
        if not well_formed(key):
            return self._reports.incorrect({"Idempotency-Key": "16 to 36 letters, digits or dashes are needed."})
        wall = self._state.clock.wall()
        if client.stored_responses.used(key, wall):
            return self._reports.conflict()
        response = self._act(granted)
        client.stored_responses.store(key, request.path, response, wall)
        return response

    def _act(self, granted: Granted) -> EmulatedResponse:
        request = granted.request
        if self._state.settings.refuse_chunked and request.header(b"transfer-encoding") is not None:
            return self._reports.error(411, "length_required", "The Content-Length header is required")
        triggered = self._triggered(request, granted.client) if self._state.settings.triggers else None
        if triggered is not None:
            return triggered
        match = self._route(request)
        if not isinstance(match, Match):
            if not match:
                return self._reports.not_emulated(
                    request.method, nearest_route(catalogue(), request.method, request.segments)
                )
            allow = ", ".join(sorted(match)).encode()
            message = "The method is not allowed on this path"
            return self._reports.error(405, "method_not_allowed", message, None, ((b"Allow", allow),))
        if not granted.token.permits(match.route.scope, request.method):
            return self._reports.forbidden()
        response = acts.execute(self._call(request, granted.client, match))
        if (deprecation := match.route.deprecation) is not None:
            response = _with_headers(response, _deprecated(deprecation.since))
        if granted.entry is not None and response.status < 300 and match.route.changes:
            self._state.ledger.execute(granted.entry)
        return response

    def _route(self, request: Request) -> Match | frozenset[str]:
        segments = request.segments
        if segments[:1] == (CONTROL,):
            return PROBES.get("/".join(segments[1:]), frozenset())
        return catalogue().find(request.method, segments)

    def _call(self, request: Request, client: ClientState, match: Match) -> Call:
        at = int(self._state.clock.wall())
        state, reports = self._state, self._reports
        return Call(
            request, client, match.route, match.parameters, at, state, reports, catalogue().parents, self._token_hex
        )

    def _open(self, request: Request) -> EmulatedResponse:
        """Show a page to a person, who has no token."""
        match = catalogue().find(request.method, request.segments)
        client = self._state.clients.get(request.segments[1]) if len(request.segments) > 1 else None
        if client is None or not isinstance(match, Match):
            return pages.not_found()
        return acts.execute(self._call(request, client, match))

    def _triggered(self, request: Request, client: ClientState) -> EmulatedResponse | None:
        """Return the response that the ``Tag`` of a POST asks for: see docs/emulator.md."""
        if request.method != "POST" or len(request.body) > _TRIGGER_LIMIT:
            return None
        if not any(trigger in request.body for trigger in _TRIGGER_BYTES):
            return None
        try:
            tag = msgspec.json.decode(request.body, type=dict[str, Any]).get("Tag")
        except (ValueError, RecursionError):  # of msgspec's, or of what is no UTF-8
            return None
        responses = {
            "SCA": lambda: self._reports.sca_required(
                self.sca_url(request, client), body=self._state.settings.sca_body
            ),
            "E429": self._reports.rate_limit,
            "E500": self._reports.server_error,
        }
        return responses[tag]() if isinstance(tag, str) and tag in responses else None


_TRIGGER_BYTES: Final = (b'"SCA"', b'"E429"', b'"E500"')
#: A larger body is no object with a Tag of interest, and not worth the search.
_TRIGGER_LIMIT: Final = 16_384


def _is_unscoped(segments: tuple[str, ...]) -> bool:
    """Tell whether a path has no ClientId."""
    return len(segments) > 1 and segments[1].lower() in catalogue().unscoped


def _is_embedded(segments: tuple[str, ...]) -> bool:
    """Tell whether a path takes the dedicated key's tokens, and no others."""
    return len(segments) == 5 and [part.lower() for part in segments[1:4]] == ["oauth", "token", "embedded"]


def _path_client(request: Request) -> str | None:
    """Return the ClientId in the path, if it has one."""
    segments = request.segments
    if len(segments) < 2 or segments[0] == CONTROL or _is_unscoped(segments):
        return None
    return segments[1]


def _is_of(client_id: str, named: str | None) -> bool:
    """Whether a path with the segment ``named``, or with no ClientId, is of ``client_id``, compared without case."""
    return named is None or unquote(named).lower() == client_id.lower()


def _key(request: Request) -> str | None:
    if request.method != "POST":
        return None
    raw = request.header(b"idempotency-key")
    return None if raw is None else raw.decode("latin-1").strip()


@lru_cache(maxsize=64)
def _deprecated(since: date) -> Headers:
    """Return what says that an endpoint is deprecated, by RFC 9745; Mangopay says so in its documentation alone."""
    return ((b"Deprecation", b"@%d" % datetime.combine(since, time(), UTC).timestamp()),)


def _with_headers(response: EmulatedResponse, headers: Headers) -> EmulatedResponse:
    if not headers:
        return response
    return msgspec.structs.replace(response, headers=response.headers + headers)
