"""The admin port's server: health and metrics for everybody, status for loopback peers. GET and HEAD only.

``/healthz``, ``/readyz`` and ``/metrics`` are asked by probes, at the pod's
address and by any name. ``/status``, ``/events`` and the page at ``/`` tell more:
their peer must be on this machine, and the Host and browser rules of the proxy
port hold, so that no web page reads them by a rebound name or across origins.
"""

from __future__ import annotations

import ipaddress
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import msgspec
import structlog
from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from sidecar.admin.events import EventStream, EventStreams
from sidecar.core.admission.guard import check_guard
from sidecar.core.errors import ErrorCode, SidecarError
from sidecar.runtime import Tasks
from sidecar.telemetry.exposition import CONTENT_TYPE
from sidecar.telemetry.line_format import exception_fields

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from aiohttp.web_request import BaseRequest

    from sidecar.admin.state import AdminState
    from sidecar.core.admission.guard import GuardRules
    from sidecar.core.clock import Clock

#: Headers of a request at most, and bytes of one; browsers send some 20, and cookies of other ports of this machine.
_MOST_HEADERS: Final = 32
_LONGEST_FIELD: Final = 4096
#: Seconds for a request's head to arrive, and for an idle connection to stay.
_IDLE: Final = 15.0

#: Seconds for responses under way when the sidecar ends.
_GOODBYE: Final = 0.2

#: Seconds after which a page that found no room for its stream tries again.
_RETRY_STREAM: Final = 5

_JSON: Final = "application/json"
_HTML: Final = "text/html; charset=utf-8"
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    # In place of aiohttp's own, which names its version and Python's.
    "Server": "mangopay-sidecar",
}
_NOT_FOR_PAGES: Final = "another web page may not read this, nor lead here: type the address into the browser yourself"
_METHODS: Final = frozenset({"GET", "HEAD"})

_log = structlog.get_logger()


class AdminServer(web.Server):
    """The protocol factory of the admin port, for ``loop.create_server``."""

    def __init__(self, state: AdminState, guard: GuardRules, *, clock: Clock, most_connections: int = 32) -> None:
        """``most_connections`` may be open; probes, one scraper and a few people need fewer than 32."""
        self.most_connections: Final = most_connections
        self._tasks = Tasks()
        self._streams = EventStreams(state, clock=clock, tasks=self._tasks)
        routes = _Routes(state, guard, self._streams)
        super().__init__(
            routes.serve,
            access_log=None,
            keepalive_timeout=_IDLE,
            lingering_time=0,
            # A head of 128 KiB at most, and hardly any of a body, which no route reads.
            max_headers=_MOST_HEADERS,
            max_field_size=_LONGEST_FIELD,
            read_bufsize=_LONGEST_FIELD,
        )

    async def close(self) -> None:
        """End every connection, idle ones and streams at once.

        Not by ``shutdown(0)``: to aiohttp that means without a timeout.
        """
        self._streams.close()
        await self.shutdown(_GOODBYE)
        await self._tasks.close()

    def __call__(self) -> RequestHandler:
        """Make the protocol of a new connection."""
        return _AdminConnection(self, loop=self._loop, **self._kwargs)


class _AdminConnection(RequestHandler):
    """A connection to the admin port. The response to a bad request repeats nothing of it."""

    __slots__ = ("stream",)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        #: The event stream that it has become.
        self.stream: EventStream | None = None
        super().connection_made(transport)
        if isinstance(self._manager, AdminServer) and len(self._manager.connections) > self._manager.most_connections:
            self._make_room(self._manager.connections)

    def connection_lost(self, exc: BaseException | None) -> None:
        if self.stream is not None:
            self.stream.end()
        super().connection_lost(exc)

    def _make_room(self, connections: Sequence[RequestHandler]) -> None:
        """Close another connection, so that a probe is answered whoever else is here.

        The oldest that waits for a request; else the oldest that does not read
        its response, as nothing else takes long. Streams stay: they are few.
        """
        others = [each for each in connections if each is not self and not _is_stream(each)]
        idle = [each for each in others if not each._request_in_progress]
        for connection in (idle or others)[:1]:
            if connection.transport is not None and connection._request_in_progress:
                connection.transport.abort()
            connection.force_close()

    def handle_error(
        self,
        request: BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # aiohttp's words: they may quote the request
    ) -> web.StreamResponse:
        if exc is not None and status == 500:
            _log.error("admin.failed", **exception_fields(exc))
        response = _error(status, "internal_error" if status == 500 else "bad_request", "the request failed")
        response.force_close()
        return response


def _is_stream(connection: RequestHandler) -> bool:
    return isinstance(connection, _AdminConnection) and connection.stream is not None


