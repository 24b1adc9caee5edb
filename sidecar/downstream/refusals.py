"""What the proxy port itself says when it refuses or ends a request, before or after the handler (section 7).

The parser's own words never get out: they quote the request.
"""

from __future__ import annotations

from typing import Final

from aiohttp.http_exceptions import HttpProcessingError, LineTooLong

from sidecar.core.errors import ErrorCode, Outcome, SidecarError
from sidecar.core.malformed import Malformed, why_malformed
from sidecar.telemetry.line_format import place

#: Each outcome as the end of a sentence.
_OUTCOME_TEXT: Final = {
    Outcome.NOT_SENT: "it was not sent to Mangopay",
    Outcome.REJECTED: "Mangopay answered it with 401 and executed nothing",
    Outcome.UNKNOWN: "Mangopay may have received it",
}

#: How aiohttp's parser says that there are more than 128 headers. It raises the same class for most other faults.
_TOO_MANY: Final = "Too many headers received"


def malformed(head: bytes = b"") -> SidecarError:
    """Bytes that are no HTTP/1 request; ``head`` is what they begin with, as far as it has come."""
    return why_malformed(head).error()


def bad_chunks() -> SidecarError:
    """A chunked body whose chunks are none, or are framed by far more bytes than they have."""
    return Malformed.CHUNKS.error()


def _closing(code: ErrorCode, message: str, detail: str | None = None) -> SidecarError:
    return SidecarError(code, message, detail=detail, close=True)


def too_large() -> SidecarError:
    """A head beyond the limits."""
    return _closing(
        ErrorCode.HEADERS_TOO_LARGE,
        "The request's head is too large: 64 KiB in all, 8190 bytes a line and 128 headers are taken. Send less.",
    )


def unparsable(error: Exception, head: bytes, *, in_chunks: bool = False) -> SidecarError:
    """What the parser's ``error`` means to the caller; ``head`` is the head that it is about, as far as it has come.

    ``in_chunks``: it is about a chunked body, whose head was good.
    """
    if isinstance(error, LineTooLong) or (isinstance(error, HttpProcessingError) and error.message == _TOO_MANY):
        return too_large()
    return bad_chunks() if in_chunks else malformed(head)


def too_slow(part: str) -> SidecarError:
    """A request whose ``part`` (head or body) paused for too long."""
    return _closing(
        ErrorCode.REQUEST_TIMEOUT, f"The request's {part} did not arrive in time: see what holds its sender up."
    )


def body_too_large(limit: int) -> SidecarError:
    """A body of more than ``limit`` bytes."""
    return _closing(
        ErrorCode.BODY_TOO_LARGE,
        f"The request's body is larger than {limit} bytes: send less, or raise SIDECAR_LISTEN_MAX_BODY.",
    )


def out_of_budget() -> SidecarError:
    """A body of unknown length for which there is no memory."""
    return _closing(
        ErrorCode.OVERLOADED,
        "Too many request bodies are held in memory: retry in a moment, send a Content-Length, or raise "
        "SIDECAR_REPLAY_BUDGET.",
    )


def out_of_head_memory() -> SidecarError:
    """A request with a large head, while the heads of others fill their share of the memory."""
    return _closing(
        ErrorCode.OVERLOADED,
        "The heads of the requests under way are too large together: retry in a moment, or send smaller headers.",
        "heads of requests fill their share of the memory",
    )


def too_many_uploads() -> SidecarError:
    """A body that would have to be sent while it is read, while too many others are."""
    return _closing(
        ErrorCode.OVERLOADED,
        "Too many large request bodies are under way: retry in a moment.",
        "as many bodies are streamed as the pool of connections can take",
    )


def too_many_connections() -> SidecarError:
    """A connection beyond the cap, when every other one is in use."""
    return _closing(
        ErrorCode.OVERLOADED, "All connections are in use: retry in a moment, or raise SIDECAR_LISTEN_MAX_CONNECTIONS."
    )


def wrong_user() -> SidecarError:
    """A peer on the Unix socket that is not on the list."""
    return _closing(
        ErrorCode.CALLER_NOT_ALLOWED, "This user may not use the socket: add its uid to SIDECAR_LISTEN_ALLOWED_UIDS."
    )


def interrupted_by_shutdown(outcome: Outcome = Outcome.UNKNOWN) -> SidecarError:
    """A request that was still running when its connection's task was cancelled."""
    return SidecarError(
        ErrorCode.UPSTREAM_UNREACHABLE,
        f"The sidecar shut down before this request was answered; {_OUTCOME_TEXT[outcome]}.",
        outcome=outcome,
        close=True,
    )


def internal_error(bug: BaseException) -> SidecarError:
    """A request that ``bug`` ended, an exception that nobody foresaw.

    Its outcome is unknown wherever it came from: what we believe of the request may be what is wrong.
    """
    return SidecarError(
        ErrorCode.UPSTREAM_UNREACHABLE,
        "The sidecar failed on this request, which is a bug of its own; Mangopay may have received it. Please report "
        "it, with the line request.failed that the log has for this Id.",
        outcome=Outcome.UNKNOWN,
        detail=f"internal error: {type(bug).__name__} at {place(bug)}",
        close=True,
    )
