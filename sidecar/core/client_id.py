r"""Where a path names the ClientId, and whose it is (contract section 4.2).

Paths are ``/<version>/<ClientId>/…``. An alias in that place is replaced by our
ClientId. What is neither ours nor an alias is *foreign*: Mangopay can only answer
401 to it, however good the token is, so such a 401 must never be taken for a
verdict on the token.

Upstream may undo percent-encoding, parameters (``;x``) and ``\`` before it looks for
the ClientId. So a first segment that is no version as it is written, but that may be
read as one, or as several segments, is foreign unless ours follows: in doubt a call is
refused, and if it is forwarded nothing is concluded from its 401.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote, unquote

from sidecar.core.errors import ErrorCode, SidecarError

#: What follows the version where no ClientId does, in any version; compared percent-decoded and without case.
#: ``oauth`` is one only where ``token`` follows.
ROOTS_WITHOUT_CLIENT_ID: Final = frozenset({"countries", "oauth"})
_TOKEN_ROOT: Final = "oauth"  # noqa: S105 - a path segment, not a password
#: The alias that stands for every segment but those roots, and those that some server may read as several.
ANY: Final = "*"

_VERSION: Final = re.compile("[vV][0-9]+(?:[._][0-9]+)*")
#: What makes a first segment doubtful once it is decoded: it may be or become a version, or no segment at all, for a
#: server that decodes again, drops parameters or blanks, or maps what is beyond ASCII to what is similar.
_DOUBTFUL: Final = re.compile(r"[vV][0-9]|[%/\\]|[^\x00-\x7f]|\A[\x00-\x20;]")
#: Without one of these a segment is what it looks like.
_MARKS: Final = frozenset("%;\\")
#: What separates segments once it is decoded, or may once it is decoded again.
_SEPARATORS: Final = frozenset("/\\%")
#: Paths with an alias begin in few ways: so many are kept, none longer than this (characters). If callers invent more
#: of them, those are worked out each time.
_KEPT: Final = 32
_LONGEST_KEPT: Final = 64
#: With one of these a decoded name may be read as something shorter, or as several segments.
_TWO_EDGED: Final = _SEPARATORS | {";"}


@dataclass(frozen=True, slots=True)
class ClientIdRules:
    """Whose ClientId it is, what stands in for it, and what becomes of a path with another one.

    Raises:
        ValueError: the ClientId cannot be a path segment.
    """

    client_id: str
    #: Percent-encoded or not.
    aliases: tuple[str, ...]
    #: Send a path with another ClientId to Mangopay instead of refusing it.
    forward_foreign: bool = False
    #: The ClientId as a path segment, and without case; the aliases percent-decoded.
    segment: str = field(init=False, repr=False, compare=False)
    folded: str = field(init=False, repr=False, compare=False)
    names: frozenset[str] = field(init=False, repr=False, compare=False)
    #: :data:`ANY` is among the aliases, as it is written.
    any: bool = field(init=False, repr=False, compare=False)
    # How paths begin that have an alias of ``names``, and how they begin with ours in its place. None of them is
    # percent-encoded, so what follows does not matter.
    _begun: dict[str, str] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        if not self.client_id.strip(".") or not self.client_id.isprintable():
            raise ValueError("the ClientId is empty, only dots, or holds control characters")
        object.__setattr__(self, "segment", quote(self.client_id, safe="!$&'()*+,=:@"))
        object.__setattr__(self, "folded", _fold(self.client_id))
        object.__setattr__(self, "names", frozenset(unquote(alias) for alias in self.aliases if alias != ANY))
        object.__setattr__(self, "any", ANY in self.aliases)

    def place(self, path: str) -> tuple[str, bool]:
        """Return ``path`` with our ClientId in place of an alias, and whether the path names another ClientId."""
        start = path.find("/", 1) + 1 or len(path) + 1
        end = path.find("/", start)
        if end < 0:
            end = len(path)
        begun = self._begun.get(path[:end])
        if begun is not None:
            return begun + path[end:], False
        segment = path[start:end]
        if segment == self.segment and "%" not in path:
            return path, False
        first = path[1 : start - 1]
        decoded = unquote if "%" in path else str  # hardly any path has percent-encoding
        name = decoded(segment)
        if not is_version(decoded(first)):
            doubtful = may_hide_version(first)
            return path, doubtful and (_hides_separator(first) or not self._stays(name, path[end:]))
        if not segment and end == len(path):
            return path, False  # no place for a ClientId
        if name in self.names:
            return self._replaced(path, start, end), False
        if self._stays(name, path[end:]):
            return path, False
        if self.any and _may_be_replaced(name):
            return path[:start] + self.segment + path[end:], False
        return path, True

    def _replaced(self, path: str, start: int, end: int) -> str:
        """Return ``path`` with our ClientId in place of its alias, and keep how it begins."""
        begun = path[:start] + self.segment
        if "%" not in path[:end] and end <= _LONGEST_KEPT and len(self._begun) < _KEPT:
            self._begun[path[:end]] = begun
        return begun + path[end:]

    def _stays(self, name: str, rest: str) -> bool:
        """Say whether a decoded ``name`` is ours, or a root without ClientId; ``rest`` is the path behind it."""
        folded = _fold(name)
        if folded == self.folded:
            return True
        if folded not in ROOTS_WITHOUT_CLIENT_ID:
            return False
        return folded != _TOKEN_ROOT or _fold(unquote(rest[1:].partition("/")[0])) == "token"

    def refuse_foreign(self) -> None:
        """Raise SidecarError ``client_id_mismatch`` for a path with another ClientId, unless it is to be forwarded."""
        if not self.forward_foreign:
            raise SidecarError(ErrorCode.CLIENT_ID_MISMATCH, self._ways_out())

    def _ways_out(self) -> str:
        shown = [alias for alias in self.aliases if alias != ANY]
        write = f"or write {' or '.join(shown)} in its place, which becomes {self.client_id}; " if shown else ""
        return (
            f"The path names another ClientId than this sidecar's, {self.client_id}: Mangopay could only answer 401. "
            f"Set the app's ClientId to {self.client_id}; {write}or set SIDECAR_MANGOPAY_CLIENT_ID_ALIASES to * to "
            "have every ClientId replaced, or SIDECAR_MANGOPAY_FOREIGN_CLIENT_IDS to forward to send such calls as "
            "they are."
        )


def is_version(segment: str) -> bool:
    """Say whether a path segment is an API version, such as ``v2.01``, ``V2_01`` or ``V3.0``."""
    return _VERSION.fullmatch(segment) is not None


def may_hide_version(segment: str) -> bool:
    """Say whether a path's first segment, which is no version, may be read as one, or as several segments."""
    return not _MARKS.isdisjoint(segment) and _DOUBTFUL.search(unquote(segment)) is not None


def _hides_separator(segment: str) -> bool:
    return not _SEPARATORS.isdisjoint(unquote(segment))


def _may_be_replaced(name: str) -> bool:
    """Say whether :data:`ANY` stands for a decoded name: every server reads it as one segment, and not as a root."""
    return bool(name) and _TWO_EDGED.isdisjoint(name) and _fold(name) != _TOKEN_ROOT


def _fold(name: str) -> str:
    """Return a name without the case of its ASCII letters: beyond ASCII, equal letters are another ClientId's."""
    return name.encode().lower().decode()
