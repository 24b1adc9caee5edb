"""Log lines on their way to a file descriptor: gathered, written together, and never in anybody's way.

Lines are written 100 ms after the first of them, or once there are 32 KiB,
or at once if one is urgent. A reader that is slow or gone must not hold up a
payment: the writer never waits for a full pipe, keeps at most 1 MiB, drops and
counts whole lines beyond that, and falls silent when the descriptor is closed.
"""

from __future__ import annotations

import errno
import os
import select
import stat
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio

#: Seconds that a line may wait for others.
_INTERVAL: Final = 0.1
#: Bytes that are written without waiting for more.
_BATCH: Final = 32 * 1024
#: Bytes that are kept for a reader that does not read.
_BACKLOG: Final = 1024 * 1024
#: What a pipe that select() calls ready takes without blocking (POSIX; 4,096 bytes on Linux).
_PIECE: Final = select.PIPE_BUF
#: A full disk may be emptied; the lines meant for it meanwhile are lost.
_PASSING: Final = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO))
#: Seconds that :meth:`LineWriter.close` gives a slow reader, and how often it looks.
_PATIENCE: Final = 1.0
_LOOKS: Final = 10


class LineWriter:
    """Writes lines to ``fd``; to nowhere if that is None. Used on one thread."""

    __slots__ = ("_fd", "_lines", "_loop", "_piece", "_size", "_stuck", "_timer", "dropped")

    def __init__(self, fd: int | None) -> None:
        self._fd = fd
        self._piece = _piece_size(fd)
        self._lines: list[bytes] = []
        self._size = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        #: The descriptor did not take all of the last try: only the timer tries again.
        self._stuck = False
        #: Lines dropped since somebody last set this to 0.
        self.dropped = 0

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Gather lines from now on, and write them from ``loop``; before, each is written at once."""
        self._loop = loop

    def write(self, line: bytes, *, urgent: bool = False) -> None:
        """Take a line, its end included. Never raises for what the descriptor does."""
        if self._fd is None:
            return
        if self._size + len(line) > _BACKLOG:
            self.dropped += 1
            return
        self._lines.append(line)
        self._size += len(line)
        if self._loop is None or ((urgent or self._size >= _BATCH) and not self._stuck):
            self.flush()
        elif self._timer is None:
            self._schedule()

    @property
    def has_room(self) -> bool:
        """Whether less than half of the backlog is in use."""
        return self._size < _BACKLOG // 2

    def flush(self) -> None:
        """Write what the descriptor takes without waiting; the rest is tried again later."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._push(timeout=0.0)
        if self._lines:
            self._schedule()

    def close(self) -> None:
        """Write what is left, within a second, and write each further line at once."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._loop = None
        for _ in range(_LOOKS):
            if not self._lines:
                break
            self._push(timeout=_PATIENCE / _LOOKS)

    def _schedule(self) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._timer = self._loop.call_later(_INTERVAL, self.flush)

    def _push(self, timeout: float) -> None:
        """Write piece after piece while the descriptor is ready within ``timeout`` seconds."""
        fd = self._fd
        if fd is None or not self._lines:
            return
        data = memoryview(b"".join(self._lines))
        done = 0
        try:
            while done < len(data) and (self._piece > _PIECE or select.select((), (fd,), (), timeout)[1]):
                done += os.write(fd, data[done : done + self._piece])
        except BlockingIOError:
            pass  # somebody made it non-blocking, and it is full
        except (OSError, ValueError) as error:
            if isinstance(error, OSError) and error.errno in _PASSING:
                self.dropped += bytes(data[done:]).count(b"\n")
            else:
                # Closed, or its reader is: nobody will ever see a line, so none is kept any more.
                self._fd = None
            done = len(data)
        self._lines = [bytes(data[done:])] if done < len(data) else []
        self._size = len(data) - done
        self._stuck = self._size > 0


def _piece_size(fd: int | None) -> int:
    """How much to write at a time: a regular file is always ready and takes all, so select() need not be asked."""
    try:
        regular = fd is not None and stat.S_ISREG(os.fstat(fd).st_mode)
    except OSError:
        regular = False
    return _BACKLOG * 2 if regular else _PIECE
