"""Reading log files: rotated ones, compressed ones, those of many pods, or what comes through a pipe."""

from __future__ import annotations

import gzip
import sys
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import msgspec

from sidecar.core.reconciliation.log_lines import LONGEST_LINE, Dropped, LineKind, UncertainCall, read_line
from sidecar.core.system_errors import mend, reason
from sidecar.core.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from io import BufferedReader

#: Means stdin.
STDIN: Final = "-"
_GZIP: Final = b"\x1f\x8b"
#: How files begin that no module of Python 3.11 reads, or that logs are seldom in, and what unpacks them. The last is
#: what PowerShell's ``>`` makes: no line of it would be known, and nothing in it be uncertain.
_PACKED: Final = {
    b"\x28\xb5\x2f\xfd": "zstdcat",
    b"\xfd7zXZ": "xzcat",
    b"BZh": "bzcat",
    b"PK\x03\x04": "unzip -p",
    b"\xff\xfe": "iconv -f UTF-16 -t UTF-8",
}
#: Places of broken lines that are told.
_PLACES: Final = 5
_LONGEST_NAME: Final = 200


class LogError(Exception):
    """A file cannot be used; ``str()`` is one line: what is wrong, where, the mend."""


class Reading(msgspec.Struct):
    """What was read."""

    calls: list[UncertainCall] = []
    files: int = 0
    lines: int = 0
    #: Of these, the lines of a sidecar.
    ours: int = 0
    #: Lines that are not whole; of these, those that may hide a call with an unknown outcome.
    broken: int = 0
    broken_unknown: int = 0
    #: Where the first of them are, those that may hide a call before the others: ``file:line``.
    broken_at: list[str] = []
    #: Where a sidecar says that it could not write lines.
    dropped: list[Dropped] = []

    def lines_dropped(self, since: float | None) -> int:
        """Return how many lines a sidecar could not write, as far as that was not before ``since`` (Unix seconds)."""
        return sum(each.lines for each in self.dropped if since is None or each.at is None or each.at >= since)


def read_logs(names: Iterable[str]) -> Reading:
    """Read the files with these ``names``. Raises LogError."""
    reading = Reading()
    places: dict[LineKind, list[str]] = {LineKind.BROKEN_UNKNOWN: [], LineKind.BROKEN: []}
    for name in dict.fromkeys(names):
        shown = "stdin" if name == STDIN else printable(name, _LONGEST_NAME)
        reading.files += 1
        try:
            if name != STDIN:
                with Path(name).open("rb") as stream:
                    _read(_lines(stream, shown), shown, reading, places)
            elif sys.stdin is None:
                raise LogError("cannot read stdin: it is closed: name a file, or pipe the log in")
            else:
                _read(_lines(cast("BufferedReader", sys.stdin.buffer), shown), shown, reading, places)
        except OSError as error:
            raise LogError(f"cannot read {shown}: {reason(error)}: {mend(error) or 'check the file'}") from None
    reading.broken_at = [*places[LineKind.BROKEN_UNKNOWN], *places[LineKind.BROKEN]][:_PLACES]
    return reading


def _read(lines: Iterator[bytes], shown: str, reading: Reading, places: dict[LineKind, list[str]]) -> None:
    for number, line in enumerate(lines, 1):
        reading.lines += 1
        match read_line(line):
            case UncertainCall() as call:
                reading.ours += 1
                reading.calls.append(call)
            case Dropped() as dropped:
                reading.ours += 1
                reading.dropped.append(dropped)
            case LineKind.OURS:
                reading.ours += 1
            case LineKind.CONSOLE:
                raise LogError(
                    f"{shown}, line {number}, is a log for people (log.format = console), which has no dates: "
                    "set SIDECAR_LOG_FORMAT=json, and look these calls up by hand"
                )
            case (LineKind.BROKEN | LineKind.BROKEN_UNKNOWN) as kind:
                reading.broken += 1
                reading.broken_unknown += kind is LineKind.BROKEN_UNKNOWN
                if len(places[kind]) < _PLACES:
                    places[kind].append(f"{shown}:{number}")
            case LineKind.OTHER:
                pass


def _lines(stream: BufferedReader, shown: str) -> Iterator[bytes]:
    """Yield the lines, unpacked. One that is too long, or that a file ends within, comes as a piece that is broken."""
    start = stream.peek(8)
    for magic, command in _PACKED.items():
        if start.startswith(magic):
            raise LogError(f"{shown} is packed in a way that is not read here: {command} FILE | … reconcile --log -")
    unpacked = gzip.GzipFile(fileobj=stream) if start.startswith(_GZIP) else stream
    try:
        while line := unpacked.readline(LONGEST_LINE):
            whole = line
            while len(line) == LONGEST_LINE and not line.endswith(b"\n"):
                line = unpacked.readline(LONGEST_LINE)  # the rest is dropped
            yield whole
    except (EOFError, gzip.BadGzipFile, zlib.error):
        # What comes after this place is lost, and nobody knows what it was.
        yield b'{"outcome":"unknown"'
