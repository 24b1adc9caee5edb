"""What upstream sends and nobody asked for: bytes and responses behind a response, fields that are not for us.

None of it may become a part of another call's response. Every case is a POST, which is never sent twice, but where the
method matters. Sources: RFC 9110 section 7.6.1, RFC 9112 sections 9.2 and 9.3 (pipelining, stray answers); "Response
Queue Poisoning" (PortSwigger, 2022); A. Klein, "Divide and Conquer" (HTTP Response Splitting, 2004); nginx's
``proxy_extra_data.t``; RFC 9110 sections 8.6, 15.3.5 and 15.4.5 for the lengths of 204 and 304.
"""

from __future__ import annotations

from typing import Final

from tests.support.recording_upstream import Reply
from tests.wire.threats.case import (
    AS_SENT,
    BAD_GATEWAY,
    USERS,
    Case,
    answered,
    get,
    group,
    request,
    row,
    sized,
)

_CALL: Final = sized(b"{}")
_OK: Final = b"HTTP/1.1 200 OK\r\n"
_ABC: Final = b"Content-Length: 3\r\n\r\nabc"
_PLAIN: Final = _OK + _ABC
_CHUNKED: Final = _OK + b"Transfer-Encoding: chunked\r\n\r\n"
_THREE: Final = b"3\r\nabc\r\n"
_POISON: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nPOISON"

_THREE_AGAIN: Final = _OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
_HEAD_CALL: Final = request(b"HEAD " + USERS + b" HTTP/1.1")

POISON: Final = group(
    "bytes that upstream sends unasked",
    row("extra-response", _CALL, answered(_PLAIN), replies=(_PLAIN + _POISON,), distrusts=True),
    row("extra-responses-many", _CALL, answered(_PLAIN), replies=(_PLAIN + _POISON * 50,), distrusts=True),
    row("extra-byte", _CALL, answered(_PLAIN), replies=(_PLAIN + b"x",), distrusts=True),
    row("extra-line-end", _CALL, answered(_PLAIN), replies=(_PLAIN + b"\r\n",), distrusts=True),
    row(
        "extra-zero-length",
        _CALL,
        answered(_OK + b"Content-Length: 0\r\n\r\n"),
        replies=(_OK + b"Content-Length: 0\r\n\r\nNOT-THIS\n",),
        distrusts=True,
    ),
    row("extra-behind-chunks", _CALL, answered(_THREE_AGAIN), replies=(_THREE_AGAIN + _POISON,), distrusts=True),
    row(
        "extra-line-end-behind-chunks", _CALL, answered(_THREE_AGAIN), replies=(_THREE_AGAIN + b"\r\n",), distrusts=True
    ),
    row(
        "extra-behind-trailers",
        _CALL,
        answered(_THREE_AGAIN),
        replies=(_CHUNKED + _THREE + b"0\r\nX: 1\r\n\r\n" + _POISON,),
        distrusts=True,
    ),
    row(
        "extra-behind-204",
        _CALL,
        answered(b"HTTP/1.1 204 No Content\r\n\r\n"),
        replies=(b"HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\nabc",),
        distrusts=True,
    ),
    row(
        "extra-response-behind-204",
        _CALL,
        answered(b"HTTP/1.1 204 No Content\r\n\r\n"),
        replies=(b"HTTP/1.1 204 No Content\r\n\r\n" + _POISON,),
        distrusts=True,
    ),
    row(
        "extra-body-of-304",
        get(),
        answered(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n"),
        replies=(b"HTTP/1.1 304 Not Modified\r\n" + _ABC,),
        distrusts=True,
    ),
    row(
        "extra-body-of-head",
        _HEAD_CALL,
        answered(_OK + b"Content-Length: 3\r\n\r\n"),
        replies=(_PLAIN,),
        distrusts=True,
    ),
    row("extra-chunks-of-head", _HEAD_CALL, answered(_OK + b"\r\n"), replies=(_THREE_AGAIN,), distrusts=True),
    row(
        "extra-response-behind-interim",
        _CALL,
        answered(_PLAIN),
        replies=(b"HTTP/1.1 100 Continue\r\n\r\n" + _PLAIN + _POISON,),
        distrusts=True,
    ),
    row(
        "extra-interim-behind",
        _CALL,
        answered(_PLAIN),
        replies=(_PLAIN + b"HTTP/1.1 100 Continue\r\n\r\n",),
        distrusts=True,
    ),
    row(
        "extra-request-timeout-behind",
        _CALL,
        answered(_PLAIN),
        replies=(_PLAIN + b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n",),
        distrusts=True,
    ),
    row("injected-response", _CALL, answered(_PLAIN), replies=(_PLAIN,), injected=_POISON),
    row("injected-byte", _CALL, answered(_PLAIN), replies=(_PLAIN,), injected=b"H", distrusts=True),
    row("injected-line-end", _CALL, answered(_PLAIN), replies=(_PLAIN,), injected=b"\r\n"),
    row("injected-interim", _CALL, answered(_PLAIN), replies=(_PLAIN,), injected=b"HTTP/1.1 100 Continue\r\n\r\n"),
    row("injected-after-an-echo", get(), AS_SENT, injected=_POISON),
    row("split-by-a-field", _CALL, BAD_GATEWAY, replies=(_OK + b"X: a\r\n\r\n" + _POISON,)),
)


def _without(field: bytes) -> Case:
    """Upstream sends a field that is not for the caller."""
    name = field.partition(b":")[0].decode().lower()
    return row(
        f"down-{name}",
        _CALL,
        answered(_OK + b"X-A: 1\r\n" + _ABC),
        replies=(_OK + b"X-A: 1\r\n" + field + b"\r\n" + _ABC,),
    )


FIELDS: Final = group(
    "fields of upstream that are not for the caller",
    *[
        _without(field)
        for field in (
            b"Connection: keep-alive",
            b"Keep-Alive: timeout=5",
            b"Proxy-Connection: keep-alive",
            b"Proxy-Authenticate: Basic",
            b"TE: trailers",
            b"Trailer: X-T",
            b"Upgrade: h2c",
            b"HTTP2-Settings: AAMAAABk",
            b"X-Sidecar-Error: bad_request",
            b"X-Sidecar-Outcome: not-sent",
            b"X-Sidecar-Recovered: token",
            b"x_sidecar_recovered: token",
        )
    ],
    row("down-nominated", _CALL, answered(_PLAIN), replies=(_OK + b"Connection: X-Hop\r\nX-Hop: 1\r\n" + _ABC,)),
    row("down-nominated-length", _CALL, answered(_PLAIN), replies=(_OK + b"Connection: Content-Length\r\n" + _ABC,)),
    row("down-close", _CALL, answered(_PLAIN), replies=(Reply(_OK + b"Connection: close\r\n" + _ABC, close=True),)),
    row(
        "down-trailers",
        _CALL,
        answered(_THREE_AGAIN),
        replies=(_CHUNKED + _THREE + b"0\r\nX-Trailer: 1\r\nServer: x\r\n\r\n",),
    ),
    row(
        "down-length-of-204",
        _CALL,
        answered(b"HTTP/1.1 204 No Content\r\n\r\n"),
        replies=(b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",),
    ),
)

CASES: Final[tuple[Case, ...]] = (*POISON, *FIELDS)
