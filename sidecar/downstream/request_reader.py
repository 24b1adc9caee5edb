"""Bytes from a caller become requests here, or are refused: aiohttp's parser, and what it leaves open.

Bytes go in by :meth:`RequestReader.feed`, which says what they brought. There is
no socket: a reader only asks its source to pause, and to go on.

What is done beyond aiohttp, and why (each was seen in 3.14.5, and
``tests/wire/test_aiohttp_contract_server.py`` shows it):

* A trailer becomes the first header of the next request, and bytes behind an
  upgrade are lost or misread. So a connection is *sealed* by a request that is
  chunked, upgrades or closes: what comes behind it is never read.
* After a bad chunk the reader of the body waits for ever. Here it gets the error.
* Once the parser has failed, every further piece is kept as one more error.
  Here such bytes are thrown away, and reading stops when there are many.
* A pipelined request is read while another one runs: one segment of them is all that is held here.
* A chunk costs the parser the same whatever its size. Bytes that may be very many pieces are worked through in turns
  (:mod:`sidecar.turns`), so that those who send such bytes slow down each other, and not everybody else.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias, cast

from aiohttp import hdrs
from aiohttp.http import HttpRequestParser
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.streams import EMPTY_PAYLOAD

from sidecar.core.errors import SidecarError
from sidecar.core.shared_memory import SMALL_HEAD, SharedMemory
from sidecar.downstream.head_boundaries import HeadBoundaries
from sidecar.downstream.refusals import bad_chunks, out_of_head_memory, unparsable
from sidecar.turns import Backlog

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aiohttp.base_protocol import BaseProtocol
    from aiohttp.streams import StreamReader

    from sidecar.turns import Turns

    #: A request as aiohttp's parser hands it out: its ``RawRequestMessage`` (in C, so no tuple), and its body.
    Parsed: TypeAlias = tuple[Any, StreamReader]

#: Bytes of a body that may wait to be read before the source is paused; aiohttp holds up to twice as many, and what one
#: read of the socket brings.
_READ_BUFFER: Final = 16 * 1024
#: Requests that the parser hands out before one is taken.
_MOST_PARSED: Final = 4
#: Bytes of a head that the parser gets as they come, so that what is no HTTP is refused at once. What follows waits for
#: the head's end: the parser would hold each byte three times.
_PARSED_EARLY: Final = 4 * 1024
#: Bytes of chunk sizes, extensions and trailers that any body may have, and how many more for each byte of content.
_CHUNK_OVERHEAD: Final = 16 * 1024
_CHUNK_RATIO: Final = 8
#: Bytes that may be a whole request, or a few: what is no longer than this is read at once.
_USUAL: Final = 4096
#: Bytes that are thrown away behind the last request of a connection before reading stops.
_MOST_SURPLUS: Final = 64 * 1024


class Event(Enum):
    """What bytes brought."""

    NOTHING = "nothing to act on: a part of a body, or bytes that are held back"
    HEAD = "a part of a request head"
    REQUEST = "one or more requests, to be taken in turn; their bodies may be still to come"
    SURPLUS = "bytes that belong to no request; they were thrown away"
    REFUSED = "bytes that are no request, with none before them to be answered first: see ``failure``"


_REQUEST: Final = Event.REQUEST  # read for each call: Python 3.11 finds a global faster than a member of an enum


class Source(Protocol):
    """Where the bytes come from: the transport."""

    def pause_reading(self) -> None:
        """Bring no more."""

    def resume_reading(self) -> None:
        """Go on."""


class RequestReader:
    """The reading end of one connection.

    To aiohttp's parser and to the bodies that it makes, this is the protocol
    that they belong to: they call what stands under "flow control".
    """

    __slots__ = (
        "_backlog",
        "_body_full",
        "_broken",
        "_calls",
        "_chunked",
        "_content",
        "_current",
        "_deliver",
        "_held",
        "_in_turn",
        "_large",
        "_may_stop_late",
        "_most_surplus",
        "_parser",
        "_source",
        "_turns",
        "_unparsed",
        "_wire_body",
        "failure",
        "heads",
        "requests",
        "sealed",
        "surplus",
    )

    def __init__(
        self,
        source: Source,
        turns: Turns,
        deliver: Callable[[bytes], None],
        calls: SharedMemory[object] | None = None,
    ) -> None:
        """Read from ``source``; ``deliver`` gets bytes that had to wait for one of the ``turns``, and has to feed them.

        ``calls`` is the memory that large heads of requests share; None: as much as they like.
        """
        self._source: Final = source
        self._turns: Final = turns
        self._deliver = deliver
        self._calls: Final = calls
        # Bytes at the end of what is pending that the parser has not got.
        self._unparsed = 0
        # None once nothing is read any more: it keeps the last head that it parsed.
        self._parser: Any = self._new_parser()
        # Bytes of large heads of requests that are not answered.
        self._large = 0
        #: Where the next head begins; what is ``pending`` there is a part of it.
        self.heads: Final = HeadBoundaries()
        #: Requests whose turn has not come, with their bodies.
        self.requests: Final[deque[Parsed]] = deque()
        #: No request is read after the last one.
        self.sealed = False
        #: Why the parser gave up, if nobody has been told yet.
        self.failure: SidecarError | None = None
        #: Bytes that were thrown away.
        self.surplus = 0
        # The body of the request that is being answered, and that of the last one that was read.
        self._current: StreamReader | None = None
        self._content: StreamReader = EMPTY_PAYLOAD
        # The parser must not be fed any more.
        self._broken = False
        # Beyond so many thrown away bytes reading stops.
        self._most_surplus = _MOST_SURPLUS
        # Bytes of the last request's body as they were sent.
        self._wire_body = 0
        # Why the source is paused: enough requests are here, or enough of a body, or bytes that wait for their turn.
        self._held = self._body_full = False
        self._backlog: Backlog | None = None
        # What is fed had its turn.
        self._in_turn = False
        # The last request's body is chunked.
        self._chunked = False
        # The parser was told to pause. Where that was at the end of a chunk, it stops one chunk later, perhaps after it
        # was told to go on, and keeps what follows until it is fed again.
        self._may_stop_late = False

    def _new_parser(self) -> Any:
        loop, protocol = asyncio.get_running_loop(), cast("BaseProtocol", self)
        return HttpRequestParser(protocol, loop, _READ_BUFFER, auto_decompress=False, max_msg_queue_size=_MOST_PARSED)

    @property
    def has_unread(self) -> bool:
        """Whether anything has come that has no response yet."""
        return bool(self.requests or self.heads.pending or self.surplus or self.failure is not None)

    @property
    def body_bytes(self) -> int:
        """Bytes that have come of the body of the request that is being answered, without its framing."""
        return 0 if self._current is None else self._current.total_bytes

    # --- bytes -------------------------------------------------------------------------------------------------------

    def feed(self, data: bytes) -> Event:
        """Take bytes from the caller; ``b""`` lets the parser go on with what it holds back."""
        if self.sealed and (self._broken or self._content.is_eof()):
            return self._throw_away(len(data))
        many = self._chunked if self.sealed else len(data) > _USUAL
        if many and data and not self._in_turn and not (data := self._first_turn(data)):
            return Event.NOTHING
        if self.sealed:
            self._wire_body += len(data)
        elif data:
            in_body = self.heads.in_body
            self.heads.feed(data)
            if not in_body and self.heads.is_partial(_PARSED_EARLY):
                return self._keep_unparsed(data)
            if self._unparsed:
                data = self._with_unparsed(data)
        return self._parse(data)

    def _parse(self, data: bytes) -> Event:
        """Give bytes to the parser, and take what it makes of them."""
        try:
            messages, _, _ = self._parser.feed_data(data)
            if self._may_stop_late and data and not self._body_full:
                self._may_stop_late = False
                messages = [*messages, *self._parser.feed_data(b"")[0]]
        except (HttpProcessingError, ValueError) as error:
            return self._fail(unparsable(error, self.heads.pending, in_chunks=self._chunked))
        try:
            if messages:
                self._accept(messages)
                return _REQUEST
            if self.heads.pending:
                self.heads.check()
                return Event.HEAD
            self._check_chunks(self._content)
        except SidecarError as refusal:
            return self._fail(refusal)
        return Event.NOTHING

    def _with_unparsed(self, data: bytes) -> bytes:
        """Return ``data``, which completes a large head, behind what of that head was kept from the parser."""
        data = self.heads.pending[-(self._unparsed + len(data)) :]
        self._unparsed = 0
        return data

    def _keep_unparsed(self, data: bytes) -> Event:
        """Keep what comes of a large head, its first bytes apart, from the parser until the head is complete."""
        parsed = len(self.heads.pending) - len(data) - self._unparsed
        early = max(_PARSED_EARLY - parsed, 0)
        self._unparsed += max(len(data) - early, 0)
        try:
            if early:
                self._parser.feed_data(data[:early])
            self.heads.check()
        except (HttpProcessingError, ValueError) as error:
            return self._fail(unparsable(error, self.heads.pending))
        except SidecarError as refusal:
            return self._fail(refusal)
        return Event.HEAD

    def _accept(self, messages: Sequence[Parsed]) -> None:
        heads = self.heads
        for message, content in messages:
            if self.sealed:
                break
            last = message.chunked or message.upgrade or message.should_close
            length = 0 if last or content is EMPTY_PAYLOAD else int(message.headers[hdrs.CONTENT_LENGTH])
            # The parser takes "CONNECT" without a target, and says None.
            after = heads.take_head(message.method, message.path or "", length)
            if heads.head_size > SMALL_HEAD:
                if not self._has_room(heads.head_size):
                    raise out_of_head_memory()
                self._large += heads.head_size
            if message.chunked:
                self._chunked = True
                self._wire_body = after
                self._check_chunks(content)
            if last:
                self.sealed = True
                heads.stop()
            self._content = content
            self.requests.append((message, content))
        if self._current is not None or len(self.requests) > 1:
            self.hold()
        if len(heads.pending) > SMALL_HEAD and not self._has_room(len(heads.pending)):
            self.surplus += len(heads.pending)
            self.stop()  # what comes behind these requests has to be sent again, on another connection

    def _has_room(self, more: int) -> bool:
        """Whether there is room for ``more`` bytes besides the large heads, which count in any case; take it then."""
        calls = self._calls
        if calls is None:
            return True
        calls.release(self)
        if calls.take(self, self._large + more):
            return True
        if self._large:
            calls.hold(self, self._large)
        return False

    def _check_chunks(self, content: StreamReader) -> None:
        if self._body_full:
            return  # the parser holds a part of these bytes back
        if self._wire_body > _CHUNK_OVERHEAD + (1 + _CHUNK_RATIO) * content.total_bytes:
            raise bad_chunks()

    def _fail(self, error: SidecarError) -> Event:
        """Read no more; whoever is concerned answers with ``error``."""
        error.__traceback__ = error.__context__ = None  # its frames have what was parsed
        finished = self.sealed and self._content.is_eof()
        self.stop()
        if not self._content.is_eof():
            self._content.set_exception(error)
        elif self._current is None and not self.requests:
            self.failure = error
            return Event.REFUSED
        elif not finished:  # else it is garbage behind the last request: not worth a response
            self.failure = error
        # In front of what is wrong there may have been a request, in the same bytes.
        return Event.REQUEST if self.requests else Event.NOTHING

    def _throw_away(self, size: int) -> Event:
        """Forget bytes that belong to no request; the caller's leaving is still noticed, up to a point."""
        if not size:
            return Event.NOTHING
        self.surplus += size
        if self.surplus > self._most_surplus:
            self.hold()
        return Event.SURPLUS

    # --- turns -------------------------------------------------------------------------------------------------------

    def _first_turn(self, data: bytes) -> bytes:
        """Return what of ``data`` may be worked through now; the rest has to wait."""
        if self.heads.is_within_body(len(data)):
            return data  # a body with a length is one piece
        backlog = self._backlog
        if backlog is None:
            backlog = self._backlog = Backlog(self._turns, self._take_turn)
        data = backlog.first_turn(data)
        if backlog.go_on():
            self._source.pause_reading()
        return data

    def _take_turn(self, data: bytes) -> None:
        self._in_turn = True
        try:
            self._deliver(data)
        finally:
            self._in_turn = False
        self._go_on()

    def _go_on(self) -> None:
        """Have more brought, from what waits here first, unless the parser or the connection has enough."""
        if self._held or self._body_full:
            return
        if self._backlog is None or not self._backlog.go_on():
            self._source.resume_reading()

    # --- requests ----------------------------------------------------------------------------------------------------

    def take(self) -> Parsed:
        """Take the next request and its body out of the queue, and read on if that was stopped because of it.

        It counts as being answered until :meth:`finish`.
        """
        request = self.requests.popleft()
        self._current = request[1]
        if self._parser is not None:
            self._parser.message_consumed()
        if self._held and not self.requests:
            self._held = False
            self._read_on()
        return request

    def finish(self) -> bool:
        """Note that the request that was taken has been answered; return whether its body had come to its end."""
        content, self._current = self._current, None
        if self._calls is not None and self._calls.used and not self.requests:
            self._calls.release(self)
        if self._large and not self.requests:
            self._large = 0
            if not self.heads.pending and not self.sealed:
                self._parser = self._new_parser()  # the old one keeps the head
        if self._held and not self.sealed and not self.requests:
            self._held = False
            self._read_on()
        return content is None or content is EMPTY_PAYLOAD or content.is_eof()

    def break_body(self, error: Exception) -> None:
        """Have reading the current request's body fail with ``error``, and read no more, if more of it is to come."""
        if self._current is not None and not self._current.is_eof():
            self.stop()
            self._current.set_exception(error)

    # --- the end -----------------------------------------------------------------------------------------------------

    def stop(self, failure: SidecarError | None = None) -> None:
        """Read no further request, because of ``failure`` if somebody has to be told."""
        self.failure = failure
        self.sealed = self._broken = True
        if self._backlog is not None:
            self._backlog.clear()
        self._unparsed = 0
        self._parser = None
        self.heads.stop()

    def discard(self) -> None:
        """Throw away all that still comes, however much, and what is queued; :attr:`surplus` counts anew."""
        self.stop()
        self.requests.clear()
        self._content = EMPTY_PAYLOAD  # a part of a body that nobody reads
        self.surplus = 0
        self._most_surplus = sys.maxsize
        self._held = self._body_full = False
        self._source.resume_reading()

    def close(self) -> None:
        """Note that the connection is gone, and let go of what would keep it in memory."""
        self.stop()
        self.requests.clear()
        if self._calls is not None and self._current is None:
            self._calls.release(self)
        self._body_full = False
        self._content = EMPTY_PAYLOAD
        self._deliver = _ignore

    # --- flow control ------------------------------------------------------------------------------------------------

    #: aiohttp's bodies wait for bytes only as long as this is true; here they are told by an exception.
    connected: Final = True

    def pause_reading(self) -> None:
        """Hold back what comes: the body of the last request has its fill."""
        self._body_full = self._may_stop_late = True
        self._parser.pause_reading()
        self._source.pause_reading()

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Go on reading that body; it has come to its end if not ``resume_parser``.

        What was held back brings nothing that the connection had to be told: a
        request is being answered, after which it looks.
        """
        if self._body_full:
            self._body_full = False
            self._read_on(resume_parser)

    def hold_head(self) -> None:
        """Bring no more of a head that comes while a request is answered; forget it if there is no room for it."""
        self.hold()
        if not self._has_room(len(self.heads.pending)):
            self.surplus += len(self.heads.pending)
            self.stop()

    def hold(self) -> None:
        """Bring no more before the request that is being answered has its response."""
        if not self._held:
            self._held = True
            self._source.pause_reading()

    def _read_on(self, resume_parser: bool = True) -> None:
        if resume_parser:
            self.feed(b"")
        self._go_on()


def _ignore(data: bytes) -> None:
    """Take bytes of a connection that is gone."""
