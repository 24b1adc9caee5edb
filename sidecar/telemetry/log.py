"""The log, on stderr: structlog's events, libraries' warnings and the ``request`` lines, in one format by one writer.

structlog runs without processors: its filtering logger hands each event's
fields to a sink, which adds time and level and renders. A ``request`` line
does not even pass structlog, since there is one for every call.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Final, TextIO

import structlog

from sidecar.core.rows import color_wanted
from sidecar.telemetry.field_names import ecs_fields, gcp_fields
from sidecar.telemetry.line_format import (
    Entry,
    Line,
    console_line,
    exception_fields,
    foreign_text,
    json_line,
    renamed_json_line,
)
from sidecar.telemetry.line_writer import LineWriter

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from sidecar.core.clock import Clock

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
        self._thread = threading.get_ident()
        #: Called before an event is written: whoever keeps lines of what happened earlier writes them now.
        self.before_event: Callable[[], None] = _nothing
        #: Whether lines of level info are wanted.
        self.wants_info: Final = LEVELS[level] <= logging.INFO

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Buffer from now on, and write from ``loop``, which runs on this thread."""
        self._loop = loop
        self._thread = threading.get_ident()
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
        if threading.get_ident() == self._thread or self._loop is None:
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


class _Sink:
    """The logger that structlog wraps: one method a level."""

    def __init__(self, output: LogOutput) -> None:
        self._event = output.event

    def debug(self, /, **fields: object) -> None:
        self._event("debug", fields)

    def info(self, /, **fields: object) -> None:
        self._event("info", fields)

    def warning(self, /, **fields: object) -> None:
        self._event("warning", fields)

    def error(self, /, **fields: object) -> None:
        self._event("error", fields)

    def critical(self, /, **fields: object) -> None:
        self._event("critical", fields)


class _Libraries(logging.Handler):
    """Takes what libraries (aiohttp, asyncio) log by the standard library's means."""

    def __init__(self, output: LogOutput) -> None:
        super().__init__()
        self._output = output

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
        except (TypeError, ValueError):  # arguments that do not fit the format
            message = record.msg if isinstance(record.msg, str) else type(record.msg).__name__
        fields: Entry = {"event": "library.reported", "logger": record.name, "message": foreign_text(message)}
        if record.exc_info:
            fields["exc_info"] = record.exc_info
        level = record.levelname.lower()
        self._output.event_threadsafe(level if level in LEVELS else "error", fields)


def configure_logging(level: str, form: str, clock: Clock, *, fd: int | None = None) -> LogOutput:
    """Send structlog's and the libraries' events to ``fd`` (default: stderr, if it is open).

    ``level`` is a key of LEVELS; ``form`` is ``json``, ``console``, ``gcp``, ``ecs`` or ``auto`` (console on a
    terminal, else json).
    The caller attaches the returned output to its event loop, and closes it at the end.
    """
    if fd is None:
        fd = descriptor_of(sys.stderr)
    terminal = fd is not None and os.isatty(fd)
    output = LogOutput(LineWriter(fd), _renderer(form, terminal=terminal), clock, level)
    sink = _Sink(output)
    structlog.configure(
        processors=[],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=lambda *_: sink,
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers[:] = [_Libraries(output)]
    # Libraries' debug and info lines (asyncio names its selector) help nobody here.
    root.setLevel(max(LEVELS[level], logging.WARNING))
    return output


def _renderer(form: str, *, terminal: bool) -> Callable[[Entry | Line], bytes]:
    """Return what makes a line of an entry in the format ``form``."""
    if form == "auto":
        form = "console" if terminal else "json"
    match form:
        case "console":
            return partial(console_line, color=color_wanted(os.environ, terminal=terminal))
        case "gcp":
            return partial(renamed_json_line, rename=gcp_fields)
        case "ecs":
            return partial(renamed_json_line, rename=ecs_fields)
        case _:
            return json_line


def descriptor_of(stream: TextIO | None) -> int | None:
    """Return the descriptor of stdout or stderr; None if it was closed at start: its number may be reused by now."""
    if stream is None:
        return None
    try:
        return stream.fileno()
    except (OSError, ValueError):
        return None
