"""Which trace a call belongs to (W3C Trace Context, https://www.w3.org/TR/trace-context/).

A caller names its trace and its span in ``traceparent``::

    00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
    version  trace id                    span id          flags

The call becomes a span below that one, and each attempt to send it upstream a
span below the call's. Whether all of them are recorded is decided once, by who
began the trace: the caller's flag is followed.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from sidecar.core.http.header_index import HeaderIndex, RawHeaders, index_of, select

if TYPE_CHECKING:
    from collections.abc import Callable

#: The flags that are known: the trace is recorded; its id is random (level 2 of the recommendation).
SAMPLED: Final = 0x01
RANDOM: Final = 0x02

_TRACEPARENT: Final = b"traceparent"
_CONTEXT: Final = frozenset({_TRACEPARENT, b"tracestate"})
_PARENTS: Final = select(lambda name: name.lower() == _TRACEPARENT)
#: Section 3.2.2: lower-case hex digits. What a later version adds stands behind a dash.
_SHAPE: Final = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)
_KNOWN_VERSION: Final = b"00"
_INVALID_VERSION: Final = b"ff"
#: A trace is sampled by the lower half of its id, as the OpenTelemetry SDK's TraceIdRatioBased does.
_SAMPLED_BITS: Final = 64


class TraceParent(NamedTuple):
    """A span of somebody else's, as ``traceparent`` names it."""

    trace_id: int
    span_id: int
    #: Only those that are known.
    flags: int


def parse_traceparent(value: bytes) -> TraceParent | None:
    """Read the value of ``traceparent``; None if it is not valid (sections 3.2 and 4.3), so that a new trace begins."""
    match = _SHAPE.fullmatch(value)
    if match is None:
        return None
    version, trace_id, span_id, flags, rest = match.groups()
    if version == _INVALID_VERSION or (version == _KNOWN_VERSION and rest is not None):
        return None
    parent = TraceParent(int(trace_id, 16), int(span_id, 16), int(flags, 16) & (SAMPLED | RANDOM))
    return parent if parent.trace_id and parent.span_id else None


class CallTrace(msgspec.Struct, gc=False):
    """The span of one call, and the ids of the spans of its attempts."""

    trace_id: int
    #: The caller's span; None: the trace begins here.
    parent_id: int | None
    span_id: int
    flags: int
    #: Gives as many random bits as it is asked for.
    chance: Callable[[int], int]
    #: The spans of the attempts that had a request to write, in their order.
    attempts: list[int] = []

    @property
    def sampled(self) -> bool:
        """Whether the call's spans are recorded."""
        return bool(self.flags & SAMPLED)

    @property
    def traceparent(self) -> str:
        """The call's own span, as ``traceparent`` names it."""
        return self._named(self.span_id)

    def next_attempt(self) -> str:
        """Begin the span of an attempt; return the ``traceparent`` that goes upstream with it."""
        span_id = _new_id(self.chance, 64)
        self.attempts.append(span_id)
        return self._named(span_id)

    def _named(self, span_id: int) -> str:
        return f"00-{self.trace_id:032x}-{span_id:016x}-{self.flags:02x}"


def begin_trace(
    raw: RawHeaders, header_index: HeaderIndex | None, *, share: float, chance: Callable[[int], int]
) -> CallTrace:
    """Continue the trace that a request's raw headers name, or begin one, of which ``share`` (0 to 1) are sampled.

    ``chance`` gives as many random bits as it is asked for; ``header_index`` is that of ``raw``, where known.
    """
    lines = (index_of(raw) if header_index is None else header_index)[_PARENTS]
    # Several lines are as invalid as a broken one: nobody can tell which is meant (section 3.2).
    parent = parse_traceparent(raw[lines[0][1]][1]) if len(lines) == 1 else None
    span_id = _new_id(chance, 64)
    if parent is not None:
        return CallTrace(parent.trace_id, parent.span_id, span_id, parent.flags, chance)
    trace_id = _new_id(chance, 128)
    sampled = trace_id % (1 << _SAMPLED_BITS) < round(share * (1 << _SAMPLED_BITS))
    return CallTrace(trace_id, None, span_id, SAMPLED if sampled else 0, chance)


def without_context(headers: RawHeaders, *, continued: bool) -> RawHeaders:
    """Return the lines of a request less its ``traceparent``, in whose place the attempt's goes upstream.

    ``tracestate`` belongs to it, and stays only where the caller's trace is ``continued`` (section 3.3).
    """
    dropped = {_TRACEPARENT} if continued else _CONTEXT
    return tuple([line for line in headers if line[0].lower() not in dropped])


def _new_id(chance: Callable[[int], int], bits: int) -> int:
    """Return a random id; zero means that there is none, so it is never given out."""
    return chance(bits) or 1
