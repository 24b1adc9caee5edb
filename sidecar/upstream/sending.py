"""Request bodies that are not sent in one write."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol

from sidecar.core.http.chunks import LAST_CHUNK, chunk

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable

#: Bytes. A body in hand that is no longer goes out with its head in one write; a longer one in pieces of this size,
#: so that TLS neither encrypts nor holds it all at once.
ONE_WRITE_LIMIT: Final = 65_536


class BodySource(Protocol):
    """A request body that is sent piece by piece."""

    @property
    def chunked(self) -> bool:
        """Whether to frame the pieces as chunks; otherwise the head has said how many bytes there will be."""
        ...

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the pieces of the body. An exception is a cut: it closes the upstream connection."""
        ...


class SendingConnection(Protocol):
    """What is asked of the connection while a body goes out on it."""

    @property
    def awaiting_head(self) -> bool:
        """Whether a request is on its way and no final head has come yet."""
        ...

    @property
    def writing_paused(self) -> bool:
        """Whether the transport asks to wait before more is written."""
        ...

    def write(self, data: bytes) -> None:
        """Hand bytes to the transport; nothing happens once it is gone."""
        ...

    async def drain(self) -> None:
        """Wait until writing may go on, or something else happened: look again afterwards."""
        ...

    def start_timer(self) -> None:
        """Let the exchange expire once its timeout has passed from now on."""
        ...

    def stop_timer(self) -> None:
        """Let the exchange take as long as it likes: it is not upstream that is waited for."""
        ...

    def sent_all(self) -> None:
        """Note that the request's last byte was written."""
        ...

    def give_up_sending(self, error: Exception) -> None:
        """Close because the request's body cannot be read to its end; the exchange raises ``error``."""
        ...

    def abort(self) -> None:
        """Close the connection at once."""
        ...


async def framed(body: bytes | BodySource) -> AsyncGenerator[bytes, None]:
    """Yield what to write, piece by piece, framed as RFC 9112 section 7.1 says if the body is chunked."""
    if isinstance(body, bytes):
        for start in range(0, len(body), ONE_WRITE_LIMIT):
            yield body[start : start + ONE_WRITE_LIMIT]
    elif not body.chunked:
        async for piece in body:
            yield piece
    else:
        async for piece in body:
            if piece:  # an empty chunk would end the body
                yield chunk(piece)
        yield LAST_CHUNK


async def send(connection: SendingConnection, body: bytes | BodySource) -> None:
    """Send a body piece by piece, as fast as upstream takes it, until it ends or the response begins."""
    pieces = framed(body)
    try:
        await _drain(connection)
        async for piece in pieces:
            if not connection.awaiting_head:
                return
            connection.write(piece)
            await _drain(connection)
    except Exception as error:  # noqa: BLE001 - edge of a supervised task: the exchange raises it
        if connection.awaiting_head:
            connection.give_up_sending(error)
    except asyncio.CancelledError:
        if connection.awaiting_head:
            connection.abort()
        raise
    finally:
        await pieces.aclose()
    if connection.awaiting_head:
        connection.sent_all()


async def _drain(connection: SendingConnection) -> None:
    while connection.writing_paused and connection.awaiting_head:
        connection.start_timer()
        await connection.drain()
    if connection.awaiting_head:
        connection.stop_timer()  # from here on the caller is waited for


async def until_sent(connection: SendingConnection, sender: asyncio.Task[None], head: Awaitable[None]) -> None:
    """Wait for the response's ``head``, and until nothing reads the request's body any more, however that ends.

    The connection is closed if either is cut short. Not a part of the connection, since
    compiled code must not wait while it handles an exception.
    """
    try:
        await head
        await _stop(sender)
    except BaseException:
        connection.abort()
        await _stop(sender)
        raise


async def _stop(sender: asyncio.Task[None]) -> None:
    if not sender.done():
        sender.cancel()
        await asyncio.wait((sender,))
