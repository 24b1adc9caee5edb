"""The emulator as a server: sockets, faults, and the record of what came in."""

from __future__ import annotations

import asyncio
import itertools
import random
import secrets
from collections import deque
from typing import TYPE_CHECKING, Final, cast

import msgspec
import structlog
from aiohttp import web

from sidecar.emulator import canned, wire
from sidecar.emulator.api import CONTROL, Api
from sidecar.emulator.connection import Connection, Finished, Listener
from sidecar.emulator.control import Control
from sidecar.emulator.courier import Courier
from sidecar.emulator.engine.calls import is_token_endpoint
from sidecar.emulator.fault_rules import Family, Rule, Stage
from sidecar.emulator.faults import Faults
from sidecar.emulator.hooks import Outbox
from sidecar.emulator.loopback import is_loopback_name
from sidecar.emulator.messages import Headers, Request, split_path
from sidecar.emulator.moving import MovableClock
from sidecar.emulator.overview import Overview
from sidecar.emulator.reports import Reports
from sidecar.emulator.seen import Seen
from sidecar.emulator.sending import Exchange, Sender, pattern
from sidecar.emulator.settings import Credentials, Settings
from sidecar.emulator.state import State, Stats

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from sidecar.core.clock import Clock
    from sidecar.emulator.ledger import Ledger
    from sidecar.emulator.loopback import Trusted

_log = structlog.get_logger("emulator")

#: Request bodies announced to be larger get 413; Mangopay's own limit is far below.
_LARGEST_BODY: Final = 64 * 1024 * 1024
#: How many requests the page at ``/`` knows of.
_KEPT_SEEN: Final = 200
#: Seconds for what is left to leave when the emulator stops.
_GOODBYE: Final = 1.0
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class Received(msgspec.Struct, frozen=True):
    """A request as it came in. ``complete`` is false if its body was cut off, or never read."""

    method: str
    target: str
    headers: Headers
    body: bytes
    complete: bool
    connection: int
    arrived: float


