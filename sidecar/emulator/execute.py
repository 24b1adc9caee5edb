"""Carries out what a row of the table says, for a caller whose token and key are in order."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

import msgspec

from sidecar.emulator import paging, validation
from sidecar.emulator.effects import build
from sidecar.emulator.messages import Answer, Request, json_answer
from sidecar.emulator.routes import PARENTS, TRANSACTIONS, Act, Match

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sidecar.emulator.kinds import Kind
    from sidecar.emulator.reports import Reports
    from sidecar.emulator.state import ClientState, Resource, State

#: The scopes and prefixes of tokens for embedded experiences, and their life in seconds.
_EMBEDDED: Final = {
    "recipient": ("rec_", "bankaccounts:r bankaccounts:w"),
    "checkout": ("chk_", "checkout.session:r checkout.session:w"),
}
_EMBEDDED_LIFE: Final = 900

#: Countries with an authorization; any other code is not found.
_COUNTRIES: Final = {"BE": "Belgium", "DE": "Germany", "ES": "Spain", "FR": "France", "GB": "United Kingdom"}
_LAST_UPDATE: Final = 1707210155


class Call(msgspec.Struct, frozen=True):
    """An authorized request on a known path. ``at`` is Unix seconds."""

    request: Request
    client: ClientState
    match: Match
    at: int

    @property
    def kind(self) -> Kind:
        """The row's type of resource; only for rows that have one."""
        assert self.match.route.kind is not None  # noqa: S101 - the table is ours, a test walks it
        return self.match.route.kind


