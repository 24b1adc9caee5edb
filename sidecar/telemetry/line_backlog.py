"""The log lines that wait for a descriptor: at most so many bytes, the oldest dropped and counted beyond that."""

from __future__ import annotations

import threading
from collections import deque
from typing import Final

#: Bytes that are kept for a reader that does not read.
MOST_KEPT: Final = 1024 * 1024


class LineBacklog:
    """The lines that wait for one descriptor; any thread may use it."""

    __slots__ = ("_lines", "_lock", "_told_of", "dropped", "size")

    def __init__(self) -> None:
        self._lock: Final = threading.Lock()
        #: Each with how many lost lines it tells of.
        self._lines: Final[deque[tuple[bytes, int]]] = deque()
        #: Lost lines of which those tell that were taken last.
        self._told_of = 0
        #: Bytes.
        self.size = 0
        #: Lines dropped since :meth:`take_dropped` was last called.
        self.dropped = 0

    def put(self, line: bytes, tells_of: int = 0) -> None:
        """Add a line, and drop the oldest ones if there are too many.

        ``tells_of`` lost lines it tells: if it is lost itself, they count again.
        """
        with self._lock:
            self._lines.append((line, tells_of))
            self.size += len(line)
            while self.size > MOST_KEPT:
                oldest, lost = self._lines.popleft()
                self.size -= len(oldest)
                self.dropped += 1 + lost

    def take(self, limit: int) -> bytes:
        """Remove and return the oldest lines, whole: up to ``limit`` bytes of them, but at least one if any.

        One that tells of lost ones comes alone, so that it is known whether it was written. Those that were taken
        before are written, or were counted by :meth:`count_dropped`.
        """
        with self._lock:
            lines, total = self._lines, 0
            taken: list[bytes] = []
            self._told_of = 0
            while lines and (not taken or (total + len(lines[0][0]) <= limit and not lines[0][1])):
                line, self._told_of = lines.popleft()
                taken.append(line)
                total += len(line)
                if self._told_of:
                    break
            self.size -= total
        return b"".join(taken)

    def count_dropped(self, lines: int) -> None:
        """Count lines that were taken last and could not be written, and those of which they told."""
        with self._lock:
            self.dropped += lines + self._told_of
            self._told_of = 0

    @property
    def has_room(self) -> bool:
        """Whether less than half of it is in use."""
        return self.size < MOST_KEPT // 2

    def take_dropped(self) -> int:
        """Return how many lines were dropped since the last call."""
        with self._lock:
            dropped, self.dropped = self.dropped, 0
        return dropped
