"""What is known of a message once its head is read (RFC 9110 section 6; RFC 9112 section 6).

Who reads the heads are :mod:`sidecar.core.http.framing` for requests, and :mod:`sidecar.core.http.response_head`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from sidecar.core.http.field import Field
    from sidecar.core.http.header_index import RawHeaders

#: The methods that HTTP knows (RFC 9110 section 9, RFC 5789), but for CONNECT and TRACE.
KNOWN_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class BodyFraming(msgspec.Struct, frozen=True, gc=False):
    """How a request's body is delimited, and what happens to its connection afterwards."""

    #: Bytes; None without a ``Content-Length``.
    content_length: int | None
    chunked: bool
    #: The client waits for ``100 Continue`` before it sends the body.
    expects_continue: bool
    #: Another request may follow on this connection.
    keep_alive: bool

    @property
    def has_body(self) -> bool:
        """Whether body bytes follow the head (a chunked body counts, though it may turn out empty)."""
        return self.chunked or bool(self.content_length)


class ResponseHead(msgspec.Struct, frozen=True, gc=False):
    """A status line and its fields; made by :func:`sidecar.core.http.response_head.response_head`."""

    minor_version: int
    status: int
    #: Bytes as upstream sent them.
    reason: bytes
    fields: list[Field]
    #: Those of the fields that have a ``key``.
    read_here: list[Field]
    #: The lines that go on to the caller, in order and byte for byte (contract section 4.4): neither hop-by-hop fields,
    #: nor those that ``Connection`` names, nor upstream's own ``X-Sidecar-*``.
    lines_down: list[bytes]

    @property
    def raw_headers(self) -> RawHeaders:
        """Names and values, bytes as upstream sent them."""
        return tuple([(field.name, field.value) for field in self.fields])

    def first(self, name: bytes) -> str | None:
        """Return the value of the first field called ``name`` (in lower case), as Latin-1; None: there is none."""
        for field in self.fields:
            if field.name.lower() == name:
                return field.value.decode("latin-1")
        return None


class ResponseFraming(msgspec.Struct, frozen=True, gc=False):
    """What a head says about the bytes after it, and about the connection.

    length       bytes of body that follow; None: chunked
    declared     the value of Content-Length, also where no body follows (HEAD, 304)
    persistent   the connection may carry another request afterwards
    keep_alive   seconds for which upstream means to keep it when idle, if it says so
    dropped      a body might follow, up to the end of the connection, and is not read
    """

    length: int | None
    declared: int | None
    persistent: bool
    keep_alive: int | None
    dropped: bool = False
