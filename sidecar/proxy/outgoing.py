"""What goes to upstream: a request, and the call that it belongs to once that is admitted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from sidecar.proxy.body import StreamingBody

if TYPE_CHECKING:
    from sidecar.core.http.headers import RequestTemplate
    from sidecar.tokens.manager import TokenManager
    from sidecar.upstream.sending import BodySource


class Request(msgspec.Struct, frozen=True):
    """What goes out: prepared once, rendered for each delivery."""

    template: RequestTemplate
    body: bytes | BodySource | None = None
    #: The method is HEAD: the response has no body.
    head_only: bool = False


class ForwardRequest(msgspec.Struct, frozen=True):
    """A call that has been admitted and is ready to be sent."""

    request: Request
    tokens: TokenManager
    #: The target's path, without the query.
    path: str
    #: The one that Mangopay would store the response under; None if there is none to read back by.
    idempotency_key: str | None
    #: The path names another ClientId: what Mangopay answers says nothing of our token.
    foreign: bool = False

    @property
    def repeatable(self) -> bool:
        """Whether the whole body is in hand."""
        return not isinstance(self.request.body, StreamingBody)
