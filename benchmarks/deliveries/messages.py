"""The bytes of requests and responses. Each tells whose it is, in its head and in its body."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from email.utils import formatdate
from typing import TYPE_CHECKING, Final

from benchmarks.deliveries.plan import Action, Ending, Framing

if TYPE_CHECKING:
    from benchmarks.deliveries.plan import Call, Reply

#: One more than the interim responses that are allowed (contract section 4.4).
TOO_MANY_INTERIM: Final = 17
_BODILESS: Final = frozenset({204, 304})
_GARBAGE: Final = b"\x15\x03\x01\x00\x02\x02 this is no HTTP \r\n\r\n" * 3
_CHUNK_LINE: Final = re.compile(rb"([0-9A-Fa-f]+)\r\n")


# --- requests --------------------------------------------------------------------------------------------------------


def request_body(number: int, size: int) -> bytes:
    """Return the body of a call: its number, over and over."""
    mark = b"[%d]" % number
    return (mark * (size // len(mark) + 1))[:size]


def request(call: Call) -> tuple[bytes, bytes]:
    """Return the head and the framed body of a call as its caller sends them."""
    version = b"1.0" if call.http10 else b"1.1"
    lines = [
        b"%b %b?number=%d HTTP/%b" % (call.method.encode(), call.path.encode(), call.number, version),
        b"Host: localhost",
        b"X-Request-Id: " + call.identifier.encode(),
        b"X-Number: %d" % call.number,
    ]
    if call.key is not None:
        lines.append(b"Idempotency-Key: " + call.key.encode())
    if call.expects:
        lines.append(b"Expect: 100-continue")
    if call.close:
        lines.append(b"Connection: close")
    body = b""
    if call.size is not None:
        body = request_body(call.number, call.size)
        if call.chunked:
            lines.append(b"Transfer-Encoding: chunked")
            body = chunks(body, 700)
        else:
            lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join([*lines, b"", b""]), body


def chunks(body: bytes, size: int, trailer: bytes = b"") -> bytes:
    """Return a body in chunks of odd sizes, their last one included."""
    pieces: list[bytes] = []
    at = 0
    while at < len(body):
        piece = body[at : at + 1 + (at * 7 + size) % size]
        pieces.append(b"%x\r\n%b\r\n" % (len(piece), piece))
        at += len(piece)
    return b"".join(pieces) + b"0\r\n" + trailer + b"\r\n"


# --- responses -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rendered:
    """A response as upstream means to send it."""

    data: bytes
    #: Bytes of ``data`` after which it is complete; None if it never is, since it breaks HTTP.
    complete_at: int | None
    #: What its body says, without chunks.
    body: bytes
    #: Whether it breaks HTTP is a matter of taste: it may be passed on or refused.
    ambiguous: bool = False


def response(call: Call, delivery: int, reply: Reply) -> Rendered:
    """Return the response to a delivery of a call."""
    if reply.action is Action.GARBAGE:
        return Rendered(_GARBAGE, None, b"")
    body = response_body(call.number, delivery, reply)
    bodiless = call.method == "HEAD" or reply.status in _BODILESS
    lines = [
        b"HTTP/1.1 %d Whatever" % reply.status,
        b"Content-Type: application/json",
        b"X-Number: %d" % call.number,
        b"X-Delivery: %d" % delivery,
        b"Date: " + formatdate(usegmt=True).encode(),
    ]
    if reply.action is Action.SCA_401:
        lines.append(b'WWW-Authenticate: PendingUserAction RedirectUrl="https://sca.example/x"')
    elif reply.action is Action.TOKEN_401:
        lines.append(b'WWW-Authenticate: Bearer error="invalid_token"')
    if reply.ending is Ending.SAY_CLOSE:
        lines.append(b"Connection: close")
    if reply.status not in _BODILESS:
        lines += _framing_lines(reply.framing, len(body))
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * reply.interim
    head = interim + b"\r\n".join([*lines, b"", b""])
    if bodiless:
        odd = reply.status not in _BODILESS and reply.framing not in {Framing.LENGTH, Framing.CHUNKED, Framing.TRAILER}
        valid = reply.interim < TOO_MANY_INTERIM
        return Rendered(head, len(head) if valid else None, b"", ambiguous=odd)
    return _with_body(head, body, reply)


def _framing_lines(framing: Framing, size: int) -> list[bytes]:
    length = b"Content-Length: %d"
    if framing is Framing.NONE:
        return []
    if framing is Framing.TWO:
        return [length % size, length % (size + 1)]
    if framing is Framing.BOTH:
        return [b"Transfer-Encoding: chunked", length % size]
    if framing in {Framing.CHUNKED, Framing.TRAILER, Framing.BAD_CHUNK}:
        return [b"Transfer-Encoding: chunked"]
    return [length % (size + 10 if framing is Framing.SHORT else size)]


def _with_body(head: bytes, body: bytes, reply: Reply) -> Rendered:
    framing = reply.framing
    complete = framing in {Framing.LENGTH, Framing.CHUNKED, Framing.TRAILER, Framing.LONG}
    if framing in {Framing.CHUNKED, Framing.BOTH}:
        framed = chunks(body, 300)
    elif framing is Framing.TRAILER:
        framed = chunks(body, 300, b"X-Trailer: x\r\n")
    elif framing is Framing.BAD_CHUNK:
        framed = b"%x\r\n%b\r\nzz\r\n" % (len(body), body)
    else:
        framed = body
    data = head + framed + (b"surplus" if framing is Framing.LONG else b"")
    valid = complete and reply.interim < TOO_MANY_INTERIM
    # A challenge of the user's own passes as it is, however its response ends.
    ambiguous = reply.action is Action.SCA_401 and framing is Framing.NONE
    return Rendered(data, len(head + framed) if valid else None, body, ambiguous)


def response_body(number: int, delivery: int, reply: Reply) -> bytes:
    """Return the JSON that says which delivery of which call it answers."""
    kind = "idempotent_creation_conflict" if reply.status == 409 else "whatever"
    document = {"Number": number, "Delivery": delivery, "Type": kind, "Padding": "x" * reply.padding}
    return json.dumps(document).encode()


#: What upstream sends though nobody asked, in one piece with the end of a response; number 0 is nobody's. HTTP/1.1 has
#: no names for responses: one that comes once the next request was written cannot be told from that request's own.
SURPLUS: Final = b"HTTP/1.1 200 OK\r\nX-Number: 0\r\nX-Delivery: 1\r\nContent-Length: 2\r\n\r\n{}"
#: Bytes of a response with which it fits into one TLS record.
ONE_RECORD: Final = 12 * 1024
#: What is sent instead where the two might not arrive together.
NOISE: Final = b"\x00surplus"


@dataclass(frozen=True, slots=True)
class Received:
    """A response, or the beginning of one, as a caller got it."""

    status: int
    #: Names in lower case.
    headers: dict[str, str]
    body: bytes
    #: It ended as its framing says.
    complete: bool
    #: Bytes that it took.
    size: int


def read_response(held: bytes, *, head_only: bool, ended: bool) -> Received | None:
    """Read the first response in ``held``; None while its head is not there. ``ended``: no more comes, and no reset."""
    end = held.find(b"\r\n\r\n") + 4
    if end < 4:
        return None
    start, *lines = held[: end - 4].decode("latin-1").split("\r\n")
    status = int(start.split(" ")[1])
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    rest = held[end:]
    if head_only or status < 200 or status in _BODILESS:
        return Received(status, headers, b"", True, end)
    if headers.get("transfer-encoding") == "chunked":
        body, size = _read_chunks(rest)
        return Received(status, headers, body, size is not None, end + (len(rest) if size is None else size))
    if "content-length" in headers:
        length = int(headers["content-length"])
        return Received(status, headers, rest[:length], len(rest) >= length, end + min(length, len(rest)))
    return Received(status, headers, rest, ended, len(held))


def _read_chunks(data: bytes) -> tuple[bytes, int | None]:
    """Return the bytes of all chunks that have come, and where the last chunk ends if it is there."""
    body: list[bytes] = []
    at = 0
    while match := _CHUNK_LINE.match(data, at):
        size, start = int(match[1], 16), match.end()
        if size == 0:
            end = data.find(b"\r\n\r\n", start - 2)  # behind the trailer, if there is one
            return b"".join(body), None if end < 0 else end + 4
        body.append(data[start : start + size])
        at = start + size + 2
        if len(data) < at:
            break
    return b"".join(body), None
