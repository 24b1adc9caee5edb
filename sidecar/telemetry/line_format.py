"""A log entry as one line: JSON for machines, columns for people at a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from sidecar.core.redact import scrub
from sidecar.core.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

#: Begins with ``timestamp`` (RFC 3339, UTC), ``level`` and ``event``.
Entry: TypeAlias = dict[str, Any]


class Line(msgspec.Struct, omit_defaults=True, gc=False):
    """An entry whose fields are known beforehand: built and encoded at a third of the cost. None is left out."""

    timestamp: str
    level: str
    event: str

    def for_people(self) -> tuple[str, Entry]:
        """Return what the line says in words, and the fields that are worth telling besides, for a terminal."""
        entry = _as_dictionary(self)
        return self.event, {key: value for key, value in entry.items() if key not in _HEAD}


_FRAMES: Final = 8
_COLORS: Final = {"warning": "\x1b[33m", "error": "\x1b[31m", "critical": "\x1b[31m", "debug": "\x1b[2m"}
_PLAIN: Final = "\x1b[0m"


def _plain(value: object) -> str:
    """What msgspec cannot encode is shown as its text; a Secret's text is ``***``."""
    return f"{type(value).__name__}" if isinstance(value, BaseException) else str(value)


_encode: Final[Callable[[object], bytes]] = msgspec.json.Encoder(enc_hook=_plain).encode


def json_line(entry: Entry | Line) -> bytes:
    """One JSON object and a line end. Never raises."""
    try:
        return _encode(entry) + b"\n"
    except (TypeError, ValueError, RecursionError) as error:  # a lone surrogate, a key that is no string, a loop
        return _encode(_head_alone(entry, error)) + b"\n"


def renamed_json_line(entry: Entry | Line, *, rename: Callable[[Entry], Entry]) -> bytes:
    """As :func:`json_line`, of what ``rename`` makes of the entry. Never raises, if ``rename`` does not."""
    try:
        return _encode(rename(_as_dictionary(entry))) + b"\n"
    except (TypeError, ValueError, RecursionError) as error:
        return _encode(rename(_head_alone(entry, error))) + b"\n"


def _head_alone(entry: Entry | Line, error: Exception) -> Entry:
    """What is left of an entry that cannot be encoded."""
    entry = _as_dictionary(entry)
    return {
        "timestamp": entry["timestamp"],
        "level": entry["level"],
        "event": entry["event"],
        "log_error": type(error).__name__,
    }


def console_line(entry: Entry | Line, *, color: bool) -> bytes:
    """Time, level, event and ``key=value`` for the rest; what is None or empty is left out. Never raises."""
    if isinstance(entry, Line):
        timestamp, level = entry.timestamp, entry.level
        words, fields = entry.for_people()
    else:
        timestamp, level, words = entry["timestamp"], entry["level"], _word(entry["event"])
        fields = {key: value for key, value in entry.items() if key not in _HEAD}
    shown = f"{level:<8}"
    if color and level in _COLORS:
        shown = f"{_COLORS[level]}{shown}{_PLAIN}"
    parts = [timestamp[11:], shown, printable(words)]
    parts += [f"{key}={_word(value)}" for key, value in fields.items() if value not in _EMPTY]
    return (" ".join(parts) + "\n").encode("utf-8", "backslashreplace")


def _as_dictionary(entry: Entry | Line) -> Entry:
    return msgspec.structs.asdict(entry) if isinstance(entry, Line) else entry


_HEAD: Final = frozenset(("timestamp", "level", "event"))
_EMPTY: Final[tuple[object, ...]] = (None, "", [], ())


def _word(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return ",".join(_word(item) for item in value)
    text = value if isinstance(value, str) else _plain(value)
    if text.isprintable() and " " not in text and '"' not in text:
        return text
    # A line end or an escape sequence in a value must not forge a line or move the cursor.
    inner = "".join(c if c.isprintable() and c not in '"\\' else c.encode("unicode_escape").decode() for c in text)
    return '"' + inner.replace('"', '\\"') + '"'


def exception_fields(error: BaseException) -> Entry:
    """An exception as fields: its type and where it came from.

    Its text is left out, since it may quote what somebody sent; frames have no
    locals and no source lines.
    """
    kind = type(error)
    return {"error": f"{kind.__module__}.{kind.__qualname__}", "at": _places(error.__traceback__)}


def place(error: BaseException) -> str:
    """Where an exception came from, as ``file:line``; empty if it was never raised."""
    places = _places(error.__traceback__)
    return places[-1].partition(" ")[0].rpartition("/")[2] if places else ""


def _places(traceback: TracebackType | None) -> list[str]:
    places = []
    while traceback is not None:
        code = traceback.tb_frame.f_code
        file = "/".join(code.co_filename.rsplit("/", 2)[-2:])
        places.append(f"{file}:{traceback.tb_lineno} {code.co_name}")
        traceback = traceback.tb_next
    return places[-_FRAMES:]


def foreign_text(text: str) -> str:
    """The first line of a library's message, scrubbed: further lines tend to quote objects."""
    return scrub(text.partition("\n")[0])
