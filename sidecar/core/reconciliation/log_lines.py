r"""Reading one line of a log: whether it tells of a write whose outcome is unknown.

Lines are JSON in one of three sets of names (``log.format``: ``json``, ``gcp``,
``ecs``), and seldom stand alone: what runs containers puts a prefix before each
(CRI, ``kubectl logs --prefix``, Compose, syslog), or makes it a string in an object of
its own (Docker's json-file, journald), and log services put it under a name
(``jsonPayload``, ``_source``). All of that is taken off here.

A log is text from elsewhere. What is taken from it is bounded and printable, and a
key is one that Mangopay would accept, since it becomes part of a path.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Any, Final, TypeAlias, TypeGuard

import msgspec

from sidecar.core.ecs_names import ECS_NAMES, NANOSECONDS, OWN
from sidecar.core.errors import Outcome
from sidecar.core.http.dates import read_date
from sidecar.core.idempotency_key import is_key
from sidecar.core.resend import SAFE_METHODS
from sidecar.core.text import printable

#: Bytes: a longer line is no line of ours.
LONGEST_LINE: Final = 1024 * 1024

#: How a line for people begins: a time without a date, and a level (``log.format = "console"``).
_CONSOLE: Final = re.compile(
    rb"(?:\A|[\s|\]])\d\d:\d\d:\d\d\.\d{3}Z (?:\x1b\[\d+m)?(?:debug|info|warning|error|critical)[ \x1b]"
)
#: Bytes within which that stands, behind a container's prefix.
_CONSOLE_HEAD: Final = 256
#: Names under which others keep a whole line, mostly as a string, and those under which it is an object, mostly.
_TEXTS: Final = ("log", "MESSAGE", "message", "msg", "line")
_OBJECTS: Final = ("jsonPayload", "_source", "log_processed", "event")
#: How often one may stand within another.
_DEPTH: Final = 4
#: Pieces of a line about an unknown outcome, by which the rest of a torn one is known.
_TRACES: Final = (b'"idempotency_key"', b'"unknown"')

#: Milliseconds: a day.
_LONGEST_CALL: Final = 86_400_000
#: Characters of each text that is kept; a masked path can be longer than the path.
_LONGEST_WORD: Final = 128
_LONGEST_PATH: Final = 1024
#: What stands before the dot of each event that a sidecar logs; only ``request`` itself has no dot.
_SUBJECTS: Final = frozenset(
    {"admin", "answer", "certificate", "config", "descriptors", "hooks", "library", "listener", "log", "request"}
    | {"shutdown", "store", "task", "token", "tracing"}
)


class UncertainCall(msgspec.Struct, frozen=True):
    """A write that was sent, and of which its log line cannot tell whether Mangopay executed it."""

    #: Of the call; no other has it.
    id: str
    environment: str
    method: str
    #: Ids are masked.
    path: str
    #: When its head was there, and when it was over (Unix seconds, by the clock of the sidecar's machine).
    started: float
    ended: float
    #: None if there is none that Mangopay stores a response under.
    key: str | None
    #: What the caller saw; None if it had left, or its response was cut.
    status: int | None = None
    error: str | None = None
    #: Its path names another ClientId than the sidecar's.
    foreign: bool = False
    caller_request_id: str | None = None


class Dropped(msgspec.Struct, frozen=True):
    """The sidecar could not write so many lines before this one."""

    lines: int
    #: When this one was written (Unix seconds); None if that cannot be read.
    at: float | None = None


class LineKind(Enum):
    """A line that tells of no uncertain write."""

    #: A sidecar's.
    OURS = "ours"
    #: Another program's, or empty.
    OTHER = "other"
    #: A sidecar's for people, which has no date.
    CONSOLE = "console"
    #: Not whole.
    BROKEN = "broken"
    #: Not whole, and what is left is from an unknown outcome.
    BROKEN_UNKNOWN = "broken_unknown"


LogLine: TypeAlias = UncertainCall | Dropped | LineKind


def read_line(line: bytes) -> LogLine:
    """Return what a line tells. Never raises."""
    try:
        return _read(line, _DEPTH)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return LineKind.BROKEN_UNKNOWN if _has_trace(line) else LineKind.BROKEN


def _read(line: bytes, depth: int) -> LogLine:
    """Do as :func:`read_line`; raises what reading a line can raise that is not whole."""
    start = line.find(b"{")
    # Only what stands before the JSON: a text inside it may look like a line for people.
    if _CONSOLE.search(line[: _CONSOLE_HEAD if start < 0 else min(start, _CONSOLE_HEAD)]):
        return LineKind.CONSOLE
    if start < 0:
        return LineKind.BROKEN_UNKNOWN if _has_trace(line) else LineKind.OTHER
    entry: dict[str, Any] = msgspec.json.decode(line[start:])  # valid JSON that begins with a brace is an object
    return _read_entry(entry, depth)


def _has_trace(line: bytes) -> bool:
    """Tell whether a torn line may be one about an unknown outcome; quotes are escaped where it is a string itself."""
    plain = line.replace(b"\\", b"")
    return any(trace in plain for trace in _TRACES)


def _read_entry(entry: dict[str, Any], depth: int) -> LogLine:
    event = entry.get("event")
    if _is_ours(event, entry):
        return _read_event(event, entry)
    if isinstance(event, dict) or "event.action" in entry:
        named = _from_ecs(_flat(entry))
        action = named["event"]
        if _is_ours(action, named):
            return _read_event(action, named)
    if depth:
        for name in (*_OBJECTS, *_TEXTS):
            inner = entry.get(name)
            told: LogLine = LineKind.OTHER
            if isinstance(inner, dict):
                told = _read_entry({"time": entry.get("timestamp"), **inner}, depth - 1)
            elif isinstance(inner, str) and (name != "event" or _may_be_line(inner)):
                told = _read(inner.encode(), depth - 1)
            if told is not LineKind.OTHER:
                return told
    return LineKind.OTHER


def _may_be_line(event: str) -> bool:
    """Whether an event may be a whole line, as Splunk keeps them, rather than an event of another program's."""
    return event.startswith("{") or _has_trace(event.encode())


