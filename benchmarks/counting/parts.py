"""Which part of a call's way an instruction belongs to: the rule, and the reading of callgrind's dumps."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

#: Outside of every Python frame of ours.
LOOP: Final = "event loop"
#: Sweeps and samples, which come so many times a second however many calls there are.
CLOCK: Final = "by the clock"
#: What lies before the first counted call.
START: Final = "start"

#: By module and the beginning of the qualified name; the first that fits counts. Frames that fit none (of the standard
#: library, of packages, clocks) belong to the part that called them.
PARTS: Final = (
    ("downstream/server", "ProxyServer._sweep", CLOCK),
    ("upstream/pool", "Pool._sweep", CLOCK),
    ("upstream/expiry", "", CLOCK),
    ("telemetry/history", "", CLOCK),
    ("telemetry/line_writer", "LineWriter.flush", CLOCK),
    ("reload", "", CLOCK),
    ("downstream/request_reader", "", "reading the request"),
    ("downstream/head_boundaries", "", "reading the request"),
    ("downstream/", "", "the caller's connection"),
    ("core/http/header_index", "", "header names"),
    ("core/admission/guard", "", "guard, target, framing, policy"),
    ("core/http/framing", "", "guard, target, framing, policy"),
    ("core/admission/target", "", "guard, target, framing, policy"),
    ("core/admission/caller", "", "guard, target, framing, policy"),
    ("core/admission/policy", "", "guard, target, framing, policy"),
    ("core/http/headers", "render_response_head", "writing the answer"),
    ("core/http/headers", "goes_down", "reading upstream's answer"),
    ("core/http/headers", "", "rewriting the request"),
    ("core/stored_response", "", "rewriting the request"),
    ("proxy/relay", "", "writing the answer"),
    ("proxy/body", "", "the request's body"),
    ("proxy/budget", "", "the request's body"),
    ("tokens/", "", "token"),
    ("core/tokens/", "", "token"),
    ("core/secret", "", "token"),
    ("upstream/tls_transport", "", "TLS"),
    ("upstream/", "", "pool and upstream's connection"),
    ("core/http/response_head", "", "reading upstream's answer"),
    ("telemetry/request_log", "", "log line"),
    ("telemetry/request_line", "", "log line"),
    ("telemetry/log", "", "log line"),
    ("telemetry/line_", "", "log line"),
    ("core/redact", "", "log line"),
    ("telemetry/record", "", "record, list of calls"),
    ("telemetry/request_ids", "", "record, list of calls"),
    ("telemetry/batch", "", "record, list of calls"),
    ("telemetry/recent", "", "record, list of calls"),
    ("telemetry/metrics", "", "metrics"),
    ("telemetry/exposition", "", "metrics"),
    ("telemetry/buckets", "", "metrics"),
    ("telemetry/call_counts", "", "metrics"),
    ("telemetry/rate_limits", "", "metrics"),
    ("proxy/", "", "handler, attempts, exchange"),
)

#: The C code that the instructions are in, by the beginning of its file's name.
LIBRARIES: Final = (
    ("_http_parser", "HTTP parser"),
    ("_http_writer", "HTTP parser"),
    ("loop.", "uvloop"),
    ("libcrypto", "OpenSSL"),
    ("libssl", "OpenSSL"),
    ("libc.", "C library"),
    ("libc-", "C library"),
    ("_msgspec", "msgspec"),
)
#: The interpreter and its standard library's C.
INTERPRETER: Final = "interpreter"

_TRIGGER: Final = re.compile(r"^desc: Trigger: Client Request: (.*)$", re.MULTILINE)
_NAMED: Final = re.compile(r"^(ob|cob|fn|cfn)=\((\d+)\)(?: (.*))?$")
_POSITIONS: Final = frozenset("0123456789+-*")
#: The C function of ``frames.c`` that evaluates a Python frame; callgrind numbers its recursions.
_EVALUATES: Final = re.compile(r"evaluate('\d+)?")


@dataclass
class Part:
    """What one part costs, in the calls that were counted together."""

    #: Instructions, by the library that they are in.
    by_library: Counter[str] = field(default_factory=Counter)
    #: Python frames that were begun or gone on with.
    frames: int = 0

    @property
    def instructions(self) -> int:
        return self.by_library.total()


def part_of(filename: str, name: str) -> str | None:
    """Return the part that a Python function belongs to; None: the part of its caller."""
    _, found, module = filename.rpartition("/sidecar/")
    if not found:
        return None
    for begin, function, part in PARTS:
        if module.startswith(begin) and name.startswith(function):
            return part
    return None


def library_of(path: str) -> str:
    """Return what the C code in a file is."""
    name = path.rpartition("/")[2]
    return next((library for begin, library in LIBRARIES if name.startswith(begin)), INTERPRETER)


def read(dumps: Iterable[Path]) -> dict[str, Part]:
    """Return what each part costs, over all dumps of counted calls."""
    found: defaultdict[str, Part] = defaultdict(Part)
    for dump in dumps:
        text = dump.read_text("utf-8", "replace")
        trigger = _TRIGGER.search(text)
        if trigger is not None and trigger[1] != START:  # else the end of the run, or what came before the calls
            _add(text, found[trigger[1]])
    return found


def _add(dump: str, part: Part) -> None:
    """Add a dump's own costs, those of what was called left out: each is told where it was spent."""
    names: dict[tuple[str, str], str] = {}
    library, callee, inclusive = INTERPRETER, "", False
    for line in dump.splitlines():
        named = _NAMED.match(line)
        if named is not None:
            key, number, name = named.groups()
            thing = key.removeprefix("c"), number
            if name is not None:
                names[thing] = name
            if key == "ob":
                library = library_of(names[thing])
            elif key == "cfn":
                callee = names[thing]
        elif line.startswith("calls="):
            inclusive = True
            if _EVALUATES.fullmatch(callee):
                part.frames += int(line[6:].split()[0])
        elif line[:1] in _POSITIONS:
            if not inclusive:
                part.by_library[library] += int(line.split()[1])
            inclusive = False


def corrected(parts: dict[str, Part], calls: int, truth: float) -> dict[str, float]:
    """Return the instructions a call of each part, as they are when nobody looks.

    To be seen, each Python frame is evaluated by a C function of its own, which
    costs every frame the same. ``truth`` is what a call costs without that; the
    difference is taken off in proportion to the frames. What goes by the clock is left out.
    """
    mine = {name: part for name, part in parts.items() if name != CLOCK}
    seen = sum(part.instructions for part in mine.values()) / calls
    frames = sum(part.frames for part in mine.values()) / calls
    extra = (seen - truth) / frames
    return {name: (part.instructions - part.frames * extra) / calls for name, part in mine.items()}
