"""Passing upstream's response on to the caller, byte for byte (contract section 4.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.core.errors import ErrorCode, Outcome, SidecarError
from sidecar.core.http.caller_framing import CALLER_FRAMING, USUAL, CallerFraming
from sidecar.core.http.chunks import LAST_CHUNK, chunk
from sidecar.core.http.headers import render_response_head
from sidecar.downstream.response import AlreadySent, RawResponse, ResponseStream
from sidecar.proxy.attempts import broken_response
from sidecar.upstream.errors import UpstreamError

if TYPE_CHECKING:
    from sidecar.proxy.call import Call
    from sidecar.proxy.upstream_response import UpstreamResponse

#: Bytes of a response without a length that an HTTP/1.0 caller can get over a Unix socket.
_WHOLE_LIMIT: Final = 1024 * 1024


def relay_whole(call: Call, response: UpstreamResponse, *, http10: bool, keep_alive: bool) -> RawResponse:
    """Return what the caller gets of a ``response`` whose body is in hand: one write.

    HTTP/1.0 has no chunks, so there such a body gets a length: one that ended with the connection could be cut short
    without a sign, on a Unix socket at least (RFC 9112 section 8).
    """
    if http10 and response.has_body and response.content_length is None:
        response.content_length = size = len(response.body)
        response.add_line(b"Content-Length: %d" % size)
    head, framing = _begin(call, response, http10=http10, keep_alive=keep_alive)
    body = response.body
    call.record.bytes_out = len(body)
    if framing.chunked:
        body = chunk(body) + LAST_CHUNK if body else LAST_CHUNK
    return RawResponse(head, body, framing.keep_alive)


async def relay_stream(
    call: Call, response: UpstreamResponse, *, http10: bool, keep_alive: bool
) -> RawResponse | AlreadySent:
    """Pass a ``response`` on to the caller as it comes.

    One that upstream cuts short stays unfinished, so that the connection cuts it
    short here too, once that is in the log. Raises CallerGoneError; and SidecarError
    if it has to be read whole first, and is broken or too large for that.
    """
    if http10 and response.content_length is None:
        await _only_whole_on_unix_sockets(call, response)
        if response.rest is None:
            return relay_whole(call, response, http10=http10, keep_alive=keep_alive)
    head, framing = _begin(call, response, http10=http10, keep_alive=keep_alive)
    return await _stream(call, response, head, framing)


def _begin(call: Call, response: UpstreamResponse, *, http10: bool, keep_alive: bool) -> tuple[bytes, CallerFraming]:
    """Return the head for the caller, and how what follows it is framed."""
    record = call.record
    record.status = response.status
    if keep_alive and not http10 and response.content_length is not None:
        framing = USUAL
    else:
        framing = CALLER_FRAMING[http10, response.content_length is not None or not response.has_body, keep_alive]
    extra = framing.lines
    if record.recovered:
        extra = (b"X-Sidecar-Recovered: " + ", ".join(record.recovered).encode("ascii"), *extra)
    return render_response_head(response.status, response.head.reason, response.head.lines_down, extra), framing


async def _only_whole_on_unix_sockets(call: Call, response: UpstreamResponse) -> None:
    """Read such a response to its end before any of it is passed on: on a Unix socket no reset can cut it short."""
    if not call.connection.writer.on_unix_socket:
        return
    try:
        whole = await response.read_whole(_WHOLE_LIMIT)
    except UpstreamError as error:
        broken_response(error).raise_for_caller()
    if not whole:
        response.discard()
        call.record.own_failure = True
        raise SidecarError(
            ErrorCode.UPSTREAM_UNREACHABLE,
            "Mangopay's answer has no length and is too large for HTTP/1.0 over a Unix socket: speak HTTP/1.1.",
            outcome=Outcome.UNKNOWN,
        )


async def _stream(call: Call, response: UpstreamResponse, head: bytes, framing: CallerFraming) -> AlreadySent:
    record = call.record
    rest = response.rest
    assert rest is not None  # noqa: S101 - relay_stream() comes here only with a body to stream
    stream = ResponseStream(call.connection.writer, chunked=framing.chunked)
    try:
        stream.start(head, response.body)
        record.bytes_out = len(response.body)
        while piece := await rest.read():
            await stream.write(piece)
            record.bytes_out += len(piece)
        stream.finish()
    except UpstreamError as error:
        verdict = broken_response(error).verdict
        message = "Mangopay's answer broke off, so it was cut off here too."
        record.failed(SidecarError(verdict.code, message, outcome=verdict.outcome, detail=error.detail))
        return AlreadySent(keep_alive=False)
    finally:
        response.discard()
    return AlreadySent(keep_alive=framing.keep_alive)