class Executor:
    """One method for each :class:`~sidecar.emulator.routes.Act`."""

    def __init__(self, state: State, reports: Reports, token_hex: Callable[[int], str]) -> None:
        self._state = state
        self._reports = reports
        self._token_hex = token_hex
        self._acts: Final[dict[Act, Callable[[Call], Answer]]] = {
            Act.CREATE: self._create,
            Act.VIEW: self._view,
            Act.UPDATE: self._update,
            Act.LIST: self._list,
            Act.CLOSE_USER: self._close_user,
            Act.ADD_PAGE: self._add_page,
            Act.UPLOAD: self._upload,
            Act.LIST_EVENTS: self._list_events,
            Act.STORED_ANSWER: self._stored_answer,
            Act.VIEW_CLIENT: self._view_client,
            Act.UPDATE_CLIENT: self._update_client,
            Act.COUNTRIES: self._countries,
            Act.COUNTRY: self._country,
            Act.EMBEDDED_TOKEN: self._embedded_token,
            Act.ECHO: self._echo,
            Act.BYTES: self._bytes,
        }

    def execute(self, call: Call) -> Answer:
        """Return the answer; a success of a write has changed the state."""
        for name, identifier in call.match.parameters.items():
            collection = PARENTS.get(name)
            if collection is not None and call.client.find(collection, identifier) is None:
                return self._reports.not_found(collection, identifier)
        return self._acts[call.match.route.act](call)

    def _create(self, call: Call) -> Answer:
        body = validation.parse_object(call.request.body)
        if body is None:
            return self._reports.incorrect({"Body": "The body must be a JSON object."})
        given = validation.given_fields(call.match.route, call.kind, body)
        errors = validation.find_errors(call.kind, given, call.client, creating=True)
        if errors:
            return self._reports.incorrect(errors)
        return json_answer(200, self._add(call, given))

    def _add(self, call: Call, given: dict[str, Any]) -> Resource:
        route, kind, client = call.match.route, call.kind, call.client
        resource = build(kind, client, call.at)
        resource.update(given)
        for field, value in route.fixed.items():
            resource[field] = call.match.parameters[value[1:-1]] if value.startswith("{") else value
        if route.effect is not None:
            route.effect(client, resource, call.at)
        client.collection(kind.collection).add(resource)
        if kind.transaction:
            client.collection(TRANSACTIONS).add(resource)
        if route.event is not None:
            client.events.append({"ResourceId": resource["Id"], "EventType": route.event, "Date": call.at})
        return resource

    def _find(self, call: Call) -> Resource | None:
        """Return the resource that the path names; a natural user is none under ``users/legal``."""
        resource = call.client.find(call.kind.collection, call.match.parameters["Id"])
        if resource is not None and "PersonType" in resource:
            asked_for = call.match.route.pattern.split("/")[1]
            if asked_for in {"natural", "legal"} and resource["PersonType"] != asked_for.upper():
                return None
        return resource

    def _missing(self, call: Call) -> Answer:
        return self._reports.not_found(call.kind.collection, call.match.parameters["Id"])

    def _view(self, call: Call) -> Answer:
        resource = self._find(call)
        if resource is None:
            return self._missing(call)
        if call.match.route.sca and self._needs_sca(call, resource):
            return self._sca_required()
        return json_answer(200, resource)

    def _needs_sca(self, call: Call, resource: Resource | None) -> bool:
        context = paging.parse_query(call.request.query).get("scacontext")
        if not self._state.settings.sca_for_owners:
            context = "USER_NOT_PRESENT"
        return validation.asks_for_sca(call.client, resource, context, self._state.clock.wall())

    def _sca_required(self) -> Answer:
        return self._reports.sca_required(body=self._state.settings.sca_body)

    def _update(self, call: Call) -> Answer:
        resource = self._find(call)
        if resource is None:
            return self._missing(call)
        body = validation.parse_object(call.request.body)
        if body is None:
            return self._reports.incorrect({"Body": "The body must be a JSON object."})
        given = validation.given_fields(call.match.route, call.kind, body)
        errors = validation.find_errors(call.kind, given, call.client, creating=False)
        if errors:
            return self._reports.incorrect(errors)
        resource.update(given)
        if call.match.route.effect is not None:
            call.match.route.effect(call.client, resource, call.at)
        return json_answer(200, resource)

    def _list(self, call: Call) -> Answer:
        route, client, parameters = call.match.route, call.client, call.match.parameters
        if route.sca:
            name, identifier = next(iter(parameters.items()))
            if self._needs_sca(call, client.find(PARENTS[name], identifier)):
                return self._sca_required()
        collection = client.collection(TRANSACTIONS if route.kind is None else route.kind.collection)
        items: Iterable[Resource] = collection.values()
        if route.by:
            wanted = list(parameters.values())[-1]
            items = [item for item in items if any(_holds(item.get(field), wanted) for field in route.by)]
        return self._page(call, items)

    def _page(self, call: Call, items: Iterable[Resource], date_field: str = "CreationDate") -> Answer:
        host = (call.request.header(b"host") or b"localhost").decode("latin-1")
        base = f"http://{host}{call.request.path}"
        return paging.page(items, paging.parse_query(call.request.query), base, date_field)

    def _close_user(self, call: Call) -> Answer:
        resource = self._find(call)
        if resource is None:
            return self._missing(call)
        resource["UserStatus"] = "CLOSED"
        return Answer(204)

    def _add_page(self, call: Call) -> Answer:
        document = call.client.find("KYCDocument", call.match.parameters["DocumentId"])
        body = validation.parse_object(call.request.body)
        if not body or not isinstance(body.get("File"), str) or not body["File"]:
            return self._reports.incorrect({"File": "The File field is required."})
        if document is None or document["Status"] != "CREATED":
            return self._reports.incorrect({"Status": "The document is not in the status CREATED."})
        return Answer(204)

    def _upload(self, call: Call) -> Answer:
        """Take a settlement file in multipart form, or the JSON with its name that newer SDKs send."""
        content_type = (call.request.header(b"content-type") or b"").lower()
        if content_type.startswith(b"multipart/form-data"):
            if b'name="file"' not in call.request.body:
                return self._reports.incorrect({"file": "The file field is required."})
            return json_answer(200, self._add(call, {}))
        body = validation.parse_object(call.request.body)
        if not body or not isinstance(body.get("FileName"), str):
            return self._reports.incorrect({"FileName": "The FileName field is required."})
        return json_answer(200, self._add(call, {"FileName": body["FileName"], "Status": "PENDING_UPLOAD"}))

    def _list_events(self, call: Call) -> Answer:
        return self._page(call, call.client.events, "Date")

    def _stored_answer(self, call: Call) -> Answer:
        key = call.match.parameters["Key"]
        delay = self._state.settings.stored_answer_delay
        stored = call.client.stored_answers.read(key, self._state.clock.wall(), delay)
        return stored or self._reports.no_stored_answer()

    def _view_client(self, call: Call) -> Answer:
        client_id = call.client.client_id
        profile = {
            "ClientId": client_id,
            "Name": client_id,
            **dict.fromkeys(("Logo", "PlatformDescription", "PlatformURL", "HeadquartersAddress", "TaxNumber")),
            "PrimaryThemeColour": "#403f64",
            "PrimaryButtonColour": "#403f64",
            **dict.fromkeys(("TechEmails", "AdminEmails", "FraudEmails", "BillingEmails"), ()),
            "PlatformCategorization": {"BusinessType": "MARKETPLACE", "Sector": "OTHERS"},
            "HeadquartersPhoneNumber": None,
            "Licensor": "Mangopay S.A.",
        }
        return json_answer(200, profile | call.client.profile)

    def _update_client(self, call: Call) -> Answer:
        body = validation.parse_object(call.request.body)
        if body is None:
            return self._reports.incorrect({"Body": "The body must be a JSON object."})
        call.client.profile.update(
            {name: value for name, value in body.items() if value is not None and name != "ClientId"}
        )
        return self._view_client(call)

    def _countries(self, call: Call) -> Answer:
        return self._page(call, [_authorization(code) for code in _COUNTRIES])

    def _country(self, call: Call) -> Answer:
        code = call.match.parameters["Code"].upper()
        return (
            json_answer(200, _authorization(code)) if code in _COUNTRIES else self._reports.not_found("Country", code)
        )

    def _embedded_token(self, call: Call) -> Answer:
        body = validation.parse_object(call.request.body)
        claims = None if body is None else body.get("claims")
        if body is None or body.get("clientId") != call.client.client_id:
            return self._reports.incorrect({"clientId": "The clientId must be that of the API key."})
        if not isinstance(claims, dict) or not claims.get("userId"):
            return self._reports.incorrect({"userId": "The userId claim is required."})
        prefix, scope = _EMBEDDED[call.match.route.pattern.rpartition("/")[2]]
        token = {"access_token": prefix + self._token_hex(16), "token_type": "Bearer"}
        return json_answer(200, {**token, "expires_in": _EMBEDDED_LIFE, "scope": scope})

    def _echo(self, call: Call) -> Answer:
        request = call.request
        seen = {
            "method": request.method,
            "target": request.target,
            "headers": [
                [name.decode("latin-1"), value.decode("latin-1")]
                for name, value in request.headers
                if name.lower() != b"authorization"
            ],
            "body_length": len(request.body),
            "body_sha256": hashlib.sha256(request.body).hexdigest(),
        }
        return json_answer(200, seen)

    def _bytes(self, call: Call) -> Answer:
        query = paging.parse_query(call.request.query)
        size = query.get("size", "")
        if not size.isdecimal():
            return self._reports.incorrect({"size": "The size must be a number of bytes."})
        kind = b"application/octet-stream"
        return Answer(200, b"", kind, generated=int(size), chunked=query.get("chunked") == "1")


def _holds(value: Any, wanted: str) -> bool:
    return wanted in value if isinstance(value, list) else value == wanted


def _authorization(code: str) -> Resource:
    blocked = {"BlockUserCreation": False, "BlockBankAccountCreation": False, "BlockPayout": False}
    return {
        "CountryCode": code,
        "CountryName": _COUNTRIES[code],
        "Authorization": blocked,
        "LastUpdate": _LAST_UPDATE,
    }