class _Routes:
    """Every route, and who may ask it."""

    def __init__(self, state: AdminState, guard: GuardRules, streams: EventStreams) -> None:
        self._state = state
        self._guard = guard
        self._streams = streams
        self._open: Final[dict[str, Callable[[], web.StreamResponse]]] = {
            "/healthz": self._healthz,
            "/readyz": self._readyz,
            "/metrics": self._metrics,
        }
        self._guarded: Final[dict[str, Callable[[], web.StreamResponse]]] = {
            "/status": self._status,
            "/events": self._events,
            "/": self._page,
        }

    async def serve(self, request: BaseRequest) -> web.StreamResponse:
        path = request.raw_path.partition("?")[0]
        route = self._open.get(path) or self._guarded.get(path)
        if route is None:
            return _error(404, "not_found", "there is /healthz, /readyz, /metrics, /status, /events and /")
        if request.method not in _METHODS:
            response = _error(405, "method_not_allowed", "no admin route changes anything: use GET")
            response.headers["Allow"] = "GET, HEAD"
            return response
        if path in self._guarded and (refusal := self._refuse(request)) is not None:
            return refusal
        return route()

    def _refuse(self, request: BaseRequest) -> web.Response | None:
        if not _is_loopback_peer(request):
            return _error(403, "not_local", "this is shown on the sidecar's own machine (or pod) only")
        # The page may fetch its own data; a page elsewhere is "cross-site" or "same-site", or has another Host.
        raw = tuple(header for header in request.raw_headers if not _is_own_fetch(*header))
        try:
            check_guard(raw, self._guard)
        except SidecarError as error:
            _log.warning("admin.refused", error=error.code, detail=error.detail)
            message = _NOT_FOR_PAGES if error.code is ErrorCode.BROWSER_NOT_ALLOWED else error.message
            return _error(error.status, error.code, message)
        return None

    def _healthz(self) -> web.Response:
        return _respond(b'{"status":"ok"}', _JSON)

    def _readyz(self) -> web.Response:
        ready = self._state.readiness()
        return _respond(msgspec.json.encode(ready), _JSON, status=200 if ready.ready else 503)

    def _metrics(self) -> web.Response:
        return _respond(self._state.metrics(), CONTENT_TYPE)

    def _status(self) -> web.Response:
        return _respond(msgspec.json.encode(self._state.status()), _JSON)

    def _events(self) -> web.StreamResponse:
        if self._streams.full:
            response = _error(503, "overloaded", "too many pages are open: close one")
            response.headers["Retry-After"] = str(_RETRY_STREAM)
            return response
        return _EventResponse(self._streams, self._streams.everything())

    def _page(self) -> web.Response:
        from sidecar.admin.page import page  # read and put together when somebody looks at it

        response = _respond(page().html, _HTML)
        response.headers["Content-Security-Policy"] = page().policy
        return response


class _EventResponse(web.StreamResponse):
    """A response without an end: events, until the page or the sidecar leaves."""

    def __init__(self, streams: EventStreams, everything: bytes) -> None:
        super().__init__()
        self.force_close()
        self._streams = streams
        self._everything = everything

    async def prepare(self, request: BaseRequest) -> None:
        """Write head and events by ourselves, since aiohttp would wait for slow readers."""
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the page left at once")
        transport.write(_STREAM_HEAD)
        if request.method == "HEAD":
            return
        stream = EventStream(transport)
        if isinstance(request.protocol, _AdminConnection):
            request.protocol.stream = stream
        try:
            self._streams.join(stream, self._everything)
            await stream.ended()
        finally:
            self._streams.leave(stream)

    async def write_eof(self, data: bytes = b"") -> None:
        """Do nothing: the connection's end is the stream's."""


def _is_own_fetch(name: bytes, value: bytes) -> bool:
    return value == b"same-origin" and name.lower() == b"sec-fetch-site"


def _is_loopback_peer(request: BaseRequest) -> bool:
    transport = request.transport
    peer = None if transport is None else transport.get_extra_info("peername")
    if not isinstance(peer, tuple):
        return False
    address = ipaddress.ip_address(peer[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def _respond(body: bytes, content_type: str, *, status: int = 200) -> web.Response:
    return web.Response(body=body, status=status, headers={**_HEADERS, "Content-Type": content_type})


_STREAM_HEAD: Final = "\r\n".join(
    (
        f"HTTP/1.1 200 {HTTPStatus.OK.phrase}",
        *(f"{name}: {value}" for name, value in _HEADERS.items()),
        "Content-Type: text/event-stream",
        "Connection: close",
        "",
        "",
    )
).encode("ascii")


def _error(status: int, code: str, message: str) -> web.Response:
    return _respond(msgspec.json.encode({"error": code, "message": message}), _JSON, status=status)
