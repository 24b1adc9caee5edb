"""Permission scopes of API keys (Mangopay: "Permission scopes"): what a key may read and write.

Every endpoint belongs to one scope; READ stands for GET, WRITE for POST and PUT. A
permission is written ``Client.Developers:READ``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Every scope that Mangopay documents.
SCOPES: Final = frozenset(
    {
        *("Bankaccounts", "Client.Details", "Client.Developers", "Client.PayIns", "Client.Reports", "Client.Wallets"),
        *("Conversions", "Disputes.General", "Disputes.Settlement", "Payins", "Payouts"),
        *("Refunds.General", "Refunds.Payins", "Refunds.Payouts", "Refunds.Repudiations", "Refunds.Transfers"),
        *("Transfers", "Users.Details", "Users.Verification", "Wallet.Details"),
    }
)
_READ: Final = "READ"
_WRITE: Final = "WRITE"


def permission(scope: str, method: str) -> str:
    """Return the permission that ``method`` needs on an endpoint of ``scope``."""
    return f"{scope}:{_READ if method in {'GET', 'HEAD'} else _WRITE}"


def read_permissions(names: Iterable[str]) -> frozenset[str]:
    """Return ``names`` as a set; raises ValueError for one that is no permission."""
    found = frozenset(names)
    for name in sorted(found):
        scope, _, access = name.partition(":")
        if scope not in SCOPES or access not in {_READ, _WRITE}:
            message = f"no such permission: {name!r}; it is one of {', '.join(sorted(SCOPES))}, then :READ or :WRITE"
            raise ValueError(message)
    return found
