"""Passing upstream's answer on to the caller, byte for byte (contract section 4.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.core.chunks import LAST_CHUNK, chunk
from sidecar.core.errors import ErrorCode, Outcome, SidecarError
from sidecar.core.headers import render_response_head
from sidecar.core.resend import FailureKind
from sidecar.downstream.response import Finished, RawResponse, ResponseStream
from sidecar.proxy.attempts import broken_answer
from sidecar.upstream.errors import UpstreamFailure

if TYPE_CHECKING:
    from sidecar.proxy.answer import UpstreamAnswer
    from sidecar.proxy.call import Call

_CHUNKED: Final = b"Transfer-Encoding: chunked"
_CLOSE: Final = b"Connection: close"
_KEEP_ALIVE: Final = b"Connection: keep-alive"
#: Bytes of an answer without a length that an HTTP/1.0 caller can get over a Unix socket.
_WHOLE_LIMIT: Final = 1024 * 1024


def relay_whole(call: Call, answer: UpstreamAnswer, *, http10: bool, keep_alive: bool) -> RawResponse:
    """Return what the caller gets of an ``answer`` whose body is in hand: one write."""
    head, chunked, keep_alive = _begin(call, answer, http10=http10, keep_alive=keep_alive)
    body = answer.body
    call.record.bytes_out = len(body)
    if chunked:
        body = chunk(body) + LAST_CHUNK if body else LAST_CHUNK
    return RawResponse(head, body, keep_alive)


async def relay_stream(call: Call, answer: UpstreamAnswer, *, http10: bool, keep_alive: bool) -> RawResponse | Finished:
    """Pass an ``answer`` on to the caller as it comes.

    One that upstream cuts short is cut short here too, so that it never ends
    cleanly. Raises CallerGoneError.
    """
    if http10 and answer.content_length is None:
        await _only_whole_on_unix_sockets(call, answer)
        if answer.rest is None:
            return relay_whole(call, answer, http10=http10, keep_alive=keep_alive)
    head, chunked, keep_alive = _begin(call, answer, http10=http10, keep_alive=keep_alive)
    return await _stream(call, answer, head, chunked=chunked, keep_alive=keep_alive)


def _begin(call: Call, answer: UpstreamAnswer, *, http10: bool, keep_alive: bool) -> tuple[bytes, bool, bool]:
    """Return the head for the caller, whether chunks follow, and whether the connection stays open."""
    record = call.record
    record.status = answer.status
    extra: tuple[bytes, ...] = ()
    if record.recovered:
        extra = (b"X-Sidecar-Recovered: " + ", ".join(record.recovered).encode("ascii"),)
    chunked = False
    if answer.content_length is None and answer.has_body:
        if http10:
            keep_alive = False  # there are no chunks: the end of the connection is the end of the body
        else:
            chunked = True
            extra = (*extra, _CHUNKED)
    if not keep_alive:
        extra = (*extra, _CLOSE)
    elif http10:
        extra = (*extra, _KEEP_ALIVE)
    return render_response_head(answer.status, answer.head.reason, answer.head.lines_down, extra), chunked, keep_alive


async def _only_whole_on_unix_sockets(call: Call, answer: UpstreamAnswer) -> None:
    """Read such an answer to its end before any of it is passed on: a Unix socket has no reset to cut it short with."""
    if not call.connection.writer.on_unix_socket:
        return
    try:
        whole = await answer.read_whole(_WHOLE_LIMIT)
    except UpstreamFailure as error:
        broken_answer(error).fail()
    if not whole:
        answer.discard()
        raise SidecarError(
            ErrorCode.UPSTREAM_UNREACHABLE,
            "Mangopay's answer has no length and is too large for HTTP/1.0 over a Unix socket: speak HTTP/1.1.",
            outcome=Outcome.UNKNOWN,
        )


async def _stream(call: Call, answer: UpstreamAnswer, head: bytes, *, chunked: bool, keep_alive: bool) -> Finished:
    record = call.record
    rest = answer.rest
    assert rest is not None  # noqa: S101 - relay() comes here only with a body to stream
    stream = ResponseStream(call.connection.writer, chunked=chunked)
    try:
        stream.start(head, answer.body)
        record.bytes_out = len(answer.body)
        while piece := await rest.read():
            await stream.write(piece)
            record.bytes_out += len(piece)
        stream.finish()
    except UpstreamFailure as error:
        call.connection.writer.cut()
        late = error.failure.kind is FailureKind.TIMEOUT
        record.failed(
            SidecarError(
                ErrorCode.UPSTREAM_TIMEOUT if late else ErrorCode.UPSTREAM_UNREACHABLE,
                "Mangopay's answer broke off, so it was cut off here too.",
                outcome=Outcome.UNKNOWN,
                detail=error.detail,
            )
        )
        return Finished(keep_alive=False)
    except BaseException:
        call.connection.writer.cut()
        raise
    finally:
        rest.release()
        answer.rest = None
    return Finished(keep_alive=keep_alive)
