"""Responses as bytes, whole or damaged on purpose.

A :class:`Plan` is what the server writes: the pieces, the pause between them, and
what becomes of the connection. :data:`DAMAGES` has one function for each action of
:attr:`~sidecar.emulator.fault_rules.Family.BYTES`.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

import msgspec

from sidecar.emulator.phrases import BODILESS, phrase

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.emulator.fault_rules import Rule
    from sidecar.emulator.messages import EmulatedResponse, Headers

_TRICKLES: Final = 10


class End(enum.Enum):
    """What happens to the connection after the last piece."""

    KEEP = enum.auto()
    CLOSE = enum.auto()
    RESET = enum.auto()


class Plan(msgspec.Struct, frozen=True):
    """What to write; ``pause`` is in seconds, before each piece but the first."""

    pieces: tuple[bytes, ...]
    end: End = End.KEEP
    pause: float = 0.0


class Form(msgspec.Struct, frozen=True):
    """A response in its parts, before framing."""

    status: int
    headers: Headers
    body: bytes
    head_only: bool
    keep_alive: bool

    def head(self, *framing: tuple[bytes, bytes], version: bytes = b"HTTP/1.1", last: bytes | None = None) -> bytes:
        """Return the head, blank line included, with the framing headers before the others."""
        lines = [b"%s %d %s" % (version, self.status, phrase(self.status).encode())]
        lines += [b"%s: %s" % field for field in framing]
        lines += [b"%s: %s" % field for field in self.headers]
        if not self.keep_alive:
            lines.append(b"Connection: close")
        if last is not None:
            lines.append(last)
        return b"\r\n".join(lines) + b"\r\n\r\n"

    @property
    def sent_body(self) -> bytes:
        """The body's bytes that follow the head: none after HEAD."""
        return b"" if self.head_only else self.body


def form(response: EmulatedResponse, date: bytes, *, head_only: bool, keep_alive: bool) -> Form:
    """Return ``response`` in parts, with ``Date`` and ``Content-Type``."""
    headers: Headers = ((b"Date", date), *response.headers)
    if response.body or response.generated is not None:
        headers = ((b"Content-Type", response.content_type), *headers)
    return Form(response.status, headers, response.body, head_only, keep_alive)


def whole(parts: Form) -> Plan:
    """Return the response as it should be."""
    framing = () if parts.status in BODILESS else (_length(len(parts.body)),)
    end = End.KEEP if parts.keep_alive else End.CLOSE
    return Plan((parts.head(*framing) + parts.sent_body,), end)


