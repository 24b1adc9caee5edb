"""What GETs of the sidecar's own have in common: reading a lost response back, and looking at the hooks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.core.http.headers import RequestTemplate
from sidecar.patience import PatientTimeout
from sidecar.proxy.token_retry import BODY_LIMIT

if TYPE_CHECKING:
    from sidecar.core.endpoint import Endpoint
    from sidecar.proxy.upstream_response import UpstreamResponse


def own_get(endpoint: Endpoint, target: str) -> RequestTemplate:
    """Return a GET of ``target`` (path and query, ASCII) for JSON."""
    return RequestTemplate.build(
        "GET",
        target.encode("ascii"),
        prefix=endpoint.prefix,
        host=endpoint.host_header,
        headers=((b"Accept", b"application/json"),),
        content_length=None,
        chunked=False,
    )


async def read_in_time(response: UpstreamResponse, limit: int, seconds: float) -> None:
    """Read the body, of at most ``limit`` bytes, within ``seconds``; its connection is given back however that ends.

    Raises TimeoutError, UpstreamError.
    """
    try:
        async with PatientTimeout(seconds):
            await response.read_whole(limit)
    finally:
        response.discard()


async def is_whole(response: UpstreamResponse) -> bool:
    """Whether all of a 401's body is in hand, so that its request may be resent (contract section 5.4)."""
    return await response.read_whole(BODY_LIMIT)
