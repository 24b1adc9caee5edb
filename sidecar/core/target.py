"""The request target: forwarded byte for byte, or refused (contract sections 4.1 and 4.2; RFC 9112 section 3.2).

Where the sidecar connects is fixed by the configuration. The target only ever
goes into the request line, so all that is left to decide is whether upstream
could read another path in it than we do. Such a target is refused, not mended.

Percent-encoding is looked through once, as upstream does; ``%252e`` is three
ordinary characters after that. Only the token path is searched for at every
depth, since nothing that could come out as that path may carry our token.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Final, NoReturn
from urllib.parse import quote, unquote, unquote_to_bytes

import msgspec

from sidecar.core.errors import ErrorCode, SidecarError

if TYPE_CHECKING:
    from collections.abc import Iterator


class Route(Enum):
    """Who answers a request, and with which credential."""

    API = "api"
    LOCAL_TOKEN = "local_token"  # noqa: S105 - a route, not a password
    EMBEDDED_TOKEN = "embedded_token"  # noqa: S105 - a route, not a password


class Target(msgspec.Struct, frozen=True, gc=False):
    """A request target that may be forwarded."""

    #: Path and query for the request line, aliases swapped, without the base URL's prefix.
    raw: bytes
    #: The path alone, aliases swapped, percent-encoding as it was sent.
    path: str
    route: Route


@dataclass(frozen=True, slots=True)
class TargetRules:
    """Whose ClientId stands in for the aliases.

    Raises:
        ValueError: the ClientId cannot be a path segment.
    """

    client_id: str
    aliases: tuple[str, ...]
    #: The ClientId as a path segment, and the aliases percent-decoded.
    segment: str = field(init=False, repr=False, compare=False)
    names: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.client_id.strip(".") or not self.client_id.isprintable():
            raise ValueError("the ClientId is empty, only dots, or holds control characters")
        object.__setattr__(self, "segment", quote(self.client_id, safe="!$&'()*+,=:@"))
        object.__setattr__(self, "names", frozenset(map(unquote, self.aliases)))


_REFUSED_METHODS: Final = frozenset({"CONNECT", "TRACE"})

_FORM: Final = (
    "The request target must be a path that begins with one slash: give the sidecar's address to the SDK as its "
    "base URL, not as an HTTP proxy"
)
_METHOD: Final = "CONNECT and TRACE are not forwarded: the sidecar is a base URL, not an HTTP proxy"
_CHARACTERS: Final = (
    "The request target holds a control or non-ASCII character, a space, a backslash or a '#': percent-encode it"
)
_DOT_SEGMENTS: Final = "The path holds a '.' or '..' segment: send the path that it leads to"
_BELOW_OAUTH: Final = (
    "Only POST /v2.01/oauth/token and POST /v2.01/oauth/token/embedded/recipient or .../checkout are served below "
    "oauth/token: use that method and spelling"
)
_NESTED: Final = "The path is percent-encoded too many times over: encode it once"


def parse_target(method: str, raw: str, rules: TargetRules) -> Target:
    """Return what to forward for a request line's method and target, and who answers it.

    ``raw`` is the target as aiohttp has it: bytes that are not UTF-8 as lone surrogates.

    Raises:
        SidecarError: ``BAD_REQUEST``; the message says what to send instead.
    """
    if method.upper() in _REFUSED_METHODS:
        _refuse(_METHOD, close=True)
    if raw[:1] != "/" or raw[1:2] == "/":
        _refuse(_FORM)
    if not raw.isascii() or not raw.isprintable() or " " in raw or "\\" in raw or "#" in raw:
        _refuse(_CHARACTERS)
    path, mark, query = raw.partition("?")
    if has_dot_segment(path):
        _refuse(_DOT_SEGMENTS)
    swapped = _swap_alias(path, rules)
    whole = raw if swapped is path else swapped + mark + query
    return Target(whole.encode("ascii"), swapped, _route(method, swapped))


def _refuse(message: str, *, close: bool = False) -> NoReturn:
    raise SidecarError(ErrorCode.BAD_REQUEST, message, close=close)


def is_version(segment: str) -> bool:
    """Say whether a path segment is an API version, such as ``v2.01``, ``V2_01`` or ``V3.0``."""
    if segment[:1] not in {"v", "V"} or not segment.isascii():
        return False
    return all(part.isdigit() for part in segment[1:].replace("_", ".").split("."))


def _swap_alias(path: str, rules: TargetRules) -> str:
    """Put the ClientId in place of an alias in the segment right after the version; leave the rest as it is."""
    start = path.find("/", 1) + 1
    if not start:
        return path
    end = path.find("/", start)
    if end < 0:
        end = len(path)
    segment = path[start:end]
    if (unquote(segment) if "%" in segment else segment) not in rules.names:
        return path
    if not is_version(unquote(path[1 : start - 1])):
        return path
    return path[:start] + rules.segment + path[end:]


# UTF-8 that is too long by a byte or two decodes to these where a decoder is careless (RFC 3629 section 10).
_OVERLONG: Final = (
    (b"\xc0\xae", b"."), (b"\xe0\x80\xae", b"."),
    (b"\xc0\xaf", b"/"), (b"\xe0\x80\xaf", b"/"),
    (b"\xc1\x9c", b"\\"), (b"\xe0\x81\x9c", b"\\"),
)  # fmt: skip


def _decode_once(path: bytes) -> bytes:
    path = unquote_to_bytes(path)
    for overlong, character in _OVERLONG:
        path = path.replace(overlong, character)
    return path


def _names(path: bytes) -> Iterator[bytes]:
    r"""Yield the segments as a file system or a servlet container would name them.

    ``\`` separates as ``/`` does; ``;parameters``, trailing blanks and all from a NUL on are no part of a name.
    """
    for segment in path.replace(b"\\", b"/").split(b"/"):
        yield segment.partition(b";")[0].partition(b"\0")[0].rstrip(b"\t\n\r ")


def has_dot_segment(path: str) -> bool:
    """Say whether a path has a ``.`` or ``..`` segment once its percent-encoding is undone."""
    if "%" not in path and "/." not in path:
        return False
    return any(name in {b".", b".."} for name in _names(_decode_once(path.encode("ascii", "replace"))))


_TOKEN_PATHS: Final = {
    ("oauth", "token"): Route.LOCAL_TOKEN,
    ("oauth", "token", "embedded", "recipient"): Route.EMBEDDED_TOKEN,
    ("oauth", "token", "embedded", "checkout"): Route.EMBEDDED_TOKEN,
}

# Nobody encodes so often by accident, and each round costs a pass over the path.
_MOST_DECODINGS: Final = 8


def _route(method: str, path: str) -> Route:
    lowered = path.lower()
    if "%" not in lowered and "oauth" not in lowered:
        return Route.API
    _, version, *tail = lowered.removesuffix("/").split("/")
    route = _TOKEN_PATHS.get(tuple(tail))
    if route and version and method == "POST":
        return route
    _refuse_disguised_token_path(path.encode("ascii"))
    return Route.API


def _refuse_disguised_token_path(path: bytes) -> None:
    """Refuse what upstream might read as the token path or as something below it, however often it decodes."""
    for _ in range(_MOST_DECODINGS):
        folded = path.decode("utf-8", "replace").casefold().encode()
        # A "?" or "#" that was percent-encoded may end the path for upstream, or be a part of it.
        cut = folded.partition(b"?")[0].partition(b"#")[0]
        if _leads_to_token(folded) or _leads_to_token(cut):
            _refuse(_BELOW_OAUTH)
        decoded = _decode_once(path)
        if decoded == path:
            return
        path = decoded
    _refuse(_NESTED)


def _leads_to_token(path: bytes) -> bool:
    """Say whether a path, empty and dot segments resolved (RFC 3986 section 5.2.4), is the token path or below it."""
    names: list[bytes] = []
    for name in _names(path):
        if name == b"..":
            del names[-1:]
        elif name not in {b"", b"."}:
            names.append(name)
    return names[1:3] == [b"oauth", b"token"]
