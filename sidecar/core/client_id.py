"""Where a path names the ClientId, and whose it is (contract section 4.2).

Paths are ``/<version>/<ClientId>/…``. An alias in that place is replaced by our
ClientId. What is neither ours nor an alias is *foreign*: Mangopay can only answer
401 to it, however good the token is, so such a 401 must never be taken for a
verdict on the token.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote, unquote

from sidecar.core.errors import ErrorCode, SidecarError

#: What follows the version where no ClientId does, in any version; compared percent-decoded and without case.
ROOTS_WITHOUT_CLIENT_ID: Final = frozenset({"countries", "oauth"})
#: The alias that stands for every segment but those roots.
ANY: Final = "*"


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

    def __post_init__(self) -> None:
        if not self.client_id.strip(".") or not self.client_id.isprintable():
            raise ValueError("the ClientId is empty, only dots, or holds control characters")
        object.__setattr__(self, "segment", quote(self.client_id, safe="!$&'()*+,=:@"))
        object.__setattr__(self, "folded", self.client_id.casefold())
        object.__setattr__(self, "names", frozenset(map(unquote, self.aliases)))

    def place(self, path: str) -> tuple[str, bool]:
        """Return ``path`` with our ClientId in place of an alias, and whether the path names another ClientId."""
        start = path.find("/", 1) + 1
        if not start:
            return path, False
        end = path.find("/", start)
        if end < 0:
            end = len(path)
        segment = path[start:end]
        if segment == self.segment:
            return path, False
        if (not segment and end == len(path)) or not is_version(unquote(path[1 : start - 1])):
            return path, False  # no place for a ClientId
        name = unquote(segment)
        if name in self.names:
            return path[:start] + self.segment + path[end:], False
        if name.lower() in ROOTS_WITHOUT_CLIENT_ID or name.casefold() == self.folded:
            return path, False
        if ANY in self.names:
            return path[:start] + self.segment + path[end:], False
        return path, True

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
    if segment[:1] not in {"v", "V"} or not segment.isascii():
        return False
    return all(part.isdigit() for part in segment[1:].replace("_", ".").split("."))
