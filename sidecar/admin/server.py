"""The admin port's server: health and metrics for everybody, status for loopback peers. GET and HEAD only.

``/healthz``, ``/readyz`` and ``/metrics`` are asked by probes, at the pod's
address and by any name. ``/status`` and ``/`` tell more: their peer must be on
this machine, and the Host and browser rules of the proxy port hold, so that no
web page reads them by a rebound name or across origins.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final

import msgspec
import structlog
from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from sidecar.admin.words import in_words
from sidecar.core.errors import SidecarError
from sidecar.core.guard import check_guard
from sidecar.telemetry.exposition import CONTENT_TYPE
from sidecar.telemetry.line_format import exception_fields

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from aiohttp.web_request import BaseRequest

    from sidecar.admin.state import AdminState
    from sidecar.core.guard import GuardRules

#: Connections at most; probes, one scraper and a few people need far fewer.
_MOST_CONNECTIONS: Final = 64
#: Seconds for a request's head to arrive, and for an idle connection to stay.
_IDLE: Final = 15.0

#: Seconds for answers under way when the sidecar ends.
_GOODBYE: Final = 0.2

_JSON: Final = "application/json"
_TEXT: Final = "text/plain; charset=utf-8"
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    # In place of aiohttp's own, which names its version and Python's.
    "Server": "mangopay-sidecar",
}
_METHODS: Final = frozenset({"GET", "HEAD"})

_log = structlog.get_logger()


class AdminServer(web.Server):
    """The protocol factory of the admin port, for ``loop.create_server``."""

    def __init__(self, state: AdminState, guard: GuardRules) -> None:
        super().__init__(_Routes(state, guard).serve, access_log=None, keepalive_timeout=_IDLE, lingering_time=0)

    async def close(self) -> None:
        """End every connection, idle ones at once. Not ``shutdown(0)``: to aiohttp that means without a timeout."""
        await self.shutdown(_GOODBYE)

    def __call__(self) -> RequestHandler:
        """Make the protocol of a new connection."""
        return _AdminConnection(self, loop=self._loop, **self._kwargs)


class _AdminConnection(RequestHandler):
    """A connection to the admin port; says nothing of a bad request but that it is bad."""

    __slots__ = ()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self._manager is not None and len(self._manager.connections) > _MOST_CONNECTIONS:
            self._make_room(self._manager.connections)

    def _make_room(self, connections: Sequence[RequestHandler]) -> None:
        """Close the oldest connection that waits for a request, so that a probe is answered whoever else is here."""
        for connection in connections:
            if connection is not self and not connection._request_in_progress:
                connection.force_close()
                return
        self.force_close()

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


class _Routes:
    """Every route, and who may ask it."""

    def __init__(self, state: AdminState, guard: GuardRules) -> None:
        self._state = state
        self._guard = guard
        self._open: Final[dict[str, Callable[[], web.Response]]] = {
            "/healthz": self._healthz,
            "/readyz": self._readyz,
            "/metrics": self._metrics,
        }
        self._guarded: Final[dict[str, Callable[[], web.Response]]] = {"/status": self._status, "/": self._summary}

    async def serve(self, request: BaseRequest) -> web.StreamResponse:
        path = request.raw_path.partition("?")[0]
        route = self._open.get(path) or self._guarded.get(path)
        if route is None:
            return _error(404, "not_found", "there is /healthz, /readyz, /metrics, /status and /")
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
            return _error(error.status, error.code, error.message)
        return None

    def _healthz(self) -> web.Response:
        return _answer(b'{"status":"ok"}', _JSON)

    def _readyz(self) -> web.Response:
        ready = self._state.readiness()
        return _answer(msgspec.json.encode(ready), _JSON, status=200 if ready.ready else 503)

    def _metrics(self) -> web.Response:
        return _answer(self._state.metrics(), CONTENT_TYPE)

    def _status(self) -> web.Response:
        return _answer(msgspec.json.encode(self._state.status()), _JSON)

    def _summary(self) -> web.Response:
        return _answer(in_words(self._state.status()).encode(), _TEXT)


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


def _answer(body: bytes, content_type: str, *, status: int = 200) -> web.Response:
    return web.Response(body=body, status=status, headers={**_HEADERS, "Content-Type": content_type})


def _error(status: int, code: str, message: str) -> web.Response:
    return _answer(msgspec.json.encode({"error": code, "message": message}), _JSON, status=status)
