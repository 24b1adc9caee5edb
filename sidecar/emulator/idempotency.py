"""Idempotency keys and the answers kept under them (Mangopay: "Idempotency", "View an API Response")."""

from __future__ import annotations

from collections import OrderedDict
from email.utils import formatdate
from string import ascii_letters, digits
from typing import Final

import msgspec

from sidecar.emulator.messages import Answer, json_answer

#: How long a key blocks repeats and its answer can be read, in seconds.
KEPT: Final = 24 * 3600
_ALLOWED: Final = frozenset(ascii_letters + digits + "-")


def well_formed(key: str) -> bool:
    """Tell whether ``key`` has 16 to 36 letters, digits or dashes."""
    return 16 <= len(key) <= 36 and _ALLOWED.issuperset(key)


class StoredAnswer(msgspec.Struct):
    """The answer to the first request that carried a key, and when it was given (Unix seconds)."""

    path: str
    answer: Answer
    at: float


class StoredAnswers:
    """The keys that one ClientId has used."""

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._answers: OrderedDict[str, StoredAnswer] = OrderedDict()

    def used(self, key: str, wall: float) -> bool:
        """Tell whether ``key`` was used in the last 24 hours."""
        stored = self._answers.get(key)
        if stored is not None and wall - stored.at >= KEPT:
            del self._answers[key]
            stored = None
        return stored is not None

    def store(self, key: str, path: str, answer: Answer, wall: float) -> None:
        """Keep ``answer`` as the one and only answer under ``key``."""
        self._answers[key] = StoredAnswer(path, answer, wall)
        if len(self._answers) > self._kept:
            self._answers.popitem(last=False)

    def age(self, seconds: float, key: str | None = None) -> int:
        """Make answers (that of ``key``, or all) older by ``seconds``; return how many."""
        chosen = [stored for known, stored in self._answers.items() if key in {None, known}]
        for stored in chosen:
            stored.at -= seconds
        return len(chosen)

    def read(self, key: str, wall: float, delay: float) -> Answer | None:
        """Return the API response object of ``key``; None if there is none, or none that is ``delay`` seconds old."""
        if not self.used(key, wall):
            return None
        stored = self._answers[key]
        if wall - stored.at < delay:
            return None
        answer = stored.answer
        response = {
            "StatusCode": str(answer.status),
            "ContentLength": str(len(answer.body)),
            "ContentType": answer.content_type.decode(),
            "Date": formatdate(int(stored.at), usegmt=True),
            "RequestURL": "https://api.mangopay.com" + _as_logged(stored.path),
            "Resource": msgspec.Raw(answer.body) if answer.body else None,
        }
        return json_answer(200, response)


def _as_logged(path: str) -> str:
    """Return ``path`` as Mangopay writes it: the version has a capital V."""
    return path[:1] + path[1:2].upper() + path[2:]
