"""Undoing ``Content-Encoding`` (RFC 9110 section 8.4), up to a limit.

Only what the sidecar itself reads is decoded: token responses, and the error
reports whose ids the log tells. What callers get is never decoded.
"""

from __future__ import annotations

import zlib
from typing import Final

#: RFC 9110 section 8.4.1.3: ``x-gzip`` is the same. ``identity`` means that nothing was done.
_GZIP: Final = frozenset({"gzip", "x-gzip"})
_NOTHING: Final = frozenset({"", "identity"})
#: For zlib: a gzip header and trailer (RFC 1952), the largest window.
_GZIP_FORMAT: Final = 16 + zlib.MAX_WBITS


def decode_content(body: bytes, coding: str, *, limit: int) -> bytes | None:
    """Return ``body`` without its content coding, the value of ``Content-Encoding`` (empty: none).

    None if the coding is another one than gzip, or the body breaks it. Not more
    than ``limit`` + 1 bytes are ever decoded, however much the body would give:
    whoever gets more than ``limit`` knows that it is too long.
    """
    coding = coding.strip().lower()
    if coding in _NOTHING:
        return body
    if coding not in _GZIP:
        return None
    decoder = zlib.decompressobj(_GZIP_FORMAT)
    try:
        decoded = decoder.decompress(body, limit + 1)
    except zlib.error:
        return None
    if len(decoded) > limit:
        return decoded
    return decoded if decoder.eof and not decoder.unused_data else None
