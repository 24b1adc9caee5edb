"""Whether a request body can become, or change, a resource."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from sidecar.emulator.kinds import ADDRESSES, BLANK_ADDRESS, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sidecar.emulator.routes import Route
    from sidecar.emulator.state import ClientState, Resource


def parse_object(body: bytes) -> dict[str, Any] | None:
    """Return a JSON object's members; an empty body counts as an empty object, anything else is None."""
    if not body:
        return {}
    try:
        value = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return None
    return value if isinstance(value, dict) else None


def given_fields(route: Route, kind: Kind, body: dict[str, Any]) -> dict[str, Any]:
    """Return what of ``body`` the caller may set; nulls, and fields nobody knows, are dropped."""
    allowed = route.settable
    given = {}
    for field, value in body.items():
        if value is None or not kind.settable(field) or (allowed is not None and field not in allowed):
            continue
        given[field] = {**BLANK_ADDRESS, **value} if field in ADDRESSES and isinstance(value, dict) else value
    return given


def find_errors(kind: Kind, given: dict[str, Any], client: ClientState, *, creating: bool) -> dict[str, str]:
    """Return what is wrong, by field."""
    errors: dict[str, str] = {}
    if creating:
        for field in kind.required:
            if given.get(field) in (None, "", []):
                errors[field] = f"The {field} field is required."
    for field, value in given.items():
        if field not in errors and (problem := _problem(kind, field, value, client)) is not None:
            errors[field] = problem
    return errors


def _problem(kind: Kind, field: str, value: Any, client: ClientState) -> str | None:
    if field == "Email" and not (isinstance(value, str) and "@" in value):
        return "The field Email is not a valid e-mail address."
    if field in kind.money and not _is_money(value):
        return f"The field {field} must have a Currency and an Amount of at least 0."
    if field in ADDRESSES and not isinstance(value, dict):
        return f"The field {field} must be an object."
    collection = kind.links.get(field)
    if collection is not None:
        for identifier in _identifiers(value):
            if client.find(collection, identifier) is None:
                return f"Cannot found the ressource {collection} with the id={identifier}"
    return None


def _is_money(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    amount, currency = value.get("Amount"), value.get("Currency")
    return type(amount) is int and amount >= 0 and isinstance(currency, str) and len(currency) == 3


def _identifiers(value: Any) -> Iterator[str]:
    for identifier in value if isinstance(value, list) else [value]:
        yield identifier if isinstance(identifier, str) else str(identifier)


def asks_for_sca(client: ClientState, resource: Resource | None, context: str | None, wall: float) -> bool:
    """Tell whether viewing ``resource`` (a user or a wallet) needs strong customer authentication.

    A flag set for the resource decides; without one, a present user does who is, or
    co-owns the wallet as, an owner and is not authenticated at ``wall`` (Unix seconds).
    A user is present unless ``context`` says otherwise (Mangopay: "SCA on wallet access").
    """
    if resource is None:
        return False
    flagged = client.sca.get(resource["Id"])
    if flagged is not None:
        return flagged
    if context not in {None, "", "USER_PRESENT"}:
        return False
    users = [resource] if "Owners" not in resource else [client.find("User", owner) for owner in resource["Owners"]]
    owners = [user["Id"] for user in users if user is not None and user.get("UserCategory") == "OWNER"]
    return any(wall >= client.authenticated.get(owner, 0) for owner in owners)
