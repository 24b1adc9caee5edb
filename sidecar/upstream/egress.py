"""The way out through one fixed address: an HTTP proxy that opens a tunnel to upstream."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from sidecar.core.http.tunnel import TunnelResponse, authority, connect_request

if TYPE_CHECKING:
    import socket

    from sidecar.config import EgressProxy
    from sidecar.core.endpoint import Endpoint

#: Bytes read at once. A proxy's response to CONNECT has some hundred.
_PIECE: Final = 4096


class Egress:
    """An egress proxy (``upstream.egress_proxy``).

    It resolves upstream's name and connects there; TLS is agreed on inside the
    tunnel, so it sees neither requests nor responses. A plain ``http://`` upstream
    is reached through a tunnel too.
    """

    def __init__(self, proxy: EgressProxy) -> None:
        self.host: Final = proxy.host
        self.port: Final = proxy.port
        #: For messages: without the credentials.
        self.name: Final = f"egress proxy {authority(proxy.host, proxy.port)}"
        self._proxy: Final = proxy

    async def open_tunnel(self, raw: socket.socket, destination: Endpoint) -> None:
        """Ask for a tunnel on ``raw``, which is connected to the proxy; then it leads to ``destination``.

        Raises TunnelRefusedError, and OSError; ``raw`` is closed then.
        """
        request = connect_request(
            authority(destination.host, destination.port), self._proxy.username, self._proxy.password
        )
        try:
            await _ask(raw, request)
        except BaseException:
            raw.close()
            raise


async def _ask(raw: socket.socket, request: bytes) -> None:
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(raw, request)
    response = TunnelResponse()
    while not response.feed(await loop.sock_recv(raw, _PIECE)):
        pass
