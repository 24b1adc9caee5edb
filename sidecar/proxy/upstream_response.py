"""A response from Mangopay, or one that was read back, on its way to the caller."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.core.error_report import ErrorReport, read_error_report
from sidecar.core.http.field import Field
from sidecar.core.http.response_head import response_head
from sidecar.core.resend import FailureKind
from sidecar.upstream.errors import UpstreamError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.core.http.messages import ResponseHead
    from sidecar.core.stored_response import StoredResponse
    from sidecar.upstream.response import Response

#: Statuses whose responses have neither a body nor its length (RFC 9110 sections 15.3.5 and 15.4.5).
_BODILESS: Final = frozenset({204, 304})


class UpstreamResponse:
    """A response head and the two halves of its body: what was read already, and where the rest comes from."""

    __slots__ = ("awaited_until", "body", "content_length", "has_body", "head", "rest", "status")

    def __init__(
        self,
        status: int,
        head: ResponseHead,
        body: bytes,
        rest: Response | None,
        has_body: bool,
        content_length: int | None,
    ) -> None:
        self.status: Final = status
        self.head = head
        #: The body's bytes that were read already.
        self.body = body
        #: Where the rest of the body comes from; None if ``body`` is all of it.
        self.rest = rest
        #: The caller has to be told where the body ends, though it may be empty.
        self.has_body: Final = has_body
        self.content_length = content_length
        #: Until when the rest of the body is waited for before anything is passed on (``Clock.now``); None: not yet
        #: asked.
        self.awaited_until: float | None = None

    @staticmethod
    def of(response: Response) -> UpstreamResponse:
        """Wrap a response of which no body byte has been read."""
        head, framing = response.head, response.framing
        body = response.take_whole()
        return UpstreamResponse(
            head.status,
            head,
            body or b"",
            response if body is None else None,
            framing.length != 0 or framing.dropped,
            framing.declared,
        )

    @staticmethod
    def stored(stored: StoredResponse) -> UpstreamResponse:
        """Wrap a response that was read back."""
        body = b"" if stored.status in _BODILESS else stored.body
        fields: list[Field] = []
        if body:
            fields.append(Field(b"Content-Type", stored.content_type.encode("ascii")))
        if stored.status not in _BODILESS:
            fields.append(Field(b"Content-Length", b"%d" % len(body)))
        return UpstreamResponse(
            status=stored.status,
            head=response_head(1, stored.status, b"", fields),
            body=body,
            rest=None,
            has_body=bool(body),
            content_length=len(body),
        )

    def add_line(self, line: bytes) -> None:
        """Add a header line to what the caller gets."""
        self.head = self.head.with_line(line)

    def error_report(self) -> ErrorReport:
        """Return what the response tells of an error, as far as it is at hand: nothing is waited for."""
        return read_error_report(self.head.raw_headers, self.body if self.rest is None else None)

    async def look_ahead(self) -> None:
        """Take what has come of a body whose connection has closed already, without waiting.

        Raises UpstreamError if its framing is broken: nothing of it has been
        passed on yet, so the call can still end with an error. One that was cut short is passed on as
        far as it goes.
        """
        if self.rest is None:
            return
        try:
            self.body = await self.rest.read()
        except UpstreamError as error:
            if error.failure.kind is FailureKind.BROKEN:
                raise

    async def read_whole(self, limit: int, is_late: Callable[[], bool] = lambda: False) -> bool:
        """Read the rest of the body if it ends within ``limit`` bytes, and before ``is_late``.

        Returns whether the body is now whole in ``body``; if not, what was read is
        kept there, so that the response can still be passed on. Raises UpstreamError
        if the body is cut or broken: what this call read of it is lost then.
        """
        rest = self.rest
        if rest is None:
            return len(self.body) <= limit
        pieces = [self.body]
        size, whole = len(self.body), False
        while size <= limit and not is_late():
            piece = await rest.read()
            if not piece:
                whole = True
                break
            pieces.append(piece)
            size += len(piece)
        self.body = b"".join(pieces)
        if whole:
            self.discard()
        return whole

    def discard(self) -> None:
        """Give up the rest of the body: this closes its connection."""
        if self.rest is not None:
            self.rest.release()
            self.rest = None
