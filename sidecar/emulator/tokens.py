"""Access tokens and the lockout of the token endpoint."""

from __future__ import annotations

import enum
import math
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

import msgspec

from sidecar.emulator.scopes import permission

if TYPE_CHECKING:
    from collections.abc import Callable

#: Tokens that are remembered; an older one is unknown, which gets the same 401.
_REMEMBERED: Final = 10_000


class TokenStanding(enum.Enum):
    """What became of a token."""

    VALID = "valid"
    UNKNOWN = "unknown"
    EXPIRED = "expired"
    REVOKED = "revoked"


class Token(msgspec.Struct):
    """An access token that was given out.

    ``expires_at`` is on the emulator's clock; ``permissions`` are those of the API key, None stands for all.
    """

    client_id: str
    embedded: bool
    expires_at: float
    permissions: frozenset[str] | None = None
    revoked: bool = False

    def permits(self, scope: str | None, method: str) -> bool:
        """Tell whether ``method`` is allowed on an endpoint of ``scope``; an endpoint without one is everybody's."""
        return self.permissions is None or scope is None or permission(scope, method) in self.permissions


class Tokens:
    """Every token given out, by value."""

    def __init__(self, token_hex: Callable[[int], str]) -> None:
        self._token_hex = token_hex
        self._tokens: OrderedDict[str, Token] = OrderedDict()

    def issue(
        self, client_id: str, *, embedded: bool, expires_at: float, permissions: frozenset[str] | None = None
    ) -> str:
        """Return a new token's value."""
        value = self._token_hex(16)
        self._tokens[value] = Token(client_id, embedded, expires_at, permissions)
        if len(self._tokens) > _REMEMBERED:
            self._tokens.popitem(last=False)
        return value

    def check(self, value: str, now: float) -> tuple[TokenStanding, Token | None]:
        """Return how the token ``value`` stands at ``now``, and the token if it is known."""
        token = self._tokens.get(value)
        if token is None:
            return TokenStanding.UNKNOWN, None
        if token.revoked:
            return TokenStanding.REVOKED, token
        if now >= token.expires_at:
            return TokenStanding.EXPIRED, token
        return TokenStanding.VALID, token

    def revoke(self, value: str | None = None, *, client_id: str | None = None, embedded: bool | None = None) -> int:
        """Revoke the tokens that match all that is given; return how many were not revoked before."""
        count = 0
        for known, token in self._tokens.items():
            if (
                not token.revoked
                and value in {None, known}
                and client_id in {None, token.client_id}
                and embedded in {None, token.embedded}
            ):
                token.revoked = True
                count += 1
        return count


class Lockout:
    """The block that repeated bad credentials bring on: it knows the account, not the key."""

    def __init__(self) -> None:
        self._until = -math.inf
        self._failures = 0

    def active(self, now: float) -> bool:
        """Tell whether the token endpoint refuses everyone."""
        return now < self._until

    def lock(self, until: float) -> None:
        """Lock until ``until``; ``math.inf``: until :meth:`clear`."""
        self._until = until

    def clear(self) -> None:
        """End the lockout and forget bad attempts."""
        self._until = -math.inf
        self._failures = 0

    def failed(self, now: float, *, limit: int, seconds: float) -> None:
        """Count bad credentials; the ``limit``-th running locks for ``seconds`` (0: never)."""
        self._failures += 1
        if limit and self._failures >= limit:
            self._failures = 0
            self._until = now + seconds

    def succeeded(self) -> None:
        """Forget bad attempts."""
        self._failures = 0
