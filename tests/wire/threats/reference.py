"""A reader of HTTP/1.1 requests that knows only what is beyond doubt: what it is not sure of ends the stream.

It is written from RFC 9112 alone and shares nothing with the program, so that
the two can be compared (``test_properties.py``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_TCHAR: Final = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_LINE: Final = re.compile(rb"(" + _TCHAR + rb") (/[!-~]*) HTTP/1\.1")
_FIELD: Final = re.compile(
    rb"(" + _TCHAR + rb"):[ \t]*((?:[!-~\x80-\xff](?:[ \t!-~\x80-\xff]*[!-~\x80-\xff])?)?)[ \t]*"
)
_CHUNK: Final = re.compile(rb"([0-9A-Fa-f]{1,15})(?:;[ -~]*)?\r\n")


@dataclass(frozen=True, slots=True)
class Message:
    """A request about which there can be no two opinions."""

    method: bytes
    target: bytes
    fields: tuple[tuple[bytes, bytes], ...]
    body: bytes
    #: No other request follows.
    last: bool

    def values(self, name: bytes) -> list[bytes]:
        """Return the values of a field, in order."""
        return [value for key, value in self.fields if key.lower() == name]


def read_requests(data: bytes) -> list[Message]:
    """Return the requests at the beginning of a stream up to the first that is malformed, ambiguous or not whole."""
    messages: list[Message] = []
    at = 0
    while (found := _read(data, at)) is not None:
        message, at = found
        messages.append(message)
        if message.last:
            break
    return messages


def _read(data: bytes, at: int) -> tuple[Message, int] | None:
    while data.startswith(b"\r\n", at):  # RFC 9112 section 2.2: some clients send an empty line more
        at += 2
    end = data.find(b"\r\n\r\n", at)
    if end < 0:
        return None
    first, *lines = data[at:end].split(b"\r\n")
    line = _LINE.fullmatch(first)
    fields = [_FIELD.fullmatch(each) for each in lines]
    if line is None or None in fields:
        return None
    pairs = tuple((each[1], each[2]) for each in fields if each is not None)
    lengths, codings, hosts = (
        [value for name, value in pairs if name.lower() == wanted]
        for wanted in (b"content-length", b"transfer-encoding", b"host")
    )
    if len(hosts) != 1 or len(lengths) + len(codings) > 1:
        return None
    body: tuple[bytes, int] | None = (b"", end + 4)
    if codings:
        body = _chunks(data, end + 4) if codings[0].lower() == b"chunked" else None
    elif lengths:
        body = _sized(data, end + 4, lengths[0])
    if body is None:
        return None
    options = b",".join(value for name, value in pairs if name.lower() == b"connection").lower()
    return Message(
        line[1], line[2], pairs, body[0], bool(codings) or b"close" in options or b"upgrade" in options
    ), body[1]


def _sized(data: bytes, at: int, length: bytes) -> tuple[bytes, int] | None:
    if not re.fullmatch(rb"[0-9]{1,18}", length) or len(data) < at + int(length):
        return None
    return data[at : at + int(length)], at + int(length)


def _chunks(data: bytes, at: int) -> tuple[bytes, int] | None:
    body = b""
    while match := _CHUNK.match(data, at):
        size = int(match[1], 16)
        at = match.end()
        if not size:
            return _trailers(data, at, body)
        if data[at + size : at + size + 2] != b"\r\n":
            return None
        body += data[at : at + size]
        at += size + 2
    return None


def _trailers(data: bytes, at: int, body: bytes) -> tuple[bytes, int] | None:
    while not data.startswith(b"\r\n", at):
        end = data.find(b"\r\n", at)
        if end < 0 or _FIELD.fullmatch(data, at, end) is None:
            return None
        at = end + 2
    return body, at + 2
