"""Idempotency keys and the responses kept under them (Mangopay: "Idempotency", "View an API Response")."""

from __future__ import annotations

from collections import OrderedDict
from email.utils import formatdate
from string import ascii_letters, digits
from typing import Final

import msgspec

from sidecar.emulator.messages import EmulatedResponse, json_response

#: How long a key blocks repeats and its response can be read, in seconds.
KEPT: Final = 24 * 3600
_ALLOWED: Final = frozenset(ascii_letters + digits + "-")


def well_formed(key: str) -> bool:
    """Tell whether ``key`` has 16 to 36 letters, digits or dashes."""
    return 16 <= len(key) <= 36 and _ALLOWED.issuperset(key)


class StoredResponse(msgspec.Struct):
    """The response to the first request that carried a key, and when it was given (Unix seconds)."""

    path: str
    response: EmulatedResponse
    at: float


class StoredResponses:
    """The keys that one ClientId has used."""

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._responses: OrderedDict[str, StoredResponse] = OrderedDict()

    def used(self, key: str, wall: float) -> bool:
        """Tell whether ``key`` was used in the last 24 hours."""
        stored = self._responses.get(key)
        if stored is not None and wall - stored.at >= KEPT:
            del self._responses[key]
            stored = None
        return stored is not None

    def store(self, key: str, path: str, response: EmulatedResponse, wall: float) -> None:
        """Keep ``response`` as the one and only response under ``key``."""
        self._responses[key] = StoredResponse(path, response, wall)
        if len(self._responses) > self._kept:
            self._responses.popitem(last=False)

    def peek(self, key: str) -> EmulatedResponse | None:
        """Return the response that is kept under ``key``, however old or young it is."""
        stored = self._responses.get(key)
        return None if stored is None else stored.response

    def age(self, seconds: float, key: str | None = None) -> int:
        """Make responses (that of ``key``, or all) older by ``seconds``; return how many."""
        chosen = [stored for known, stored in self._responses.items() if key in {None, known}]
        for stored in chosen:
            stored.at -= seconds
        return len(chosen)

    def read(self, key: str, wall: float, delay: float) -> EmulatedResponse | None:
        """Return the API response object of ``key``; None if there is none, or none that is ``delay`` seconds old."""
        if not self.used(key, wall):
            return None
        stored = self._responses[key]
        if wall - stored.at < delay:
            return None
        received = stored.response
        response = {
            "StatusCode": str(received.status),
            "ContentLength": str(len(received.body)),
            "ContentType": received.content_type.decode(),
            "Date": formatdate(int(stored.at), usegmt=True),
            "RequestURL": "https://api.mangopay.com" + _as_logged(stored.path),
            "Resource": msgspec.Raw(received.body) if received.body else None,
        }
        return json_response(200, response)


def _as_logged(path: str) -> str:
    """Return ``path`` as Mangopay writes it: the version has a capital V."""
    return path[:1] + path[1:2].upper() + path[2:]
