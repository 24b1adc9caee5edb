"""Which header lines go up, which come down, and how a head is written (contract sections 4.3 and 4.4).

A proxy forwards end-to-end fields as they came: case, order, repeats and raw
bytes. It drops what belongs to one connection only (RFC 9110 section 7.6.1)
and what would let a caller say who it is or where it goes: credentials, and
the names by which frameworks let a header replace the method, path or address.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, TypeVar

from sidecar.core.errors import ErrorCode, Outcome, SidecarError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

RawHeader = tuple[bytes, bytes]
RawHeaders = tuple[RawHeader, ...]
"""Header lines as they were received: names and values untouched (aiohttp's ``raw_headers``)."""

T = TypeVar("T")

#: RFC 9110 section 5.6.2.
TOKEN_CHARACTERS: Final = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

# Names seen on a port are few. The bounds only stop a caller who invents new ones from filling the memory.
_NAMES_KEPT: Final = 512
_NAME_LENGTH_KEPT: Final = 64


class NameTable(dict[bytes, T], Generic[T]):
    """What a rule says of a header name: worked out once for each spelling, then one dictionary look-up.

    ``rule`` gets the name as it was received. The table is emptied when it is full.
    """

    __slots__ = ("_rule",)

    def __init__(self, rule: Callable[[bytes], T]) -> None:
        super().__init__()
        self._rule = rule

    def __missing__(self, name: bytes) -> T:
        verdict = self._rule(name)
        if len(name) <= _NAME_LENGTH_KEPT:
            if len(self) >= _NAMES_KEPT:
                self.clear()
            self[name] = verdict
        return verdict


def folded(name: bytes) -> bytes:
    """Return the name in lower case with ``-`` for ``_``.

    CGI and its heirs (WSGI, Rack, PHP) cannot tell ``X_Forwarded_For`` from
    ``X-Forwarded-For``, so a rule that is about either is about both.
    """
    return name.lower().replace(b"_", b"-")


def connection_options(value: bytes) -> list[bytes]:
    """Return the options of one ``Connection`` line in lower case (RFC 9110 section 7.6.1), empty ones left out."""
    # Quotes are not allowed around an option. Somebody upstream may strip them, so they are seen through.
    return [option for part in value.lower().split(b",") if (option := part.strip(b' \t"'))]


_PASS: Final = 0
_DROP: Final = 1
_CONNECTION: Final = 2

#: RFC 9110 section 7.6.1; Proxy-Connection and HTTP2-Settings (RFC 7540 section 3.2.1) are older and still seen.
_HOP_BY_HOP: Final = frozenset(
    {b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade", b"http2-settings"}
)

_NOT_SENT_UP: Final = _HOP_BY_HOP | {
    # Made anew for the upstream connection.
    b"host",
    b"content-length",
    b"authorization",
    # The caller's own business with us.
    b"cookie",
    b"expect",
    # Says where a request came from: ours to say, and we say nothing.
    b"forwarded",
    b"via",
    b"x-real-ip",
    # Would make a framework see another path or method than the one that the policy has seen.
    b"x-original-url",
    b"x-rewrite-url",
    b"x-http-method",
    b"x-http-method-override",
    b"x-method-override",
}
_FAMILIES_NOT_SENT_UP: Final = (b"proxy-", b"x-forwarded-")

#: Losing one of these in silence would change what a payment call means.
_NOT_TO_BE_NOMINATED: Final = frozenset({b"idempotency-key", b"content-type"})

#: Proxy-Authenticate speaks to the next client only (RFC 9110 section 11.7.1), which would be us.
_NOT_SENT_DOWN: Final = _HOP_BY_HOP | {b"proxy-authenticate"}
_OUR_FAMILY: Final = b"x-sidecar-"

#: The spellings that nominate nothing, which is what nearly every request has.
_COMMON_CONNECTIONS: Final = frozenset({b"keep-alive", b"Keep-Alive", b"close"})


def _request_rule(name: bytes) -> int:
    field = folded(name)
    if field == b"connection":
        return _CONNECTION
    return _DROP if field in _NOT_SENT_UP or field.startswith(_FAMILIES_NOT_SENT_UP) else _PASS


def _response_rule(name: bytes) -> int:
    field = folded(name)
    if field == b"connection":
        return _CONNECTION
    return _DROP if field in _NOT_SENT_DOWN or field.startswith(_OUR_FAMILY) else _PASS


_REQUEST_NAMES: Final = NameTable(_request_rule)
_RESPONSE_NAMES: Final = NameTable(_response_rule)


def filter_request_headers(raw: RawHeaders) -> RawHeaders:
    """Return the header lines that go up, in order and byte for byte.

    ``Host``, ``Content-Length``, ``Transfer-Encoding`` and ``Authorization`` are
    not among them: :class:`RequestTemplate` makes them anew.

    Raises:
        SidecarError: ``BAD_REQUEST`` if ``Connection`` names ``Idempotency-Key`` or ``Content-Type``.
    """
    kept, nominated = _sieve(raw, _REQUEST_NAMES)
    if nominated:
        if not nominated.isdisjoint(_NOT_TO_BE_NOMINATED):
            raise SidecarError(
                ErrorCode.BAD_REQUEST,
                "The Connection header names Idempotency-Key or Content-Type, so it would be lost on the way: "
                "leave it out of Connection",
            )
        kept = [header for header in kept if folded(header[0]) not in nominated]
    return tuple(kept)


def filter_response_headers(raw: RawHeaders) -> list[RawHeader]:
    """Return the header lines that come down, in order and byte for byte.

    Hop-by-hop fields, those that ``Connection`` names, and upstream's own
    ``X-Sidecar-*`` are left out. ``Content-Length`` stays, even when named.
    """
    kept, nominated = _sieve(raw, _RESPONSE_NAMES)
    if nominated:
        nominated.discard(b"content-length")  # the body is framed by it
        kept = [header for header in kept if folded(header[0]) not in nominated]
    return kept


def _sieve(raw: RawHeaders, names: NameTable[int]) -> tuple[list[RawHeader], set[bytes] | None]:
    """Return the lines that pass, and the folded names that ``Connection`` nominates besides."""
    kept: list[RawHeader] = []
    nominated: set[bytes] | None = None
    for header in raw:
        verdict = names[header[0]]
        if verdict == _PASS:
            kept.append(header)
        elif verdict == _CONNECTION and header[1] not in _COMMON_CONNECTIONS:
            nominated = nominated or set()
            nominated.update(map(folded, connection_options(header[1])))
    return kept, nominated


# Of these a server may expect a body, so an absent one is said to be absent (RFC 9110 section 8.6, 411 of Mangopay).
_METHODS_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})


