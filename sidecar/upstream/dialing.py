"""Open a connection to upstream: resolve, connect, TLS. Nothing of a request is sent here."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import aiohappyeyeballs

from sidecar.core.resend import FailureKind
from sidecar.upstream.errors import before_a_byte, os_detail

if TYPE_CHECKING:
    import ssl

    from sidecar.core.endpoint import Endpoint
    from sidecar.upstream.connection import Connection

#: One result of getaddrinfo: family, type, protocol, canonical name, socket address.
AddressInfo = tuple[int, int, int, str, Any]
#: Turns a host and port into addresses; raises OSError.
Resolver = Callable[[str, int], Awaitable[Sequence[AddressInfo]]]

#: Seconds after which the next address is tried besides (RFC 8305 section 5: 250 ms recommended).
_HAPPY_EYEBALLS_DELAY: Final = 0.25


async def _resolve(host: str, port: int) -> Sequence[AddressInfo]:
    return await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)


class Dialer:
    """Opens connections to one endpoint.

    Every dial asks the resolver again, so a change of DNS is followed as soon
    as connections are new; families are raced (RFC 8305).
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        connect_timeout: float,
        ssl_context: ssl.SSLContext | None,
        resolve: Resolver = _resolve,
    ) -> None:
        self._endpoint: Final = endpoint
        self._connect_timeout: Final = connect_timeout
        self._ssl_context: Final = ssl_context
        self._resolve: Final = resolve

    async def dial(self, make: Callable[[], Connection], limit: float) -> Connection:
        """Return an open connection made by ``make``.

        ``limit`` and the connect timeout (seconds) bound it together. Raises
        UpstreamFailure of kind RESOLVE, CONNECT or TLS.
        """
        limit = min(limit, self._connect_timeout)
        step = FailureKind.RESOLVE
        timeout = asyncio.timeout(limit)
        try:
            async with timeout:
                addresses = await self._resolve(self._endpoint.host, self._endpoint.port)
                step = FailureKind.CONNECT
                raw = await self._connect(addresses)
                if self._ssl_context is not None:
                    step = FailureKind.TLS
                return await self._open(raw, make)
        except (OSError, RuntimeError, UnicodeError) as error:
            # TimeoutError is an OSError, and the system raises it too (ETIMEDOUT).
            late = isinstance(error, TimeoutError) and timeout.expired()
            raise before_a_byte(step, f"not done within {limit:g} s" if late else os_detail(error)) from error

    async def _connect(self, addresses: Sequence[AddressInfo]) -> socket.socket:
        if not addresses:
            raise OSError(errno.EADDRNOTAVAIL, "the name has no address")
        raw = await aiohappyeyeballs.start_connection(addresses, happy_eyeballs_delay=_HAPPY_EYEBALLS_DELAY)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # A connection that a firewall forgot in silence must not look alive for ever.
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return raw

    async def _open(self, raw: socket.socket, make: Callable[[], Connection]) -> Connection:
        server_hostname = self._endpoint.host if self._ssl_context is not None else None
        _, connection = await asyncio.get_running_loop().create_connection(
            make, sock=raw, ssl=self._ssl_context, server_hostname=server_hostname
        )
        connection.watch(raw)
        return connection
