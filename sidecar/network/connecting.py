"""TCP connections to addresses that are known: families raced (RFC 8305), no thread, no lookup."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from typing import TYPE_CHECKING, Any, Final, cast

import aiohappyeyeballs

if TYPE_CHECKING:
    from sidecar.network.resolver import Addresses, Names

#: Seconds after which the next address is tried as well (RFC 8305 section 5: 250 ms recommended).
_HAPPY_EYEBALLS_DELAY: Final = 0.25


class _Connecting:
    """The one method of an event loop that aiohappyeyeballs asks for.

    uvloop's own looks the address up in its DNS threads first, numeric as it
    is, and there waits behind every lookup that hangs.
    """

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        """Connect the non-blocking ``sock``. Raises OSError."""
        try:
            sock.connect(address)
        except (BlockingIOError, InterruptedError):
            await _until_writable(sock)
            number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if number:
                raise OSError(number, os.strerror(number)) from None


async def _until_writable(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    writable = loop.create_future()
    loop.add_writer(sock.fileno(), _wake, writable)
    try:
        await writable
    finally:
        loop.remove_writer(sock.fileno())


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


_CONNECTING: Final = cast("asyncio.AbstractEventLoop", _Connecting())


async def connect(addresses: Addresses) -> socket.socket:
    """Return a socket that is connected to one of ``addresses``. Raises OSError."""
    if not addresses:
        raise OSError(errno.EADDRNOTAVAIL, "the name has no address")
    task = asyncio.current_task()
    cancelled = 0 if task is None else task.cancelling()
    raw = await aiohappyeyeballs.start_connection(
        addresses, happy_eyeballs_delay=_HAPPY_EYEBALLS_DELAY, loop=_CONNECTING
    )
    if task is not None and task.cancelling() > cancelled:
        # It came while the race waited for its losers to end, and was taken for theirs.
        raw.close()
        raise asyncio.CancelledError
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # A connection that a firewall forgot in silence must not look alive for ever.
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return raw


async def reach(names: Names, host: str, port: int) -> socket.socket:
    """Resolve ``host`` and connect to it; addresses that lead nowhere are used by nobody else.

    Raises OSError, UnicodeError.

    Whoever limits the time cancels it, which says nothing of the addresses: the time may have gone into the lookup.
    """
    addresses = await names.resolve(host, port)
    try:
        return await connect(addresses)
    except OSError:
        names.doubt(host, port, addresses)
        raise
