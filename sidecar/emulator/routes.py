"""The paths that are emulated, as one table, and how a request finds its row."""

from __future__ import annotations

import enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import msgspec

from sidecar.emulator import effects, kinds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sidecar.emulator.effects import Effect
    from sidecar.emulator.kinds import Kind


class Act(enum.Enum):
    """What a row does."""

    CREATE = enum.auto()
    VIEW = enum.auto()
    UPDATE = enum.auto()
    LIST = enum.auto()
    CLOSE_USER = enum.auto()
    ADD_PAGE = enum.auto()
    UPLOAD = enum.auto()
    LIST_EVENTS = enum.auto()
    STORED_ANSWER = enum.auto()
    VIEW_CLIENT = enum.auto()
    UPDATE_CLIENT = enum.auto()
    COUNTRIES = enum.auto()
    COUNTRY = enum.auto()
    EMBEDDED_TOKEN = enum.auto()
    ECHO = enum.auto()
    BYTES = enum.auto()


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One row.

    ``pattern`` follows the version and the ClientId; ``{UserId}`` stands for any
    segment, and except for ``{Id}``, names of :data:`PARENTS` must exist. ``fixed``
    fields are set whatever the caller sends. A list holds what has the last parameter
    in one of the fields ``by``. ``sca``: viewing may ask for authentication. ``scope``:
    what an API key needs a permission for.
    """

    method: str
    pattern: str
    act: Act
    kind: Kind | None = None
    fixed: Mapping[str, str] = MappingProxyType({})
    effect: Effect | None = None
    event: str | None = None
    by: tuple[str, ...] = ()
    settable: frozenset[str] | None = None
    sca: bool = False
    scope: str | None = None
    version: str = "v2.01"

    @property
    def changes(self) -> bool:
        """Whether a success is an execution that must not happen twice."""
        return self.method not in {"GET", "HEAD"}


#: Parameters that must name an existing resource, and where to look.
PARENTS: Final = {
    "UserId": "User",
    "WalletId": "Wallet",
    "PayInId": "PayIn",
    "TransferId": "Transfer",
    "PayOutId": "PayOut",
    "CardId": "Card",
    "BankAccountId": "BankAccount",
    "MandateId": "Mandate",
    "DocumentId": "KYCDocument",
}

#: Merged transactions of all kinds.
TRANSACTIONS: Final = "Transaction"


def _create(pattern: str, kind: Kind, effect: Effect | None = None, event: str | None = None, **fixed: str) -> Route:
    return Route(method="POST", pattern=pattern, act=Act.CREATE, kind=kind, fixed=fixed, effect=effect, event=event)


def _view(pattern: str, kind: Kind, *, sca: bool = False) -> Route:
    return Route(method="GET", pattern=pattern, act=Act.VIEW, kind=kind, sca=sca)


def _update(pattern: str, kind: Kind, effect: Effect | None = None, settable: frozenset[str] | None = None) -> Route:
    return Route(method="PUT", pattern=pattern, act=Act.UPDATE, kind=kind, effect=effect, settable=settable)


def _list(pattern: str, kind: Kind | None, *by: str, sca: bool = False) -> Route:
    return Route(method="GET", pattern=pattern, act=Act.LIST, kind=kind, by=by, sca=sca)


_TAG: Final = frozenset({"Tag"})

ROUTES: Final = (
    # Users
    _create("users/natural", kinds.NATURAL_USER, effects.complete_user),
    _create("users/legal", kinds.LEGAL_USER, effects.complete_user),
    _list("users", kinds.NATURAL_USER),
    _view("users/{Id}", kinds.NATURAL_USER),
    _view("users/natural/{Id}", kinds.NATURAL_USER),
    _view("users/legal/{Id}", kinds.LEGAL_USER),
    _update("users/natural/{Id}", kinds.NATURAL_USER, effects.complete_user),
    _update("users/legal/{Id}", kinds.LEGAL_USER, effects.complete_user),
    Route(method="DELETE", pattern="users/natural/{Id}", act=Act.CLOSE_USER, kind=kinds.NATURAL_USER),
    Route(method="DELETE", pattern="users/legal/{Id}", act=Act.CLOSE_USER, kind=kinds.LEGAL_USER),
    # Wallets and transactions
    _create("wallets", kinds.WALLET, effects.complete_wallet),
    _view("wallets/{Id}", kinds.WALLET, sca=True),
    _update("wallets/{Id}", kinds.WALLET, settable=frozenset({"Description", "Tag"})),
    _list("users/{UserId}/wallets", kinds.WALLET, "Owners", sca=True),
    _list("wallets/{WalletId}/transactions", None, "DebitedWalletId", "CreditedWalletId", sca=True),
    _list("users/{UserId}/transactions", None, "AuthorId", "CreditedUserId", sca=True),
    # Pay-ins, transfers, payouts, refunds
    _create("payins/card/web", kinds.PAY_IN, effects.complete_web_pay_in, "PAYIN_NORMAL_CREATED"),
    _create(
        "payins/card/direct",
        kinds.PAY_IN,
        effects.complete_direct_pay_in,
        "PAYIN_NORMAL_SUCCEEDED",
        ExecutionType="DIRECT",
    ),
    _view("payins/{Id}", kinds.PAY_IN),
    _create(
        "payins/{PayInId}/refunds",
        kinds.REFUND,
        effects.complete_refund,
        "PAYIN_REFUND_SUCCEEDED",
        InitialTransactionId="{PayInId}",
        InitialTransactionType="PAYIN",
    ),
    _list("payins/{PayInId}/refunds", kinds.REFUND, "InitialTransactionId"),
    _create("transfers", kinds.TRANSFER, effects.complete_transfer, "TRANSFER_NORMAL_SUCCEEDED"),
    _view("transfers/{Id}", kinds.TRANSFER),
    _create(
        "transfers/{TransferId}/refunds",
        kinds.REFUND,
        effects.complete_refund,
        "TRANSFER_REFUND_SUCCEEDED",
        InitialTransactionId="{TransferId}",
        InitialTransactionType="TRANSFER",
    ),
    _list("transfers/{TransferId}/refunds", kinds.REFUND, "InitialTransactionId"),
    _create("payouts/bankwire", kinds.PAY_OUT, effects.complete_pay_out, "PAYOUT_NORMAL_CREATED"),
    _view("payouts/bankwire/{Id}", kinds.PAY_OUT),
    _view("payouts/{Id}", kinds.PAY_OUT),
    _list("payouts/{PayOutId}/refunds", kinds.REFUND, "InitialTransactionId"),
    _view("refunds/{Id}", kinds.REFUND),
    # Cards
    _create("cardregistrations", kinds.CARD_REGISTRATION, effects.complete_card_registration),
    _view("cardregistrations/{Id}", kinds.CARD_REGISTRATION),
    _update("cardregistrations/{Id}", kinds.CARD_REGISTRATION, effects.validate_card_registration),
    _view("cards/{Id}", kinds.CARD),
    _update("cards/{Id}", kinds.CARD, settable=frozenset({"Active", "Tag"})),
    _list("users/{UserId}/cards", kinds.CARD, "UserId"),
    _list("cards/{CardId}/transactions", None, "CardId"),
    # Bank accounts and mandates
    _create(
        "users/{UserId}/bankaccounts/{Type}",
        kinds.BANK_ACCOUNT,
        effects.complete_bank_account,
        UserId="{UserId}",
        Type="{Type}",
    ),
    _view("users/{UserId}/bankaccounts/{Id}", kinds.BANK_ACCOUNT),
    _update("users/{UserId}/bankaccounts/{Id}", kinds.BANK_ACCOUNT, settable=frozenset({"Active", "Tag"})),
    _list("users/{UserId}/bankaccounts", kinds.BANK_ACCOUNT, "UserId"),
    _list("bankaccounts/{BankAccountId}/transactions", None, "BankAccountId"),
    _create("mandates/directdebit/web", kinds.MANDATE, effects.complete_mandate, "MANDATE_CREATED"),
    _view("mandates/{Id}", kinds.MANDATE),
    _update("mandates/{Id}/cancel", kinds.MANDATE, effects.cancel_mandate, settable=frozenset()),
    _list("mandates", kinds.MANDATE),
    _list("users/{UserId}/mandates", kinds.MANDATE, "UserId"),
    _list("users/{UserId}/bankaccounts/{BankAccountId}/mandates", kinds.MANDATE, "BankAccountId"),
    # KYC documents
    _create(
        "users/{UserId}/kyc/documents",
        kinds.KYC_DOCUMENT,
        effects.complete_kyc_document,
        "KYC_CREATED",
        UserId="{UserId}",
    ),
    _list("users/{UserId}/kyc/documents", kinds.KYC_DOCUMENT, "UserId"),
    _view("users/{UserId}/kyc/documents/{Id}", kinds.KYC_DOCUMENT),
    _update("users/{UserId}/kyc/documents/{Id}", kinds.KYC_DOCUMENT, settable=frozenset({"Status", "Tag"})),
    Route(method="POST", pattern="users/{UserId}/kyc/documents/{DocumentId}/pages", act=Act.ADD_PAGE),
    _list("kyc/documents", kinds.KYC_DOCUMENT),
    _view("kyc/documents/{Id}", kinds.KYC_DOCUMENT),
    # Hooks, events, stored answers, the platform itself
    _create("hooks", kinds.HOOK),
    _view("hooks/{Id}", kinds.HOOK),
    _update("hooks/{Id}", kinds.HOOK, settable=frozenset({"Url", "Status", "Tag"})),
    _list("hooks", kinds.HOOK),
    Route(method="GET", pattern="events", act=Act.LIST_EVENTS),
    Route(method="GET", pattern="responses/{Key}", act=Act.STORED_ANSWER, scope="Client.Developers"),
    Route(method="GET", pattern="clients", act=Act.VIEW_CLIENT),
    Route(method="PUT", pattern="clients", act=Act.UPDATE_CLIENT),
    # Settlements
    Route(
        method="POST",
        pattern="payins/intents/settlements",
        act=Act.UPLOAD,
        kind=kinds.SETTLEMENT,
        effect=effects.complete_settlement,
        version="v3.0",
    ),
    Route(method="GET", pattern="payins/intents/settlements", act=Act.LIST, kind=kinds.SETTLEMENT, version="v3.0"),
    Route(method="GET", pattern="payins/intents/settlements/{Id}", act=Act.VIEW, kind=kinds.SETTLEMENT, version="v3.0"),
)

#: Rows whose path has no ClientId; the patterns follow the version.
UNSCOPED: Final = (
    Route(method="GET", pattern="countries/authorizations", act=Act.COUNTRIES),
    Route(method="GET", pattern="countries/{Code}/authorizations", act=Act.COUNTRY),
    Route(method="POST", pattern="oauth/token/embedded/recipient", act=Act.EMBEDDED_TOKEN),
    Route(method="POST", pattern="oauth/token/embedded/checkout", act=Act.EMBEDDED_TOKEN),
)

ECHO: Final = Route(method="*", pattern="echo", act=Act.ECHO)
BYTES: Final = Route(method="GET", pattern="bytes", act=Act.BYTES)


class Match(msgspec.Struct, frozen=True):
    """A row and the values of its parameters, in the order of the pattern."""

    route: Route
    parameters: dict[str, str]


class Table:
    """Finds rows by method and path; literal segments come before parameters, as more precise."""

    def __init__(self, routes: tuple[Route, ...]) -> None:
        # Every pattern begins with a literal: that, the version and the length leave a handful of rows.
        self._rows: dict[tuple[str, int, str], list[tuple[tuple[str | None, ...], tuple[str, ...], Route]]] = {}
        for route in sorted(routes, key=lambda row: row.pattern.count("{")):
            parts = route.pattern.split("/")
            literals = tuple(None if part.startswith("{") else part for part in parts)
            names = tuple(part[1:-1] for part in parts if part.startswith("{"))
            self._rows.setdefault((route.version, len(parts), parts[0]), []).append((literals, names, route))

    def find(self, version: str, method: str, segments: tuple[str, ...]) -> Match | frozenset[str]:
        """Return the row for a path, or else the methods that have one (none: the path is unknown).

        HEAD finds the row of GET. Literal segments are compared without regard to case.
        """
        if not segments:
            return frozenset()
        method = "GET" if method == "HEAD" else method
        lowered = tuple(segment.lower() for segment in segments)
        others: set[str] = set()
        for literals, names, route in self._rows.get((version, len(segments), lowered[0]), ()):
            if all(literal is None or literal == segment for literal, segment in zip(literals, lowered, strict=True)):
                if route.method == method:
                    given = [part for literal, part in zip(literals, segments, strict=True) if literal is None]
                    return Match(route, dict(zip(names, given, strict=True)))
                others.add(route.method)
        return frozenset(others)


SCOPED_TABLE: Final = Table(ROUTES)
UNSCOPED_TABLE: Final = Table(UNSCOPED)
