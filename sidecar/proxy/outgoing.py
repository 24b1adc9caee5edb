"""What goes to upstream: a request, and the call that it belongs to once that is admitted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.proxy.body import StreamingBody

if TYPE_CHECKING:
    from sidecar.core.http.headers import RequestTemplate
    from sidecar.tokens.manager import TokenManager
    from sidecar.upstream.sending import BodySource


class Request:
    """What goes out: prepared once, rendered for each delivery."""

    __slots__ = ("body", "head_only", "template")

    def __init__(
        self, template: RequestTemplate, body: bytes | BodySource | None = None, head_only: bool = False
    ) -> None:
        self.template: Final = template
        self.body: Final = body
        #: The method is HEAD: the response has no body.
        self.head_only: Final = head_only


class ForwardRequest:
    """A call that has been admitted and is ready to be sent."""

    __slots__ = ("foreign", "idempotency_key", "path", "request", "tokens")

    def __init__(
        self, request: Request, tokens: TokenManager, path: str, idempotency_key: str | None, foreign: bool = False
    ) -> None:
        self.request: Final = request
        self.tokens: Final = tokens
        #: The target's path, without the query.
        self.path: Final = path
        #: The one that Mangopay would store the response under; None if there is none to read back by.
        self.idempotency_key: Final = idempotency_key
        #: The path names another ClientId: what Mangopay answers says nothing of our token.
        self.foreign: Final = foreign

    @property
    def repeatable(self) -> bool:
        """Whether the whole body is in hand."""
        return not isinstance(self.request.body, StreamingBody)
