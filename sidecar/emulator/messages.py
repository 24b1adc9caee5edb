"""What goes into and comes out of the emulator's pure part."""

from __future__ import annotations

from email.utils import formatdate
from typing import Final

import msgspec

#: Header fields as they stand on the wire: order, case and repeats kept.
Headers = tuple[tuple[bytes, bytes], ...]

JSON: Final = b"application/json; charset=utf-8"

_VERSION_SPELLINGS: Final = {"v2_01": "v2.01", "v3_0": "v3.0"}


class Request(msgspec.Struct, frozen=True):
    """One request, wholly received.

    ``segments`` are those of the path without the empty ones, so that ``//`` and a
    trailing ``/`` do not matter; the first one, the version, is in lower case.
    ``arrived`` is when the head came in, in seconds of the emulator's clock.
    """

    method: str
    target: str
    segments: tuple[str, ...]
    query: str
    headers: Headers
    body: bytes
    arrived: float

    @property
    def path(self) -> str:
        """The path as it was sent, without the query."""
        return self.target.partition("?")[0]

    def base_url(self, scheme: str) -> str:
        """Return the emulator's own base URL, as the caller knows it."""
        host = (self.header(b"host") or b"localhost").decode("latin-1")
        return f"{scheme}://{host}"

    @property
    def host(self) -> str:
        """The host that the caller believes to be at, without its port."""
        host = (self.header(b"host") or b"").decode("latin-1")
        return host.partition("]")[0].removeprefix("[") if host.startswith("[") else host.partition(":")[0]

    def header(self, name: bytes) -> bytes | None:
        """Return the first value of the header ``name`` (in lower case), or None."""
        for field, value in self.headers:
            if len(field) == len(name) and field.lower() == name:
                return value
        return None


class EmulatedResponse(msgspec.Struct, frozen=True):
    """One response before it becomes bytes. ``generated`` bytes of pattern stand in for a large body."""

    status: int
    body: bytes = b""
    content_type: bytes = JSON
    headers: Headers = ()
    generated: int | None = None
    chunked: bool = False


def json_response(status: int, value: object, headers: Headers = ()) -> EmulatedResponse:
    """Return ``value`` as a JSON response."""
    return EmulatedResponse(status, msgspec.json.encode(value), JSON, headers)


def split_path(path: str) -> tuple[str, ...]:
    """Return the path's segments, as :class:`Request` holds them."""
    segments = [segment for segment in path.split("/") if segment]
    if segments:
        version = segments[0].lower()
        segments[0] = _VERSION_SPELLINGS.get(version, version)
    return tuple(segments)


class DateCache:
    """HTTP dates (RFC 9110 section 5.6.7), formatted once a second."""

    __slots__ = ("_second", "_text")

    def __init__(self) -> None:
        self._second = -1
        self._text = b""

    def format(self, wall: float) -> bytes:
        """Return ``wall`` (Unix seconds) as an HTTP date."""
        second = int(wall)
        if second != self._second:
            self._second, self._text = second, formatdate(second, usegmt=True).encode()
        return self._text
