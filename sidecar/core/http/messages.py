"""What is known of a message once its head is read (RFC 9110 section 6; RFC 9112 section 6).

Who reads the heads are :mod:`sidecar.core.http.framing` for requests, and :mod:`sidecar.core.http.response_head`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sidecar.core.http.field import Field
    from sidecar.core.http.header_index import RawHeaders

#: The methods that HTTP knows (RFC 9110 section 9, RFC 5789), but for CONNECT and TRACE.
KNOWN_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class BodyFraming:
    """How a request's body is delimited, and what happens to its connection afterwards."""

    __slots__ = ("chunked", "content_length", "expects_continue", "keep_alive")

    def __init__(self, content_length: int | None, chunked: bool, expects_continue: bool, keep_alive: bool) -> None:
        #: Bytes; None without a ``Content-Length``.
        self.content_length: Final = content_length
        self.chunked: Final = chunked
        #: The client waits for ``100 Continue`` before it sends the body.
        self.expects_continue: Final = expects_continue
        #: Another request may follow on this connection.
        self.keep_alive: Final = keep_alive

    @property
    def has_body(self) -> bool:
        """Whether body bytes follow the head (a chunked body counts, though it may turn out empty)."""
        return self.chunked or bool(self.content_length)


class ResponseHead:
    """A status line and its fields; made by :func:`sidecar.core.http.response_head.response_head`."""

    __slots__ = ("fields", "lines_down", "minor_version", "read_here", "reason", "status")

    def __init__(
        self,
        minor_version: int,
        status: int,
        reason: bytes,
        fields: list[Field],
        read_here: list[Field],
        lines_down: list[bytes],
    ) -> None:
        self.minor_version: Final = minor_version
        self.status: Final = status
        #: Bytes as upstream sent them.
        self.reason: Final = reason
        self.fields: Final = fields
        #: Those of the fields that have a ``key``.
        self.read_here: Final = read_here
        #: The lines that go on to the caller, in order and byte for byte (contract section 4.4): neither hop-by-hop
        #: fields, nor those that ``Connection`` names, nor upstream's own ``X-Sidecar-*``.
        self.lines_down: Final = lines_down

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

    def with_line(self, line: bytes) -> ResponseHead:
        """Return the same head with one line more that goes on to the caller."""
        lines_down = [*self.lines_down, line]
        return ResponseHead(self.minor_version, self.status, self.reason, self.fields, self.read_here, lines_down)


class ResponseFraming:
    """What a head says about the bytes after it, and about the connection."""

    __slots__ = ("declared", "dropped", "keep_alive", "length", "persistent")

    def __init__(
        self,
        length: int | None,
        declared: int | None,
        persistent: bool,
        keep_alive: int | None,
        dropped: bool = False,
    ) -> None:
        #: Bytes of body that follow; None: chunked.
        self.length: Final = length
        #: The value of ``Content-Length``, also where no body follows (HEAD, 304).
        self.declared: Final = declared
        #: The connection may carry another request afterwards.
        self.persistent: Final = persistent
        #: Seconds for which upstream means to keep it when idle, if it says so.
        self.keep_alive: Final = keep_alive
        #: A body might follow, up to the end of the connection, and is not read.
        self.dropped: Final = dropped
