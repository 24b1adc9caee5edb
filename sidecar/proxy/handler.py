"""The proxy port's handler: the straight line that every call walks.

::

    framing ─► guard ─► target ─┬─► local token, or what this port is
                                └─► caller ─► policy ─► ClientId ─► lane ─► body ─► forward ─► relay

Each step is a function of another module. One that refuses raises SidecarError,
which becomes a response in one place.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from sidecar.core.admission.guard import check_guard
from sidecar.core.admission.lane import LANES
from sidecar.core.admission.target import parse_target
from sidecar.core.admission.target_verdict import Route
from sidecar.core.deprecation import DEPRECATED
from sidecar.core.errors import Outcome, SidecarError
from sidecar.core.http.framing import check_request
from sidecar.core.http.header_index import HeaderIndex, RawHeaders, index_of
from sidecar.core.http.headers import RequestTemplate, filter_request_headers
from sidecar.core.http.trace_context import without_context
from sidecar.core.http.traced_request import TracedTemplate
from sidecar.core.idempotency_key import idempotency_key
from sidecar.core.redact import mask_path
from sidecar.downstream.error_response import error_response
from sidecar.downstream.errors import CallerGoneError
from sidecar.downstream.refusals import internal_error, interrupted_by_shutdown
from sidecar.downstream.response import AlreadySent, RawResponse
from sidecar.proxy.body import NO_BODY, StreamingBody
from sidecar.proxy.call import Call
from sidecar.proxy.local_token import LocalTokens
from sidecar.proxy.outgoing import ForwardRequest, Request
from sidecar.proxy.relay import relay_stream, relay_whole
from sidecar.telemetry.record import CallRecord
from sidecar.telemetry.unforeseen import log_unforeseen
from sidecar.tokens.failures import shutting_down

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.core.admission.target import Target
    from sidecar.core.clock import Clock
    from sidecar.core.http.messages import BodyFraming
    from sidecar.downstream.request import CallerRequest
    from sidecar.proxy.about import About
    from sidecar.proxy.admission import Admission
    from sidecar.proxy.body import BodyReader, Content
    from sidecar.proxy.forward import Forwarder
    from sidecar.proxy.upstream_response import UpstreamResponse
    from sidecar.telemetry.recorder import CallRecorder
    from sidecar.tokens.credentials import Credentials

    #: By a request's raw headers and their index.
    Correlate = Callable[[CallRecord, RawHeaders, HeaderIndex], None]


# Read for each call: Python 3.11 finds a global of the module faster than a member of an enum.
_UNKNOWN: Final = Outcome.UNKNOWN
_OWN_ROUTES: Final = (Route.LOCAL_TOKEN, Route.ABOUT)


class ProxyHandler:
    """Serves the calls of the proxy port."""

    def __init__(  # noqa: PLR0913 - the steps of a call
        self,
        admission: Admission,
        credentials: Credentials,
        bodies: BodyReader,
        forwarder: Forwarder,
        about: About,
        *,
        recorder: CallRecorder,
        clock: Clock,
        correlate: Correlate = CallRecord.correlate,
    ) -> None:
        """``correlate`` notes what a call belongs to: its trace, too, where there are traces."""
        self._admission: Final = admission
        self._credentials: Final = credentials
        self._bodies: Final = bodies
        self._forwarder: Final = forwarder
        self._recorder: Final = recorder
        self._clock: Final = clock
        self._correlate: Final = correlate
        self._prefix: Final = admission.endpoint.prefix
        self._host: Final = admission.endpoint.host_header
        self._about: Final = about
        self._local_tokens: Final = LocalTokens(admission.callers)
        # Whether a call that is admitted shows that its caller has the key.
        self._proves: Final = admission.callers.needs_key
        self._calls: Final[set[Call]] = set()
        #: Every new request is answered 503 ``shutting_down``.
        self.draining = False

    def cut_short(self) -> None:
        """Stop every call that still runs: the time to drain is over."""
        for call in list(self._calls):
            call.cut_short()

    async def __call__(self, request: CallerRequest) -> RawResponse | AlreadySent:
        """Answer one request. Raises CallerGoneError if nobody waits for the response any more.

        An outcome ``unknown`` is told, by a response or by a cut, only once it is in the log: then nothing that ends
        this process can hide it. A response that was started and not finished is cut by the connection.
        """
        connection = request.connection
        record = self._recorder.open(request.method, request.raw_path)
        call = Call(request.method, connection, record, self._clock)
        connection.on_caller_gone, connection.record = call.caller_gone, record
        self._calls.add(call)
        response: RawResponse | AlreadySent
        try:
            response = await self._serve(call, request)
        except SidecarError as error:
            response = self._refuse(call, request, error)
        except CallerGoneError:
            self._abandon(call)
            raise
        except Exception as bug:  # noqa: BLE001 - whatever it is, it ends this call and no other
            response = self._break_down(call, request, bug)
        except asyncio.CancelledError:
            if not call.stopped_here():
                self._note(call, request, interrupted_by_shutdown(call.outcome()))
                raise
            if call.gone:
                self._abandon(call)
                raise CallerGoneError from None
            response = self._refuse(call, request, call.cut_error())
        finally:
            connection.on_caller_gone = None
            if call.turn is not None:
                call.turn.end()
            self._calls.discard(call)
            self._recorder.close(record)
        if record.outcome is _UNKNOWN:
            await self._recorder.confirm()
        return response

    async def _serve(self, call: Call, request: CallerRequest) -> RawResponse | AlreadySent:
        admission, record, method, raw = self._admission, call.record, request.method, request.raw_headers
        header_index = index_of(raw)
        self._correlate(record, raw, header_index)
        framing = check_request(method, request.version, raw, header_index)
        guard = admission.unix_guard if call.connection.writer.on_unix_socket else admission.guard
        try:
            check_guard(raw, guard, header_index)
        except SidecarError:
            if not request.raw_path.startswith("/"):
                # A request to a forward proxy names another host, which must not be told as one to be allowed.
                parse_target(method, request.raw_path, admission.client_ids)
            raise
        target = parse_target(method, request.raw_path, admission.client_ids)
        path, route, foreign = target.path, target.route, target.foreign
        record.path = path
        if self.draining:
            raise shutting_down("The sidecar is shutting down: retry in a moment.")
        if route in _OWN_ROUTES:
            return await self._respond_here(call, request, framing, route)
        admission.callers.check_call(raw, self._clock.wall)
        if self._proves:
            call.connection.writer.proven = True
        if admission.policy.active:
            admission.policy.check(method, path)
        if foreign:
            record.foreign = True
            admission.client_ids.refuse_foreign()
        record.masked = masked = mask_path(path)
        record.deprecation = DEPRECATED[method, masked]
        headers = filter_request_headers(raw, header_index)
        tokens = self._credentials.for_route(route)
        tokens.check(record.started)  # nothing was waited for since then
        batch = admission.batch
        if batch and (batch.rules.possible[method, masked] or header_index[LANES] or "%" in path):
            record.lane = lane = batch.rules.lane(method, path, raw, header_index)
            call.turn = await batch.turn(record) if lane == "batch" else None
        body = await self._bodies.read(request, framing) if framing.has_body else NO_BODY
        try:
            content = body.content
            outgoing = ForwardRequest(
                Request(self._template(call, target, headers, content), content or None, method == "HEAD"),
                tokens,
                path,
                # What another account has stored under a key cannot be read back.
                idempotency_key(raw, header_index) if method == "POST" and not foreign else None,
                foreign,
            )
            response = await self._forwarder.forward(call, outgoing)
            try:
                return await self._pass_on(call, request, framing, response)
            finally:
                response.discard()
        finally:
            if body is not NO_BODY:
                record.bytes_in = body.received
                body.release()

    async def _pass_on(
        self, call: Call, request: CallerRequest, framing: BodyFraming, response: UpstreamResponse
    ) -> RawResponse | AlreadySent:
        """Give the caller what upstream answered."""
        if call.turn is not None:
            call.turn.end()
        if response.status >= 400:
            call.record.report = response.error_report()
        if call.gone:
            call.record.status = response.status
            raise CallerGoneError
        http10 = request.version == (1, 0)
        keep_alive = self._keep_alive(call, request, framing)
        if response.rest is None:
            return relay_whole(call, response, http10=http10, keep_alive=keep_alive)
        return await relay_stream(call, response, http10=http10, keep_alive=keep_alive)

    def _template(self, call: Call, target: Target, headers: RawHeaders, content: Content) -> RequestTemplate:
        length: int | None
        trace = call.record.trace
        if trace is not None:
            headers = without_context(headers, continued=trace.parent_id is not None)
        if isinstance(content, StreamingBody):
            length, chunked = content.content_length, content.chunked
        else:
            length, chunked = len(content), False
        template = RequestTemplate.build(call.method, target.raw, self._prefix, self._host, headers, length, chunked)
        return template if trace is None else TracedTemplate(template, trace)

    async def _respond_here(
        self, call: Call, request: CallerRequest, framing: BodyFraming, route: Route
    ) -> RawResponse:
        if route is Route.ABOUT:
            return self._about_this_port(call, request, framing)
        return await self._local_token(call, request, framing)

    async def _local_token(self, call: Call, request: CallerRequest, framing: BodyFraming) -> RawResponse:
        self._admission.callers.check_token_call(request.raw_headers)
        (await self._bodies.read(request, framing)).release()
        keep_alive = self._keep_alive(call, request, framing) and request.version >= (1, 1)
        return _recorded(call, self._local_tokens.response(wall=self._clock.wall(), keep_alive=keep_alive))

    def _about_this_port(self, call: Call, request: CallerRequest, framing: BodyFraming) -> RawResponse:
        """Say what this port is. A body is not read, for anybody may ask: it would take from the budget of all."""
        keep_alive = not framing.has_body and self._keep_alive(call, request, framing) and request.version >= (1, 1)
        return _recorded(call, self._about.response(head_only=request.method == "HEAD", keep_alive=keep_alive))

    def _keep_alive(self, call: Call, request: CallerRequest, framing: BodyFraming) -> bool:
        """Whether another request may follow: only if the body was read to its end (RFC 9112, 9.6)."""
        usable = request.content.is_eof() and not call.connection.last_request
        return framing.keep_alive and usable and not self.draining

    def _break_down(self, call: Call, request: CallerRequest, bug: Exception) -> RawResponse | AlreadySent:
        """End a call that an unforeseen exception has ended, and tell all that is known of it."""
        error = internal_error(bug)
        call.record.own_failure = True
        if not call.connection.writer.started:
            call.record.status = 0  # what upstream answered is not what the caller gets
        self._note(call, request, error)
        log_unforeseen(bug, call.record)
        return self._refuse(call, request, error)

    @staticmethod
    def _note(call: Call, request: CallerRequest, error: SidecarError) -> None:
        """Record the error of our own that ends the call."""
        call.record.failed(error)
        if error.outcome is Outcome.UNKNOWN:
            call.record.idempotency_key = idempotency_key(request.raw_headers)

    def _refuse(self, call: Call, request: CallerRequest, error: SidecarError) -> RawResponse | AlreadySent:
        """Answer with an error of our own, or leave a response that has begun unfinished, so that it is cut."""
        self._note(call, request, error)
        record = call.record
        if call.connection.writer.started:
            return AlreadySent(keep_alive=False)
        response = error_response(
            error,
            request_id=record.id,
            wall=self._clock.wall(),
            head_only=request.method == "HEAD",
            keep_alive=not error.close
            and request.content.is_eof()
            and request.version >= (1, 1)
            and not call.connection.last_request,
        )
        record.bytes_out = len(response.body)
        return response

    def _abandon(self, call: Call) -> None:
        """Note the end of a call whose caller left before its response."""
        record = call.record
        record.caller = "gone"
        outcome = call.outcome()
        # A 401 after which the call was to be resent has a status, too: nobody got it, and nothing was executed.
        if not record.status or outcome is Outcome.REJECTED:
            record.outcome = outcome


def _recorded(call: Call, response: RawResponse) -> RawResponse:
    record = call.record
    record.status, record.source, record.bytes_out = 200, "sidecar", len(response.body)
    return response
