"""What the shared document is kept in: a file or Redis, each able to read, and to compare and swap."""

from __future__ import annotations

from typing import Final, Protocol

import msgspec

from sidecar.core.causes import Cause

#: Seconds that one operation may take.
TIMEOUT: Final = 1.0


class StoreError(Exception):
    """A store cannot do what it was asked for; ``str()`` ends the sentence "The store …", without any secret."""

    def __init__(self, why: str, cause: Cause = Cause.STORE_UNREACHABLE) -> None:
        super().__init__(why)
        #: For ``check``.
        self.cause: Final = cause


class StoredContent(msgspec.Struct, frozen=True):
    """What a store held under a name (None: nothing), and what its clock said then (seconds)."""

    content: bytes | None
    now: float

    def __repr__(self) -> str:
        # Without the content: in a file, tokens stand in it as they are.
        return f"StoredContent(now={self.now!r})"


class Backend(Protocol):
    """Where documents are kept. Every failure that can be foreseen is a StoreError."""

    @property
    def kind(self) -> str:
        """``file`` or ``redis``."""
        ...

    @property
    def place(self) -> str:
        """Where, for people, without a secret."""
        ...

    async def read(self, name: str) -> StoredContent:
        """Return what is kept under ``name``."""
        ...

    async def swap(self, name: str, before: bytes | None, after: bytes, keep: float) -> tuple[bool, StoredContent]:
        """Put ``after`` in place of ``before`` for ``keep`` seconds, unless something else is there.

        Returns whether it was put there, and what is there now.
        """
        ...

    async def probe(self) -> None:
        """Show that it can be written, and change no document."""
        ...

    async def inspect(self) -> None:
        """Show whether this process could use it; a key of its own is all that it writes."""
        ...

    async def rest(self) -> None:
        """Close what is idle; it is opened again when needed."""
        ...

    async def close(self) -> None:
        """Close everything."""
        ...
