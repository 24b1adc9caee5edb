"""What the connections of a port may hold together, and how one that has to go is ended (contract section 8).

The shares and who goes first are in :mod:`sidecar.core.shared_memory`.
"""

from __future__ import annotations

from typing import Final, Protocol

from sidecar.core.shared_memory import CALLS, HEADS, UNSENT, SharedMemory


class HeadHolder(Protocol):
    """A connection without a complete head."""

    def abort(self) -> None:
        """Close it at once."""


class UnsentHolder(Protocol):
    """The writing end of a connection."""

    def cut(self) -> None:
        """End the connection so that a part of a response is not taken for the whole."""


class ConnectionMemory:
    """The shares of one port."""

    def __init__(self) -> None:
        #: Large heads of requests that are served; who finds no room there is refused.
        self.calls: Final[SharedMemory[object]] = SharedMemory(CALLS)
        self._heads: Final[SharedMemory[HeadHolder]] = SharedMemory(HEADS)
        self._unsent: Final[SharedMemory[UnsentHolder]] = SharedMemory(UNSENT)

    def hold_head(self, connection: HeadHolder, size: int, *, proven: bool) -> None:
        """Note that a connection has ``size`` bytes of a head that is not complete; too many together close some."""
        self._heads.hold(connection, size, proven=proven)
        while (victim := self._heads.victim()) is not None:
            self._heads.release(victim)
            victim.abort()

    def release_head(self, connection: HeadHolder) -> None:
        """Note that a connection's head is complete, or of no use any more."""
        self._heads.release(connection)

    def hold_unsent(self, writer: UnsentHolder, size: int, *, proven: bool) -> None:
        """Note that a caller has yet to take ``size`` bytes; too many together cut some off."""
        self._unsent.hold(writer, size, proven=proven)
        while (victim := self._unsent.victim()) is not None:
            self._unsent.release(victim)
            victim.cut()

    def release_unsent(self, writer: UnsentHolder) -> None:
        """Note that a caller has taken what it had to take, or is gone."""
        self._unsent.release(writer)
