"""What bytes that are no HTTP/1.1 request are instead, as far as they tell (RFC 9112, contract section 4.2).

Mostly they are another protocol, spoken by a client or a load balancer that is
set up for another port. Whoever sent them should be told which, and what to change.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final


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
    OTHER = "not HTTP", "This is not a well-formed HTTP/1.1 request: check what sends it."

    def __init__(self, detail: str, message: str) -> None:
        self.detail = detail
        self.message = message


#: How other protocols begin: a TLS record (RFC 8446 section 5.1), HTTP/2's preface (RFC 9113 section 3.4), the headers
#: of the PROXY protocol's two versions, SOCKS 5 (RFC 1928) and 4.
_BEGINNINGS: Final = (
    (b"\x16\x03", Malformed.TLS),
    (b"PRI * HTTP/2.0", Malformed.HTTP2),
    (b"PROXY ", Malformed.PROXY_PROTOCOL),
    (b"\r\n\r\n\x00\r\nQUIT\n", Malformed.PROXY_PROTOCOL),
    (b"\x05", Malformed.SOCKS),
    (b"\x04\x01", Malformed.SOCKS),
)
#: What the second version of the PROXY protocol is once empty lines before a request were passed over.
_PROXY_2: Final = b"\x00\r\nQUIT\n"

_HEAD_END: Final = re.compile(rb"\r?\n\r?\n")
_BARE_LF: Final = re.compile(rb"(?<!\r)\n")
_BARE_CR: Final = re.compile(rb"\r(?!\n|\Z)")
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_METHOD_LINE: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+ ")
_VERSION: Final = re.compile(rb" HTTP/1\.[01]\Z")
_FIELD: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:")


def why_malformed(data: bytes) -> Malformed:
    """Say what is wrong with the head that begins ``data``; OTHER if it does not tell."""
    for beginning, what in _BEGINNINGS:
        if data.startswith(beginning):
            return what
    if data.startswith(_PROXY_2):
        return Malformed.PROXY_PROTOCOL
    end = _HEAD_END.search(data)
    head = data if end is None else data[: end.end()]
    if not _METHOD_LINE.match(head):
        return Malformed.OTHER
    if _BARE_LF.search(head):
        return Malformed.BARE_LF
    if _BARE_CR.search(head):
        return Malformed.BARE_CR
    line, *fields = head.rstrip(b"\r\n").split(b"\r\n")
    return _of_request_line(line) or _of_fields(fields) or Malformed.OTHER


def _of_request_line(line: bytes) -> Malformed | None:
    if not line.isascii():
        return Malformed.NOT_ASCII
    if _CONTROL.search(line):
        return Malformed.CONTROL
    if not _VERSION.search(line):
        return Malformed.VERSION
    return Malformed.SPACE if line.count(b" ") > 2 else None


def _of_fields(fields: list[bytes]) -> Malformed | None:
    for field in fields:
        if _CONTROL.search(field):
            return Malformed.CONTROL
        if not _FIELD.match(field):
            return Malformed.FIELD
    return None
