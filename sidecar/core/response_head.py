"""Read the head of an upstream response strictly, and what it says about the body (RFC 9112, contract section 4.4).

Everything that a lenient parser would let through is refused here: bare CR or
LF, folded lines, control bytes, bytes before the status line, any transfer
coding but exactly ``chunked``, two lengths, or no length at all.
"""

from __future__ import annotations

import re
from typing import Final, TypeVar

import msgspec

from sidecar.core.headers import connection_options
from sidecar.core.layout import Layout, Lines, RawHeader, RawHeaders, layout_of, marked_by

T = TypeVar("T")

#: Longest response head (bytes), the blank line included. Mangopay sends about 1 KiB; nginx stops at 8.
MAX_HEAD: Final = 65_536

#: Contract section 4.4: this many 1xx answers are dropped, one more is an error.
MAX_INTERIM: Final = 16

#: A body length must fit a signed 64-bit integer: what is longer is a mistake or an attack.
MAX_LENGTH: Final = 2**63 - 1

_TOO_LONG: Final = f"response head longer than {MAX_HEAD} bytes"
_TOO_MANY: Final = f"more than {MAX_INTERIM} interim responses"

# Lines that differ from answer to answer (dates, lengths, limits) only pass through.
_LINES_KEPT: Final = 512
_LINE_LENGTH_KEPT: Final = 256

_END: Final = b"\r\n\r\n"
_VERSION: Final = b"HTTP/1."

# RFC 9112 section 4, and RFC 9110 sections 5.6.2 (token) and 5.5 (field-content with obs-text). Possessive
# quantifiers: a line is read once, whatever is in it.
_TEXT: Final = rb"[\t\x20-\x7e\x80-\xff]*+"
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: (" + _TEXT + rb"))?")
_FIELD_LINE: Final = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]++):[ \t]*+(" + _TEXT + rb")")
_DIGITS: Final = re.compile(rb"[0-9]{1,19}")
_KEEP_ALIVE_TIMEOUT: Final = re.compile(rb"(?:^|[,;])[ \t]*timeout[ \t]*=[ \t]*([0-9]{1,9})", re.IGNORECASE)


class BadResponseError(Exception):
    """Upstream's answer breaks HTTP. The message says how, in words of ours: it never holds upstream's bytes."""


class ResponseHead(msgspec.Struct, frozen=True, gc=False):
    """A status line and its fields, bytes as upstream sent them.

    Surrounding blanks are no part of a field's value (RFC 9110 section 5.5).
    """

    minor_version: int
    status: int
    reason: bytes
    raw_headers: RawHeaders
    #: The same fields as they are written on the way down.
    lines: Lines
    layout: Layout


class ResponseFraming(msgspec.Struct, frozen=True, gc=False):
    """What a head says about the bytes after it, and about the connection.

    length       bytes of body that follow; None: chunked
    declared     the value of Content-Length, also where no body follows (HEAD, 304)
    persistent   the connection may carry another request afterwards
    keep_alive   seconds for which upstream means to keep it when idle, if it says so
    """

    length: int | None
    declared: int | None
    persistent: bool
    keep_alive: int | None


# Upstream repeats most of its lines from one answer to the next. What was read in them is kept, and both tables are
# emptied when they are full: lines that are new each time (dates, limits) only pass through.
_STATUS_LINES: Final[dict[bytes, tuple[int, int, bytes]]] = {}
_FIELD_LINES: Final[dict[bytes, tuple[RawHeader, bytes]]] = {}


def _read_status_line(line: bytes) -> tuple[int, int, bytes]:
    """Return minor version, status and reason."""
    match = _STATUS_LINE.fullmatch(line)
    if match is None:
        raise BadResponseError("malformed status line")
    found = int(match[1]), int(match[2]), match[3] or b""
    _remember(_STATUS_LINES, line, found)
    return found


def _read_field_line(line: bytes) -> tuple[RawHeader, bytes]:
    """Return name and value, and the line as it is written anew."""
    match = _FIELD_LINE.fullmatch(line)
    if match is None:
        raise BadResponseError("malformed header line")
    name, value = match[1], match[2].rstrip(b" \t")
    found = (name, value), name + b": " + value
    _remember(_FIELD_LINES, line, found)
    return found


def _remember(table: dict[bytes, T], line: bytes, found: T) -> None:
    if len(line) <= _LINE_LENGTH_KEPT:
        if len(table) >= _LINES_KEPT:
            table.clear()
        table[line] = found


def parse_head(head: bytes) -> ResponseHead:
    """Read one whole head, its blank line included; raise BadResponseError if a byte of it is out of place.

    A line ends with CRLF and nothing else, so a CR or LF by itself is a part of its line, where none may be.
    """
    first, *lines = head.split(b"\r\n")
    del lines[-2:]
    minor_version, status, reason = _STATUS_LINES.get(first) or _read_status_line(first)
    try:
        fields = [_FIELD_LINES[line] for line in lines]
    except KeyError:
        fields = [_FIELD_LINES.get(line) or _read_field_line(line) for line in lines]
    raw = tuple([field for field, _ in fields])
    return ResponseHead(minor_version, status, reason, raw, tuple([line for _, line in fields]), layout_of(raw))


