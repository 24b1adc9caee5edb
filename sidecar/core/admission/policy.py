"""Which methods and paths may be called (contract section 4.7).

A rule is ``"METHOD /path/glob"``. ``*`` as the method means every method; in a
segment it means any characters but ``/``; a segment ``**`` means any number of
segments, none included. So ``* /v2.01/*/payouts/**`` is about
``/v2.01/acme/payouts`` too. The query is never looked at.

A path is compared as upstream would route it: percent-decoded once, case-folded,
``V2_01`` as ``v2.01``, without a trailing slash. What upstream might route in
another way than it reads here is refused while a policy is set.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NoReturn
from urllib.parse import unquote

import msgspec

from sidecar.core.client_id import is_version
from sidecar.core.errors import ErrorCode, SidecarError
from sidecar.core.http.headers import TOKEN_CHARACTERS

if TYPE_CHECKING:
    from collections.abc import Iterable

#: The default of ``policy.allow``: with no ``deny`` and no ``read_only`` it means that no policy is set.
ALLOW_ALL: Final = ("* /**",)

_READ_ONLY_METHODS: Final = frozenset({"GET", "HEAD"})

# Servers disagree on what these mean in a path: separators, ends, parameters, a second decoding (%25 leaves "%").
_TWO_EDGED: Final = frozenset(";\\%?# ")

_DEEP: Final = "**"

Glob = tuple[str, ...] | None
"""A segment's glob as the pieces around each ``*`` (a word without one is one piece), or None for ``**``."""


def _glob(segment: str) -> Glob:
    return None if segment == _DEEP else tuple(segment.split("*"))


class Rule(msgspec.Struct, frozen=True):
    """One entry of ``policy.allow`` or ``policy.deny``."""

    method: str
    segments: tuple[Glob, ...]

    @classmethod
    def parse(cls, text: str) -> Rule:
        """Read ``"METHOD /path/glob"``.

        Raises ValueError: it is not of that form, or could never match; the message says why.
        """
        method, _, glob = text.strip().partition(" ")
        glob = glob.strip()
        if not glob.startswith("/") or not method.isascii() or method.encode().translate(None, TOKEN_CHARACTERS):
            message = 'is not "METHOD /path", such as "GET /v2.01/*/users/**"'
        elif not _plain(glob):
            message = "could match no path: write it decoded, without a query, empty segments or dots at their end"
        elif any(_DEEP in segment and segment != _DEEP for segment in _segments(glob)):
            message = "has '**' within a segment: it stands for whole segments only"
        else:
            return cls(method.upper(), tuple(map(_glob, _segments(glob))))
        raise ValueError(f"{text!r} {message}")

    def matches(self, method: str, segments: tuple[str, ...]) -> bool:
        """Say whether this rule is about a method and a path (as :func:`_segments` gives it)."""
        return self.method in {"*", method} and _match_segments(self.segments, segments)

    @property
    def anchors(self) -> frozenset[str]:
        """Whole segments that stand in every path it matches, behind the place of the ClientId."""
        there = [glob for glob in self.segments if glob is not None]
        return frozenset(glob[0] for glob in there[2:] if len(glob) == 1)


class Policy(msgspec.Struct, frozen=True):
    """What a caller may do. Immutable; compiled once."""

    read_only: bool
    allow: tuple[Rule, ...]
    deny: tuple[Rule, ...]
    #: Whether anything is restricted at all.
    active: bool

    @classmethod
    def compile(cls, read_only: bool, allow: Iterable[str], deny: Iterable[str]) -> Policy:
        """Build a policy from its configuration.

        Raises ValueError: a rule cannot be read.
        """
        allowed, denied = tuple(map(Rule.parse, allow)), tuple(map(Rule.parse, deny))
        active = read_only or bool(denied) or allowed != tuple(map(Rule.parse, ALLOW_ALL))
        return cls(read_only, allowed, denied, active)

    def check(self, method: str, path: str) -> None:
        """Let a call pass, or raise. ``path`` is :attr:`sidecar.core.admission.target.Target.path`.

        Raises SidecarError: ``POLICY_DENIED``.
        """
        if not self.active:
            return
        method = method.upper()  # case-sensitive by RFC 9110 section 9.1, but not on every server
        if self.read_only and method not in _READ_ONLY_METHODS:
            _deny("Only GET and HEAD are allowed here: see policy.read_only")
        segments = _readable(path)
        if any(rule.matches(method, segments) for rule in self.deny):
            _deny("This method and path are denied here: see policy.deny")
        if not any(rule.matches(method, segments) for rule in self.allow):
            _deny("This method and path are not allowed here: see policy.allow")


def _deny(message: str) -> NoReturn:
    raise SidecarError(ErrorCode.POLICY_DENIED, message)


def _readable(path: str) -> tuple[str, ...]:
    """Return a path's segments in the form that rules are compared with, or raise ``POLICY_DENIED``."""
    segments = plain_segments(path)
    if segments is None:
        _deny(
            "While a policy is set, a path may not have empty segments, segments that end in a dot, spaces, ';', "
            "non-ASCII characters, or percent-encoded '/', '\\', '%', '?' and '#': send it plainly"
        )
    return segments


def plain_segments(path: str) -> tuple[str, ...] | None:
    """Return a path's segments as :meth:`Rule.matches` takes them; None: servers may read the path in several ways.

    ``path`` is :attr:`sidecar.core.admission.target.Target.path`.
    """
    decoded = unquote(path, "latin-1")
    if decoded.count("/") != path.count("/") or not _plain(decoded):  # decoded, %2F would become a separator
        return None
    return _segments(decoded)


def _plain(path: str) -> bool:
    """Say whether every server reads a decoded path in the same way."""
    if not path.isascii() or not path.isprintable() or not _TWO_EDGED.isdisjoint(path):
        return False
    # Some servers drop a dot at a segment's end: "payouts." must not be another path than "payouts".
    return "//" not in path and "./" not in path and not path.endswith(".")


def _segments(path: str) -> tuple[str, ...]:
    """Split a decoded path that begins with a slash, case-folded, with the version as ``v2.01``."""
    segments = path.removeprefix("/").removesuffix("/").casefold().split("/")
    if segments == [""]:
        return ()
    if is_version(segments[0]):
        segments[0] = segments[0].replace("_", ".")
    return tuple(segments)


def _match_segments(globs: tuple[Glob, ...], segments: tuple[str, ...]) -> bool:
    """Match segment by segment. On a mismatch only the last ``**`` takes one more: never exponential."""
    at = here = 0
    deep, resume = -1, 0
    while here < len(segments):
        glob = globs[at] if at < len(globs) else ()
        if glob is None:
            deep, resume = at, here
            at += 1
        elif glob and _match_segment(glob, segments[here]):
            at += 1
            here += 1
        elif deep >= 0:
            resume += 1
            at, here = deep + 1, resume
        else:
            return False
    return all(glob is None for glob in globs[at:])


def _match_segment(glob: tuple[str, ...], segment: str) -> bool:
    """Match within one segment: between the fixed ends, each piece is looked for as early as it can be."""
    if len(glob) == 1:
        return glob[0] == segment
    first, *pieces, last = glob
    if len(segment) < len(first) + len(last) or not (segment.startswith(first) and segment.endswith(last)):
        return False
    here, end = len(first), len(segment) - len(last)
    for piece in pieces:
        here = segment.find(piece, here, end)
        if here < 0:
            return False
        here += len(piece)
    return True
