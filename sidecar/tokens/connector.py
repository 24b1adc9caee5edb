"""aiohttp's client on the connections of our dialer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

import aiohttp

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Callable

    from aiohttp.client_proto import ResponseHandler
    from aiohttp.client_reqrep import ClientRequest
    from aiohttp.tracing import Trace

    P = TypeVar("P", bound=asyncio.Protocol)


class Dialer(Protocol):
    """Opens connections to the one endpoint that there is: verified, through the egress proxy if there is one."""

    async def dial(self, make: Callable[[], P], limit: float) -> tuple[P, socket.socket]:
        """Return a protocol made by ``make``, connected, and its socket, within ``limit`` seconds or less.

        Raises UpstreamError.
        """
        ...


class DialedConnector(aiohttp.BaseConnector):
    """Gets the connection of one request from a dialer, whatever the request's URL says.

    ``BaseConnector`` leaves exactly this to its subclasses, ``UnixConnector``
    among them (tests/wire/test_token_fetcher.py would notice a change).
    """

    def __init__(self, dialer: Dialer) -> None:
        super().__init__(force_close=True, limit=1)
        self._dialer: Final = dialer
        self._transport: asyncio.BaseTransport | None = None

    @property
    def tls_error(self) -> BaseException | None:
        """Why TLS ended the connection, if it did.

        After an alert that came before the request was written, aiohttp itself only says that it could not write.
        """
        return None if self._transport is None else self._transport.get_extra_info("tls_error")

    async def _create_connection(
        self, req: ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> ResponseHandler:
        protocol, _ = await self._dialer.dial(self._factory, math.inf)  # it has a timeout of its own
        self._transport = protocol.transport
        return protocol