class RequestTemplate:
    """The head of one request to upstream: prepared once, rendered for each delivery with the token of that moment."""

    __slots__ = ("_head",)

    def __init__(self, head: bytes) -> None:
        self._head = head

    @classmethod
    def build(
        cls,
        method: str,
        target: bytes,
        prefix: str,
        host: bytes,
        headers: Sequence[RawHeader],
        content_length: int | None,
        chunked: bool,
    ) -> RequestTemplate:
        """Prepare a head: request line, ``Host``, the caller's lines as they are, then the framing.

        ``target`` is :attr:`sidecar.core.target.Target.raw`; ``prefix`` and ``host`` come from the endpoint, never
        from a request. ``content_length`` (bytes) is left out where it is 0 and the method needs none.

        Raises:
            SidecarError: ``BAD_REQUEST`` if a line holds CR, LF or NUL.
        """
        framing: tuple[RawHeader, ...] = ()
        if chunked:
            framing = ((b"Transfer-Encoding", b"chunked"),)
        elif content_length or method in _METHODS_WITH_BODY:
            framing = ((b"Content-Length", b"%d" % (content_length or 0)),)
        request_line = b"%b %b%b HTTP/1.1" % (method.encode(), prefix.encode(), target)
        head = _write_head(request_line, ((b"Host", host), *headers, *framing), b"Authorization: Bearer ")
        if head is None:
            raise SidecarError(
                ErrorCode.BAD_REQUEST, "A header holds a line break or a NUL: send each on one line", close=True
            )
        return cls(head)

    def render(self, token: str) -> bytes:
        """Return the whole head with this access token, up to and with the blank line.

        Raises:
            ValueError: the token is empty or holds a control character. The message does not show it.
        """
        if not token or not token.isprintable():
            raise ValueError("an access token cannot be empty or hold control characters")
        return b"%b%b\r\n\r\n" % (self._head, token.encode())


def render_response_head(
    status: int, reason: bytes, headers: Sequence[RawHeader], extra: Sequence[RawHeader] = ()
) -> bytes:
    """Return a whole response head, up to and with the blank line: ``headers`` as they are, then ``extra``.

    A 1xx or 204 loses its ``Content-Length`` (RFC 9110 section 8.6); a 304, and an answer to HEAD, keep theirs.

    Raises:
        SidecarError: ``UPSTREAM_UNREACHABLE`` if a line holds CR, LF or NUL: the answer is broken.
    """
    if status == 204 or status < 200:
        headers = [header for header in headers if header[0].lower() != b"content-length"]
    head = _write_head(b"HTTP/1.1 %d %b" % (status, reason), (*headers, *extra), b"\r\n")
    if head is None:
        raise SidecarError(
            ErrorCode.UPSTREAM_UNREACHABLE,
            "Mangopay's answer has a broken head: see the log, and try again if the call may be repeated",
            outcome=Outcome.UNKNOWN,
            close=True,
        )
    return head


def _write_head(start_line: bytes, headers: Sequence[RawHeader], end: bytes) -> bytes | None:
    """Return the lines as one piece that ends in ``end``, or None if one of them is not one line."""
    head = b"\r\n".join((start_line, *map(b": ".join, headers), end))
    # The parsers have refused such lines. This is the last place where a second head could be slipped in.
    breaks = len(headers) + 1 + end.count(b"\n")
    if head.count(b"\n") != breaks or head.count(b"\r") != breaks or 0 in head:
        return None
    return head
