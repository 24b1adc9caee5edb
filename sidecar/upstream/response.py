"""A response whose head has arrived; its body follows, read at the pace of whoever reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol, cast

from sidecar.upstream.chunks import ChunkedDecoder

if TYPE_CHECKING:
    import asyncio

    from sidecar.core.http.messages import ResponseFraming, ResponseHead
    from sidecar.upstream.errors import UpstreamError

#: Body bytes held for a slow reader before the socket is no longer read. One more read of the loop (256 KiB) may
#: come on top.
HIGH_WATER: Final = 65_536

#: The same for the number of pieces, each of which costs some 40 bytes of memory however short it is.
_MAX_PIECES: Final = 256


class Exchange(Protocol):
    """What a response needs of the connection that it comes through."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop that the connection belongs to."""
        ...

    def start_timer(self) -> None:
        """Let the exchange expire once its timeout has passed from now on."""
        ...

    def stop_timer(self) -> None:
        """Let the exchange take as long as it likes: it is not upstream that is waited for."""
        ...

    def resume_reading(self) -> None:
        """Read on: there is room for more of the body."""
        ...

    def finish(self) -> None:
        """Take the connection back, or close it; called once, when the response is released."""
        ...

    def abort(self) -> None:
        """Close the connection at once."""
        ...


class Response:
    """Status, headers and body of one response.

    Always end with :meth:`release`: it gives the connection back to the pool
    if all of the response was received and nothing speaks against reuse, and
    closes it otherwise.
    """

    __slots__ = (
        "_decoder",
        "_exchange",
        "_failure",
        "_left",
        "_pieces",
        "_size",
        "_waiter",
        "complete",
        "framing",
        "head",
    )

    def __init__(self, exchange: Exchange, head: ResponseHead, framing: ResponseFraming, whole: bytes = b"") -> None:
        """``whole`` is the body, if all of it came with the head."""
        #: Status, reason and fields as upstream sent them, hop-by-hop ones included.
        self.head: Final = head
        self.framing: Final = framing
        length = framing.length
        #: All of the body has arrived here, which does not mean that it was read.
        self.complete = length == len(whole)
        #: None once the response was released.
        self._exchange: Exchange | None = exchange
        self._decoder = ChunkedDecoder(exchange.loop) if length is None else None
        self._left = length or 0
        self._pieces: list[bytes] = [whole] if whole else []
        self._size = len(whole)
        self._failure: UpstreamError | None = None
        self._waiter: asyncio.Future[None] | None = None

    async def read(self) -> bytes:
        """Return the body bytes that have arrived, at least one; ``b""`` at the clean end.

        Raises UpstreamError if the body was cut short, broke its framing or
        paused for longer than the timeout of the exchange; what had arrived by
        then is returned first. Cancelling this closes the connection.
        """
        while not self._pieces:
            if self.complete:
                return b""
            if self._failure is not None:
                raise self._failure
            await self._arrival()
        data = self._take()
        if self._exchange is not None:
            self._exchange.resume_reading()
        return data

    def take_whole(self) -> bytes | None:
        """Return what was not read of the body and release the response, if its end has arrived; else None."""
        if not self.complete:
            return None
        body = self._take()
        self.release()
        return body

    def release(self) -> None:
        """Give the connection back, or close it. What has arrived of a complete body can still be read."""
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.finish()

    def _take(self) -> bytes:
        pieces = self._pieces
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self._size = 0
        return data

    async def _arrival(self) -> None:
        # A response that was released is complete, or has failed: nobody waits for more of it.
        exchange = cast("Exchange", self._exchange)
        waiter = self._waiter = exchange.loop.create_future()
        exchange.start_timer()
        try:
            await waiter
        except BaseException:
            exchange.abort()
            raise
        finally:
            self._waiter = None
            exchange.stop_timer()

    @property
    def status(self) -> int:
        """The status code."""
        return self.head.status

    # --- called by the connection ------------------------------------------------------------------------------------

    def feed(self, data: bytes) -> bool:
        """Take bytes of the body; return whether there were more than the body has.

        Raises BadResponseError if the chunks are malformed.
        """
        surplus = False
        decoder = self._decoder
        if decoder is not None:
            data = decoder.feed(data)
            surplus = decoder.surplus
            self.complete = decoder.complete
        else:
            left = self._left - len(data)
            if left < 0:
                data = data[:left]
                surplus = True
            self._left = left
            self.complete = left <= 0
        if data:
            self._pieces.append(data)
            self._size += len(data)
        if self._waiter is not None and (data or self.complete):
            self._wake()
        return surplus

    @property
    def full(self) -> bool:
        """Whether so much waits to be read that upstream has to pause."""
        return self._size > HIGH_WATER or len(self._pieces) >= _MAX_PIECES

    def fail(self, failure: UpstreamError) -> None:
        """End the body with ``failure`` instead of its clean end."""
        if not self.complete:
            self._failure = failure
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
