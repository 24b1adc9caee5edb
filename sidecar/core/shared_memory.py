"""Memory that many share: how much of it each holds, and who has to let go when it is too much (contract section 8).

Everything that a connection can make the process keep is either small (some KiB), counted by the replay budget, or
counted here, in a share of its own::

    heads     bytes of request heads that are not complete       the oldest connection is closed
    calls     bytes of large heads of requests that are served   the newest request is refused, and was not sent
    unsent    bytes of responses that callers do not take        the caller that has waited longest is cut off

Callers that have not proven themselves go first, whatever their age.
"""

from __future__ import annotations

from typing import Final, Generic, TypeVar

Owner = TypeVar("Owner")

#: Bytes of request heads that are not complete, of all connections together.
HEADS: Final = 16 * 1024 * 1024
#: Bytes of a request head that is not counted once it is complete: a thousand of these are little.
SMALL_HEAD: Final = 4 * 1024
#: Bytes of larger heads of all requests that are served. One weighs some four times as much, parsed and filtered.
CALLS: Final = 4 * 1024 * 1024
#: Bytes of responses that were written and not taken, of all connections together.
UNSENT: Final = 8 * 1024 * 1024


class SharedMemory(Generic[Owner]):
    """Bytes by owner, with a limit for all together."""

    __slots__ = ("_proven", "_unproven", "limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit: Final = limit
        #: Bytes held now.
        self.used = 0
        # In the order in which they began to hold any.
        self._unproven: Final[dict[Owner, int]] = {}
        self._proven: Final[dict[Owner, int]] = {}

    def __len__(self) -> int:
        """How many hold any."""
        return len(self._unproven) + len(self._proven)

    def hold(self, owner: Owner, size: int, *, proven: bool = False) -> None:
        """Note that ``owner`` holds ``size`` bytes now, whatever it held before; its age is kept.

        The limit may be passed by this: then :meth:`victim` says who has to go.
        """
        holders, others = (self._proven, self._unproven) if proven else (self._unproven, self._proven)
        before = others.pop(owner, 0) + holders.get(owner, 0)
        holders[owner] = size
        self.used += size - before

    def take(self, owner: Owner, size: int) -> bool:
        """Let ``owner`` hold ``size`` bytes more, if there is room; return whether there is."""
        if self.used + size > self.limit:
            return False
        self._unproven[owner] = self._unproven.get(owner, 0) + size
        self.used += size
        return True

    def release(self, owner: Owner) -> None:
        """Note that ``owner`` holds nothing any more. May be repeated."""
        self.used -= self._unproven.pop(owner, 0) + self._proven.pop(owner, 0)

    def victim(self) -> Owner | None:
        """Return who has to go while the limit is passed: not proven before proven, then the oldest; else None."""
        if self.used <= self.limit or len(self) == 1:
            return None  # one alone is bounded by other limits
        return next(iter(self._unproven or self._proven))
