"""Where a request begins and ends: what may not be understood in two ways (contract sections 4.5 and 4.6).

The parser has refused much of this already. It lets pass what RFC 9112 section
6.1 calls an error on HTTP/1.0, other codings before ``chunked``, and versions
that are not 1.0 or 1.1; and a rule about money should not hang on a parser's
defaults. Whoever is refused here is also disconnected: what follows on that
connection may be a part of the same message, or another one.
"""

from __future__ import annotations

from typing import Final, NoReturn

from sidecar.core.errors import ErrorCode, SidecarError
from sidecar.core.http.header_index import HeaderIndex, RawHeaders, index_of, joined_values, select
from sidecar.core.http.headers import TOKEN_CHARACTERS, connection_options
from sidecar.core.http.messages import KNOWN_METHODS, BodyFraming
from sidecar.core.malformed import Malformed

_VERSIONS: Final = frozenset({(1, 0), (1, 1)})

# RFC 9110 section 5.5: a field value has no control characters but the tab.
_CONTROLS: Final = bytes({*range(0x20), 0x7F} - {0x09})

# More digits than any body has, few enough that no reader's integer overflows.
_LENGTH_DIGITS: Final = 18

# A number, for speed: see ``_LF`` of :mod:`sidecar.core.http.headers`.
_COMMA: Final = ord(",")

_FRAMING_FIELDS: Final = frozenset({b"host", b"content-length", b"transfer-encoding", b"expect", b"connection"})


def _rule(name: bytes) -> bytes:
    """Return the field's name in lower case if it matters here, else nothing; refuse what is no field name."""
    if not name or name.translate(None, TOKEN_CHARACTERS):
        _refuse(Malformed.FIELD)
    # Underscores are kept: Content_Length frames nothing for us, and does not go up.
    field = name.lower()
    return field if field in _FRAMING_FIELDS else b""


_FIELDS: Final = select(_rule)


def check_request(
    method: str, version: tuple[int, int], raw: RawHeaders, header_index: HeaderIndex | None = None
) -> BodyFraming:
    """Return how the request is framed; ``header_index`` is that of ``raw``, where the caller has it.

    Raises SidecarError: ``BAD_REQUEST`` if it can be read in two ways, ``EXPECTATION_FAILED`` for an expectation other
    than ``100-continue``. Either closes the connection.
    """
    if version not in _VERSIONS:
        _refuse(Malformed.VERSION)
    if method not in KNOWN_METHODS and not _is_method(method):
        _refuse(Malformed.METHOD)
    found: dict[bytes, bytes] = {}
    for field, index in (index_of(raw) if header_index is None else header_index)[_FIELDS]:
        value = raw[index][1]
        # Repeated lines mean what one line with commas means (RFC 9110 section 5.3). A list is not what Host,
        # Content-Length, Transfer-Encoding and Expect may be here, so the rules below refuse it.
        found[field] = value if field not in found else b"%b, %b" % (found[field], value)
    values = joined_values(raw)
    if len(values.translate(None, _CONTROLS)) != len(values):
        _refuse(Malformed.CONTROL)
    if b"host" not in found or _COMMA in found[b"host"]:
        _refuse(Malformed.HOST)
    chunked = b"transfer-encoding" in found and _chunked(found, version)
    length = _content_length(found[b"content-length"]) if b"content-length" in found else None
    return BodyFraming(
        length,
        chunked,
        b"expect" in found and _expects_continue(found[b"expect"], version) and (chunked or bool(length)),
        # A trailer would be read as the first header of the next request, so none follows a chunked body.
        not chunked and _keep_alive(found.get(b"connection"), version),
    )


def _refuse(why: Malformed) -> NoReturn:
    raise why.error()


def _is_method(method: str) -> bool:
    return method.isascii() and bool(method) and not method.encode().translate(None, TOKEN_CHARACTERS)


def _chunked(found: dict[bytes, bytes], version: tuple[int, int]) -> bool:
    if version != (1, 1):
        _refuse(Malformed.CODING_OF_1_0)
    if b"content-length" in found:
        _refuse(Malformed.BOTH_LENGTHS)
    coding = found[b"transfer-encoding"]
    if coding.strip(b" \t").lower() != b"chunked":
        _refuse(Malformed.CODING)
    return True


def _content_length(length: bytes) -> int:
    length = length.strip(b" \t")
    if not length.isdigit() or len(length) > _LENGTH_DIGITS:
        _refuse(Malformed.LENGTH)
    return int(length)


def _expects_continue(expectation: bytes, version: tuple[int, int]) -> bool:
    if version != (1, 1):  # RFC 9110 section 10.1.1: HTTP/1.0 cannot expect anything
        return False
    if expectation.strip(b" \t").lower() != b"100-continue":
        raise SidecarError(
            ErrorCode.EXPECTATION_FAILED,
            "The only expectation served here is '100-continue', once: leave out the Expect header",
            close=True,
        )
    return True


def _keep_alive(connection: bytes | None, version: tuple[int, int]) -> bool:
    """Say what RFC 9112 section 9.3 says; an offered upgrade is declined and ends the connection too."""
    if connection is None:
        return version == (1, 1)
    if connection.lower() == b"keep-alive":  # what nearly everybody sends
        return True
    options = connection_options(connection)
    if b"close" in options or b"upgrade" in options:
        return False
    return version == (1, 1) or b"keep-alive" in options
