"""Passing upstream's response on to the caller, byte for byte (contract section 4.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.core.errors import ErrorCode, Outcome, SidecarError
from sidecar.core.http.chunks import LAST_CHUNK, chunk
from sidecar.core.http.headers import render_response_head
from sidecar.core.resend import FailureKind
from sidecar.downstream.response import AlreadySent, RawResponse, ResponseStream
from sidecar.proxy.attempts import broken_response
from sidecar.upstream.errors import UpstreamError

if TYPE_CHECKING:
    from sidecar.proxy.call import Call
    from sidecar.proxy.upstream_response import UpstreamResponse

_CHUNKED: Final = b"Transfer-Encoding: chunked"
_CLOSE: Final = b"Connection: close"
_KEEP_ALIVE: Final = b"Connection: keep-alive"
#: Bytes of a response without a length that an HTTP/1.0 caller can get over a Unix socket.
_WHOLE_LIMIT: Final = 1024 * 1024


def relay_whole(call: Call, response: UpstreamResponse, *, http10: bool, keep_alive: bool) -> RawResponse:
    """Return what the caller gets of a ``response`` whose body is in hand: one write."""
    head, chunked, keep_alive = _begin(call, response, http10=http10, keep_alive=keep_alive)
    body = response.body
    call.record.bytes_out = len(body)
    if chunked:
        body = chunk(body) + LAST_CHUNK if body else LAST_CHUNK
    return RawResponse(head, body, keep_alive)


async def relay_stream(
    call: Call, response: UpstreamResponse, *, http10: bool, keep_alive: bool
) -> RawResponse | AlreadySent:
    """Pass a ``response`` on to the caller as it comes.

    One that upstream cuts short stays unfinished, so that the connection cuts it
    short here too, once that is in the log. Raises CallerGoneError.
    """
    if http10 and response.content_length is None:
        await _only_whole_on_unix_sockets(call, response)
        if response.rest is None:
            return relay_whole(call, response, http10=http10, keep_alive=keep_alive)
    head, chunked, keep_alive = _begin(call, response, http10=http10, keep_alive=keep_alive)
    return await _stream(call, response, head, chunked=chunked, keep_alive=keep_alive)


def _begin(call: Call, response: UpstreamResponse, *, http10: bool, keep_alive: bool) -> tuple[bytes, bool, bool]:
    """Return the head for the caller, whether chunks follow, and whether the connection stays open."""
    record = call.record
    record.status = response.status
    extra: tuple[bytes, ...] = ()
    if record.recovered:
        extra = (b"X-Sidecar-Recovered: " + ", ".join(record.recovered).encode("ascii"),)
    chunked = False
    if response.content_length is None and response.has_body:
        if http10:
            keep_alive = False  # there are no chunks: the end of the connection is the end of the body
        else:
            chunked = True
            extra = (*extra, _CHUNKED)
    if not keep_alive:
        extra = (*extra, _CLOSE)
    elif http10:
        extra = (*extra, _KEEP_ALIVE)
    return (
        render_response_head(response.status, response.head.reason, response.head.lines_down, extra),
        chunked,
        keep_alive,
    )


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
        raise SidecarError(
            ErrorCode.UPSTREAM_UNREACHABLE,
            "Mangopay's answer has no length and is too large for HTTP/1.0 over a Unix socket: speak HTTP/1.1.",
            outcome=Outcome.UNKNOWN,
        )


async def _stream(
    call: Call, response: UpstreamResponse, head: bytes, *, chunked: bool, keep_alive: bool
) -> AlreadySent:
    record = call.record
    rest = response.rest
    assert rest is not None  # noqa: S101 - relay() comes here only with a body to stream
    stream = ResponseStream(call.connection.writer, chunked=chunked)
    try:
        stream.start(head, response.body)
        record.bytes_out = len(response.body)
        while piece := await rest.read():
            await stream.write(piece)
            record.bytes_out += len(piece)
        stream.finish()
    except UpstreamError as error:
        late = error.failure.kind is FailureKind.TIMEOUT
        record.failed(
            SidecarError(
                ErrorCode.UPSTREAM_TIMEOUT if late else ErrorCode.UPSTREAM_UNREACHABLE,
                "Mangopay's answer broke off, so it was cut off here too.",
                outcome=Outcome.UNKNOWN,
                detail=error.detail,
            )
        )
        return AlreadySent(keep_alive=False)
    finally:
        rest.release()
        response.rest = None
    return AlreadySent(keep_alive=keep_alive)
