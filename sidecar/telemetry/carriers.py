"""Ways to a file descriptor for log lines, which wait in a :mod:`sidecar.telemetry.line_backlog` for one.

Which write may block depends on what the descriptor is::

    pipe              a write of up to PIPE_BUF bytes does not, once poll() says ready (POSIX write())
    socket            not with MSG_DONTWAIT (send(2)); systemd's journal is one
    terminal, file    any: a terminal that is not read has room for one byte and waits for the rest,
                      a file system whose server is gone waits for ever

So pipes and sockets are written to from the event loop (:class:`DirectCarrier`), and
everything else from a thread that nobody waits for (:class:`ThreadCarrier`). A pipe gets
whole lines in each write where they fit, so that those of several programs do not mix.
A descriptor that is closed gets no more lines.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import stat
import sys
import threading
import weakref
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

from sidecar.telemetry.line_backlog import MOST_KEPT

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.telemetry.line_backlog import LineBacklog

#: Bytes in one write to anything but a pipe.
_PIECE: Final = 64 * 1024
#: Seconds in which a thread waits for a descriptor that somebody made non-blocking, before it tries again.
_PAUSE: Final = 1.0
_LINE_END: Final = ord("\n")
#: A full disk may be emptied; the lines meant for it meanwhile are lost.
_PASSING: Final = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO))
#: What kernels before 5.6, and such as are no real Linux, say of a flag or an offset that they do not know.
_NOT_SUPPORTED: Final = frozenset((errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS, errno.ESPIPE))


class Carrier(Protocol):
    """Brings lines from a backlog to a descriptor."""

    def push(self) -> bool:
        """Write what can be written without waiting, or have it written; return whether to try again later."""
        ...

    def when_written(self, tell: Callable[[], None]) -> None:
        """Call ``tell`` once all that was pushed so far is written or lost; at once if it is; from any thread."""
        ...

    def finish(self, timeout: float, *, end: bool = False) -> None:
        """Return when all lines are written, or after ``timeout`` seconds; ``end``: few more lines will come."""
        ...


class DirectCarrier:
    """Writes to a pipe or a socket, from the thread that asks for it, without waiting."""

    def __init__(self, fd: int, backlog: LineBacklog, *, is_socket: bool) -> None:
        self._fd: int | None = fd
        self._backlog: Final = backlog
        self._limit: Final = _PIECE if is_socket else select.PIPE_BUF
        self._socket: Final = socket.socket(fileno=fd) if is_socket else None
        if self._socket is not None:
            weakref.finalize(self, self._socket.detach)  # the descriptor is somebody else's: it stays open
        self._nowait = sys.platform == "linux"
        #: What the last write left over.
        self._rest: memoryview = memoryview(b"")
        #: Who is told once nothing is left.
        self._waiting: Final[list[Callable[[], None]]] = []

    def push(self) -> bool:
        """Write while the descriptor takes it."""
        return self._write(0.0)

    def when_written(self, tell: Callable[[], None]) -> None:
        """Call ``tell`` once nothing is left."""
        self._waiting.append(tell)
        if not self._rest and not self._backlog.size:
            self._tell()

    def finish(self, timeout: float, *, end: bool = False) -> None:
        """Write all that is left; with ``end``, waiting for the reader for some ``timeout`` seconds at most."""
        if self._write(0.0) and end:
            self._write(timeout)

    def _write(self, timeout: float) -> bool:
        """Return whether something is left; the descriptor gets ``timeout`` seconds to take each piece."""
        left = self._write_some(timeout)
        if not left:
            self._tell()
        return left

    def _tell(self) -> None:
        waiting = self._waiting[:]
        self._waiting.clear()
        for tell in waiting:
            tell()

    def _write_some(self, timeout: float) -> bool:
        fd = self._fd
        if fd is None:
            self._backlog.take(MOST_KEPT)
            return False
        try:
            while data := self._rest or memoryview(self._backlog.take(self._limit)):
                self._rest = data
                if not _writable(fd, timeout):
                    return True
                self._rest = data[self._send(fd, data[: self._limit]) :]
        except BlockingIOError:
            return True  # full although it was ready: somebody made it non-blocking, or it is a socket
        except (OSError, ValueError) as error:
            self._failed(error)
            return False
        return False

    def _send(self, fd: int, data: memoryview) -> int:
        if self._socket is not None:
            return self._socket.send(data, socket.MSG_DONTWAIT)
        if sys.platform == "linux" and self._nowait:
            try:
                # Another program may fill the pipe after poll() has looked: only the kernel can rule that out.
                return os.pwritev(fd, [data], -1, os.RWF_NOWAIT)
            except OSError as error:
                if error.errno not in _NOT_SUPPORTED:
                    raise
                self._nowait = False
        return os.write(fd, data)

    def _failed(self, error: OSError | ValueError) -> None:
        if not _is_passing(error):
            # Closed, or its reader is: nobody will ever see a line, so none is kept any more.
            self._fd = None
        self._backlog.count_dropped(bytes(self._rest).count(b"\n"))
        self._rest = memoryview(b"")


class ThreadCarrier:
    """Writes to anything, in a thread that may wait for as long as the descriptor pleases."""

    def __init__(self, fd: int, backlog: LineBacklog) -> None:
        self._fd: Final = fd
        self._backlog: Final = backlog
        #: Guards what follows.
        self._changed: Final = threading.Condition()
        self._running = False
        #: How often it was pushed, and up to which push all lines are written or lost.
        self._pushed = self._written = 0
        #: Who is told once that many pushes are written.
        self._waiting: Final[deque[tuple[int, Callable[[], None]]]] = deque()
        self._ending = False
        #: Somebody has waited in vain, and nothing was finished since.
        self._stuck = False
        #: The descriptor is closed, or its reader is.
        self._dead = False
        #: What was written last ends within a line.
        self._cut_off = False

    def push(self) -> bool:
        """Have the thread write all that is there."""
        with self._changed:
            self._pushed += 1
            if not self._running:
                self._running = self._start()
            self._changed.notify_all()
        return not self._running

    def when_written(self, tell: Callable[[], None]) -> None:
        """Have the thread call ``tell``, unless all is written already."""
        with self._changed:
            if self._written < self._pushed:
                self._waiting.append((self._pushed, tell))
                return
        tell()

    def finish(self, timeout: float, *, end: bool = False) -> None:
        """Have all written; a descriptor that blocks costs ``timeout`` seconds once, not for each call."""
        self._ending = end
        if self.push() or self._stuck:
            return
        with self._changed:
            self._stuck = not self._changed.wait_for(lambda: self._written == self._pushed, timeout)

    def _start(self) -> bool:
        try:
            threading.Thread(target=self._run, name="log", daemon=True).start()
        except RuntimeError:  # no thread to be had: tried again later
            return False
        return True

    def _run(self) -> None:
        while pushed := self._next():
            while data := self._backlog.take(_PIECE):
                self._write(memoryview(data))
            self._finished(pushed)

    def _next(self) -> int:
        """Wait for a push, and return its number; 0: the thread is to end."""
        with self._changed:
            while self._written == self._pushed:
                if self._ending:
                    self._running = False
                    return 0
                self._changed.wait()
            return self._pushed

    def _finished(self, pushed: int) -> None:
        """Note that all lines of the first so many pushes are written, and tell who waits for that."""
        with self._changed:
            self._written, self._stuck = pushed, False
            told = []
            while self._waiting and self._waiting[0][0] <= pushed:
                told.append(self._waiting.popleft()[1])
            self._changed.notify_all()
        for tell in told:
            tell()

    def _write(self, data: memoryview) -> None:
        """Write whole lines. One that was cut off before them is ended first: else it would spoil the first of them."""
        ends_another = self._cut_off
        if ends_another:
            data = memoryview(b"\n" + data)
        while data and not self._dead:
            try:
                written = os.write(self._fd, data)
                self._cut_off = data[written - 1] != _LINE_END
                ends_another = False
                data = data[written:]
            except BlockingIOError:  # somebody made it non-blocking
                _writable(self._fd, _PAUSE)
            except (OSError, ValueError) as error:
                self._dead = not _is_passing(error)
                self._backlog.count_dropped(bytes(data).count(b"\n") - ends_another)
                return


def carrier_to(fd: int | None, backlog: LineBacklog) -> Carrier | None:
    """Return the way to ``fd``; None if there is no such descriptor."""
    if fd is None:
        return None
    try:
        mode = os.fstat(fd).st_mode
    except OSError:
        return None
    if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
        return DirectCarrier(fd, backlog, is_socket=stat.S_ISSOCK(mode))
    return ThreadCarrier(fd, backlog)


def _writable(fd: int, timeout: float) -> bool:
    """Whether ``fd`` takes bytes within ``timeout`` seconds: by poll(2), for select(2) takes none above 1023."""
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(timeout * 1000))


def _is_passing(error: OSError | ValueError) -> bool:
    return isinstance(error, OSError) and error.errno in _PASSING
