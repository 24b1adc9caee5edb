"""The proxy port with a handler of the test's own behind it: real sockets, time moved by hand."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sidecar.config.model import Listen
from sidecar.core.http.framing import check_request
from sidecar.downstream.connection import CallerConnection, ConnectionPhase
from sidecar.downstream.limits import ConnectionLimits
from sidecar.downstream.listener import Listeners
from sidecar.downstream.request import CallerRequest
from sidecar.downstream.response import AlreadySent, CallerResponse, RawResponse
from sidecar.downstream.server import ProxyServer
from sidecar.proxy.body import BodyLimits, BodyReader, RequestBody
from sidecar.proxy.budget import ReplayBudget
from sidecar.runtime import Tasks
from tests.support.clock import FakeClock
from tests.support.raw_client import PATIENCE, RawClient

if TYPE_CHECKING:
    from pathlib import Path

    from sidecar.core.errors import SidecarError

Handler = Callable[[CallerRequest], Awaitable[CallerResponse]]

#: A request that is answered at once.
GET = b"GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n"


def get(target: str, *headers: str) -> bytes:
    """Return a GET request."""
    lines = "".join(f"{header}\r\n" for header in headers)
    return f"GET {target} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n".encode("latin-1")


def post(target: str, body: bytes, *headers: str) -> bytes:
    """Return a POST request with a length."""
    lines = "".join(f"{header}\r\n" for header in (*headers, f"Content-Length: {len(body)}"))
    return f"POST {target} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n".encode("latin-1") + body


def chunked(target: str, *headers: str) -> bytes:
    """Return the head of a chunked POST."""
    lines = "".join(f"{header}\r\n" for header in (*headers, "Transfer-Encoding: chunked"))
    return f"POST {target} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n".encode("latin-1")


def ok(body: bytes = b"ok", *, keep_alive: bool = True) -> RawResponse:
    """Return a plain 200."""
    close = b"" if keep_alive else b"Connection: close\r\n"
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%b\r\n" % (len(body), close)
    return RawResponse(head, body, keep_alive)


def listen_limits(**changes: float) -> ConnectionLimits:
    """Return the defaults of ``[listen]``, but for ``changes``."""
    defaults = {each.name: getattr(Listen(), each.name) for each in dataclasses.fields(ConnectionLimits)}
    return ConnectionLimits(**{**defaults, **changes})


@dataclass(eq=False)
class Port:
    """A listening port, and what its handler saw."""

    server: ProxyServer
    clock: FakeClock
    bodies: BodyReader
    budget: ReplayBudget
    listeners: Listeners
    #: Targets in the order in which the handler got them.
    seen: list[str] = field(default_factory=list)
    #: Codes of the errors that no handler saw.
    reported: list[str] = field(default_factory=list)

    @property
    def address(self) -> tuple[str, int]:
        """Where the port is."""
        port = self.listeners.bound[0].port
        assert port is not None
        return "127.0.0.1", port

    @property
    def connection(self) -> CallerConnection:
        """The only connection."""
        (connection,) = self.server.connections
        assert isinstance(connection, CallerConnection)
        return connection

    async def client(self, **options: Any) -> RawClient:
        """Connect."""
        return await RawClient.connect(self.address, **options)

    async def phase(self, phase: ConnectionPhase) -> None:
        """Wait until the only connection is in a phase."""
        await until(lambda: len(self.server.connections) == 1 and self.connection.phase is phase)

    async def read(self, request: CallerRequest) -> RequestBody:
        """Read a request's body under the real rules."""
        return await self.bodies.read(request, check_request(request.method, request.version, request.raw_headers))

    async def echo(self, request: CallerRequest) -> CallerResponse:
        """Answer with method, target and the body."""
        body = await self.read(request)
        try:
            content = body.content
            if not isinstance(content, bytes):
                content = b"".join([piece async for piece in content])
        finally:
            body.release()
        keep_alive = not request.connection.last_request
        return ok(f"{request.method} {request.raw_path} ".encode() + content, keep_alive=keep_alive)


async def until(condition: Callable[[], bool]) -> None:
    """Wait until ``condition`` holds: for another end's socket, mostly."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.001)


@contextlib.asynccontextmanager
async def serve(
    handler: Callable[[Port], Handler] | None = None,
    *,
    limits: ConnectionLimits | None = None,
    replay_max_body: int = 16 * 1024 * 1024,
    budget: int = 64 * 1024 * 1024,
    unix_socket: Path | None = None,
    unix_socket_mode: int = 0o600,
    allowed_uids: frozenset[int] | None = None,
) -> AsyncIterator[Port]:
    """Serve ``handler(port)``, or ``port.echo``."""
    limits = limits or listen_limits()
    clock = FakeClock()
    tasks = Tasks()
    listeners = Listeners("LISTEN")
    replay_budget = ReplayBudget(budget)
    bodies = BodyReader(BodyLimits(limits.max_body, replay_max_body), replay_budget)

    async def handle(request: CallerRequest) -> CallerResponse:
        port.seen.append(f"{request.method} {request.raw_path}")
        return await response(request)

    def report(error: SidecarError) -> str:
        port.reported.append(error.code)
        return f"id-{len(port.reported)}"

    server = ProxyServer(handle, limits=limits, clock=clock, report=report)
    port = Port(server, clock, bodies, replay_budget, listeners)
    response = handler(port) if handler is not None else port.echo
    server.run(tasks)
    if unix_socket is not None:
        await listeners.open_unix(unix_socket, unix_socket_mode, server.unix_factory(allowed_uids))
    else:
        await listeners.open_tcp(["127.0.0.1"], 0, server)
    try:
        yield port
    finally:
        listeners.close()
        await server.close()
        await tasks.close()


__all__ = ["GET", "AlreadySent", "Handler", "Port", "chunked", "get", "listen_limits", "ok", "post", "serve", "until"]
