"""A response whose head has arrived; its body follows, read at the pace of whoever reads it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, cast

from sidecar.upstream.chunks import ChunkedDecoder

if TYPE_CHECKING:
    import asyncio

    from sidecar.core.headers import RawHeaders
    from sidecar.core.response_head import ResponseFraming, ResponseHead
    from sidecar.upstream.connection import Connection
    from sidecar.upstream.errors import UpstreamFailure

#: Body bytes held for a slow reader before the socket is no longer read. One more read of the loop (256 KiB) may
#: come on top.
HIGH_WATER: Final = 65_536

#: The same for the number of pieces, each of which costs some 40 bytes of memory however short it is.
_MAX_PIECES: Final = 256


class Response:
    """Status, headers and body of one answer.

    Always end with :meth:`release`: it gives the connection back to the pool
    if all of the response was received and nothing speaks against reuse, and
    closes it otherwise.
    """

    __slots__ = (
        "_connection",
        "_decoder",
        "_failure",
        "_left",
        "_pieces",
        "_size",
        "_waiter",
        "chunked",
        "complete",
        "content_length",
        "has_body",
        "raw_headers",
        "reason",
        "status",
    )

    def __init__(self, connection: Connection, head: ResponseHead, framing: ResponseFraming) -> None:
        #: As upstream sent them, hop-by-hop ones included.
        self.status: Final[int] = head.status
        self.reason: Final[bytes] = head.reason
        self.raw_headers: Final[RawHeaders] = head.raw_headers
        #: The value of Content-Length (bytes), even where no body follows (HEAD, 304).
        self.content_length: Final[int | None] = framing.declared
        self.chunked: Final = framing.length is None
        #: Whether a body follows the head; a chunked one may still turn out empty.
        self.has_body: Final = framing.length != 0
        #: All of the body has arrived here, which does not mean that it was read.
        self.complete = not self.has_body
        self._connection: Connection | None = connection
        self._decoder = ChunkedDecoder(connection.loop) if framing.length is None else None
        self._left = framing.length or 0
        self._pieces: list[bytes] = []
        self._size = 0
        self._failure: UpstreamFailure | None = None
        self._waiter: asyncio.Future[None] | None = None

    async def read(self) -> bytes:
        """Return the body bytes that have arrived, at least one; ``b""`` at the clean end.

        Raises UpstreamFailure if the body was cut short, broke its framing or
        paused for longer than the timeout of the exchange; what had arrived by
        then is returned first. Cancelling this closes the connection.
        """
        while not self._pieces:
            if self.complete:
                return b""
            if self._failure is not None:
                raise self._failure
            await self._arrival()
        return self._take()

    def read_nowait(self) -> bytes | None:
        """Return all of the body that was not read yet if it has arrived to the end, else None."""
        if not self.complete:
            return None
        return self._take() if self._pieces else b""

    def release(self) -> None:
        """Give the connection back, or close it. What has arrived of a complete body can still be read."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.finish()

    def _take(self) -> bytes:
        pieces = self._pieces
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self._size = 0
        if self._connection is not None:
            self._connection.resume_reading()
        return data

    async def _arrival(self) -> None:
        # A response that was released is complete, or has failed: nobody waits for more of it.
        connection = cast("Connection", self._connection)
        waiter = self._waiter = connection.loop.create_future()
        connection.start_timer()
        try:
            await waiter
        except BaseException:
            connection.abort()
            raise
        finally:
            self._waiter = None
            connection.deadline = math.inf

    # --- called by the connection ------------------------------------------------------------------------------------

    def feed(self, data: bytes) -> bool:
        """Take bytes of the body; return whether there were more than the body has.

        Raises BadResponseError if the chunks are malformed.
        """
        surplus = False
        if self._decoder is not None:
            data = self._decoder.feed(data)
            surplus = self._decoder.surplus
            self.complete = self._decoder.complete
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
        if data or self.complete:
            self._wake()
        return surplus

    @property
    def full(self) -> bool:
        """Whether so much waits to be read that upstream has to pause."""
        return self._size > HIGH_WATER or len(self._pieces) >= _MAX_PIECES

    def fail(self, failure: UpstreamFailure) -> None:
        """End the body with ``failure`` instead of its clean end."""
        if not self.complete:
            self._failure = failure
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
