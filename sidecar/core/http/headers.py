"""Which header lines go up, which come down, and how a head is written (contract sections 4.3 and 4.4).

A proxy forwards end-to-end fields as they came: case, order, repeats and raw
bytes. It drops what belongs to one connection only (RFC 9110 section 7.6.1)
and what would let a caller say who it is or where it goes: credentials, and
the names by which frameworks let a header replace the method, path or address.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.core.errors import ErrorCode, Outcome, SidecarError
from sidecar.core.http.header_index import HeaderIndex, RawHeader, RawHeaders, index_of, reject, select

if TYPE_CHECKING:
    from collections.abc import Sequence

#: RFC 9110 section 5.6.2.
TOKEN_CHARACTERS: Final = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


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
    b"x-sidecar-lane",
    # They say where a request came from. The sidecar says nothing of that.
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
COMMON_CONNECTIONS: Final = frozenset({b"keep-alive", b"Keep-Alive", b"close"})


def _request_rule(name: bytes) -> bool:
    """Whether a request's line stays here."""
    field = folded(name)
    return field == b"connection" or field in _NOT_SENT_UP or field.startswith(_FAMILIES_NOT_SENT_UP)


def goes_down(name: bytes) -> bool:
    """Whether a response's line with this name goes on to the caller."""
    field = folded(name)
    return field != b"connection" and field not in _NOT_SENT_DOWN and not field.startswith(_OUR_FAMILY)


_SENT_UP: Final = reject(_request_rule)
_LINE: Final = b": ".join
_CONNECTIONS: Final = select(lambda name: folded(name) == b"connection")


def filter_request_headers(raw: RawHeaders, header_index: HeaderIndex | None = None) -> RawHeaders:
    """Return the header lines that go up, in order and byte for byte; ``header_index`` is that of ``raw``, where known.

    ``Host``, ``Content-Length``, ``Transfer-Encoding`` and ``Authorization`` are
    not among them: :class:`RequestTemplate` makes them anew.

    Raises SidecarError: ``BAD_REQUEST`` if ``Connection`` names ``Idempotency-Key`` or ``Content-Type``.
    """
    header_index = index_of(raw) if header_index is None else header_index
    kept = header_index[_SENT_UP](raw)
    values = [raw[index][1] for _, index in header_index[_CONNECTIONS]]
    if values and not COMMON_CONNECTIONS.issuperset(values):
        named = set().union(*map(nominated, values))
        if not named.isdisjoint(_NOT_TO_BE_NOMINATED):
            raise SidecarError(
                ErrorCode.BAD_REQUEST,
                "The Connection header names Idempotency-Key or Content-Type, so it would be lost on the way: "
                "leave it out of Connection",
            )
        kept = tuple([header for header in kept if folded(header[0]) not in named])
    return kept


def _name_of(line: bytes) -> bytes:
    return line.partition(b":")[0]


def nominated(value: bytes) -> set[bytes]:
    """Return the folded names that one ``Connection`` line nominates."""
    return set(map(folded, connection_options(value)))


# Of these a server may expect a body, so an absent one is said to be absent (RFC 9110 section 8.6, 411 of Mangopay).
_METHODS_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})


class RequestTemplate:
    """The head of one request to upstream: prepared once, rendered for each delivery with the token of that moment."""

    __slots__ = ("_head",)

    def __init__(self, head: bytes) -> None:
        self._head = head

    @staticmethod
    def build(
        method: str,
        target: bytes,
        prefix: str,
        host: bytes,
        headers: Sequence[RawHeader],
        content_length: int | None,
        chunked: bool,
    ) -> RequestTemplate:
        """Prepare a head: request line, ``Host``, the caller's lines as they are, then the framing.

        ``target`` is :attr:`sidecar.core.admission.target.Target.raw`; ``prefix`` and ``host`` come from the endpoint,
        never from a request. ``content_length`` (bytes) is left out where it is 0 and the method needs none.

        Raises SidecarError: ``BAD_REQUEST`` if a line holds CR, LF or NUL.
        """
        lines = [b"Host: " + host, *map(_LINE, headers)]
        if chunked:
            lines.append(b"Transfer-Encoding: chunked")
        elif content_length or method in _METHODS_WITH_BODY:
            lines.append(b"Content-Length: %d" % (content_length or 0))
        request_line = b"%b %b%b HTTP/1.1" % (method.encode(), prefix.encode(), target)
        head = _write_head(request_line, lines, b"Authorization: Bearer ")
        if head is None:
            raise SidecarError(
                ErrorCode.BAD_REQUEST, "A header holds a line break or a NUL: send each on one line", close=True
            )
        return RequestTemplate(head)

    def render(self, token: str) -> bytes:
        """Return the whole head with this access token, up to and with the blank line.

        Raises ValueError: the token is empty or holds a control character. The message does not show it.
        """
        if not token or not token.isprintable():
            raise ValueError("an access token cannot be empty or hold control characters")
        return self._head + token.encode() + b"\r\n\r\n"


def render_response_head(status: int, reason: bytes, lines: Sequence[bytes], extra: Sequence[bytes] = ()) -> bytes:
    """Return a whole response head, up to and with the blank line: ``lines`` as they are, then ``extra``.

    A 1xx or 204 loses its ``Content-Length`` (RFC 9110 section 8.6); a 304, and a response to HEAD, keep theirs.

    Raises SidecarError: ``UPSTREAM_UNREACHABLE`` if a line holds CR, LF or NUL: the response is broken.
    """
    if status == 204 or status < 200:
        lines = [line for line in lines if _name_of(line).lower() != b"content-length"]
    head = _write_head(b"HTTP/1.1 %d %b" % (status, reason), (*lines, *extra) if extra else lines, b"\r\n")
    if head is None:
        raise SidecarError(
            ErrorCode.UPSTREAM_UNREACHABLE,
            "Mangopay's answer has a broken head: see the log, and try again if the call may be repeated",
            outcome=Outcome.UNKNOWN,
            close=True,
        )
    return head


# Numbers, for speed: asked for a bytes object, ``in`` raises a TypeError of its own first, and drops it.
_LF: Final = ord("\n")
_CR: Final = ord("\r")
_NUL: Final = 0


def _write_head(start_line: bytes, lines: Sequence[bytes], end: bytes) -> bytes | None:
    """Return the lines as one piece that ends in ``end``, or None if one of them is not one line."""
    # The parsers have refused such lines. This is the last place where a second head could be slipped in.
    content = b"".join((start_line, *lines))
    if _LF in content or _CR in content or _NUL in content:
        return None
    return b"\r\n".join((start_line, *lines, end))
