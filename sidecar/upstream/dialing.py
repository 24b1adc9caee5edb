"""Open a connection to upstream: resolve, connect, tunnel, TLS. Nothing of a request is sent here."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, TypeVar

from sidecar.advice.tunnel import explain_tunnel
from sidecar.core.http.tunnel import TunnelRefusedError
from sidecar.core.resend import FailureKind
from sidecar.network.connecting import connect
from sidecar.network.resolver import Resolver
from sidecar.patience import PatientTimeout
from sidecar.upstream.egress import Egress
from sidecar.upstream.errors import before_a_byte, os_detail
from sidecar.upstream.tls_transport import TlsLayer

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable

    from sidecar.config import Config
    from sidecar.core.clock import Clock
    from sidecar.core.endpoint import Endpoint
    from sidecar.network.resolver import Addresses, Names
    from sidecar.upstream.trust import Trust

P = TypeVar("P", bound=asyncio.Protocol)


class Dialer:
    """Opens connections to one endpoint, directly or through an egress proxy: the only way out of the sidecar.

    :meth:`dial` takes four steps; ``check`` takes the same ones, and tells of each::

        resolve ─► connect ─► tunnel ─► shake_hands
                              nothing without an egress proxy

    The name's addresses are kept for some seconds; those that led to no connection
    are not used again, so a change of DNS is followed. Proxies of the environment
    are not looked at.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        connect_timeout: float,
        ssl_context: ssl.SSLContext | None,
        egress: Egress | None = None,
        names: Names | None = None,
        clock: Clock | None = None,
    ) -> None:
        """``names`` resolves the next hop, Mangopay or the egress proxy; None: a resolver of its own, by ``clock``."""
        #: What new connections trust and show; None: no TLS. May be replaced at any time.
        self.ssl_context = ssl_context
        self.egress: Final = egress
        self._endpoint: Final = endpoint
        self._connect_timeout: Final = connect_timeout
        self._names: Final[Names] = names or Resolver("Mangopay" if egress is None else "the egress proxy", clock)

    @property
    def next_hop(self) -> tuple[str, int]:
        """Host and port of whoever is connected to: Mangopay, or the egress proxy."""
        hop = self.egress or self._endpoint
        return hop.host, hop.port

    async def dial(self, make: Callable[[], P], limit: float) -> tuple[P, socket.socket]:
        """Return a protocol made by ``make``, connected, and its socket.

        ``limit`` and the connect timeout (seconds) bound it together. Raises
        UpstreamError of kind RESOLVE, CONNECT, EGRESS (all of the way to the
        open tunnel) or TLS.
        """
        limit = min(limit, self._connect_timeout)
        egress = self.egress
        step = FailureKind.RESOLVE if egress is None else FailureKind.EGRESS
        loop, addresses = asyncio.get_running_loop(), None
        started = resolved = loop.time()
        timeout = PatientTimeout(limit)
        try:
            async with timeout:
                addresses = await self.resolve()
                resolved = loop.time()
                if egress is None:
                    step = FailureKind.CONNECT
                raw = await self.connect(addresses)
                await self.tunnel(raw)
                step = FailureKind.CONNECT if self.ssl_context is None else FailureKind.TLS
                return await self.shake_hands(raw, make), raw
        except (OSError, RuntimeError, UnicodeError, TunnelRefusedError) as error:
            # TimeoutError is an OSError, and the system raises it too (ETIMEDOUT).
            late = isinstance(error, TimeoutError) and timeout.expired()
            # After a slow lookup there was hardly time to connect: that says nothing against the addresses.
            tried = not late or resolved - started < limit / 2
            if addresses is not None and tried and not isinstance(error, TunnelRefusedError):
                self._names.doubt(*self.next_hop, addresses)
            raise before_a_byte(step, self._explain(step, f"not done within {limit:g} s" if late else error)) from error

    def _explain(self, step: FailureKind, why: str | Exception) -> str:
        if isinstance(why, Exception):
            why = explain_tunnel(why)[1] if isinstance(why, TunnelRefusedError) else os_detail(why)
        return f"{self.egress.name}: {why}" if step is FailureKind.EGRESS and self.egress else why

    # --- the steps ---------------------------------------------------------------------------------------------------

    async def resolve(self) -> Addresses:
        """Return the addresses of the next hop. Raises OSError (socket.gaierror) or UnicodeError."""
        return await self._names.resolve(*self.next_hop)

    async def connect(self, addresses: Addresses) -> socket.socket:
        """Return a socket that is connected to one of ``addresses``. Raises OSError."""
        return await connect(addresses)

    async def tunnel(self, raw: socket.socket) -> None:
        """Have the egress proxy open a tunnel on ``raw``, if there is one. Raises TunnelRefusedError or OSError."""
        if self.egress is not None:
            await self.egress.open_tunnel(raw, self._endpoint)

    async def shake_hands(self, raw: socket.socket, make: Callable[[], P], context: ssl.SSLContext | None = None) -> P:
        """Return a protocol made by ``make``, connected by ``raw``, once TLS is agreed on, if there is TLS.

        ``context`` stands in for :attr:`ssl_context`. Raises OSError (also ssl.SSLError) or RuntimeError.
        """
        loop, context = asyncio.get_running_loop(), context or self.ssl_context
        protocol = make()
        if context is None:
            await loop.create_connection(lambda: protocol, sock=raw)
        else:
            layer = TlsLayer(protocol, context, self._endpoint.name)
            await loop.create_connection(lambda: layer, sock=raw)
            await layer.opened()
        return protocol


def dialer_for(config: Config, trust: Trust | None, clock: Clock) -> Dialer:
    """Return the dialer that ``config`` asks for; ``trust`` is what its connections trust and show (None: no TLS)."""
    upstream = config.upstream
    return Dialer(
        config.mangopay.endpoint,
        connect_timeout=upstream.connect_timeout,
        ssl_context=None if trust is None else trust.context,
        egress=None if upstream.egress_proxy is None else Egress(upstream.egress_proxy),
        clock=clock,
    )
