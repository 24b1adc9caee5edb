"""A response of Mangopay's on its way, without a connection: of its body there is as much as a test lets come."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from sidecar.core.http.field import Field
from sidecar.core.http.messages import ResponseFraming
from sidecar.core.http.response_head import response_head
from sidecar.upstream.response import Response

if TYPE_CHECKING:
    from sidecar.upstream.errors import UpstreamError

#: The head of each of them.
HEAD: Final = response_head(1, 200, b"Fine", [Field(b"X-A", b"b")])


class Link:
    """Stands where a response has its connection."""

    def __init__(self) -> None:
        #: How often it was given back.
        self.finished = 0

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    def start_timer(self) -> None:
        pass

    def stop_timer(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def finish(self) -> None:
        self.finished += 1

    def abort(self) -> None:
        pass


def framed(length: int | None, declared: int | None = None, *, dropped: bool = False) -> ResponseFraming:
    """Return a framing; without a ``length`` the body comes in chunks."""
    return ResponseFraming(length, declared, persistent=True, keep_alive=None, dropped=dropped)


def arriving(link: Link, framing: ResponseFraming, *pieces: bytes, failure: UpstreamError | None = None) -> Response:
    """Return a response of whose body ``pieces`` have come, and then its end or ``failure``, if either has."""
    response = Response(link, HEAD, framing)
    for piece in pieces:
        response.feed(piece)
    if failure is not None:
        response.fail(failure)
    return response
