"""Reading request bodies: whole where that fits, so that a call can be sent again, else as a stream (section 4.5)."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, TypeAlias

from sidecar.core.errors import Outcome, SidecarError
from sidecar.downstream.refusals import body_too_large, out_of_budget, too_many_uploads
from sidecar.upstream.sending import ONE_WRITE_LIMIT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from sidecar.core.http.messages import BodyFraming
    from sidecar.downstream.request import CallerRequest
    from sidecar.proxy.budget import ReplayBudget, Reservation

#: Bytes. Pieces below this are copied together as they come: a list of tiny ones would weigh many times their bytes.
_SMALL: Final = 4 * 1024
_COPIED: Final = 64 * 1024


class BodyLimits:
    """Bytes: the largest body that is taken at all, and the largest that is read whole (``replay.max_body``).

    ``most_streams`` is how many bodies may be sent while they are read, at the same time: each has 100 KiB in hand.
    """

    __slots__ = ("max_body", "most_streams", "replay_max_body")

    def __init__(self, max_body: int, replay_max_body: int, most_streams: int = 128) -> None:
        self.max_body: Final = max_body
        self.replay_max_body: Final = replay_max_body
        self.most_streams: Final = most_streams


class RequestBody:
    """A request's body, and the memory that it holds until :meth:`release`."""

    __slots__ = ("_reader", "_reservation", "content")

    def __init__(
        self, content: Content, reservation: Reservation | None = None, reader: BodyReader | None = None
    ) -> None:
        #: The whole body, or the one chance to read it.
        self.content: Final = content
        self._reservation: Final = reservation
        # Who is told that a streamed body is over.
        self._reader = reader

    @property
    def received(self) -> int:
        """Bytes that have come from the caller so far."""
        content = self.content
        return content.received if isinstance(content, StreamingBody) else len(content)

    def release(self) -> None:
        """Give the budget back; the call is over. May be repeated."""
        if self._reservation is not None:
            self._reservation.release()
        if self._reader is not None:
            self._reader.streams -= 1
            self._reader = None


class KeptBody:
    """A body that is whole, in the pieces in which it came: joining megabytes would cost as much as to send them."""

    __slots__ = ("_pieces", "_size")

    #: It goes up with its length.
    chunked: Final = False

    def __init__(self, pieces: Pieces) -> None:
        self._size: Final = pieces.size
        self._pieces: Final = pieces.take()

    def __len__(self) -> int:
        return self._size

    def __aiter__(self) -> AsyncIterator[bytes]:
        return _KeptPieces(self._pieces)


class _KeptPieces:
    """One walk over the pieces of a kept body."""

    __slots__ = ("_pieces",)

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces: Final = iter(pieces)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        for piece in self._pieces:
            return piece
        raise StopAsyncIteration


class StreamingBody:
    """A body too large to keep: it is read while it is sent upstream, once.

    Iterating raises CallerGoneError, and SidecarError ``request_timeout``,
    ``bad_request`` or ``body_too_large``. Once a piece has been handed on, their
    outcome is ``unknown``.
    """

    __slots__ = (
        "_expects_continue",
        "_limit",
        "_prefix",
        "_request",
        "_reservation",
        "chunked",
        "content_length",
        "received",
        "started",
    )

    def __init__(
        self, request: CallerRequest, framing: BodyFraming, limit: int, pieces: Pieces, reservation: Reservation
    ) -> None:
        self._request: Final = request
        self._expects_continue: Final = framing.expects_continue
        self._limit: Final = limit
        # What was read before it turned out to be too much.
        self._prefix: Final = pieces.take()
        self._reservation: Final = reservation
        #: Bytes; None if the body is chunked.
        self.content_length: Final = framing.content_length
        self.chunked: Final = framing.chunked
        #: Bytes that have come from the caller so far.
        self.received = pieces.size
        #: Whether a piece has been handed on, so that the body cannot be sent again.
        self.started = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._prefix:
            piece = self._prefix.popleft()
            self._reservation.release(len(piece))
        else:
            try:
                piece = await self._next_piece()
            except SidecarError as error:
                outcome = Outcome.UNKNOWN if self.started else error.outcome
                raise SidecarError(
                    error.code, error.message, outcome=outcome, detail=error.detail, close=True
                ) from None
            if not piece:
                raise StopAsyncIteration
        self.started = True
        return piece

    async def _next_piece(self) -> bytes:
        piece = await next_piece(self._request, expects_continue=self._expects_continue)
        self.received += len(piece)
        if self.received > self._limit:
            raise body_too_large(self._limit)
        return piece


