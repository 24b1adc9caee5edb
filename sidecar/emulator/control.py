"""The control routes: what a test or a person with curl may ask of a running emulator (docs/emulator.md)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec

from sidecar.emulator import fault_rules, hooks, index, placing, sca
from sidecar.emulator.engine import transitions
from sidecar.emulator.engine.bodies import parse_object
from sidecar.emulator.loopback import Trusted, is_loopback
from sidecar.emulator.messages import EmulatedResponse, Request, json_response
from sidecar.emulator.resources import catalogue
from sidecar.emulator.settings import Credentials

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sidecar.emulator.faults import Faults
    from sidecar.emulator.hooks import Outbox
    from sidecar.emulator.moving import MovableClock
    from sidecar.emulator.state import State

Body = dict[str, Any]


class Control:
    """Answers ``/__emulator__/…``."""

    def __init__(self, state: State, faults: Faults, outbox: Outbox, clock: MovableClock) -> None:
        self._state = state
        #: Whose requests are answered besides this machine's own.
        self.trusted = Trusted()
        self._faults = faults
        self._outbox = outbox
        self._clock = clock
        self.routes: Final[Mapping[tuple[str, str], Callable[[Body], EmulatedResponse]]] = {
            ("POST", "reset"): self._reset,
            ("POST", "revoke"): self._revoke,
            ("POST", "token"): self._configure,
            ("POST", "settings"): self._configure,
            ("GET", "settings"): self._settings,
            ("POST", "credentials"): self._credentials,
            ("POST", "lockout"): self._lockout,
            ("POST", "sca"): self._sca,
            ("POST", "authenticate"): self._authenticate,
            ("POST", "settle"): self._settle,
            ("POST", "disputes"): self._disputes,
            ("POST", "place"): self._place,
            ("POST", "trigger"): self._trigger,
            ("GET", "hooks"): self._list_deliveries,
            ("POST", "time"): self._advance,
            ("GET", "time"): self._time,
            ("POST", "age"): self._age,
            ("POST", "faults"): self._add_fault,
            ("GET", "faults"): self._list_faults,
            ("DELETE", "faults"): self._clear_faults,
            ("GET", "ledger"): self._ledger,
            ("GET", "stats"): self._stats,
            ("GET", "index"): self._index,
            ("GET", "openapi.json"): self._openapi,
        }

    def response(self, request: Request, peer: str | None) -> EmulatedResponse:
        """Return the response to a control request from the address ``peer``."""
        known = is_local(peer) or self.trusted.has_peer(peer or "")
        if not known or request.header(b"origin") is not None:
            return _refused(403, "Control routes answer loopback peers only, and no browser.")
        if not self.trusted.is_here(request.host, peer):
            return _refused(403, "Control routes are at localhost, at an address, and at a name that --trust names.")
        name = "/".join(request.segments[1:]) or "index"
        body = parse_object(request.body)
        if body is None:
            return _refused(400, "The body must be a JSON object.")
        return self.act(request.method, name, body)

    def act(self, method: str, name: str, body: Body) -> EmulatedResponse:
        """Return the response of the control route ``name`` to a JSON object, which is used up."""
        action = self.routes.get((method, name))
        if action is None:
            known = index.nearest(name, (route[1] for route in self.routes))
            methods = [route[0] for route in self.routes if route[1] == known]
            hint = f"did you mean {' or '.join(methods)} {known}?" if known else "see docs/emulator.md."
            return _refused(404, f"There is no control route {method} {name}: {hint}")
        try:
            return action(body)
        except (msgspec.ValidationError, ValueError, TypeError) as error:
            return _refused(400, str(error))

    def _reset(self, body: Body) -> EmulatedResponse:
        client_id = _take(body, "client_id", str, None)
        _nothing_else(body)
        if client_id is None:
            self._faults.clear()
            self._clock.reset()
        self._outbox.clear(client_id)
        self._state.reset(client_id)
        return json_response(200, {"reset": client_id or "everything"})

    def _revoke(self, body: Body) -> EmulatedResponse:
        client_id = _take(body, "client_id", str, None)
        token = _take(body, "token", str, None)
        _nothing_else(body)
        return json_response(200, {"revoked": self._state.tokens.revoke(token, client_id=client_id)})

    def _configure(self, body: Body) -> EmulatedResponse:
        self._state.configure(**body)
        return self._settings({})

    def _settings(self, body: Body) -> EmulatedResponse:
        _nothing_else(body)
        return json_response(200, self._state.settings)

    def _credentials(self, body: Body) -> EmulatedResponse:
        pairs = _take(body, "api_keys", dict[str, list[str]], {})
        embedded = _take(body, "embedded_keys", list[str], ["embedded-api-key"])
        permissions = _take(body, "permissions", dict[str, list[str]], {})
        any_client = _take(body, "any_client", bool, default=True)
        _nothing_else(body)
        self._state.credentials = Credentials(pairs, embedded, permissions=permissions, any_client=any_client)
        return json_response(200, {"client_ids": sorted(pairs), "any_client": any_client})

    def _lockout(self, body: Body) -> EmulatedResponse:
        clear = _take(body, "clear", bool, default=False)
        seconds = _take(body, "seconds", float, math.inf)
        _nothing_else(body)
        lockout, now = self._state.lockout, self._state.clock.now()
        if clear:
            lockout.clear()
        else:
            lockout.lock(now + seconds)
        return json_response(200, {"locked": lockout.active(now)})

    def _sca(self, body: Body) -> EmulatedResponse:
        client_id = _take(body, "client_id", str)
        identifier = _take(body, "id", str)
        required = _take(body, "required", bool | None, default=True)
        _nothing_else(body)
        flags = self._state.client(client_id).sca
        if required is None:
            flags.pop(identifier, None)
        else:
            flags[identifier] = required
        return json_response(200, {"id": identifier, "required": required})

    def _authenticate(self, body: Body) -> EmulatedResponse:
        client_id = _take(body, "client_id", str)
        identifier = _take(body, "id", str)
        seconds = _take(body, "seconds", float, sca.AUTHENTICATED_FOR)
        _nothing_else(body)
        client = self._state.client(client_id)
        if client.user(identifier) is None:
            message = f"{client_id} has no user {identifier}"
            raise ValueError(message)
        wall = self._state.clock.wall()
        sca.authenticate(client, identifier, wall, seconds)
        return json_response(200, {"id": identifier, "until": int(wall + seconds)})

    def _settle(self, body: Body) -> EmulatedResponse:
        client_id = _take(body, "client_id", str)
        identifier = _take(body, "id", str)
        name = _take(body, "transition", str)
        _nothing_else(body)
        client = self._state.client(client_id)
        resource = client.find_any(identifier)
        if resource is None:
            message = f"{client_id} has no resource {identifier}"
            raise ValueError(message)
        transitions.move(client, resource, name, int(self._state.clock.wall()))
        return json_response(200, resource)

    def _disputes(self, body: Body) -> EmulatedResponse:
        from sidecar.emulator import disputing  # which needs the resources

        client_id = _take(body, "client_id", str)
        rounds = _take(body, "rounds", Annotated[int, msgspec.Meta(ge=1, le=100)], 1)
        _nothing_else(body)
        at = int(self._state.clock.wall())
        return json_response(200, {"ids": disputing.make(self._state.client(client_id), at, rounds)})

    def _place(self, body: Body) -> EmulatedResponse:
        client_id = _take(body, "client_id", str)
        name = _take(body, "collection", str)
        identifier = _take(body, "id", str)
        fields = _take(body, "fields", dict[str, Any], {})
        _nothing_else(body)
        client, at = self._state.client(client_id), int(self._state.clock.wall())
        return json_response(200, placing.place(client, name, identifier, fields, at))

    def _trigger(self, body: Body) -> EmulatedResponse:
        client_id = _take(body, "client_id", str)
        event = _take(body, "event", str)
        identifier = _take(body, "id", str)
        _nothing_else(body)
        client = self._state.client(client_id)
        called = len(hooks.called_for(client, event))
        client.tell(event, identifier, int(self._clock.wall()))
        return json_response(200, {"event": event, "id": identifier, "hooks": called})

    def _list_deliveries(self, body: Body) -> EmulatedResponse:
        _nothing_else(body)
        return json_response(200, self._outbox.snapshot())

    def _advance(self, body: Body) -> EmulatedResponse:
        seconds = _take(body, "advance", float)
        _nothing_else(body)
        self._clock.advance(seconds)
        return self._time({})

    def _time(self, body: Body) -> EmulatedResponse:
        _nothing_else(body)
        return json_response(200, {"now": self._clock.wall(), "ahead": self._clock.ahead})

    def _age(self, body: Body) -> EmulatedResponse:
        seconds = _take(body, "seconds", float)
        client_id = _take(body, "client_id", str, None)
        key = _take(body, "key", str, None)
        _nothing_else(body)
        return json_response(200, {"aged": self._state.age_stored_responses(seconds, client_id=client_id, key=key)})

    def _add_fault(self, body: Body) -> EmulatedResponse:
        text = _take(body, "rule", str, None)
        rule = fault_rules.parse(text) if text is not None and not body else fault_rules.from_mapping(body)
        return json_response(200, {"id": self._faults.add(rule)})

    def _list_faults(self, body: Body) -> EmulatedResponse:
        _nothing_else(body)
        return json_response(200, self._faults.snapshot())

    def _clear_faults(self, body: Body) -> EmulatedResponse:
        identifier = _take(body, "id", int, None)
        _nothing_else(body)
        if identifier is None:
            self._faults.clear()
            return json_response(200, {"removed": True})
        return json_response(200, {"removed": self._faults.remove(identifier)})

    def _ledger(self, body: Body) -> EmulatedResponse:
        _nothing_else(body)
        ledger = self._state.ledger
        totals = {name: getattr(ledger, name) for name in ("deliveries", "executions", "forgotten")}
        return json_response(200, {**totals, "entries": ledger.entries()})

    def _stats(self, body: Body) -> EmulatedResponse:
        _nothing_else(body)
        return json_response(200, self._state.stats.snapshot())

    def _index(self, body: Body) -> EmulatedResponse:
        _nothing_else(body)
        return json_response(
            200,
            {
                "control": sorted(f"{method} /__emulator__/{name}" for method, name in self.routes),
                "faults": sorted(fault_rules.ACTIONS),
                "routes": index.list_routes(catalogue()),
            },
        )

    def _openapi(self, body: Body) -> EmulatedResponse:
        from sidecar.emulator import openapi

        _nothing_else(body)
        return json_response(200, openapi.build(catalogue()))


def is_local(peer: str | None) -> bool:
    """Tell whether a peer is on this machine; a Unix socket's has no address, and is."""
    return peer is None or is_loopback(peer)


_REQUIRED: Final = object()


def _take(body: Body, name: str, kind: Any, default: Any = _REQUIRED) -> Any:
    """Take a member out of ``body``, as ``kind``; raises ValueError if it is needed and not there."""
    value = body.pop(name, default)
    if value is _REQUIRED:
        message = f"{name} is missing"
        raise ValueError(message)
    return value if value is default else msgspec.convert(value, kind)


def _nothing_else(body: Body) -> None:
    if body:
        message = f"unknown: {', '.join(sorted(body))}"
        raise ValueError(message)


def _refused(status: int, message: str) -> EmulatedResponse:
    return json_response(status, {"error": message})
