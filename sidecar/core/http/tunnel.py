"""A tunnel through an HTTP proxy (RFC 9110 section 9.3.6): what to ask, and what its response means."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Final

from sidecar.core.http.response_head import BadResponseError, HeadReader

if TYPE_CHECKING:
    from sidecar.core.http.header_index import RawHeaders
    from sidecar.core.secret import Secret

#: Ways to authenticate that a proxy may ask for (RFC 9110 section 11.1) and that are no user and password sent once.
_OTHER_SCHEMES: Final = ("Digest", "NTLM", "Negotiate", "Kerberos", "Bearer")
#: A scheme in Proxy-Authenticate: a token with a blank, a comma or nothing behind it; parameters have "=" there.
_SCHEME: Final = re.compile(rb"(?:^|,)[ \t]*+([!#$%&'*+\-.^_`|~0-9A-Za-z]++)(?=[ \t,]|$)(?![ \t]*+=)")


class TunnelRefusedError(Exception):
    """The proxy opens no tunnel. The message says what it did, and never holds bytes of the proxy's.

    ``status`` is that of its response, None if there was none. ``schemes`` names
    the ways to authenticate that it wants where Basic is not among them.
    ``is_http`` is false if what came was no response of an HTTP proxy.
    What a refusal means and what to do is said in :mod:`sidecar.advice.tunnel`.
    """

    def __init__(self, message: str, status: int | None = None, *, schemes: str = "", is_http: bool = True) -> None:
        super().__init__(message)
        self.status: Final = status
        self.schemes: Final = schemes
        self.is_http: Final = is_http


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


class TunnelResponse:
    """Reads the proxy's response, however it is cut up."""

    def __init__(self) -> None:
        self._head: Final = HeadReader()

    def feed(self, data: bytes) -> bool:
        """Take the next bytes, none at the end of the stream; return whether the tunnel is open.

        Raises TunnelRefusedError for every response but 2xx, for one that is not
        HTTP, and for bytes behind its head: whoever is at the other end speaks
        when spoken to, so they would be the proxy's own.
        """
        if not data:
            raise TunnelRefusedError("closed the connection without an answer")
        try:
            found = self._head.feed(data)
        except BadResponseError as error:
            message = f"did not answer as an HTTP proxy does: {error}"
            raise TunnelRefusedError(message, is_http=False) from None
        if found is None:
            return False
        head, rest = found
        if not 200 <= head.status < 300:
            schemes = _other_schemes(head.raw_headers) if head.status in (401, 407) else ""
            raise TunnelRefusedError(f"answered {head.status}", head.status, schemes=schemes)
        # Content-Length and Transfer-Encoding mean nothing here (RFC 9110 section 9.3.6).
        if rest:
            raise TunnelRefusedError("sent bytes into the tunnel before anybody asked")
        return True


def _other_schemes(headers: RawHeaders) -> str:
    """Name the known ways to authenticate that a proxy asks for; the empty string if Basic is one, or none is known."""
    values = [value for name, value in headers if name.lower() == b"proxy-authenticate"]
    asked = {scheme.lower() for value in values for scheme in _SCHEME.findall(value)}
    if b"basic" in asked:
        return ""
    return " or ".join(name for name in _OTHER_SCHEMES if name.lower().encode() in asked)
