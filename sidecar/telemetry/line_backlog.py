"""The log lines that wait for a descriptor: at most so many bytes, the oldest dropped and counted beyond that."""

from __future__ import annotations

import threading
from collections import deque
from typing import Final

#: Bytes that are kept for a reader that does not read.
MOST_KEPT: Final = 1024 * 1024


class LineBacklog:
    """The lines that wait for one descriptor; any thread may use it."""

    __slots__ = ("_lines", "_lock", "dropped", "size")

    def __init__(self) -> None:
        self._lock: Final = threading.Lock()
        self._lines: Final[deque[bytes]] = deque()
        #: Bytes.
        self.size = 0
        #: Lines dropped since :meth:`take_dropped` was last called.
        self.dropped = 0

    def put(self, line: bytes) -> None:
        """Add a line, and drop the oldest ones if there are too many."""
        with self._lock:
            self._lines.append(line)
            self.size += len(line)
            while self.size > MOST_KEPT:
                self.size -= len(self._lines.popleft())
                self.dropped += 1

    def take(self, limit: int) -> bytes:
        """Remove and return the oldest lines, whole: up to ``limit`` bytes of them, but at least one if any."""
        with self._lock:
            lines, total = self._lines, 0
            taken: list[bytes] = []
            while lines and (not taken or total + len(lines[0]) <= limit):
                taken.append(lines.popleft())
                total += len(taken[-1])
            self.size -= total
        return b"".join(taken)

    def count_dropped(self, lines: int) -> None:
        """Count lines that were taken and could not be written."""
        with self._lock:
            self.dropped += lines

    @property
    def has_room(self) -> bool:
        """Whether less than half of it is in use."""
        return self.size < MOST_KEPT // 2

    def take_dropped(self) -> int:
        """Return how many lines were dropped since the last call."""
        with self._lock:
            dropped, self.dropped = self.dropped, 0
        return dropped
