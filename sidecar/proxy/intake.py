"""Bytes from a caller become requests here, or are refused: aiohttp's parser, and what it leaves open.

What is done beyond aiohttp, and why (each was seen in 3.14.5, and
``tests/wire/test_aiohttp_contract_server.py`` shows it):

* A trailer becomes the first header of the next request, and bytes behind an
  upgrade are lost or misread. So a connection is *sealed* by a request that is
  chunked, upgrades or closes: what comes behind it is never read.
* After a bad chunk the reader of the body waits for ever. Here it gets the error.
* Once the parser has failed, every further piece is kept as one more error.
  Here such bytes are thrown away, and reading stops when there are many.
* A pipelined request is read while another one runs: one segment of them is all that is held here.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

import msgspec
from aiohttp import hdrs
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.streams import EMPTY_PAYLOAD
from aiohttp.web_protocol import RequestHandler

from sidecar.core.errors import SidecarError
from sidecar.proxy.heads import Heads
from sidecar.proxy.refusals import malformed, unparsable

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence

    from aiohttp.http import HttpVersion, RawRequestMessage
    from aiohttp.streams import StreamReader
    from aiohttp.web_server import Server

    from sidecar.core.layout import RawHeaders
    from sidecar.proxy.connection import ProxyConnection

#: Bytes of a body that may wait to be read before the connection is paused; aiohttp holds up to twice as many.
_READ_BUFFER: Final = 64 * 1024
#: Bytes of chunk sizes, extensions and trailers that any body may have, and how many more for each byte of content.
_CHUNK_OVERHEAD: Final = 16 * 1024
_CHUNK_RATIO: Final = 8
#: Bytes that are thrown away behind the last request of a connection before reading stops.
_IGNORED: Final = 64 * 1024


class CallerRequest(msgspec.Struct, frozen=True):
    """A request as the handler gets it; the names are those of aiohttp's ``BaseRequest``."""

    method: str
    #: The request target as it was sent, query included.
    raw_path: str
    version: HttpVersion
    raw_headers: RawHeaders
    #: The body; :mod:`sidecar.proxy.body` reads it.
    content: StreamReader
    #: The connection that it came on.
    connection: ProxyConnection

    def __repr__(self) -> str:
        """Say which method it has: its target and headers may hold secrets, the caller key among them."""
        return f"<CallerRequest {self.method}>"


class Intake(RequestHandler):
    """The reading half of a connection. :class:`~sidecar.proxy.connection.ProxyConnection` is the other one."""

    __slots__ = (
        "_broken",
        "_content",
        "_failure",
        "_heads",
        "_ignored",
        "_requests",
        "_sealed",
        "_wire_body",
        "request",
    )

    def __init__(self, manager: Server, loop: asyncio.AbstractEventLoop) -> None:
        options: dict[str, Any] = {"access_log": None, "auto_decompress": False, "read_bufsize": _READ_BUFFER}
        super().__init__(manager, loop=loop, keepalive_timeout=0, **options)
        #: The request that is being answered.
        self.request: CallerRequest | None = None
        # Requests whose turn has not come, with their bodies.
        self._requests: Final[deque[tuple[RawRequestMessage, StreamReader]]] = deque()
        self._heads: Final = Heads()
        # The body of the last request that was read.
        self._content: StreamReader = EMPTY_PAYLOAD
        # No request is read after the last one.
        self._sealed = False
        # The parser must not be fed any more.
        self._broken = False
        # Why, if nobody has been told yet.
        self._failure: SidecarError | None = None
        # Bytes of the last request's body as they were sent.
        self._wire_body = 0
        self._ignored = 0

    # --- what the other half does about it ---------------------------------------------------------------------------

    def _request_came(self) -> None:
        """A request is in the queue."""
        raise NotImplementedError

    def _head_came(self) -> None:
        """A part of a head is there, and nothing else to do."""
        raise NotImplementedError

    def _refuse(self, error: SidecarError) -> None:
        """Answer bytes that are no request, at once or once it is their turn."""
        raise NotImplementedError

    # --- bytes -------------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Take bytes from the caller; ``b""`` lets the parser go on with what it holds back."""
        parser = self._parser
        if parser is None or (self._sealed and (self._broken or self._content.is_eof())):
            if data:
                self._ignore(len(data))
            return
        if self._sealed:
            self._wire_body += len(data)
        elif data:
            self._heads.feed(data)
        try:
            messages, _, _ = parser.feed_data(data)
        except (HttpProcessingError, ValueError) as error:
            self._fail(unparsable(error, self._heads.pending))
            return
        try:
            if messages:
                self._accept(messages)
            elif self._heads.pending:
                self._heads.check()
                self._head_came()
            else:
                self._check_chunks(self._content)
        except SidecarError as error:
            self._fail(error)

    def _accept(self, messages: Sequence[tuple[RawRequestMessage, StreamReader]]) -> None:
        heads = self._heads
        for message, content in messages:
            if self._sealed:
                break
            last = message.chunked or message.upgrade or message.should_close
            length = 0 if last or content is EMPTY_PAYLOAD else int(message.headers[hdrs.CONTENT_LENGTH])
            # The parser takes "CONNECT" without a target, and says None.
            after = heads.claim(message.method, message.path or "", length)
            if message.chunked:
                self._wire_body = after
                self._check_chunks(content)
            if last:
                self._sealed = True
                heads.stop()
            self._content = content
            self._requests.append((message, content))
        if (self.request is not None or len(self._requests) > 1) and not self._buffer_paused:
            self._pause_reading_for_buffer()
        self._request_came()

    def _check_chunks(self, content: StreamReader) -> None:
        if self._reading_paused:
            return  # the parser holds a part of these bytes back
        if self._wire_body > _CHUNK_OVERHEAD + (1 + _CHUNK_RATIO) * content.total_bytes:
            raise malformed()

    def _next_request(self) -> CallerRequest:
        """Take the next request out of the queue, and go on reading if that was stopped because of it."""
        message, content = self._requests.popleft()
        self.request = request = CallerRequest(
            message.method,
            message.path,
            message.version,
            message.raw_headers,
            content,
            self,  # type: ignore[arg-type]  # the other half is always there
        )
        parser = self._parser
        assert parser is not None  # noqa: S101 - it is there as long as the transport
        parser.message_consumed()
        if self._buffer_paused and not self._requests:
            self._read_on()
        return request

    def _read_on(self) -> None:
        self._buffer_paused = False
        self.data_received(b"")
        if not self._buffer_paused and not self._reading_paused:
            self._resume_transport_reading()

    def _fail(self, error: SidecarError) -> None:
        """Read no more; whoever is concerned answers with ``error``."""
        finished = self._sealed and self._content.is_eof() and self._busy()
        self._stop_reading()
        if not self._content.is_eof():
            self._content.set_exception(error)
        elif self._busy():
            if not finished:  # else it is garbage behind the last request: not worth an answer
                self._failure = error
        else:
            self._refuse(error)

    def _busy(self) -> bool:
        return self.request is not None or bool(self._requests)

    def _stop_reading(self) -> None:
        self._sealed = self._broken = True
        self._heads.stop()

    def _ignore(self, size: int) -> None:
        """Throw bytes away that belong to no request; the caller's leaving is still noticed, up to a point."""
        self._ignored += size
        if self._ignored > _IGNORED and not self._buffer_paused:
            self._pause_reading_for_buffer()
