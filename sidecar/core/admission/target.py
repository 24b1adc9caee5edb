"""The request target: forwarded byte for byte, or refused (contract sections 4.1 and 4.2; RFC 9112 section 3.2).

Where the sidecar connects is fixed by the configuration. The target only ever
goes into the request line, so all that is left to decide is whether upstream
could read another path in it than we do. Such a target is refused, not mended.

Percent-encoding is looked through once, as upstream does; ``%252e`` is three
ordinary characters after that. Only the token path is searched for at every
depth, since nothing that could come out as that path may carry our token.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NoReturn
from urllib.parse import unquote_to_bytes

from sidecar.core.admission.target_verdict import Route, Rule
from sidecar.core.errors import ErrorCode, SidecarError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sidecar.core.client_id import ClientIdRules


class Target:
    """A request target that may be forwarded."""

    __slots__ = ("foreign", "path", "raw", "route")

    def __init__(self, raw: bytes, path: str, route: Route, foreign: bool) -> None:
        #: Path and query for the request line, aliases swapped, without the base URL's prefix.
        self.raw: Final = raw
        #: The path alone, aliases swapped, percent-encoding as it was sent.
        self.path: Final = path
        self.route: Final = route
        #: The path names another ClientId than ours.
        self.foreign: Final = foreign


def parse_target(method: str, raw: str, rules: ClientIdRules) -> Target:
    """Return what to forward for a request line's method and target, and who answers it.

    ``raw`` is the target as aiohttp has it: bytes that are not UTF-8 as lone surrogates.

    Raises:
        SidecarError: ``BAD_REQUEST``; the message says which rule, and what to send instead.
    """
    if method.upper() in _REFUSED_METHODS:
        _refuse(_REFUSED_METHODS[method.upper()], close=True)
    if raw[:1] != "/" or raw[1:2] == "/":
        _refuse(_other_form(raw))
    if not raw.isascii() or not raw.isprintable() or " " in raw or "\\" in raw or "#" in raw:
        _refuse(_unwanted_character(raw))
    path, mark, query = raw.partition("?")
    if has_dot_segment(path):
        _refuse(Rule.DOT_SEGMENT)
    swapped, foreign = rules.place(path)
    whole = raw if swapped is path else swapped + mark + query
    return Target(whole.encode("ascii"), swapped, _route(method, swapped), foreign)


_REFUSED_METHODS: Final = {"CONNECT": Rule.FORWARD_PROXY, "TRACE": Rule.TRACE}


def _other_form(raw: str) -> Rule:
    """Say what a target is that is no path with one leading slash (RFC 9112 section 3.2)."""
    if raw.startswith("//"):
        return Rule.TWO_SLASHES
    return Rule.FORWARD_PROXY if "://" in raw.partition("?")[0] else Rule.NO_SLASH


def _unwanted_character(raw: str) -> Rule:
    """Say which kind of character makes a target unfit; there is one."""
    if not raw.isascii():
        return Rule.NOT_ASCII
    if " " in raw:
        return Rule.SPACE
    if not raw.isprintable():
        return Rule.CONTROL
    return Rule.BACKSLASH if "\\" in raw else Rule.FRAGMENT


def _refuse(rule: Rule, *, close: bool = False) -> NoReturn:
    raise SidecarError(ErrorCode.BAD_REQUEST, rule.message, detail=f"target: {rule.detail}", close=close)


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

#: The methods to which the port itself says what it is.
_READING: Final = frozenset({"GET", "HEAD"})

# Nobody encodes so often by accident, and each round costs a pass over the path.
_MOST_DECODINGS: Final = 8


# Read for each call: Python 3.11 finds a global of the module faster than a member of an enum.
_API: Final = Route.API


def _route(method: str, path: str) -> Route:
    if path == "/" and method in _READING:
        return Route.ABOUT
    lowered = path.lower()
    if "%" not in lowered and "oauth" not in lowered:
        return _API
    _, version, *tail = lowered.removesuffix("/").split("/")
    route = _TOKEN_PATHS.get(tuple(tail))
    if route and version and method == "POST":
        return route
    _refuse_disguised_token_path(path.encode("ascii"))
    return _API


def _refuse_disguised_token_path(path: bytes) -> None:
    """Refuse what upstream might read as the token path or as something below it, however often it decodes."""
    for _ in range(_MOST_DECODINGS):
        folded = path.decode("utf-8", "replace").casefold().encode()
        # A "?" or "#" that was percent-encoded may end the path for upstream, or be a part of it.
        cut = folded.partition(b"?")[0].partition(b"#")[0]
        if _leads_to_token(folded) or _leads_to_token(cut):
            _refuse(Rule.BELOW_OAUTH)
        decoded = _decode_once(path)
        if decoded == path:
            return
        path = decoded
    _refuse(Rule.NESTED)


def _leads_to_token(path: bytes) -> bool:
    """Say whether a path, empty and dot segments resolved (RFC 3986 section 5.2.4), is the token path or below it."""
    names: list[bytes] = []
    for name in _names(path):
        if name == b"..":
            del names[-1:]
        elif name not in {b"", b"."}:
            names.append(name)
    return names[1:3] == [b"oauth", b"token"]
