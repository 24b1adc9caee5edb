"""The sidecar's own errors as HTTP responses, in the shape of Mangopay's error reports (contract section 7)."""

from __future__ import annotations

import math
from http import HTTPStatus
from typing import Final

import msgspec

from sidecar.core.errors import STATUS, ErrorCode, SidecarError
from sidecar.downstream.response import RawResponse

#: Seconds of ``Retry-After`` when the error names none. The header counts whole seconds, so this is the least.
_RETRY_AFTER: Final = 1

_LINES: Final = {
    code: b"HTTP/1.1 %d %b\r\nContent-Type: application/json\r\nX-Sidecar-Error: %b\r\nX-Sidecar-Outcome: "
    % (status, HTTPStatus(status).phrase.encode("ascii"), code.value.encode("ascii"))
    for code, status in STATUS.items()
}
_TYPES: Final = {code: f"sidecar_{code.value}" for code in ErrorCode}
#: The statuses that tell when to come again.
_TELL_WHEN: Final = frozenset({HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS})
_encode: Final = msgspec.json.Encoder().encode


def error_response(
    error: SidecarError, *, request_id: str, wall: float, head_only: bool = False, keep_alive: bool = False
) -> RawResponse:
    """Return the response to a request that the sidecar refuses or could not serve.

    ``request_id`` is the log's, ``wall`` Unix seconds, ``head_only`` says that
    the method was HEAD. The connection is closed unless ``keep_alive`` is true
    and the error allows it.
    """
    body = _encode(
        {
            "Message": error.message,
            "Type": _TYPES[error.code],
            "Id": request_id,
            "Date": int(wall),
            "errors": None,
        }
    )
    keep_alive = keep_alive and not error.close
    head = b"%b%b\r\nContent-Length: %d\r\n%b%b\r\n" % (
        _LINES[error.code],
        error.outcome.value.encode("ascii"),
        len(body),
        b"Retry-After: %d\r\n" % _retry_after(error) if error.status in _TELL_WHEN else b"",
        b"" if keep_alive else b"Connection: close\r\n",
    )
    return RawResponse(head, b"" if head_only else body, keep_alive)


def _retry_after(error: SidecarError) -> int:
    seconds = error.retry_after
    return max(_RETRY_AFTER, math.ceil(seconds)) if seconds is not None else _RETRY_AFTER
