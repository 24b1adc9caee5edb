"""How a response is delimited on the caller's connection, and whether that connection stays open (contract 4.4, 4.6).

Upstream's own framing ends at this proxy (RFC 9112 section 6.1), so it is chosen anew for each caller. HTTP/1.0 has no
chunks: there a body without a length ends where its connection ends (RFC 9112 sections 6.3 and 9.3).
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping


class CallerFraming(msgspec.Struct, frozen=True, gc=False):
    """What a response's head adds to upstream's lines, and what follows it."""

    #: The body goes out in chunks.
    chunked: bool
    #: The connection stays open after the response.
    keep_alive: bool
    #: The header lines that say so.
    lines: tuple[bytes, ...]


_CHUNKED: Final = b"Transfer-Encoding: chunked"
_CLOSE: Final = b"Connection: close"
_KEEP_ALIVE: Final = b"Connection: keep-alive"

#: By three facts: the caller speaks HTTP/1.0; the response tells where its body ends (it has a length, or no body);
#: the connection may stay open as far as the request and the sidecar go.
CALLER_FRAMING: Final[Mapping[tuple[bool, bool, bool], CallerFraming]] = MappingProxyType(
    {
        # HTTP/1.0, ends by itself, may stay      chunked, stays, lines
        (False, True, True): CallerFraming(False, True, ()),
        (False, True, False): CallerFraming(False, False, (_CLOSE,)),
        (False, False, True): CallerFraming(True, True, (_CHUNKED,)),
        (False, False, False): CallerFraming(True, False, (_CHUNKED, _CLOSE)),
        (True, True, True): CallerFraming(False, True, (_KEEP_ALIVE,)),
        (True, True, False): CallerFraming(False, False, (_CLOSE,)),
        # The end of the connection is the end of the body.
        (True, False, True): CallerFraming(False, False, (_CLOSE,)),
        (True, False, False): CallerFraming(False, False, (_CLOSE,)),
    }
)

#: What nearly every response gets: over HTTP/1.1, with a length, on a connection that stays.
USUAL: Final = CALLER_FRAMING[False, True, True]
