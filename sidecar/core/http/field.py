"""One header line of a response, and what its name means to the sidecar."""

from __future__ import annotations

from typing import Final

from sidecar.core.http.headers import COMMON_CONNECTIONS, goes_down

#: The fields that frame a body or a connection, and those that tell the rate limits (their resets count from Date).
_READ_HERE: Final = frozenset(
    {b"content-length", b"transfer-encoding", b"connection", b"keep-alive"}
    | {b"x-ratelimit", b"x-ratelimit-remaining", b"x-ratelimit-reset", b"date"}
)


class Field:
    """One header line, and what its name means. Surrounding blanks are no part of a value (RFC 9110 section 5.5)."""

    __slots__ = ("goes_down", "key", "line", "name", "nominates", "value")

    def __init__(self, name: bytes, value: bytes) -> None:
        #: As upstream sent them.
        self.name: Final = name
        self.value: Final = value
        #: Both, as they are written anew.
        self.line: Final = name + b": " + value
        key = name.lower()
        #: The name in lower case if somebody here reads such a field, else nothing.
        self.key: Final = key if key in _READ_HERE else b""
        #: Whether the line goes on to the caller, unless ``Connection`` names it.
        self.goes_down: Final = goes_down(name)
        #: Whether it is a ``Connection`` that names other fields.
        self.nominates: Final = key == b"connection" and value not in COMMON_CONNECTIONS
