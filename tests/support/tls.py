"""A TLS layer with a test between it and its socket: the same in the compiled build, where it is native code."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from sidecar.upstream.tls_transport import TlsLayer

if TYPE_CHECKING:
    import ssl

#: Where connections to upstream get their layer from.
MADE_IN: Final = "sidecar.upstream.dialing.TlsLayer"


class WatchedLayer(asyncio.Protocol):
    """Passes all that the socket's transport says on to a layer. Tests derive from it."""

    def __init__(self, protocol: asyncio.Protocol, context: ssl.SSLContext, server_hostname: str) -> None:
        self.layer: Final = TlsLayer(protocol, context, server_hostname)

    async def opened(self) -> None:
        await self.layer.opened()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.layer.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        self.layer.data_received(data)

    def eof_received(self) -> bool:
        return self.layer.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self.layer.connection_lost(exc)

    def pause_writing(self) -> None:
        self.layer.pause_writing()

    def resume_writing(self) -> None:
        self.layer.resume_writing()
