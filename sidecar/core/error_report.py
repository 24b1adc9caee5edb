"""What an error response of Mangopay's, or of the edge before it, tells for the log and for support.

Mangopay's error report (page "error report") is ``{"Message", "Type", "Id",
"Date", "errors"}``; its support asks for the ``Id``. Cloudflare's pages have a
``CF-Ray`` instead. All of it is foreign text: only what looks like an id, a type
or a ray id is taken, so that nothing else can reach a log line or the page.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from sidecar.core.content_coding import decode_content
from sidecar.core.edge import BOM, is_page, read_cf_ray

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Bytes. Reports have some hundred; what is longer is not looked into.
BODY_LIMIT: Final = 16 * 1024
#: A UUID, followed by ``#`` and Unix seconds in some reports.
_ID: Final = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}(?:#[0-9]{1,12})?")
#: As ``param_error``, ``invalid_credentials``, ``InternalServerError``.
_TYPE: Final = re.compile(r"[A-Za-z]+(?:_[A-Za-z]+)*")
#: Characters of either.
_LONGEST: Final = 64
_HEADERS: Final = frozenset({b"cf-ray", b"content-type", b"content-encoding"})


class ErrorReport(msgspec.Struct, frozen=True, gc=False):
    """Of an error response what may be shown; None: it has none, or none that looks like one."""

    #: ``Id`` and ``Type`` of Mangopay's error report.
    id: str | None = None
    type: str | None = None
    cf_ray: str | None = None
    #: The body is a web page, so the edge or a gateway sent it, and not Mangopay's API.
    is_page: bool = False


class _Report(msgspec.Struct, gc=False):
    id: Any = msgspec.field(name="Id", default=None)
    type: Any = msgspec.field(name="Type", default=None)


def read_error_report(headers: Iterable[tuple[bytes, bytes]], body: bytes | None) -> ErrorReport:
    """Return what the response with these headers tells. ``body`` as received; None if it is not at hand.

    A body longer than :data:`BODY_LIMIT`, as received or decoded, is looked at for a page only. Never raises.
    """
    found: dict[bytes, str] = {}
    for name, value in headers:
        if (key := name.lower()) in _HEADERS:
            found.setdefault(key, value.decode("latin-1"))
    cf_ray = read_cf_ray(found.get(b"cf-ray"))
    decoded = None if not body else decode_content(body, found.get(b"content-encoding", ""), limit=BODY_LIMIT)
    if not decoded:
        return ErrorReport(cf_ray=cf_ray)
    if is_page(found.get(b"content-type", ""), decoded):
        return ErrorReport(cf_ray=cf_ray, is_page=True)
    report = _read(decoded)
    return ErrorReport(_matching(_ID, report.id), _matching(_TYPE, report.type), cf_ray)


def _read(document: bytes) -> _Report:
    if len(document) > BODY_LIMIT:
        return _Report()
    try:
        return msgspec.json.decode(document.removeprefix(BOM), type=_Report)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return _Report()


def _matching(shape: re.Pattern[str], value: object) -> str | None:
    if not isinstance(value, str) or len(value) > _LONGEST or shape.fullmatch(value) is None:
        return None
    return value
