"""Open a connection to upstream: resolve, connect, TLS. Nothing of a request is sent here."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

import aiohappyeyeballs

from sidecar.core.resend import FailureKind
from sidecar.core.tunnel import TunnelRefusedError
from sidecar.upstream.errors import before_a_byte, os_detail
from sidecar.upstream.tls_layer import TlsLayer

if TYPE_CHECKING:
    import ssl

    from sidecar.core.endpoint import Endpoint
    from sidecar.upstream.egress import Egress

#: One result of getaddrinfo: family, type, protocol, canonical name, socket address.
AddressInfo = tuple[int, int, int, str, Any]
#: Turns a host and port into addresses; raises OSError.
Resolver = Callable[[str, int], Awaitable[Sequence[AddressInfo]]]

P = TypeVar("P", bound=asyncio.Protocol)

#: Seconds after which the next address is tried besides (RFC 8305 section 5: 250 ms recommended).
_HAPPY_EYEBALLS_DELAY: Final = 0.25


async def _resolve(host: str, port: int) -> Sequence[AddressInfo]:
    return await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)


class Dialer:
    """Opens connections to one endpoint, directly or through an egress proxy: the only way out of the sidecar.

    Every dial asks the resolver again, so a change of DNS is followed as soon
    as connections are new; families are raced (RFC 8305). Proxies of the
    environment are not looked at.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        connect_timeout: float,
        ssl_context: ssl.SSLContext | None,
        egress: Egress | None = None,
        resolve: Resolver = _resolve,
    ) -> None:
        #: What new connections trust and show; None: no TLS. May be replaced at any time.
        self.ssl_context = ssl_context
        self._endpoint: Final = endpoint
        self._connect_timeout: Final = connect_timeout
        self._egress: Final = egress
        self._resolve: Final = resolve

    async def dial(self, make: Callable[[], P], limit: float) -> tuple[P, socket.socket]:
        """Return a protocol made by ``make``, connected, and its socket.

        ``limit`` and the connect timeout (seconds) bound it together. Raises
        UpstreamFailure of kind RESOLVE, CONNECT, EGRESS (all of the way to the
        open tunnel) or TLS.
        """
        limit = min(limit, self._connect_timeout)
        egress = self._egress
        step = FailureKind.RESOLVE if egress is None else FailureKind.EGRESS
        timeout = asyncio.timeout(limit)
        try:
            async with timeout:
                addresses = await self._resolve(*self._next_hop())
                if egress is None:
                    step = FailureKind.CONNECT
                raw = await _connect(addresses)
                if egress is not None:
                    await egress.open_tunnel(raw, self._endpoint)
                    step = FailureKind.CONNECT
                if self.ssl_context is not None:
                    step = FailureKind.TLS
                return await self._open(raw, make), raw
        except (OSError, RuntimeError, UnicodeError, TunnelRefusedError) as error:
            # TimeoutError is an OSError, and the system raises it too (ETIMEDOUT).
            late = isinstance(error, TimeoutError) and timeout.expired()
            raise before_a_byte(step, self._explain(step, f"not done within {limit:g} s" if late else error)) from error

    def _next_hop(self) -> tuple[str, int]:
        hop = self._egress or self._endpoint
        return hop.host, hop.port

    def _explain(self, step: FailureKind, why: str | Exception) -> str:
        if isinstance(why, Exception):
            why = str(why) if isinstance(why, TunnelRefusedError) else os_detail(why)
        return f"{self._egress.name}: {why}" if step is FailureKind.EGRESS and self._egress else why

    async def _open(self, raw: socket.socket, make: Callable[[], P]) -> P:
        loop, context = asyncio.get_running_loop(), self.ssl_context
        protocol = make()
        if context is None:
            await loop.create_connection(lambda: protocol, sock=raw)
        else:
            layer = TlsLayer(protocol, context, self._endpoint.host)
            await loop.create_connection(lambda: layer, sock=raw)
            await layer.opened()
        return protocol


async def _connect(addresses: Sequence[AddressInfo]) -> socket.socket:
    if not addresses:
        raise OSError(errno.EADDRNOTAVAIL, "the name has no address")
    raw = await aiohappyeyeballs.start_connection(addresses, happy_eyeballs_delay=_HAPPY_EYEBALLS_DELAY)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # A connection that a firewall forgot in silence must not look alive for ever.
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return raw
