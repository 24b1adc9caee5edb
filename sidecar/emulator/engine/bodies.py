"""Whether a request body can become, or change, a resource."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeGuard

import msgspec

from sidecar.emulator.engine.kinds import ADDRESSES, BLANK_ADDRESS, Kind, are_texts, is_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sidecar.emulator.state import ClientState

#: The largest amount, in minor units: a signed number of 64 bits.
LARGEST: Final = 2**63 - 1
#: How deep a body may be nested: no resource is by far, and what is deeper could not be copied.
DEEPEST: Final = 64


def parse_object(body: bytes) -> dict[str, Any] | None:
    """Return a JSON object's members; anything else is None.

    No body counts as an empty object, and so does the JSON string ``""`` (PHP's SDK).
    """
    if not body:
        return {}
    try:
        value = msgspec.json.decode(body)
    except (ValueError, RecursionError):  # of msgspec's, or of what is no UTF-8
        return None
    if value == "":
        return {}
    return value if isinstance(value, dict) and not _is_too_deep(value) else None


def _is_too_deep(value: dict[str, Any]) -> bool:
    level: list[Any] = [value]
    for _ in range(DEEPEST):
        level = [inner for each in level for inner in _inside(each)]
        if not level:
            return False
    return True


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def given_fields(kind: Kind, body: dict[str, Any], only: frozenset[str] | None = None) -> dict[str, Any]:
    """Return what of ``body`` the caller may set, ``only`` at most; nulls, and fields nobody knows, are dropped.

    Mangopay takes names in any case; of two spellings the later one counts.
    """
    given = {}
    for name, value in body.items():
        field = kind.settable.get(name.lower())
        if value is None or field is None or (only is not None and field not in only):
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


def find_missing(kind: Kind, given: dict[str, Any], client: ClientState) -> tuple[str, str] | None:
    """Return the collection and the Id of a resource that is sought and not there, or None."""
    for field in kind.sought & given.keys():
        for identifier in _identifiers(given[field]):
            if client.find(kind.links[field], identifier) is None:
                return kind.links[field], identifier
    return None


def _problem(kind: Kind, field: str, value: Any, client: ClientState) -> str | None:
    if field == "Email" and not (isinstance(value, str) and "@" in value):
        return "The field Email is not a valid e-mail address."
    if field in kind.money and not is_money(value):
        return f"The field {field} must have a Currency and an Amount of at least 0."
    if field in ADDRESSES and not isinstance(value, dict):
        return f"The field {field} must be an object."
    if field in kind.checks and (problem := kind.checks[field](value)) is not None:
        return problem
    collection = kind.links.get(field)
    return None if collection is None else _broken_link(collection, value, client, several=field in kind.several)


def _broken_link(collection: str, value: Any, client: ClientState, *, several: bool) -> str | None:
    problem = are_texts(value) if several else is_text(value)
    if problem is not None:
        return problem
    for identifier in _identifiers(value):
        if client.find(collection, identifier) is None:
            return f"Cannot found the ressource {collection} with the id={identifier}"
    return None


def is_money(value: Any) -> bool:
    """Tell whether a value has a currency and an amount of at least 0."""
    if not isinstance(value, dict):
        return False
    amount, currency = value.get("Amount"), value.get("Currency")
    return is_amount(amount) and isinstance(currency, str) and len(currency) == 3


def is_amount(value: Any) -> TypeGuard[int]:
    """Tell whether a value is an amount in minor units, of at least 0 and such as Mangopay can count."""
    return type(value) is int and 0 <= value <= LARGEST


def _identifiers(value: Any) -> list[str]:
    """Return the Ids in a link; what is none is for :func:`find_errors` to tell."""
    return [each for each in (value if isinstance(value, list) else [value]) if isinstance(each, str)]
