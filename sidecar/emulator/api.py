"""Mangopay as seen from a request: who may call, which key was used before, what the answer is.

The order of the checks is: token, ClientId, rate limit, ``Idempotency-Key``, path,
the API key's permission, body. Nothing here touches a socket.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from sidecar.emulator.execute import Call, Executor
from sidecar.emulator.idempotency import well_formed
from sidecar.emulator.ledger import WRITES, Entry
from sidecar.emulator.messages import Answer, Headers, Request
from sidecar.emulator.routes import BYTES, ECHO, SCOPED_TABLE, UNSCOPED_TABLE, Match
from sidecar.emulator.token_endpoint import TokenEndpoint
from sidecar.emulator.tokens import Standing, Token

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.emulator.reports import Reports
    from sidecar.emulator.state import ClientState, State

#: Where the control routes and the two test resources live: a path that Mangopay has not.
CONTROL: Final = "__emulator__"

_TEST_RESOURCES: Final = {"echo": Match(ECHO, {}), "bytes": Match(BYTES, {})}


def is_token_endpoint(segments: tuple[str, ...]) -> bool:
    """Tell whether a path is the token endpoint's."""
    return len(segments) == 3 and segments[1].lower() == "oauth" and segments[2].lower() == "token"


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
        self._executor = Executor(state, reports, token_hex)
        self.token_endpoint: Final = TokenEndpoint(state)

    def deliver(self, request: Request) -> Entry | None:
        """Enter a write that has arrived whole into the ledger; None for anything else."""
        if request.method not in WRITES or is_token_endpoint(request.segments):
            return None
        return self._state.ledger.deliver(request)

    def answer(self, request: Request, entry: Entry | None = None) -> Answer:
        """Return Mangopay's answer to ``request``, whose ledger entry is ``entry``."""
        if is_token_endpoint(request.segments):
            return self.token_endpoint.answer(request)
        granted = self._authorize(request)
        if isinstance(granted, Answer):
            return granted
        client = self._state.client(granted.client_id)
        within = client.rates.count(self._state.clock.wall(), self._state.settings.windows)
        if self._state.settings.enforce_rate_limits and not within:
            answer = self._reports.rate_limit()
        else:
            answer = self._keyed(Granted(request, client, granted, entry))
        return _with_headers(answer, self._rate_headers(client))

    def _rate_headers(self, client: ClientState) -> Headers:
        settings = self._state.settings
        return client.rates.headers(settings.windows, settings.rate_headers)

    def _authorize(self, request: Request) -> Token | Answer:
        """Return the token of a call that may go on, else the refusal."""
        state, refused = self._state, self._state.stats.refused_tokens
        scheme, _, value = (request.header(b"authorization") or b"").partition(b" ")
        if scheme.lower() != b"bearer":
            refused["missing"] += 1
            return self._unauthorized(request, _path_client(request))
        standing, token = state.tokens.check(value.decode("latin-1").strip(), request.arrived)
        if token is None or standing is not Standing.VALID:
            refused[standing.value] += 1
            return self._unauthorized(request, _path_client(request))
        if _path_client(request) not in {None, token.client_id}:
            # A wrong ClientId is an authentication failure too (Mangopay: "HTTP response codes", 401).
            refused["wrong_client"] += 1
            return self._unauthorized(request, token.client_id)
        if token.embedded is not _is_embedded(request.segments):
            refused["wrong_scope"] += 1
            return self._reports.forbidden()
        return token

    def _unauthorized(self, request: Request, client_id: str | None) -> Answer:
        """Return the token 401; by switch it uses up the request's ``Idempotency-Key``."""
        answer = self._reports.unauthorized(self._state.settings.unauthorized_type)
        key = _key(request)
        if self._state.settings.burn_keys_on_401 and key is not None and client_id is not None and well_formed(key):
            stored = self._state.client(client_id).stored_answers
            wall = self._state.clock.wall()
            if not stored.used(key, wall):
                stored.store(key, request.path, answer, wall)
        return answer

    def _keyed(self, granted: Granted) -> Answer:
        """Refuse a used ``Idempotency-Key``, and keep the answer under a new one."""
        request, client = granted.request, granted.client
        key = _key(request)
        if key is None:
            return self._act(granted)
        if not well_formed(key):
            return self._reports.incorrect({"Idempotency-Key": "16 to 36 letters, digits or dashes are needed."})
        wall = self._state.clock.wall()
        if client.stored_answers.used(key, wall):
            return self._reports.conflict()
        answer = self._act(granted)
        client.stored_answers.store(key, request.path, answer, wall)
        return answer

    def _act(self, granted: Granted) -> Answer:
        request = granted.request
        if self._state.settings.refuse_chunked and request.header(b"transfer-encoding") is not None:
            return self._reports.error(411, "length_required", "The Content-Length header is required")
        triggered = self._triggered(request) if self._state.settings.triggers else None
        if triggered is not None:
            return triggered
        match = self._route(request)
        if not isinstance(match, Match):
            if not match:
                return self._reports.not_emulated(request.method)
            allow = ", ".join(sorted(match)).encode()
            message = "The method is not allowed on this path"
            return self._reports.error(405, "method_not_allowed", message, None, ((b"Allow", allow),))
        if not granted.token.permits(match.route.scope, request.method):
            return self._reports.forbidden()
        answer = self._executor.execute(Call(request, granted.client, match, int(self._state.clock.wall())))
        if granted.entry is not None and answer.status < 300 and match.route.changes:
            self._state.ledger.execute(granted.entry)
        return answer

    def _route(self, request: Request) -> Match | frozenset[str]:
        segments = request.segments
        if segments[:1] == (CONTROL,):
            return _TEST_RESOURCES.get("/".join(segments[1:]), frozenset())
        if len(segments) < 2:
            return frozenset()
        if _is_unscoped(segments):
            return UNSCOPED_TABLE.find(segments[0], request.method, segments[1:])
        return SCOPED_TABLE.find(segments[0], request.method, segments[2:])

    def _triggered(self, request: Request) -> Answer | None:
        """Return the answer that the ``Tag`` of a POST asks for: see docs/emulator.md."""
        if request.method != "POST" or len(request.body) > _TRIGGER_LIMIT:
            return None
        if not any(trigger in request.body for trigger in _TRIGGER_BYTES):
            return None
        try:
            tag = msgspec.json.decode(request.body, type=dict[str, Any]).get("Tag")
        except msgspec.DecodeError:
            return None
        answers = {
            "SCA": lambda: self._reports.sca_required(body=self._state.settings.sca_body),
            "E429": self._reports.rate_limit,
            "E500": self._reports.server_error,
        }
        return answers[tag]() if isinstance(tag, str) and tag in answers else None


_TRIGGER_BYTES: Final = (b'"SCA"', b'"E429"', b'"E500"')
#: A larger body is no object with a Tag of interest, and not worth the search.
_TRIGGER_LIMIT: Final = 16_384


def _is_unscoped(segments: tuple[str, ...]) -> bool:
    """Tell whether a path has no ClientId."""
    return len(segments) > 1 and segments[1].lower() in {"countries", "oauth"}


def _is_embedded(segments: tuple[str, ...]) -> bool:
    """Tell whether a path takes the dedicated key's tokens, and no others."""
    return len(segments) == 5 and [part.lower() for part in segments[1:4]] == ["oauth", "token", "embedded"]


def _path_client(request: Request) -> str | None:
    """Return the ClientId in the path, if it has one."""
    segments = request.segments
    if len(segments) < 2 or segments[0] == CONTROL or _is_unscoped(segments):
        return None
    return segments[1]


def _key(request: Request) -> str | None:
    if request.method != "POST":
        return None
    raw = request.header(b"idempotency-key")
    return None if raw is None else raw.decode("latin-1").strip()


def _with_headers(answer: Answer, headers: Headers) -> Answer:
    if not headers:
        return answer
    return msgspec.structs.replace(answer, headers=answer.headers + headers)