def started(parts: Form, end: End) -> Plan:
    """Return the head, half the body, and the end of the connection."""
    half = parts.sent_body[: len(parts.body) // 2]
    return Plan((parts.head(_length(len(parts.body))) + half,), end)


def chunk(data: bytes) -> bytes:
    """Return one chunk (RFC 9112 section 7.1)."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def _length(size: int) -> tuple[bytes, bytes]:
    return (b"Content-Length", b"%d" % size)


_CHUNKED: Final = (b"Transfer-Encoding", b"chunked")


def _truncate(parts: Form, rule: Rule) -> Plan:
    sent = parts.sent_body[: int(rule.number(len(parts.body) // 2))]
    return Plan((parts.head(_length(len(parts.body))) + sent,), End.CLOSE)


def _bad_chunk(parts: Form, rule: Rule) -> Plan:
    del rule
    half = len(parts.body) // 2
    return Plan((parts.head(_CHUNKED) + chunk(parts.sent_body[:half]) + b"zz\r\n" + parts.sent_body[half:],), End.CLOSE)


def _content_length(parts: Form, rule: Rule) -> Plan:
    """Be wrong by so many bytes; one that promises more than comes must end the connection."""
    difference = int(rule.number(7))
    size = max(0, len(parts.body) + difference)
    return Plan((parts.head(_length(size)) + parts.sent_body,), End.CLOSE if difference > 0 else End.KEEP)


def _two_lengths(parts: Form, rule: Rule) -> Plan:
    del rule
    size = len(parts.body)
    return Plan((parts.head(_length(size), _length(size + 1)) + parts.sent_body,))


def _both_lengths(parts: Form, rule: Rule) -> Plan:
    del rule
    head = parts.head(_length(len(parts.body)), _CHUNKED)
    return Plan((head + _in_chunks(parts.sent_body),))


def _te_gzip(parts: Form, rule: Rule) -> Plan:
    del rule
    return Plan((parts.head((b"Transfer-Encoding", b"gzip, chunked")) + _in_chunks(parts.sent_body),))


def _no_length(parts: Form, rule: Rule) -> Plan:
    del rule
    return Plan((parts.head() + parts.sent_body,), End.CLOSE)


def _chunked(parts: Form, rule: Rule) -> Plan:
    del rule
    if parts.head_only or parts.status in BODILESS:
        return whole(parts)  # what came behind its head would begin the next response
    return Plan((parts.head(_CHUNKED) + _in_chunks(parts.sent_body),))


def _trailers(parts: Form, rule: Rule) -> Plan:
    del rule
    if parts.head_only or parts.status in BODILESS:
        return whole(parts)
    body = _in_chunks(parts.sent_body, b"X-Trailer: emulated\r\n")
    return Plan((parts.head(_CHUNKED, (b"Trailer", b"X-Trailer")) + body,))


def _in_chunks(body: bytes, trailers: bytes = b"") -> bytes:
    half = len(body) // 2
    halves = b"".join(chunk(part) for part in (body[:half], body[half:]) if part)
    return halves + b"0\r\n" + trailers + b"\r\n"


def _trickle(parts: Form, rule: Rule) -> Plan:
    body = parts.sent_body
    step = max(1, -(-len(body) // _TRICKLES))
    pieces = [body[start : start + step] for start in range(0, len(body), step)]
    return Plan((parts.head(_length(len(parts.body))), *pieces), pause=rule.number(0.05))


def _interim(parts: Form, rule: Rule) -> Plan:
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </hint>; rel=preload\r\n\r\n" * int(rule.number(1))
    plan = whole(parts)
    return Plan((hints + plan.pieces[0],), plan.end)


def _garbage(parts: Form, rule: Rule) -> Plan:
    del parts, rule
    return Plan((b"220 mail.example.com ESMTP\r\n",), End.CLOSE)


def _http10(parts: Form, rule: Rule) -> Plan:
    del rule
    return Plan((parts.head(_length(len(parts.body)), version=b"HTTP/1.0") + parts.sent_body,), End.CLOSE)


def _long_header(parts: Form, rule: Rule) -> Plan:
    padding = (b"X-Padding", b"p" * int(rule.number(70_000)))
    return Plan((parts.head(_length(len(parts.body)), padding) + parts.sent_body,))


def _header(parts: Form, rule: Rule) -> Plan:
    """Add the line in ``value``, whatever it is."""
    line = str(rule.value or "X-Added: 1").encode("latin-1", "replace")
    return Plan((parts.head(_length(len(parts.body)), last=line) + parts.sent_body,))


def _surplus(parts: Form, rule: Rule) -> Plan:
    """Follow the response with another one that nobody asked for."""
    del rule
    return Plan(
        (parts.head(_length(len(parts.body))) + parts.sent_body + b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",)
    )


def _close_after(parts: Form, rule: Rule) -> Plan:
    """Promise to keep the connection, then close it."""
    del rule
    return Plan(whole(parts).pieces, End.CLOSE)


def _reset_after(parts: Form, rule: Rule) -> Plan:
    """Promise to keep the connection, then reset it once the response is out."""
    del rule
    return Plan((*whole(parts).pieces, b""), End.RESET)


def _no_rate_headers(parts: Form, rule: Rule) -> Plan:
    del rule
    headers = tuple(field for field in parts.headers if not field[0].startswith(b"X-RateLimit"))
    return whole(msgspec.structs.replace(parts, headers=headers))


DAMAGES: Final[dict[str, Callable[[Form, Rule], Plan]]] = {
    "truncate": _truncate,
    "bad-chunk": _bad_chunk,
    "content-length": _content_length,
    "two-lengths": _two_lengths,
    "both-lengths": _both_lengths,
    "te-gzip": _te_gzip,
    "no-length": _no_length,
    "chunked": _chunked,
    "trailers": _trailers,
    "trickle": _trickle,
    "interim": _interim,
    "garbage": _garbage,
    "http10": _http10,
    "long-header": _long_header,
    "header": _header,
    "surplus": _surplus,
    "close-after": _close_after,
    "reset-after": _reset_after,
    "no-rate-headers": _no_rate_headers,
}