def _is_ours(event: object, entry: dict[str, Any]) -> TypeGuard[str]:
    """Whether a sidecar logs such an event: other programs use the name ``event`` for theirs, or for a whole line."""
    if event == "request":
        return "environment" in entry or entry.get("outcome") == Outcome.UNKNOWN
    return isinstance(event, str) and "." in event and event.partition(".")[0] in _SUBJECTS


def _read_event(event: str, entry: dict[str, Any]) -> LogLine:
    if event == "log.dropped":
        lines = max(0, _whole(entry.get("lines")) or 0)
        return Dropped(lines, _date(entry.get("timestamp") or entry.get("time")))
    if event != "request" or entry.get("outcome") != Outcome.UNKNOWN or _text(entry.get("method")) in SAFE_METHODS:
        return LineKind.OURS
    call = _call(entry)
    return LineKind.BROKEN_UNKNOWN if call is None else call


def _call(entry: dict[str, Any]) -> UncertainCall | None:
    """Return the call of a ``request`` line; None if something is missing that every such line has."""
    words = [_text(entry.get(name)) for name in ("id", "environment", "method")]
    path = _text(entry.get("path"), _LONGEST_PATH)
    ended = _date(entry.get("timestamp") or entry.get("time"))
    if None in words or path is None or ended is None:
        return None
    identifier, environment, method = (str(word) for word in words)
    duration = entry.get("duration_ms")
    lasted = duration / 1e3 if isinstance(duration, (int, float)) and 0 <= duration <= _LONGEST_CALL else 0.0
    foreign = entry.get("client_id_ours") is False
    key = entry.get("idempotency_key")
    # Mangopay stores responses to POSTs, and to each account its own.
    stored = method == "POST" and not foreign and isinstance(key, str) and is_key(key.encode())
    return UncertainCall(
        id=identifier,
        environment=environment,
        method=method,
        path=path,
        started=ended - lasted,
        ended=ended,
        key=key if stored else None,
        status=_whole(entry.get("status")),
        error=_text(entry.get("error")),
        foreign=foreign,
        caller_request_id=_text(entry.get("x_request_id")),
    )


def _from_ecs(entry: dict[str, Any]) -> dict[str, Any]:
    """Return a line by our names."""
    named = {name.removeprefix(OWN): value for name, value in entry.items() if name.startswith(OWN)}
    named.update({ours: entry[theirs] for ours, theirs in ECS_NAMES.items() if theirs in entry})
    named["event"] = entry.get("event.action")
    duration = entry.get("event.duration")
    # A number that no float holds cannot be divided.
    if isinstance(duration, (int, float)) and 0 <= duration <= _LONGEST_CALL * NANOSECONDS:
        named["duration_ms"] = duration / NANOSECONDS
    return named


def _flat(entry: dict[str, Any], above: str = "") -> dict[str, Any]:
    """Return objects within objects by dotted names: a log service may have taken the names apart at their dots."""
    flat: dict[str, Any] = {}
    for name, value in entry.items():
        if isinstance(value, dict):
            flat.update(_flat(value, f"{above}{name}."))
        else:
            flat[above + name] = value
    return flat


def _text(value: object, longest: int = _LONGEST_WORD) -> str | None:
    return printable(value, longest) if isinstance(value, str) and value else None


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _date(value: object) -> float | None:
    return read_date(value) if isinstance(value, str) else None
