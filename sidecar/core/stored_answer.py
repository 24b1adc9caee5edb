"""Whether a stored answer is the answer to *our* request (contract section 6, reading back).

Mangopay keeps the first answer to each ``Idempotency-Key`` for 24 hours. The
same key may have been used yesterday, for another payment or for a first try
of this one, so the stored answer counts only if its target is ours and it was
made no earlier than our request was sent, by Mangopay's own clock.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import msgspec

from sidecar.core.dates import read_date
from sidecar.core.layout import Layout, layout_of, marked_by

if TYPE_CHECKING:
    from sidecar.core.layout import RawHeaders

#: Mangopay's rule for keys: 16 to 36 letters, digits or dashes (page "idempotency").
_KEY: Final = re.compile(rb"[A-Za-z0-9-]{16,36}")
_KEYS: Final = marked_by(lambda name: name.lower() == b"idempotency-key")
#: What reading a document that is none can raise (UnicodeDecodeError is a ValueError).
_UNREADABLE: Final = (msgspec.DecodeError, ValueError, OverflowError, RecursionError)
_CONFLICT: Final = "idempotent_creation_conflict"


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """The answer that Mangopay kept: what the caller would have got."""

    status: int
    content_type: str
    body: bytes


class _Stored(msgspec.Struct):
    status: str | int = msgspec.field(name="StatusCode")
    request_url: str = msgspec.field(name="RequestURL")
    date: str | int | float = msgspec.field(name="Date")
    content_type: str | None = msgspec.field(name="ContentType", default=None)
    resource: msgspec.Raw = msgspec.field(name="Resource", default=msgspec.Raw(b""))


class _Report(msgspec.Struct):
    type: str = msgspec.field(name="Type", default="")


def idempotency_key(raw: RawHeaders, layout: Layout | None = None) -> str | None:
    """Return the request's key if it has exactly one that Mangopay accepts; ``layout`` is that of ``raw``."""
    lines = (layout_of(raw) if layout is None else layout)[_KEYS]
    if len(lines) != 1 or not _KEY.fullmatch(value := raw[lines[0][1]][1]):
        return None
    return value.decode("ascii")


def read_stored_answer(document: bytes, *, path: str, not_before: float) -> StoredAnswer | None:
    """Return the stored answer in ``document`` if it answers a request for ``path`` sent at ``not_before``.

    ``not_before`` is the moment of our send in Unix seconds *by upstream's
    clock*. Stored dates have whole seconds, so it is compared rounded down.
    """
    try:
        stored = msgspec.json.decode(document, type=_Stored)
        status = int(stored.status)
        made_at = read_date(stored.date)
        request_path = urlsplit(stored.request_url).path
    except _UNREADABLE:
        return None
    if not 200 <= status <= 599 or made_at is None or made_at < math.floor(not_before):
        return None
    if _comparable(request_path) != _comparable(path):
        return None
    body = bytes(stored.resource)
    return StoredAnswer(status, _content_type(stored.content_type), b"" if body == b"null" else body)


def is_conflict(document: bytes) -> bool:
    """Whether an error report says that the key was used before."""
    try:
        return msgspec.json.decode(document, type=_Report).type == _CONFLICT
    except _UNREADABLE:
        return False


def _comparable(path: str) -> str:
    return path.casefold().replace("/v2_01/", "/v2.01/").rstrip("/")


def _content_type(value: str | None) -> str:
    if value and value.isascii() and value.isprintable():
        return value
    return "application/json; charset=utf-8"
