"""What it means that an egress proxy opens no tunnel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.core.causes import Cause

if TYPE_CHECKING:
    from sidecar.core.http.tunnel import TunnelRefusedError

_CREDENTIALS: Final = "it wants other credentials: check the user and password in SIDECAR_UPSTREAM_EGRESS_PROXY"
_NO_CONNECT: Final = (Cause.EGRESS_NO_PROXY, "it does not offer CONNECT: is it an HTTP forward proxy?")

#: The usual refusals, by status; words about "it", the proxy.
_MEANINGS: Final = {
    400: (Cause.EGRESS_NO_PROXY, "it does not understand CONNECT: is it an HTTP forward proxy?"),
    # So tinyproxy refuses a wrong password, and a web server everybody.
    401: (Cause.EGRESS_CREDENTIALS, f"{_CREDENTIALS}, and the port"),
    403: (Cause.EGRESS_FORBIDDEN, "it does not allow this destination: add it to the proxy's allow-list"),
    404: _NO_CONNECT,
    405: _NO_CONNECT,
    407: (Cause.EGRESS_CREDENTIALS, _CREDENTIALS),
    429: (Cause.EGRESS_REFUSED, "it limits how much passes through it"),
    502: (Cause.EGRESS_CANNOT_REACH, "it cannot reach the destination itself"),
    503: (Cause.EGRESS_CANNOT_REACH, "it cannot reach the destination itself, or is overloaded"),
    504: (Cause.EGRESS_CANNOT_REACH, "it cannot reach the destination itself in time"),
}


def explain_tunnel(error: TunnelRefusedError) -> tuple[Cause, str]:
    """Return why there is no tunnel: as a cause, and in words that follow the proxy's name."""
    if error.schemes:
        meaning = (
            f"it wants {error.schemes} authentication, and the sidecar knows Basic only: have it take Basic for this "
            "machine, or name a local proxy that authenticates to it"
        )
        return Cause.EGRESS_AUTHENTICATION, f"{error}: {meaning}"
    if error.status is None:
        return Cause.EGRESS_REFUSED if error.is_http else Cause.EGRESS_NO_PROXY, str(error)
    cause, meaning = _MEANINGS.get(error.status, (Cause.EGRESS_REFUSED, ""))
    return cause, f"{error}: {meaning}" if meaning else str(error)