class HeadReader:
    """Finds the final response head in the bytes that upstream sends, however they are cut up.

    Interim (1xx) answers are dropped. After a final head the reader is ready for the next response.
    """

    __slots__ = ("_held", "_interim")

    def __init__(self) -> None:
        self._held = b""
        self._interim = 0

    def feed(self, data: bytes) -> tuple[ResponseHead, bytes] | None:
        """Take the next bytes; return the head and what follows it, or None while it is incomplete.

        Raises BadResponseError, at the first byte that cannot belong to a head or
        when one of the limits is passed.
        """
        searched = max(0, len(self._held) - 3)
        if self._held:
            data = self._held + data
        while True:
            if not data.startswith(_VERSION) and not _VERSION.startswith(data):
                raise BadResponseError("the answer does not begin with an HTTP/1 status line")
            end = data.find(_END, searched) + len(_END)
            if end < len(_END):
                if len(data) >= MAX_HEAD:
                    raise BadResponseError(_TOO_LONG)
                if b"\n" in data.replace(b"\r\n", b""):
                    raise BadResponseError("a bare LF in the head")
                self._held = data
                return None
            if end > MAX_HEAD:
                raise BadResponseError(_TOO_LONG)
            head = parse_head(data[:end])
            data = data[end:]
            if head.status >= 200:
                self._held = b""
                self._interim = 0
                return head, data
            self._count_interim(head.status)
            searched = 0

    def _count_interim(self, status: int) -> None:
        if status == 101:
            raise BadResponseError("101 Switching Protocols, which was not asked for")
        self._interim += 1
        if self._interim > MAX_INTERIM:
            raise BadResponseError(_TOO_MANY)


def check_body_framing(head: ResponseHead, *, head_only: bool) -> ResponseFraming:
    """Say where the body ends and whether the connection lives on (RFC 9112 sections 6.3 and 9.3).

    ``head_only`` is true for a response to HEAD. Raises BadResponseError for a
    transfer coding other than exactly ``chunked``, one in HTTP/1.0, both
    lengths, a Content-Length that is repeated or no number, and for a body
    that is allowed but has no end of its own.
    """
    raw = head.raw_headers
    found: dict[bytes, list[bytes]] = {}
    for field, index in head.layout[_FIELDS]:
        found.setdefault(field, []).append(raw[index][1])
    declared = _content_length(found[b"content-length"]) if b"content-length" in found else None
    chunked = b"transfer-encoding" in found and _chunked(found, head)
    if head_only or head.status in _NO_BODY:
        length: int | None = 0
    elif chunked:
        length = None
    elif declared is None:
        raise BadResponseError("neither Content-Length nor chunks: the end of the body could not be told from a cut")
    else:
        length = declared
    persistent = head.minor_version > 0 and (b"connection" not in found or _persistent(found[b"connection"]))
    return ResponseFraming(
        length, declared, persistent, _keep_alive(found[b"keep-alive"]) if b"keep-alive" in found else None
    )


#: RFC 9112 section 6.3; 1xx never gets here.
_NO_BODY: Final = frozenset({204, 304})

_FRAMING_FIELDS: Final = frozenset({b"content-length", b"transfer-encoding", b"connection", b"keep-alive"})


def _rule(name: bytes) -> bytes:
    field = name.lower()
    return field if field in _FRAMING_FIELDS else b""


_FIELDS: Final = marked_by(_rule)


def _content_length(values: list[bytes]) -> int:
    """Read the only Content-Length; even an equal repeat is refused, for the next reader might take another one."""
    if len(values) > 1:
        raise BadResponseError("repeated Content-Length")
    if _DIGITS.fullmatch(values[0]) is None or (length := int(values[0])) > MAX_LENGTH:
        raise BadResponseError("Content-Length is not a number of bytes")
    return length


def _chunked(found: dict[bytes, list[bytes]], head: ResponseHead) -> bool:
    codings = found[b"transfer-encoding"]
    if head.minor_version == 0:
        raise BadResponseError("Transfer-Encoding in an HTTP/1.0 response")
    if len(codings) > 1 or codings[0].lower() != b"chunked":
        raise BadResponseError("Transfer-Encoding other than chunked")
    if b"content-length" in found:
        raise BadResponseError("both Content-Length and Transfer-Encoding")
    return True


def _persistent(lines: list[bytes]) -> bool:
    if lines == [b"keep-alive"]:  # what nearly every server sends
        return True
    return not any(b"close" in connection_options(line) for line in lines)


def _keep_alive(lines: list[bytes]) -> int | None:
    match = _KEEP_ALIVE_TIMEOUT.search(b",".join(lines))
    return int(match[1]) if match else None
