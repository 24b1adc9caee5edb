"""Whether a stored response is the response to *our* request (contract section 6, reading back).

Mangopay keeps the first response to each ``Idempotency-Key`` for 24 hours. The
same key may have been used yesterday, for another payment or for a first try
of this one, so the stored response counts only if its target is ours and it was
made no earlier than our request was sent, by Mangopay's own clock. Only where
the app is to have the response to an earlier request of its own
(``replay.resolve_conflicts``) an older one counts too, and is told as such.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

import msgspec

from sidecar.core.error_report import read_error_report
from sidecar.core.http.dates import read_date

if TYPE_CHECKING:
    from collections.abc import Iterable

#: What reading a document that is none can raise (UnicodeDecodeError is a ValueError).
_UNREADABLE: Final = (msgspec.DecodeError, ValueError, OverflowError, RecursionError)
#: Seconds by which the clocks of Mangopay's machines may differ.
SKEW: Final = 300.0
_CONFLICT: Final = "idempotent_creation_conflict"
#: What Mangopay calls it, with status 400, if it knows no response to an ``Idempotency-Key``.
UNKNOWN_KEY: Final = "correlationid_not_found"
#: Bytes: reports have some hundred. It is kept while the stored response is asked for, by every call that does so.
_LONGEST_REPORT: Final = 4096


class StoredResponse(msgspec.Struct, frozen=True):
    """The response that Mangopay kept: what the caller would have got."""

    status: int
    content_type: str
    body: bytes
    #: It was made before the request in question was sent: it answers an earlier one with the same key and path.
    older: bool = False


class StoredDocument(NamedTuple):
    """A stored response and the request that it answers, as Mangopay tells them."""

    #: The status that the first request with the key was answered with.
    status: int
    #: Of that request, without its query.
    path: str
    #: When, in Unix seconds by Mangopay's clock.
    made_at: float
    content_type: str | None
    #: The response's body; empty if it had none.
    body: bytes


class _Stored(msgspec.Struct):
    status: str | int = msgspec.field(name="StatusCode")
    request_url: str = msgspec.field(name="RequestURL")
    date: str | int | float = msgspec.field(name="Date")
    content_type: str | None = msgspec.field(name="ContentType", default=None)
    resource: msgspec.Raw = msgspec.field(name="Resource", default=msgspec.Raw(b""))


def read_document(document: bytes) -> StoredDocument | None:
    """Return what Mangopay says of the response stored under a key; None if ``document`` is no such answer."""
    try:
        stored = msgspec.json.decode(document, type=_Stored)
        status = int(stored.status)
        made_at = read_date(stored.date)
        path = urlsplit(stored.request_url).path
    except _UNREADABLE:
        return None
    if not 200 <= status <= 599 or made_at is None:
        return None
    body = bytes(stored.resource)
    return StoredDocument(status, path, made_at, stored.content_type, b"" if body == b"null" else body)


def read_stored_response(
    document: bytes, *, path: str, not_before: float, told_at: float = math.inf, older_too: bool = False
) -> StoredResponse | None:
    """Return the stored response in ``document`` if it answers a request for ``path`` sent at ``not_before``.

    ``not_before`` is the moment of our send in Unix seconds *by upstream's
    clock*. Stored dates have whole seconds, so it is compared rounded down.
    ``told_at`` is when ``document`` was sent, by the same clock: one of later is
    dated by another (or in local time), and may be of any moment. With
    ``older_too`` the response to an earlier request counts as well.
    """
    stored = read_document(document)
    if stored is None or is_to_come(stored.made_at, told_at):
        return None
    older = is_older(stored.made_at, not_before)
    if (older and not older_too) or comparable(stored.path) != comparable(path):
        return None
    return StoredResponse(stored.status, _content_type(stored.content_type), stored.body, older)


def is_older(made_at: float, sent_at: float) -> bool:
    """Whether a response stored at ``made_at`` was there before a request was sent, both by upstream's clock."""
    return made_at < math.floor(sent_at)


def is_to_come(made_at: float, told_at: float) -> bool:
    """Whether a stored response is dated after ``told_at``, when it was told, by more than clocks may differ."""
    return made_at > told_at + SKEW


def is_conflict(document: bytes, headers: Iterable[tuple[bytes, bytes]] = ()) -> bool:
    """Whether an error report says that the key was used before; ``headers`` tell its content coding.

    It comes as the caller may have it: most SDKs take gzip.
    """
    return len(document) <= _LONGEST_REPORT and read_error_report(headers, document).type == _CONFLICT


def comparable(path: str) -> str:
    """Return a path as Mangopay tells two of them apart: without case, nor the old spelling of the version."""
    return path.casefold().replace("/v2_01/", "/v2.01/").rstrip("/")


def _content_type(value: str | None) -> str:
    if value and value.isascii() and value.isprintable():
        return value
    return "application/json; charset=utf-8"
