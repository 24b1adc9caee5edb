"""The log, on stderr: structlog's events, libraries' warnings and the ``request`` lines, in one format by one writer.

structlog runs without processors: its filtering logger hands each event's
fields to a sink, which adds time and level and renders. A ``request`` line
does not even pass structlog, since there is one for every call.
"""

from __future__ import annotations

import logging
import os
import sys
from functools import partial
from typing import TYPE_CHECKING, TextIO

import structlog

from sidecar.core.rows import color_wanted
from sidecar.telemetry.field_names import ecs_fields, gcp_fields
from sidecar.telemetry.line_format import Entry, Line, console_line, foreign_text, json_line, renamed_json_line
from sidecar.telemetry.line_writer import LineWriter
from sidecar.telemetry.log_output import LEVELS, LogOutput

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.core.clock import Clock


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
