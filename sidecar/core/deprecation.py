"""The deprecation radar: which of Mangopay's paths are deprecated, since when, and what takes their place.

One table, from Mangopay's documentation and release notes. A call to such a path is
told (a finding, a metric, a log field) and never refused: when a path stops to
work is Mangopay's to say. The emulator marks the same paths.
"""

from __future__ import annotations

import re
from datetime import date
from functools import lru_cache
from typing import Final

import msgspec

from sidecar.core.client_id import is_version


class Deprecation(msgspec.Struct, frozen=True, eq=False):
    """One row: an endpoint that Mangopay calls deprecated. There is one object a row: it is equal to itself only."""

    #: The word by which the metric and the log name it; several rows may share one.
    what: str
    method: str
    #: What follows the version and the ClientId; each ``{…}`` is one segment.
    path: str
    #: Mangopay has called it deprecated since then.
    since: date
    #: What is announced to happen, as the end of a sentence: "it …"; empty if nothing is.
    announced: str
    #: What to call instead, as ``METHOD path``; empty if there is nothing.
    successor: str
    #: The page of Mangopay's documentation that says so.
    source: str

    @property
    def endpoint(self) -> str:
        """Method and path, for people."""
        return f"{self.method} {self.path}"


_USERS: Final = ("legacy_users", date(2025, 11, 17), "stops working after 15 December 2025", "release note 2025-11-17")
_ALIASES: Final = (
    *("banking_aliases", date(2025, 9, 17)),
    *("is to be taken out of service in the third quarter of 2026", "release note 2025-09-17"),
)
_GONE: Final = (date(2024, 7, 9), "is for payment methods that are no longer available", "release note 2024-07-09")


def _row(kind: tuple[str, date, str, str], method: str, path: str, successor: str) -> Deprecation:
    what, since, announced, source = kind
    return Deprecation(what, method, path, since, announced, successor, source)


DEPRECATIONS: Final = (
    _row(_USERS, "POST", "users/natural", "POST sca/users/natural"),
    _row(_USERS, "POST", "users/legal", "POST sca/users/legal"),
    _row(_USERS, "PUT", "users/natural/{UserId}", "PUT sca/users/natural/{UserId}"),
    _row(_USERS, "PUT", "users/legal/{UserId}", "PUT sca/users/legal/{UserId}"),
    _row(_USERS, "GET", "users/{UserId}", "GET sca/users/{UserId}"),
    _row(_ALIASES, "POST", "wallets/{WalletId}/bankingaliases/iban", "POST wallets/{WalletId}/virtual-accounts"),
    _row(_ALIASES, "GET", "wallets/{WalletId}/bankingaliases", "GET wallets/{WalletId}/virtual-accounts"),
    _row(
        _ALIASES, "GET", "bankingaliases/{BankingAliasId}", "GET wallets/{WalletId}/virtual-accounts/{VirtualAccountId}"
    ),
    _row(
        _ALIASES, "PUT", "bankingaliases/{BankingAliasId}", "PUT wallets/{WalletId}/virtual-accounts/{VirtualAccountId}"
    ),
    _row(("web_direct_debit", *_GONE), "POST", "payins/directdebit/web", ""),
    _row(("giropay", *_GONE), "POST", "payins/payment-methods/giropay", ""),
)

_MOST_KEPT: Final = 1024

_PARAMETER: Final = re.compile(r"\{[^/{}]*\}")


def _shape(path: str) -> str:
    """Return a path in the form in which two of them are compared: any parameter, and any id, is ``{id}``."""
    return _PARAMETER.sub("{id}", path).lower()


_BY_ENDPOINT: Final = {(row.method, _shape(row.path)): row for row in DEPRECATIONS}


class _Deprecated(dict[tuple[str, str], Deprecation | None]):
    """The row for a call's method and masked path; None if it is not deprecated, as far as is known.

    A path is masked by :func:`sidecar.core.redact.mask_path`: of those there are few, so what was found is kept. HEAD
    counts as GET.
    """

    __slots__ = ()

    def __missing__(self, call: tuple[str, str]) -> Deprecation | None:
        method, masked = call
        if len(self) >= _MOST_KEPT:
            self.clear()
        _, version, *rest = [*masked.removesuffix("/").split("/", 3), "", ""]
        self[call] = found = deprecation_of_route(method, rest[1]) if is_version(version) else None
        return found


#: Asked for each call.
DEPRECATED: Final = _Deprecated()


@lru_cache(maxsize=1024)
def deprecation_of_route(method: str, pattern: str) -> Deprecation | None:
    """Return the row for a method and what follows the ClientId, where each parameter is one segment in braces."""
    return _BY_ENDPOINT.get(("GET" if method == "HEAD" else method, _shape(pattern)))
