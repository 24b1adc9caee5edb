"""The work of each pass of the event loop, shared out among those whose bytes are many pieces.

A chunk of one byte costs as much as one of 64 KiB: a few callbacks of the parser,
and a few more to take it out. A bound on bytes does not bound that. So whoever
has bytes that may be very many pieces works through some of them, and lets
others have their turn: such bytes slow down each other, and nobody else.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

#: Bytes that are worked through in one turn.
SLICE: Final = 2048
#: Lines that need no turn: they cost about as much as to read them from the socket.
_FEW_LINES: Final = 64
#: Bytes for each line from which on pieces are no small ones: they cost less than their bytes.
_USUAL_PIECE: Final = 400
#: Bytes that may wait for their turn together. Beyond that what comes is worked through at once: memory is the scarcer.
_MOST_WAITING: Final = 4 * 1024 * 1024
#: Lines that are worked through in one pass, by all together: about a millisecond. A chunk has two, a header one.
_LINES_OF_A_PASS: Final = 1024


def lines_in(data: bytes) -> int:
    """Return how many pieces ``data`` may be at most: each size of a chunk, each chunk and each field ends with a CRLF.

    Binary content has hardly any. A bare line feed ends none of them: the parsers refuse it.
    """
    return data.count(b"\r\n")


class Turns:
    """Gives out turns, first come, first served; one for all connections of a kind."""

    __slots__ = ("_left", "_renewal", "_waiting", "waiting_bytes")

    def __init__(self) -> None:
        #: Bytes that wait in all backlogs.
        self.waiting_bytes = 0
        self._left = _LINES_OF_A_PASS
        self._waiting: deque[Callable[[], None]] = deque()
        # Set from the first turn of a pass until the next pass.
        self._renewal: asyncio.Handle | None = None

    @property
    def is_full(self) -> bool:
        """Whether so much waits that nothing more should."""
        return self.waiting_bytes >= _MOST_WAITING

    def take(self, lines: int) -> bool:
        """Take a turn to work through ``lines`` now, if there is one. The last turn of a pass may be longer than it."""
        if self._waiting or self._left <= 0:
            return False
        self.spend(lines)
        return True

    def wait(self, take_turn: Callable[[], None]) -> None:
        """Have ``take_turn`` called in its turn; it says by :meth:`spend` how many lines it worked through."""
        self._waiting.append(take_turn)
        self._renew()

    def spend(self, lines: int) -> None:
        """Note that so many lines were worked through in this pass."""
        self._left -= lines
        self._renew()

    def _renew(self) -> None:
        if self._renewal is None:
            self._renewal = asyncio.get_running_loop().call_soon(self._begin_pass)

    def _begin_pass(self) -> None:
        self._renewal = None
        self._left = _LINES_OF_A_PASS
        while self._waiting and self._left > 0:
            self._waiting.popleft()()
        if self._waiting:
            self._renew()


class Backlog:
    """Bytes of one connection that wait for their turn; its socket should be paused for as long as there are any."""

    __slots__ = ("_data", "_turns", "_waits", "_work")

    def __init__(self, turns: Turns, work: Callable[[bytes], None]) -> None:
        """``work`` is given some bytes in each turn, and calls :meth:`go_on` if it takes more."""
        self._turns: Final = turns
        self._work: Final = work
        self._data = memoryview(b"")
        self._waits = False

    def __bool__(self) -> bool:
        return bool(self._data)

    def first_turn(self, data: bytes) -> bytes:
        """Return what of ``data``, which has just come, may be worked through now; keep the rest."""
        if not self._data:
            lines = lines_in(data)
            if lines <= _FEW_LINES or lines * _USUAL_PIECE <= len(data) or self._turns.is_full:
                return data
            if len(data) <= SLICE and self._turns.take(lines):
                return data
        self._data = memoryview(bytes(self._data) + data)
        self._turns.waiting_bytes += len(data)
        return b""

    def go_on(self) -> bool:
        """Wait for the next turn if there is anything to work through; return whether there is."""
        if self._data and not self._waits:
            self._waits = True
            self._turns.wait(self._take_turn)
        return bool(self._data)

    def clear(self) -> None:
        """Forget everything."""
        self._turns.waiting_bytes -= len(self._data)
        self._data = memoryview(b"")

    def _take_turn(self) -> None:
        self._waits = False
        data, self._data = bytes(self._data[:SLICE]), self._data[SLICE:]
        if data:
            self._turns.waiting_bytes -= len(data)
            self._turns.spend(lines_in(data))
            self._work(data)
