"""Resending a request that was answered with a token 401, once (contract section 5.4).

What a 401 means is decided in :mod:`sidecar.core.tokens.unauthorized`; here it is told
of every response, and does what it says. Calls and read-backs share it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, NamedTuple

from sidecar.core.http.challenge import is_sca_challenge

if TYPE_CHECKING:
    from sidecar.proxy.upstream_response import UpstreamResponse
    from sidecar.telemetry.metrics import Metrics
    from sidecar.tokens.manager import TokenManager

#: Bytes of a 401's body at most: a request is resent only after all of it is here.
BODY_LIMIT: Final = 64 * 1024

#: Sends the request with a token newer than a generation; returns the response and the generation that it carried.
Send = Callable[[int], Awaitable[tuple["UpstreamResponse", int]]]
#: Whether the request may be resent after this 401.
MayResend = Callable[["UpstreamResponse"], Awaitable[bool]]


class Settled(NamedTuple):
    """What becomes of a response."""

    #: What is passed on: the first response, or that to the resend.
    response: UpstreamResponse
    #: The request was resent.
    resent: bool = False
    #: ``response`` is a token 401 that started no refresh, or came in spite of one.
    futile: bool = False


class TokenRetry:
    """Tells the token's manager of responses, and resends the requests of 401s if it says so."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics: Final = metrics

    async def settle(
        self,
        first: UpstreamResponse,
        generation: int,
        tokens: TokenManager,
        path: str,
        *,
        send: Send,
        may_resend: MayResend,
    ) -> Settled:
        """Return what to pass on for ``first``, the response to a first delivery: itself if it is no 401.

        It was for ``path`` (no query), with a token of ``tokens`` of ``generation``. Raises what
        ``send`` and ``may_resend`` raise; so also that no newer token is to be had.
        """
        if first.status != 401 or self._is_sca(first):
            tokens.accepted(generation, path)
            return Settled(first)
        permit = tokens.unauthorized(generation, path)
        if permit is None:
            self._metrics.unauthorized("futile")
            return Settled(first, futile=True)
        self._metrics.unauthorized("token")
        response: UpstreamResponse | None = None
        try:
            # The 401 counts even if this request cannot be resent: others need a new token all the same.
            if not await may_resend(first):
                return Settled(first)
            response, generation = await send(permit.generation)
        finally:
            if response is None:
                tokens.resend_withdrawn(permit)
        futile = response.status == 401 and not self._is_sca(response)
        tokens.resend_answered(permit, generation, unauthorized=futile)
        if futile:
            self._metrics.unauthorized("futile")
        return Settled(response, resent=True, futile=futile)

    def _is_sca(self, unauthorized: UpstreamResponse) -> bool:
        """Whether a 401 asks for the user's own authentication."""
        sca = is_sca_challenge(unauthorized.head.raw_headers)
        if sca:
            self._metrics.unauthorized("sca")
        return sca
