"""What was delivered and what was executed: the truth that resend tests are held against."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from sidecar.emulator.messages import Request

#: Methods whose execution changes something.
WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class Entry(msgspec.Struct):
    """One write, recognised by method, path, body and ``Idempotency-Key``.

    ``deliveries`` counts the times it arrived whole, ``executions`` the times it
    changed something, ``unauthorized`` the deliveries that were answered 401: only
    after one of those may a client deliver it again.
    """

    method: str
    path: str
    body_sha256: str
    idempotency_key: str | None
    deliveries: int = 0
    executions: int = 0
    unauthorized: int = 0


class Ledger:
    """All writes since the last reset, the newest ``kept`` of them."""

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._entries: OrderedDict[tuple[str, str, bytes, str | None], Entry] = OrderedDict()
        self.deliveries = 0
        self.executions = 0
        self.forgotten = 0

    def deliver(self, request: Request) -> Entry:
        """Count the arrival of a write, and return its entry."""
        digest = hashlib.sha256(request.body).digest()
        raw_key = request.header(b"idempotency-key")
        key = None if raw_key is None else raw_key.decode("latin-1")
        identity = (request.method, request.path, digest, key)
        entry = self._entries.get(identity)
        if entry is None:
            entry = self._entries[identity] = Entry(request.method, request.path, digest.hex(), key)
            if len(self._entries) > self._kept:
                self._entries.popitem(last=False)
                self.forgotten += 1
        entry.deliveries += 1
        self.deliveries += 1
        return entry

    def execute(self, entry: Entry) -> None:
        """Count an execution."""
        entry.executions += 1
        self.executions += 1

    def entries(self) -> list[Entry]:
        """Return every write, oldest first."""
        return list(self._entries.values())

    def find(self, body: bytes, method: str = "POST") -> list[Entry]:
        """Return the writes with this body."""
        digest = hashlib.sha256(body).hexdigest()
        return [entry for entry in self._entries.values() if entry.method == method and entry.body_sha256 == digest]

    def executed_twice(self) -> list[Entry]:
        """Return the writes that were executed more than once."""
        return [entry for entry in self._entries.values() if entry.executions > 1]

    def delivered_twice(self) -> list[Entry]:
        """Return the writes that arrived again although no 401 had asked for it."""
        return [entry for entry in self._entries.values() if entry.deliveries > 1 + entry.unauthorized]

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self.deliveries = self.executions = self.forgotten = 0
