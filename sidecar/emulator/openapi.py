"""What is emulated, as OpenAPI 3.1: made of the tables that the emulator itself runs on."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from sidecar.emulator.engine import acts
from sidecar.emulator.engine.kinds import ADDRESSES
from sidecar.emulator.engine.routes import PAGES
from sidecar.emulator.index import path_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sidecar.emulator.engine.kinds import Kind
    from sidecar.emulator.engine.routes import Catalogue, Route

Schema = dict[str, Any]

_PARAMETER: Final = re.compile(r"{(\w+)}")
_TYPES: Final[dict[type, str]] = {bool: "boolean", int: "integer", str: "string", list: "array", tuple: "array"}
_MONEY: Final[Schema] = {
    "type": "object",
    "required": ["Currency", "Amount"],
    "properties": {
        "Currency": {"type": "string", "minLength": 3, "maxLength": 3},
        "Amount": {"type": "integer", "description": "In the smallest unit of the currency."},
    },
}
_ERROR: Final[Schema] = {
    "type": "object",
    "required": ["Message", "Type", "Date"],
    "properties": {
        "Message": {"type": "string"},
        "Type": {"type": "string"},
        "Id": {"type": "string"},
        "Date": {"type": "integer"},
        "errors": {"type": ["object", "null"], "additionalProperties": {"type": "string"}},
    },
}
_TOKEN: Final[Schema] = {
    "post": {
        "operationId": "post_oauth_token",
        "tags": ["oauth"],
        "security": [{"key": []}],
        "requestBody": {
            "required": True,
            "content": {
                "application/x-www-form-urlencoded": {
                    "schema": {
                        "type": "object",
                        "required": ["grant_type"],
                        "properties": {"grant_type": {"const": "client_credentials"}},
                    }
                }
            },
        },
        "responses": {"200": {"description": "A token."}, "default": {"description": "An error of OAuth 2.0."}},
    }
}


def build(catalogue: Catalogue) -> Schema:
    """Return the document."""
    routes = [route for route in catalogue.routes if route.version != PAGES]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Mangopay, as emulated by mangopay-sidecar",
            "version": "2.01",
            "description": "What the emulator has of Mangopay's API. It proves nothing about Mangopay.",
        },
        "security": [{"token": []}],
        "paths": {"/v2.01/oauth/token": _TOKEN, **_paths(routes)},
        "components": {
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "key": {"type": "http", "scheme": "basic"},
            },
            "schemas": {"Money": _MONEY, "ErrorReport": _ERROR, **_schemas(routes)},
            "responses": {
                "Error": {
                    "description": "An error report.",
                    "content": {"application/json": {"schema": _ref("ErrorReport")}},
                }
            },
        },
    }


def _paths(routes: Iterable[Route]) -> dict[str, Schema]:
    """Return the operations by path; paths that differ in the names of parameters alone are one."""
    paths: dict[str, Schema] = {}
    spelled: dict[str, str] = {}
    for route in routes:
        path = path_of(route)
        path = spelled.setdefault(_PARAMETER.sub("{}", path).lower(), path)
        paths.setdefault(path, {})[route.method.lower()] = _operation(route, path)
    return dict(sorted(paths.items()))


def _operation(route: Route, path: str) -> Schema:
    operation: Schema = {
        "operationId": f"{route.method.lower()}_{re.sub(r'[^a-z0-9]+', '_', path.lower()).strip('_')}",
        "tags": [re.split(r"[/{]", route.pattern)[0]],
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in _PARAMETER.findall(path)
        ],
        "responses": {"200": _response(route), "default": {"$ref": "#/components/responses/Error"}},
    }
    if route.act is acts.listed:
        operation["parameters"] += [
            {"name": name, "in": "query", "schema": {"type": "integer", "minimum": 1}} for name in ("page", "per_page")
        ]
    if route.deprecation is not None:
        operation["deprecated"] = True
    if route.scope is not None:
        operation["description"] = f"An API key needs the permission scope {route.scope}."
    if route.method in {"POST", "PUT"}:
        operation["requestBody"] = {"content": {"application/json": {"schema": _body(route)}}}
    return operation


def _response(route: Route) -> Schema:
    if route.act is acts.listed:
        items = {"type": "object"} if route.kind is None else _ref(route.kind.name)
        schema: Schema = {"type": "array", "items": items}
    elif route.kind is not None and route.act in {acts.create, acts.view, acts.update, acts.move}:
        schema = _ref(route.kind.name)
    else:
        return {"description": "A success."}
    return {"description": "A success.", "content": {"application/json": {"schema": schema}}}


def _body(route: Route) -> Schema:
    """Return what a request may have: what the caller can set, with what has to be given to make one."""
    kind = route.kind
    if kind is None:
        return {"type": "object"}
    names = sorted(kind.settable.values() if route.settable is None else route.settable)
    body: Schema = {"type": "object", "properties": {name: _field(kind, name) for name in names}}
    if route.act is acts.create:
        body["required"] = list(kind.required)
    return body


def _schemas(routes: Iterable[Route]) -> dict[str, Schema]:
    """Return the types of resource by name; kinds of one name are one type that has the fields of all."""
    schemas: dict[str, Schema] = {}
    for kind in (route.kind for route in routes if route.kind is not None):
        schema = schemas.setdefault(kind.name, {"type": "object", "required": ["Id"], "properties": {}})
        for name in (*kind.template, *kind.optional):
            schema["properties"].setdefault(name, _field(kind, name))
    return dict(sorted(schemas.items()))


def _field(kind: Kind, name: str) -> Schema:
    """Return what is known of a field: from its first value, or from what it refers to; null is always possible."""
    value = kind.template.get(name)
    if name in kind.money:
        return {"anyOf": [_ref("Money"), {"type": "null"}]}
    if name in ADDRESSES:
        return {"type": ["object", "null"]}
    if name in kind.links:
        return {"description": f"The Id of a {kind.links[name]}."}
    if value is None and name.endswith(("Id", "URL", "Url", "Code", "Message")):
        return {"type": ["string", "null"]}
    return {"type": [_TYPES[type(value)], "null"]} if type(value) in _TYPES else {}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}
