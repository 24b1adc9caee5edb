"""Read the head of an upstream response strictly, and what it says about the body (RFC 9112, contract section 4.4).

Everything that a lenient parser would let through is refused here: bare CR or
LF, folded lines, control bytes, bytes before the status line, any transfer
coding but exactly ``chunked``, two lengths, or no length at all.
"""

from __future__ import annotations

import re
from typing import Final, TypeVar

from sidecar.core.http.challenge import is_sca_challenge
from sidecar.core.http.field import Field
from sidecar.core.http.headers import connection_options, folded, nominated
from sidecar.core.http.messages import ResponseFraming, ResponseHead

T = TypeVar("T")

#: Longest response head (bytes), the blank line included. Mangopay sends about 1 KiB; nginx stops at 8.
MAX_HEAD: Final = 65_536

#: Contract section 4.4: this many 1xx responses are dropped, one more is an error.
MAX_INTERIM: Final = 16

#: A body length must fit a signed 64-bit integer: what is longer is a mistake or an attack.
MAX_LENGTH: Final = 2**63 - 1

_TOO_LONG: Final = f"response head longer than {MAX_HEAD} bytes"
_TOO_MANY: Final = f"more than {MAX_INTERIM} interim responses"

# Lines that differ from response to response (dates, lengths, limits) only pass through.
_LINES_KEPT: Final = 512
_LINE_LENGTH_KEPT: Final = 256
# Their values may be somebody's secret (a session, the user's own way to SCA), which is not to outlive its call.
_NOT_KEPT: Final = frozenset(
    {b"authentication-info", b"location", b"proxy-authenticate", b"set-cookie", b"www-authenticate"}
)

_END: Final = b"\r\n\r\n"
_VERSION: Final = b"HTTP/1."

# RFC 9112 section 4, and RFC 9110 sections 5.6.2 (token) and 5.5 (field-content with obs-text). Possessive
# quantifiers: a line is read once, whatever is in it.
_TEXT: Final = rb"[\t\x20-\x7e\x80-\xff]*+"
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: (" + _TEXT + rb"))?")
_FIELD_LINE: Final = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]++):[ \t]*+(" + _TEXT + rb")")
#: As many as :data:`MAX_LENGTH` has.
_MOST_DIGITS: Final = 19
_KEEP_ALIVE_TIMEOUT: Final = re.compile(rb"(?:^|[,;])[ \t]*timeout[ \t]*=[ \t]*([0-9]{1,9})", re.IGNORECASE)


class BadResponseError(Exception):
    """Upstream's response breaks HTTP. The message says how, in words of ours: it never holds upstream's bytes."""


def response_head(minor_version: int, status: int, reason: bytes, fields: list[Field]) -> ResponseHead:
    """Return the head that has these parts."""
    read_here: list[Field] = []
    lines_down: list[bytes] = []
    nominates = False
    for field in fields:
        if field.goes_down:
            lines_down.append(field.line)
        if field.key:
            read_here.append(field)
            if field.nominates:
                nominates = True
    if nominates:
        lines_down = _not_nominated(fields)
    return ResponseHead(minor_version, status, reason, fields, read_here, lines_down)


def _not_nominated(fields: list[Field]) -> list[bytes]:
    """Return the lines that go on to the caller, less those that ``Connection`` names. ``Content-Length`` stays."""
    named = set().union(*[nominated(field.value) for field in fields if field.nominates])
    named.discard(b"content-length")  # the body is framed by it
    return [field.line for field in fields if field.goes_down and folded(field.name) not in named]


# Upstream repeats most of its lines from one response to the next. What was read in them is kept, and both tables are
# emptied when they are full: lines that are new each time (dates, limits) only pass through.
_STATUS_LINES: Final[dict[bytes, tuple[int, int, bytes]]] = {}
_FIELD_LINES: Final[dict[bytes, Field]] = {}


def _read_status_line(line: bytes) -> tuple[int, int, bytes]:
    """Return minor version, status and reason."""
    match = _STATUS_LINE.fullmatch(line)
    if match is None:
        raise BadResponseError("malformed status line")
    found = int(match[1]), int(match[2]), match[3] or b""
    _remember(_STATUS_LINES, line, found)
    return found


def _read_field_line(line: bytes) -> Field:
    match = _FIELD_LINE.fullmatch(line)
    if match is None:
        raise BadResponseError("malformed header line")
    found = Field(match[1], match[2].rstrip(b" \t"))
    if found.name.lower() not in _NOT_KEPT:
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
    fields = [_FIELD_LINES.get(line) or _read_field_line(line) for line in lines]
    return response_head(minor_version, status, reason, fields)


class HeadReader:
    """Finds the final response head in the bytes that upstream sends, however they are cut up.

    Interim (1xx) responses are dropped. After a final head the reader is ready for the next response.
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
        searched = 0
        if self._held:
            searched = max(0, len(self._held) - 3)
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
    that is allowed but has no end of its own. An SCA challenge says all that it
    has to say in its head, and Mangopay sends it without a body as well: there
    the end of the connection is not waited for, and what comes before it dropped.
    """
    declared, chunked, persistent, keep_alive = _read_framing(head)
    if head_only or head.status in _NO_BODY:
        length: int | None = 0
    elif chunked:
        length = None
    elif declared is None and head.status == 401 and is_sca_challenge(head.raw_headers):
        return ResponseFraming(0, None, persistent=False, keep_alive=None, dropped=True)
    elif declared is None:
        raise BadResponseError("neither Content-Length nor chunks: the end of the body could not be told from a cut")
    else:
        length = declared
    return ResponseFraming(length, declared, persistent, keep_alive)


#: RFC 9112 section 6.3; 1xx never gets here.
_NO_BODY: Final = frozenset({204, 304})


def _read_framing(head: ResponseHead) -> tuple[int | None, bool, bool, int | None]:
    """Return the declared length, whether chunks follow, and ``persistent`` and ``keep_alive`` of ResponseFraming."""
    declared = keep_alive = None
    chunked = False
    persistent = head.minor_version > 0
    for field in head.read_here:
        key = field.key
        if key == b"content-length":
            if declared is not None:
                # Even an equal one is refused: the next reader might take the other.
                raise BadResponseError("repeated Content-Length")
            declared = _content_length(field.value)
        elif key == b"connection":
            if field.value != b"keep-alive":  # what nearly every server sends
                persistent = persistent and b"close" not in connection_options(field.value)
        elif key == b"transfer-encoding":
            chunked = _chunked(field.value, head, again=chunked)
        elif key == b"keep-alive" and keep_alive is None:
            keep_alive = _keep_alive(field.value)
    if chunked and declared is not None:
        raise BadResponseError("both Content-Length and Transfer-Encoding")
    return declared, chunked, persistent, keep_alive


def _content_length(value: bytes) -> int:
    if not value.isdigit() or len(value) > _MOST_DIGITS or (length := int(value)) > MAX_LENGTH:
        raise BadResponseError("Content-Length is not a number of bytes")
    return length


def _chunked(coding: bytes, head: ResponseHead, *, again: bool) -> bool:
    if head.minor_version == 0:
        raise BadResponseError("Transfer-Encoding in an HTTP/1.0 response")
    if again or coding.lower() != b"chunked":
        raise BadResponseError("Transfer-Encoding other than chunked")
    return True


def _keep_alive(value: bytes) -> int | None:
    match = _KEEP_ALIVE_TIMEOUT.search(value)
    return int(match[1]) if match else None
