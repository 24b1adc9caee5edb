"""Lists: filters, order and pages (Mangopay: "Pagination", "Filtering and sorting")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, urlencode

from sidecar.emulator.messages import EmulatedResponse, Headers, json_response

if TYPE_CHECKING:
    from collections.abc import Iterable


_DEFAULT_SIZE: Final = 10
_LARGEST_SIZE: Final = 100
#: Query parameters that compare a field with one of several comma-separated values.
_FILTERS: Final = {
    "status": "Status",
    "type": "Type",
    "nature": "Nature",
    "eventtype": "EventType",
    "active": "Active",
    "recipientscope": "RecipientScope",
    "resultcode": "ResultCode",
    "disputetype": "DisputeType",
    "paymentstatus": "PaymentStatus",
}


def parse_query(query: str) -> dict[str, str]:
    """Return the query's parameters by name in lower case; of repeats the last one counts."""
    if not query:
        return {}
    return {name.lower(): value for name, value in parse_qsl(query, keep_blank_values=True)}


def page(
    resources: Iterable[dict[str, Any]], query: dict[str, str], base: str, date_field: str = "CreationDate"
) -> EmulatedResponse:
    """Return the page that ``query`` asks for, with the headers that tell how many there are.

    ``base`` is the absolute URL of the list without its query; ``date_field`` is what
    ``BeforeDate``, ``AfterDate`` and ``Sort`` look at.
    """
    chosen = [item for item in resources if _passes(item, query, date_field)]
    if query.get("sort", "").lower().endswith(":desc"):
        chosen.reverse()
    number = max(1, _number(query.get("page"), 1))
    size = min(_LARGEST_SIZE, max(1, _number(query.get("per_page"), _DEFAULT_SIZE)))
    pages = max(1, -(-len(chosen) // size))
    start = (number - 1) * size
    headers: Headers = (
        (b"X-Number-Of-Pages", b"%d" % pages),
        (b"X-Number-Of-Items", b"%d" % len(chosen)),
        (b"Link", _links(base, query, number, pages, size).encode()),
    )
    return json_response(200, chosen[start : start + size], headers)


def _passes(item: dict[str, Any], query: dict[str, str], date_field: str) -> bool:
    for name, field in _FILTERS.items():
        wanted = query.get(name)
        if wanted and field in item and str(item[field]).lower() not in wanted.lower().split(","):
            return False
    date = item.get(date_field) or 0
    before, after = query.get("beforedate"), query.get("afterdate")
    return not (before and date >= _number(before, date + 1)) and not (after and date <= _number(after, date - 1))


def _links(base: str, query: dict[str, str], number: int, pages: int, size: int) -> str:
    """Return the ``Link`` header's value (RFC 8288): first, last, and the neighbours that exist."""
    targets = {"first": 1, "last": pages}
    if number > 1:
        targets["prev"] = min(number - 1, pages)
    if number < pages:
        targets["next"] = number + 1
    others = {name: value for name, value in query.items() if name not in {"page", "per_page"}}
    return ", ".join(
        f'<{base}?{urlencode({"page": target, "per_page": size, **others})}>; rel="{relation}"'
        for relation, target in targets.items()
    )


def _number(text: str | None, default: int) -> int:
    return int(text) if text is not None and text.isdecimal() and len(text) <= 12 else default
