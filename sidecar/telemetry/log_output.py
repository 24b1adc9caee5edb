"""Where all log lines go: each gets its time, is rendered, and goes to one writer."""

from __future__ import annotations

import logging
import sys
import threading
import time
from typing import TYPE_CHECKING, Final

from sidecar.telemetry.line_format import exception_fields

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from sidecar.core.clock import Clock
    from sidecar.telemetry.line_format import Entry, Line
    from sidecar.telemetry.line_writer import LineWriter

LEVELS: Final = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_PATIENT: Final = frozenset(("debug", "info"))
#: How a timestamp ends.
_MILLISECONDS: Final = tuple(f"{number:03d}Z" for number in range(1000))


class LogOutput:
    """Where all log lines go."""

    def __init__(self, writer: LineWriter, render: Callable[[Entry | Line], bytes], clock: Clock, level: str) -> None:
        self._writer = writer
        self._backlog = writer.backlog
        self._render = render
        self._wall = clock.wall
        self._second = -1
        self._stem = ""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loop_thread = threading.get_ident()
        #: Called before an event is written: whoever keeps lines of what happened earlier writes them now.
        self.before_event: Callable[[], None] = _nothing
        #: Whether lines of level info are wanted.
        self.wants_info: Final = LEVELS[level] <= logging.INFO

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Buffer from now on, and write from ``loop``, which runs on this thread."""
        self._loop = loop
        self._loop_thread = threading.get_ident()
        self._writer.attach(loop)

    def close(self) -> None:
        """Write all that is buffered or kept; further lines are written at once."""
        self.before_event()
        self._loop = None
        self._writer.close()

    async def confirm(self) -> None:
        """Return once the lines so far are out; see :meth:`LineWriter.confirm`."""
        await self._writer.confirm()

    def timestamp(self, wall: float) -> str:
        """Unix time as RFC 3339 with milliseconds, in UTC."""
        second = int(wall)
        if second != self._second:
            self._second = second
            self._stem = time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(second))
        return self._stem + _MILLISECONDS[int((wall - second) * 1000)]

    def emit(self, entry: Entry) -> None:
        """Write an entry, which has ``timestamp``, ``level`` and ``event`` already. Never raises."""
        if self._backlog.dropped:
            self._log_dropped(entry["timestamp"])
        self._writer.write(self._render(entry), urgent=entry["level"] not in _PATIENT)

    def emit_line(self, line: Line, *, urgent: bool = False) -> None:
        """Write a line; one of a warning is ``urgent`` anyway. Never raises."""
        if self._backlog.dropped:
            self._log_dropped(line.timestamp)
        self._writer.write(self._render(line), urgent=urgent or line.level not in _PATIENT)

    def _log_dropped(self, timestamp: str) -> None:
        """Write how many lines were dropped before this moment, once there is room for that."""
        if self._backlog.has_room:
            lost = self._backlog.take_dropped()
            entry: Entry = {"timestamp": timestamp, "level": "warning", "event": "log.dropped", "lines": lost}
            self._writer.write(self._render(entry), tells_of=lost)

    def event(self, level: str, fields: Entry) -> None:
        """Write an event as structlog hands it over: its name under ``event``, perhaps an ``exc_info``."""
        self.before_event()
        error = _error_of(fields.pop("exc_info", None))
        entry = {"timestamp": self.timestamp(self._wall()), "level": level, "event": fields.pop("event", None) or ""}
        entry.update(fields)
        if error is not None:
            entry.update(exception_fields(error))
        self.emit(entry)

    def event_threadsafe(self, level: str, fields: Entry) -> None:
        """Do as :meth:`event`, from any thread."""
        if threading.get_ident() == self._loop_thread or self._loop is None:
            self.event(level, fields)
        elif not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.event, level, fields)


def _nothing() -> None:
    """Do nothing: no lines are kept that would have to be written first."""


def _error_of(exc_info: object) -> BaseException | None:
    match exc_info:
        case BaseException():
            return exc_info
        case (_, BaseException() as error, _):
            return error
        case True:
            return sys.exc_info()[1]
        case _:
            return None