class Emulator:
    """Mangopay on a port of your own.

    Everything it remembers is in ``state``, everything that goes wrong in ``faults``.
    With ``keep_received`` the last so many requests are kept, bodies and all, in
    ``received``. ``chance`` returns numbers in [0, 1) for faults with a probability.
    ``watch``, which can be set, is told of each request that is over, but for those of the control routes.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        settings: Settings | None = None,
        credentials: Credentials | None = None,
        keep_received: int = 0,
        keepalive_timeout: float = 75.0,
        token_hex: Callable[[int], str] = secrets.token_hex,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.clock: Final = MovableClock(clock)
        self.state: Final = State(self.clock, settings or Settings(), credentials or Credentials(), token_hex)
        self.faults: Final = Faults(chance)
        self.outbox: Final = Outbox(self.state, self.faults, self.clock)
        self.state.told = self.outbox.tell
        self._courier = Courier(self.outbox, self.state, self.clock)
        self.received: Final[deque[Received]] = deque(maxlen=keep_received)
        self.port = 0
        self._keepalive_timeout = keepalive_timeout
        self._reports = Reports(self.clock)
        self.api: Final = Api(self.state, self._reports, token_hex)
        self.control: Final = Control(self.state, self.faults, self.outbox, self.clock)
        self.seen: Final[deque[Seen]] = deque(maxlen=_KEPT_SEEN)
        self.watch: Callable[[Seen], None] = lambda seen: None
        self._overview = Overview(self.state, self.faults, self.outbox, self.control, self.seen)
        self._sender = Sender(self.clock)
        self._serials = itertools.count(1)
        self._active: set[asyncio.Task[object]] = set()
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self._listener: Listener | None = None

    @property
    def ledger(self) -> Ledger:
        """What was delivered and executed."""
        return self.state.ledger

    @property
    def stats(self) -> Stats:
        """Counts since the last reset."""
        return self.state.stats

    @property
    def url(self) -> str:
        """The base URL on this machine, once started."""
        return f"http://127.0.0.1:{self.port}"

    def trust(self, trusted: Trusted) -> None:
        """Let others use the control routes as well, and call their hooks."""
        self.control.trusted = self.outbox.trusted = trusted

    async def start(self, host: str = "127.0.0.1", port: int = 0, *, ssl_context: ssl.SSLContext | None = None) -> int:
        """Listen, and return the port; raises OSError if it cannot be had."""
        loop = asyncio.get_running_loop()
        self.state.scheme = "http" if ssl_context is None else "https"
        self._listener = Listener(self._handle, self._accepted, self._keepalive_timeout)
        self._server = await loop.create_server(self._listener, host, port, ssl=ssl_context, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]
        self.outbox.calling = is_loopback_name(host)
        self._courier.start()
        _log.info("emulator.ready", host=host, port=self.port)
        return self.port

    async def stop(self) -> None:
        """Stop listening, break off what runs, and close every connection."""
        if self._server is None or self._listener is None:
            return
        self._server.close()
        await self._courier.stop()
        for task in self._active:
            task.cancel()
        await asyncio.gather(*self._active, return_exceptions=True)
        lost = [connection.lost for connection in self._connections]
        await self._listener.shutdown(timeout=1.0)
        if lost and (await asyncio.wait(lost, timeout=_GOODBYE))[1]:
            self.close_connections(reset=True)  # their clients do not read what is left
            await asyncio.wait(lost)
        self._server = self._listener = None

    def close_connections(self, *, reset: bool = False) -> int:
        """Close every open connection, as a server does with idle ones; return how many."""
        connections = list(self._connections)
        for connection in connections:
            connection.end(reset=reset)
        return len(connections)

    def _accepted(self, connection: Connection) -> int:
        self._connections.add(connection)
        connection.lost.add_done_callback(lambda _: self._connections.discard(connection))
        self.stats.connections += 1
        if self.faults and (rule := self.faults.pick_connect()) is not None:
            self.stats.faults += 1
            connection.end(reset=rule.action == "reset")
        return next(self._serials)

    async def _handle(self, web_request: web.BaseRequest) -> Finished:
        task = cast("asyncio.Task[object]", asyncio.current_task())
        self._active.add(task)
        try:
            return await self._exchange(web_request)
        except ConnectionError:
            raise  # the client has gone: aiohttp knows what to do
        except Exception:
            _log.exception("emulator.failed")
            raise
        finally:
            self._active.discard(task)

    async def _exchange(self, web_request: web.BaseRequest) -> Finished:
        self.stats.requests += 1
        exchange = self._begin(web_request)
        try:
            return await self._respond(web_request, exchange)
        finally:
            if not _is_ours(exchange.request):
                self._tell(exchange)

    def _tell(self, exchange: Exchange) -> None:
        """Let people see a request that is over."""
        request, rule = exchange.request, exchange.rule
        fault = None if rule is None else rule.action
        seen = Seen(self.clock.wall(), request.method, request.path, exchange.status, fault)
        self.seen.append(seen)
        self.watch(seen)

    async def _respond(self, web_request: web.BaseRequest, exchange: Exchange) -> Finished:
        rule, request = exchange.rule, exchange.request
        if rule is not None and rule.at is Stage.HEAD:
            self._note(exchange, complete=False)
            return await self._fail(exchange, rule)
        if not request.target.isascii():  # RFC 3986 section 2; aiohttp lets such bytes pass
            exchange.keep_alive = False
            return await self._sender.send(exchange, self._reports.error(400, "bad_request", "The path must be ASCII"))
        if _announced(request) > _LARGEST_BODY:
            exchange.keep_alive = False
            return await self._sender.send(exchange, self._reports.error(413, "payload_too_large", "Too large"))
        body = await self._read_body(exchange)
        if body is None:
            self.stats.cut_requests += 1
            self._note(exchange, complete=False)
            return Finished(keep_alive=False)
        exchange.request = request = msgspec.structs.replace(request, body=body)
        self._note(exchange, complete=True)
        if _is_ours(request):
            answering = self.control if request.segments else self._overview
            return await self._sender.send(exchange, answering.response(request, web_request.remote))
        exchange.entry = self.api.deliver(request)
        if rule is not None:
            return await self._faulty(exchange, rule)
        return await self._sender.send(exchange, self.api.response(request, exchange.entry))

    def _begin(self, web_request: web.BaseRequest) -> Exchange:
        """Read the head, and see which fault the request falls under."""
        target = web_request.raw_path
        path, _, query = target.partition("?")
        segments = split_path(path)
        request = Request(web_request.method, target, segments, query, web_request.raw_headers, b"", self.clock.now())
        rule = None
        if self.faults and not _is_ours(request):
            rule = self.faults.pick(request.method, segments)
            self.stats.faults += rule is not None
        connection = cast("Connection", web_request.protocol)
        connection.body = web_request.content
        return Exchange(web_request, connection, request, rule, web_request.keep_alive)

    def _note(self, exchange: Exchange, *, complete: bool) -> None:
        if self.received.maxlen:
            request = exchange.request
            serial = exchange.connection.serial
            self.received.append(
                Received(
                    request.method, request.target, request.headers, request.body, complete, serial, request.arrived
                )
            )

    async def _read_body(self, exchange: Exchange) -> bytes | None:
        """Return the whole body, or None if it was cut off; invites it first if the client waits for that."""
        expect = exchange.request.header(b"expect")
        transport = exchange.connection.transport
        if expect is not None and expect.lower() == b"100-continue" and transport is not None:
            transport.write(_CONTINUE)
        content = exchange.web_request.content
        pieces = []
        try:
            while piece := await content.readany():
                pieces.append(piece)
        except (OSError, web.RequestPayloadError):
            return None
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def _faulty(self, exchange: Exchange, rule: Rule) -> Finished:
        """Answer a request that arrived whole, as its fault says."""
        await self._sender.pause(rule.delay)
        if rule.at is Stage.BEFORE and rule.family is not Family.NOTHING:
            return await self._fail(exchange, rule)
        response = self.api.response(exchange.request, exchange.entry)
        await self._sender.pause(rule.answer_delay)
        if rule.at is Stage.AFTER:
            return await self._fail(exchange, rule)
        if rule.at is Stage.DURING:
            if response.generated is not None:
                response = msgspec.structs.replace(response, body=pattern(response.generated), generated=None)
            parts = self._sender.form(exchange, response)
            if rule.family is Family.CONNECTION:
                ends = {"reset": wire.End.RESET, "close": wire.End.CLOSE, "hang": wire.End.KEEP}
                return await self._sender.write(
                    exchange, wire.started(parts, ends[rule.action]), hang=rule.action == "hang"
                )
            return await self._sender.write(exchange, wire.DAMAGES[rule.action](parts, rule))
        return await self._sender.send(exchange, response)

    async def _fail(self, exchange: Exchange, rule: Rule) -> Finished:
        """Break off here, or give the fault's own response."""
        for_token = is_token_endpoint(exchange.request.segments)
        response = None
        if rule.family is not Family.CONNECTION:
            kind = self.state.settings.unauthorized_type
            url = self.api.sca_url(exchange.request) if rule.action == "sca" else ""
            response = canned.response(rule, self._reports, kind, for_token=for_token, sca_url=url)
        if for_token and rule.at is not Stage.AFTER:
            self.api.token_endpoint.note(exchange.request, 0 if response is None else response.status)
        if response is None:
            if rule.action == "hang":
                await exchange.connection.gone()
            exchange.connection.end(reset=rule.action == "reset")
            return Finished(keep_alive=False)
        # A request whose body was not read leaves the connection in an unknown state.
        exchange.keep_alive = exchange.keep_alive and rule.at is not Stage.HEAD
        return await self._sender.send(exchange, response)


def _is_ours(request: Request) -> bool:
    """Tell whether a request is for a control route, or for the page at ``/``.

    The two test resources are neither, nor is ``/`` with a token: those behave as API calls.
    """
    segments = request.segments
    if not segments:
        return request.header(b"authorization") is None
    return segments[0] == CONTROL and segments[1:] not in {("echo",), ("bytes",)}


def _announced(request: Request) -> int:
    """Return the Content-Length; the parser has seen to it that it is a number."""
    return int(request.header(b"content-length") or 0)
