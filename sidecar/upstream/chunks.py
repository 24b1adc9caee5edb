"""Decode a chunked body (RFC 9112 section 7.1) with aiohttp's C parser, made strict.

aiohttp parses responses leniently unless Python runs in development mode:
bare LF, blanks after a chunk's size and more would pass. Its compiled module
reads that switch whenever a parser is made, so it is set for the moment of
making ours: other users of the parser in this process (``ClientSession``)
keep theirs. tests/wire/test_aiohttp_contract_client.py holds what is used here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from aiohttp.http import HttpResponseParser
from aiohttp.http_exceptions import HttpProcessingError

from sidecar.core.http.response_head import BadResponseError

if TYPE_CHECKING:
    import asyncio

try:
    from aiohttp import _http_parser
except ImportError as error:  # pragma: no cover - wheels for every supported platform have it
    raise ImportError("aiohttp has no compiled HTTP parser here: install its binary wheel, not a pure build") from error

_compiled: Final[Any] = _http_parser

#: The response that each parser is told it reads. ``close`` makes it refuse whatever follows the last chunk.
_HEAD: Final = b"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"

#: Bytes parsed in one go: bounds the time of one callback, were every chunk a single byte.
_SLICE: Final = 65_536

#: Chunk sizes, extensions and trailers together may outweigh the payload by this much (bytes). A chunk of five
#: bytes pays for itself, so only a flood of tiny chunks or of extensions gets there.
_MAX_OVERHEAD: Final = 65_536


class _NoFlowControl:
    """Stands in for aiohttp's protocol: what is decoded is taken out at once, so nothing is ever paused."""

    def pause_reading(self) -> None:
        """Do nothing."""

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Do nothing."""


_NO_FLOW_CONTROL: Final = _NoFlowControl()


def _strict_parser(loop: asyncio.AbstractEventLoop) -> HttpResponseParser:
    before = _compiled.DEBUG
    _compiled.DEBUG = True
    try:
        protocol: Any = _NO_FLOW_CONTROL
        return HttpResponseParser(protocol, loop, _SLICE, read_until_eof=False, auto_decompress=False)
    finally:
        _compiled.DEBUG = before


class ChunkedDecoder:
    """Turns the bytes of one chunked body into its payload.

    ``complete`` is true once the last chunk and the trailer section are read;
    ``surplus`` if a byte came after them.
    """

    __slots__ = ("_end", "_overhead", "_parser", "_payload", "complete", "surplus")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._parser = _strict_parser(loop)
        messages, _, _ = self._parser.feed_data(_HEAD)
        self._payload = messages[0][1]
        self._overhead = 0
        self._end = b""
        self.complete = False
        self.surplus = False

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes of the body and return the payload in them; trailers are dropped.

        Raises BadResponseError if the framing is broken or made of little else.
        """
        if len(data) <= _SLICE:
            return self._feed(data)
        return b"".join([self._feed(data[start : start + _SLICE]) for start in range(0, len(data), _SLICE)])

    def _feed(self, data: bytes) -> bytes:
        if self.complete:
            self.surplus = self.surplus or bool(data)
            return b""
        try:
            self._parser.feed_data(data)
        except HttpProcessingError:
            if not self._payload.is_eof():
                raise BadResponseError("malformed chunk") from None
            self.surplus = True
        payload = self._payload.read_nowait()
        self._overhead += len(data) - len(payload)
        if self._overhead > _MAX_OVERHEAD and self._overhead > _MAX_OVERHEAD + self._payload.total_bytes:
            raise BadResponseError("chunk sizes and extensions outweigh the body")
        # Line ends after the end are skipped by the parser. Two end the body, and what is before them is none.
        self._end = data[-5:] if len(data) >= 5 else (self._end + data)[-5:]
        if self._payload.is_eof():
            self.complete = True
            self.surplus = self.surplus or self._end[:1] in b"\r\n"
        return payload