class BodyReader:
    """Reads the bodies of all calls, within one budget."""

    __slots__ = ("_budget", "_limits", "streams")

    def __init__(self, limits: BodyLimits, budget: ReplayBudget) -> None:
        #: Bodies that are being sent while they are read.
        self.streams = 0
        self._limits: Final = limits
        self._budget: Final = budget

    async def read(self, request: CallerRequest, framing: BodyFraming) -> RequestBody:
        """Return the body: whole if it fits into ``replay.max_body`` and the budget, else as a StreamingBody.

        Raises SidecarError ``body_too_large``, ``request_timeout``,
        ``bad_request``, ``overloaded`` (a chunked body for which no budget came
        free in time), and CallerGoneError.
        """
        if not framing.has_body:
            return NO_BODY
        limits = self._limits
        length = framing.content_length
        if length is not None and length > limits.max_body:
            raise body_too_large(limits.max_body)
        reservation = self._budget.reservation()
        if length is not None and length > limits.replay_max_body:
            return self._stream(StreamingBody(request, framing, limits.max_body, Pieces(), reservation), reservation)
        received = request.content
        if received.is_eof():
            size = received.total_bytes
            if size > limits.max_body:
                raise body_too_large(limits.max_body)
            if length in (None, size) and size <= limits.replay_max_body and reservation.take(size):
                return RequestBody(received.read_nowait(), reservation)
        try:
            content = await self._read(request, framing, reservation)
            if isinstance(content, StreamingBody):
                return self._stream(content, reservation)
        except BaseException:
            reservation.release()
            raise
        return RequestBody(content, reservation)

    def _stream(self, content: StreamingBody, reservation: Reservation) -> RequestBody:
        if self.streams >= self._limits.most_streams:
            raise too_many_uploads()
        self.streams += 1
        return RequestBody(content, reservation, self)

    async def _read(self, request: CallerRequest, framing: BodyFraming, reservation: Reservation) -> Content:
        limits = self._limits
        pieces = Pieces()
        while piece := await next_piece(request, expects_continue=framing.expects_continue):
            size = pieces.size + len(piece)
            if size > limits.max_body:
                raise body_too_large(limits.max_body)
            fits = size <= limits.replay_max_body
            if fits and not reservation.take(len(piece)):
                fits = framing.chunked  # a body with a length need not wait
                if fits:
                    await _wait_for_budget(request, reservation, len(piece))
            pieces.add(piece)
            if not fits:
                return StreamingBody(request, framing, limits.max_body, pieces, reservation)
        return pieces.join() if pieces.size <= ONE_WRITE_LIMIT else KeptBody(pieces)


class Pieces:
    """A body as it comes in, in pieces of which none is tiny."""

    __slots__ = ("_pieces", "_small", "size")

    def __init__(self) -> None:
        self._pieces: deque[bytes] = deque()
        self._small = bytearray()
        #: Bytes of all pieces that were added.
        self.size = 0

    def add(self, piece: bytes) -> None:
        """Append a piece."""
        self.size += len(piece)
        if len(piece) < _SMALL:
            self._small += piece
            if len(self._small) >= _COPIED:
                self._keep_small()
        else:
            self._keep_small()
            self._pieces.append(piece)

    def take(self) -> deque[bytes]:
        """Return the pieces in order, and forget them."""
        self._keep_small()
        pieces, self._pieces = self._pieces, deque()
        return pieces

    def join(self) -> bytes:
        """Return all bytes in one, and forget the pieces."""
        pieces = self.take()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _keep_small(self) -> None:
        if self._small:
            self._pieces.append(bytes(self._small))
            self._small.clear()


#: A whole body, small or large, or one that is sent while it is read.
Content: TypeAlias = bytes | KeptBody | StreamingBody

#: What a request without a body has.
NO_BODY: Final = RequestBody(b"")


async def next_piece(request: CallerRequest, *, expects_continue: bool) -> bytes:
    """Return the next bytes of the body, ``b""`` at its end; ask for them first if the caller waits to be asked.

    Raises SidecarError ``request_timeout`` or ``bad_request``, and CallerGoneError.
    """
    connection = request.connection
    if expects_continue and not request.content.total_bytes:
        connection.writer.send_continue()
    connection.start_body_timer()
    try:
        return await request.content.readany()
    finally:
        connection.stop_body_timer()


async def _wait_for_budget(request: CallerRequest, reservation: Reservation, size: int) -> None:
    if not reservation.can_ever_take(size):
        raise out_of_budget()
    waiter = reservation.queue(size)
    connection = request.connection
    connection.start_body_timer(waiter)
    try:
        await reservation.wait(size, waiter)
    finally:
        connection.stop_body_timer()
