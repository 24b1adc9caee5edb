"""Responses as the exact bytes that go out: no header is added, renamed or dropped on the way.

aiohttp's own ``web.Response`` adds ``Server``, ``Date`` and ``Content-Type``
and drops the ``Content-Length`` of a 304; a proxy must do none of that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from sidecar.core.http.chunks import LAST_CHUNK, chunk

if TYPE_CHECKING:
    from sidecar.downstream.response_writer import ResponseWriter

#: Bytes. A body up to this is copied behind its head, so that both leave in one write and one packet.
_JOINED: Final = 64 * 1024
_JSON_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nCache-Control: no-store\r\nContent-Length: %d\r\n%s\r\n"
)


class CallerResponse(Protocol):
    """What a handler returns."""

    @property
    def keep_alive(self) -> bool:
        """Whether the response promised that the connection stays open."""

    def write_to(self, writer: ResponseWriter) -> None:
        """Write the response. Raises CallerGoneError if nobody is there any more."""


class RawResponse:
    """A response that is whole: the head as bytes, blank line included, and the body."""

    __slots__ = ("body", "head", "keep_alive")

    def __init__(self, head: bytes, body: bytes, keep_alive: bool) -> None:
        self.head: Final = head
        self.body: Final = body
        self.keep_alive: Final = keep_alive

    def __repr__(self) -> str:
        """Say how large it is: a caller's token may be in it."""
        return f"<RawResponse {len(self.head)}+{len(self.body)} bytes>"

    def write_to(self, writer: ResponseWriter) -> None:
        """Write head and body, in one write unless the body is large."""
        body = self.body
        if len(body) <= _JOINED:
            writer.write(self.head + body)
        else:
            writer.write(self.head)
            writer.write(body)


def json_response(body: bytes, *, keep_alive: bool, head_only: bool = False) -> RawResponse:
    """Return a 200 of the sidecar's own with the JSON ``body``, which nobody may keep; ``head_only``: to a HEAD."""
    connection = b"" if keep_alive else b"Connection: close\r\n"
    return RawResponse(_JSON_HEAD % (len(body), connection), b"" if head_only else body, keep_alive)


class AlreadySent:
    """Says that the handler has written its response by itself, through a :class:`ResponseStream`."""

    __slots__ = ("keep_alive",)

    def __init__(self, keep_alive: bool) -> None:
        self.keep_alive: Final = keep_alive

    def write_to(self, writer: ResponseWriter) -> None:
        """Do nothing: it is written."""


class ResponseStream:
    """Writes a response whose body comes in pieces, at the caller's pace.

    A response that was started and not finished is cut when the handler
    returns, so that the caller cannot take a part for the whole.
    """

    __slots__ = ("_chunked", "_writer")

    def __init__(self, writer: ResponseWriter, *, chunked: bool) -> None:
        """``chunked`` frames the pieces; the head must say so by itself."""
        self._writer: Final = writer
        self._chunked: Final = chunked

    def start(self, head: bytes, first: bytes = b"") -> None:
        """Write the head, and the first piece of the body with it. Raises CallerGoneError."""
        writer = self._writer
        writer.write(head + self._framed(first) if first else head)
        writer.unfinished = True

    async def write(self, piece: bytes) -> None:
        """Write a piece, and wait while the caller reads more slowly than upstream sends.

        Raises CallerGoneError if the caller left, or took nothing for
        ``listen.body_timeout``: then it has been cut off.
        """
        if not piece:
            return  # an empty chunk would end the body
        writer = self._writer
        writer.write(self._framed(piece))
        if writer.paused:
            await writer.drain()

    def finish(self) -> None:
        """Write the end of the body. Raises CallerGoneError."""
        if self._chunked:
            self._writer.write(LAST_CHUNK)
        self._writer.unfinished = False

    def _framed(self, piece: bytes) -> bytes:
        return chunk(piece) if self._chunked else piece
