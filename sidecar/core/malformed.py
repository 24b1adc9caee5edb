"""What bytes that are no HTTP/1.1 request are instead, as far as they tell (RFC 9112, contract section 4.2).

Mostly they are another protocol, spoken by a client or a load balancer that is
set up for another port. Whoever sent them should be told which, and what to change.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final

from sidecar.core.errors import ErrorCode, SidecarError


class Malformed(Enum):
    """What is wrong: a word for the log, and what the caller is told."""

    TLS = "TLS", "This port speaks plain HTTP, not HTTPS: use an http:// base URL."
    HTTP2 = (
        "HTTP/2",
        "This port speaks HTTP/1.1, not HTTP/2: have the client use HTTP/1.1 (no h2c, no prior knowledge).",
    )
    PROXY_PROTOCOL = (
        "PROXY protocol",
        (
            "A PROXY protocol header came before the request: turn that off in the load balancer (send-proxy, "
            "proxy_protocol), and best have none in front of this port."
        ),
    )
    SOCKS = (
        "SOCKS",
        "This port is no SOCKS proxy: give its address to the SDK as its base URL, http://HOST:PORT.",
    )
    BARE_LF = "bare LF", "A line ends with LF alone: end every line of the head with CR LF."
    BARE_CR = "bare CR", "The head holds a CR without LF: end every line with CR LF, and leave others out."
    NOT_ASCII = (
        "a character beyond ASCII in the target",
        "The request line holds a character beyond ASCII as it is: percent-encode it as UTF-8, é as %C3%A9.",
    )
    SPACE = "a space in the target", "The request line has a space too many: percent-encode one in the path as %20."
    VERSION = "another HTTP version", "The request line does not end with HTTP/1.1 or HTTP/1.0: send one of these."
    CONTROL = (
        "a control character",
        "The head holds a control character: leave it out, or encode it as the header's syntax allows.",
    )
    FIELD = (
        "a header line",
        "A header is no NAME: VALUE, or its name has a space or another character that none may have.",
    )
    METHOD = (
        "a method",
        "The request's method is none that HTTP has: they are written in capitals, as GET and POST are.",
    )
    TARGET = "no path", "What stands behind the method is no path: begin it with a slash."
    HOST = "not one Host header", "A request needs exactly one Host header"
    LENGTH = "Content-Length", "A request's Content-Length must be one decimal number of bytes, sent once"
    CODING = "Transfer-Encoding", "The only Transfer-Encoding served here is 'chunked', once"
    CODING_OF_1_0 = (
        "Transfer-Encoding on HTTP/1.0",
        "HTTP/1.0 has no Transfer-Encoding: send a Content-Length, or speak HTTP/1.1",
    )
    BOTH_LENGTHS = (
        "Content-Length and Transfer-Encoding",
        "A request cannot have both Content-Length and Transfer-Encoding: send one of them",
    )
    REPEATED = (
        "a header that stands twice",
        "A header stands twice of which there can be one, such as Content-Type or User-Agent: send it once.",
    )
    CHUNKS = (
        "chunks",
        "The body's chunks are malformed: each is its size in hexadecimal, CR LF, so many bytes, CR LF; 0 ends them.",
    )
    BYTE_ORDER_MARK = "a byte order mark", "A byte order mark came before the request: leave it out."
    NOT_HTTP = (
        "not HTTP",
        "This does not begin as an HTTP request does (METHOD /PATH HTTP/1.1): check which protocol its sender speaks.",
    )
    OTHER = "unknown", "This is not a well-formed HTTP/1.1 request: check what sends it."

    def __init__(self, detail: str, message: str) -> None:
        self.detail = detail
        self.message = message

    def error(self) -> SidecarError:
        """Return the error that says so, and closes the connection."""
        return SidecarError(ErrorCode.BAD_REQUEST, self.message, detail=f"malformed: {self.detail}", close=True)


#: How other protocols begin: a TLS record (RFC 8446 section 5.1), HTTP/2's preface (RFC 9113 section 3.4), the headers
#: of the PROXY protocol's two versions, SOCKS 5 (RFC 1928) and 4.
_BEGINNINGS: Final = (
    (b"\x16\x03", Malformed.TLS),
    (b"PRI * HTTP/2.0", Malformed.HTTP2),
    (b"PROXY ", Malformed.PROXY_PROTOCOL),
    (b"\r\n\r\n\x00\r\nQUIT\n", Malformed.PROXY_PROTOCOL),
    (b"\x05", Malformed.SOCKS),
    (b"\x04\x01", Malformed.SOCKS),
    (b"\xef\xbb\xbf", Malformed.BYTE_ORDER_MARK),
)
#: What the second version of the PROXY protocol is once empty lines before a request were passed over.
_PROXY_2: Final = b"\x00\r\nQUIT\n"

_HEAD_END: Final = re.compile(rb"\r?\n\r?\n")
_BARE_LF: Final = re.compile(rb"(?<!\r)\n")
_BARE_CR: Final = re.compile(rb"\r(?!\n|\Z)")
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_CONTROL_IN_LINE: Final = re.compile(rb"[\x00-\x1f\x7f]")
_METHOD_LINE: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+ ")
_VERSION: Final = re.compile(rb" HTTP/1\.[01]\Z")
_FIELD: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:")
#: What a target can begin with: a path, a whole URL, or the star for the server as a whole (RFC 9112 section 3.2).
_TARGETS: Final = (b"/", b"http://", b"https://", b"*")
#: Those that the parser can be expected to know (IANA's registry, without WebDAV's).
_METHODS: Final = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"TRACE", b"CONNECT"})
#: Fields that the parser takes once only, besides those that delimit the message.
_ALONE: Final = (
    b"content-type",
    b"user-agent",
    b"content-location",
    b"content-range",
    b"etag",
    b"max-forwards",
    b"server",
)


def why_malformed(data: bytes) -> Malformed:
    """Say what is wrong with the head that begins ``data``, or with the chunks behind it; OTHER if it does not tell."""
    for beginning, what in _BEGINNINGS:
        if data.startswith(beginning):
            return what
    if data.startswith(_PROXY_2):
        return Malformed.PROXY_PROTOCOL
    end = _HEAD_END.search(data)
    head = data if end is None else data[: end.end()]
    if not _METHOD_LINE.match(head):
        return Malformed.NOT_HTTP
    if _BARE_LF.search(head):
        return Malformed.BARE_LF
    if _BARE_CR.search(head):
        return Malformed.BARE_CR
    line, *fields = head.rstrip(b"\r\n").split(b"\r\n")
    return _of_request_line(line) or _of_fields(fields) or _of_all_fields(fields) or Malformed.OTHER


def _of_request_line(line: bytes) -> Malformed | None:
    if not line.isascii():
        return Malformed.NOT_ASCII
    if _CONTROL_IN_LINE.search(line):
        return Malformed.CONTROL
    if not _VERSION.search(line):
        return Malformed.VERSION
    if line.count(b" ") > 2:
        return Malformed.SPACE
    method, _, target = line.partition(b" ")
    if not target.startswith(_TARGETS):
        return Malformed.TARGET
    return None if method in _METHODS else Malformed.METHOD


def _of_fields(fields: list[bytes]) -> Malformed | None:
    for field in fields:
        if _CONTROL.search(field):
            return Malformed.CONTROL
        if not _FIELD.match(field):
            return Malformed.FIELD
    return None


def _of_all_fields(fields: list[bytes]) -> Malformed | None:
    """Say what is wrong with fields each of which is well-formed."""
    values: dict[bytes, list[bytes]] = {}
    for field in fields:
        name, _, value = field.partition(b":")
        values.setdefault(name.lower(), []).append(value.strip(b" \t"))
    lengths, codings = values.get(b"content-length", []), values.get(b"transfer-encoding", [])
    if len(values.get(b"host", ())) != 1:
        return Malformed.HOST
    if lengths and codings:
        return Malformed.BOTH_LENGTHS
    if len(lengths) > 1 or not all(map(bytes.isdigit, lengths)):
        return Malformed.LENGTH
    if codings and [coding.lower() for coding in codings] != [b"chunked"]:
        return Malformed.CODING
    if any(len(values.get(name, ())) > 1 for name in _ALONE):
        return Malformed.REPEATED
    return Malformed.CHUNKS if codings else None
