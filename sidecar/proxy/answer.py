"""What Mangopay answered, as the steps after the exchange pass it on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sidecar.core.headers import RawHeaders
    from sidecar.core.stored_answer import StoredAnswer
    from sidecar.upstream.response import Response


@dataclass(slots=True)
class UpstreamAnswer:
    """A response head and the two halves of its body: what was read already, and where the rest comes from."""

    status: int
    reason: bytes
    raw_headers: RawHeaders
    #: The body's bytes that were read already.
    head: bytes
    #: Where the rest of the body comes from; None if ``head`` is all of it.
    rest: Response | None
    has_body: bool
    content_length: int | None

    @classmethod
    def of(cls, response: Response) -> UpstreamAnswer:
        """Wrap a response of which no body byte has been read."""
        body = response.read_nowait()
        if body is None:
            head, rest = b"", response
        else:
            response.release()
            head, rest = body, None
        return cls(
            status=response.status,
            reason=response.reason,
            raw_headers=response.raw_headers,
            head=head,
            rest=rest,
            has_body=response.has_body,
            content_length=response.content_length,
        )

    @classmethod
    def stored(cls, stored: StoredAnswer) -> UpstreamAnswer:
        """Wrap an answer that was read back."""
        headers = (
            (b"Content-Type", stored.content_type.encode("ascii")),
            (b"Content-Length", b"%d" % len(stored.body)),
        )
        return cls(
            status=stored.status,
            reason=b"",
            raw_headers=headers,
            head=stored.body,
            rest=None,
            has_body=True,
            content_length=len(stored.body),
        )

    async def read_whole(self, limit: int) -> bool:
        """Read the rest of the body if it ends within ``limit`` bytes.

        Returns whether the body is now whole in ``head``. What was read is
        kept either way, so that the answer can still be passed on. Raises
        UpstreamFailure if the body is cut or broken.
        """
        if self.rest is None:
            return len(self.head) <= limit
        pieces = [self.head]
        size = len(self.head)
        while size <= limit:
            piece = await self.rest.read()
            if not piece:
                self.rest.release()
                self.rest = None
                break
            pieces.append(piece)
            size += len(piece)
        self.head = b"".join(pieces)
        return self.rest is None

    def discard(self) -> None:
        """Give up on the rest of the body, and on its connection with it."""
        if self.rest is not None:
            self.rest.release()
            self.rest = None
