"""A request as the handler gets it, and what the handler may ask of the connection that it came on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from aiohttp.http import HttpVersion
    from aiohttp.streams import StreamReader

    from sidecar.core.http.header_index import RawHeaders
    from sidecar.downstream.response_writer import ResponseWriter
    from sidecar.telemetry.record import CallRecord


class Caller(Protocol):
    """The caller that waits for the response: :class:`sidecar.downstream.connection.CallerConnection`."""

    #: Called once if the caller leaves while its request is being answered. Set and unset by the handler.
    on_caller_gone: Callable[[], None] | None

    #: The record of the request that is being answered, once the handler has opened it.
    record: CallRecord | None

    #: The task that answers this connection's requests.
    task: asyncio.Task[None] | None
    #: Where the response goes.
    writer: ResponseWriter

    @property
    def last_request(self) -> bool:
        """Whether the connection ends after the current request, whatever its response says."""

    def start_body_timer(self, budget_wait: asyncio.Future[None] | None = None) -> None:
        """Give the caller ``listen.body_timeout`` from now to send more of its body; less if it was too slow before.

        When it is over, reading the body fails with ``request_timeout``; or
        ``budget_wait`` fails with ``overloaded``, if that is what is waited for.
        """

    def stop_body_timer(self) -> None:
        """End what :meth:`start_body_timer` began."""


class CallerRequest:
    """A request as the handler gets it; the names are those of aiohttp's ``BaseRequest``."""

    __slots__ = ("connection", "content", "method", "raw_headers", "raw_path", "version")

    def __init__(
        self,
        method: str,
        raw_path: str,
        version: HttpVersion,
        raw_headers: RawHeaders,
        content: StreamReader,
        connection: Caller,
    ) -> None:
        self.method: Final = method
        #: The request target as it was sent, query included.
        self.raw_path: Final = raw_path
        self.version: Final = version
        self.raw_headers: Final = raw_headers
        #: The body; :mod:`sidecar.proxy.body` reads it.
        self.content: Final = content
        #: The connection that it came on.
        self.connection: Final = connection

    def __repr__(self) -> str:
        """Say which method it has: its target and headers may hold secrets, the caller key among them."""
        return f"<CallerRequest {self.method}>"
