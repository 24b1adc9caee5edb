"""A tunnel through an HTTP proxy (RFC 9110 section 9.3.6): what to ask, and what its answer means."""

from __future__ import annotations

import base64
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from sidecar.core.response_head import BadResponseError, HeadReader

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sidecar.core.secret import Secret

#: What the usual refusals mean, by status.
_MEANINGS: Final[Mapping[int, str]] = MappingProxyType(
    {
        400: "it does not understand CONNECT: is it an HTTP forward proxy?",
        403: "it does not allow this destination: add it to the proxy's allow-list",
        404: "it does not offer CONNECT: is it an HTTP forward proxy?",
        405: "it does not offer CONNECT: is it an HTTP forward proxy?",
        407: "it wants other credentials: check the user and password in SIDECAR_UPSTREAM_EGRESS_PROXY",
        429: "it limits how much passes through it",
        502: "it cannot reach the destination itself",
        503: "it cannot reach the destination itself, or is overloaded",
        504: "it cannot reach the destination itself in time",
    }
)


class TunnelRefusedError(Exception):
    """The proxy opens no tunnel. The message says why in words of ours, and never holds bytes of the proxy's."""


def authority(host: str, port: int) -> str:
    """Write ``host:port`` as RFC 9110 section 7.1 does for CONNECT: always with a port, IPv6 in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def connect_request(destination: str, username: str | None = None, password: Secret | None = None) -> bytes:
    """Return the CONNECT request for ``destination``, an :func:`authority`.

    With a ``username`` it carries Basic credentials (RFC 7617, in UTF-8), which are for the proxy alone.
    """
    lines = [f"CONNECT {destination} HTTP/1.1", f"Host: {destination}"]
    if username is not None:
        pair = f"{username}:{'' if password is None else password.reveal()}"
        lines.append(f"Proxy-Authorization: Basic {base64.b64encode(pair.encode()).decode('ascii')}")
    return "\r\n".join((*lines, "", "")).encode("ascii")


class TunnelAnswer:
    """Reads the proxy's answer, however it is cut up."""

    def __init__(self) -> None:
        self._head: Final = HeadReader()

    def feed(self, data: bytes) -> bool:
        """Take the next bytes, none at the end of the stream; return whether the tunnel is open.

        Raises TunnelRefusedError for every answer but 2xx, for one that is not
        HTTP, and for bytes behind its head: whoever is at the other end speaks
        when spoken to, so they would be the proxy's own.
        """
        if not data:
            raise TunnelRefusedError("closed the connection without an answer")
        try:
            found = self._head.feed(data)
        except BadResponseError as error:
            message = f"did not answer as an HTTP proxy does: {error}"
            raise TunnelRefusedError(message) from None
        if found is None:
            return False
        head, rest = found
        if not 200 <= head.status < 300:
            meaning = _MEANINGS.get(head.status)
            message = f"answered {head.status}" + (f": {meaning}" if meaning else "")
            raise TunnelRefusedError(message)
        # Content-Length and Transfer-Encoding mean nothing here (RFC 9110 section 9.3.6).
        if rest:
            raise TunnelRefusedError("sent bytes into the tunnel before anybody asked")
        return True
