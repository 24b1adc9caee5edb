"""What pay-ins, transfers, payouts and refunds have in common: amounts, balances and results."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sidecar.emulator.state import ClientState, Resource

#: The fields of every transaction, and those that are set here alone.
TRANSACTION: Final[Mapping[str, Any]] = MappingProxyType(
    {
        **dict.fromkeys(("AuthorId", "CreditedUserId", "DebitedFunds", "CreditedFunds", "Fees")),
        **dict.fromkeys(("DebitedWalletId", "CreditedWalletId", "ExecutionDate")),
        "Status": "CREATED",
        "ResultCode": None,
        "ResultMessage": None,
        "Nature": "REGULAR",
    }
)
READ_ONLY: Final = frozenset(
    {"CreditedFunds", "ExecutionDate", "Status", "ResultCode", "ResultMessage", "Type", "Nature"}
)
AMOUNTS: Final = ("DebitedFunds", "Fees")
#: The collection of the platform's own wallets.
PLATFORM_WALLETS: Final = "ClientWallet"

Result = tuple[str, str]
#: Results (Mangopay: "Error codes"): of what went through, and of a wallet that has not enough.
SUCCESS: Final[Result] = ("000000", "Success")
TOO_LITTLE: Final[Result] = ("001001", "Unsufficient wallet balance")


def result(of: Result) -> dict[str, str]:
    """Return a result as the two fields that tell it."""
    return {"ResultCode": of[0], "ResultMessage": of[1]}


def derive_amounts(client: ClientState, resource: Resource) -> None:
    """Set what the credited side gets, if amounts are told, and whose wallet that is."""
    debited, fees = resource["DebitedFunds"], resource["Fees"]
    if debited is not None and fees is not None:
        resource["CreditedFunds"] = {"Currency": debited["Currency"], "Amount": debited["Amount"] - fees["Amount"]}
    if resource["CreditedUserId"] is None:
        resource["CreditedUserId"] = owner(client, resource["CreditedWalletId"])


def owner(client: ClientState, wallet_id: str | None) -> str | None:
    """Return the first owner of a user's wallet; None: there is no such wallet, or one that was placed without any."""
    wallet = client.find("Wallet", wallet_id or "")
    return None if wallet is None else next(iter(wallet["Owners"] or ()), None)


def covered(client: ClientState, resource: Resource) -> bool:
    """Tell whether the debited wallet has what a transaction takes from it."""
    wallet = _wallet(client, resource["DebitedWalletId"])
    return wallet is None or bool(wallet["Balance"]["Amount"] >= resource["DebitedFunds"]["Amount"])


def succeed(client: ClientState, resource: Resource, at: int) -> None:
    """Let a transaction go through: tell so, and move the money."""
    resource.update(Status="SUCCEEDED", ExecutionDate=at, **result(SUCCESS))
    debit(client, resource)
    credit(client, resource)


def credit(client: ClientState, resource: Resource) -> None:
    """Put what is credited into the credited wallet, if there is one, and the fees into the platform's."""
    _move(client, resource["CreditedWalletId"], resource["CreditedFunds"], +1)
    if resource["Fees"] is not None:
        _move(client, f"FEES_{resource['Fees']['Currency']}", resource["Fees"], +1)


def debit(client: ClientState, resource: Resource) -> None:
    """Take what is debited from the debited wallet, if there is one."""
    _move(client, resource["DebitedWalletId"], resource["DebitedFunds"], -1)


def give_back(client: ClientState, resource: Resource) -> None:
    """Undo :func:`debit`."""
    _move(client, resource["DebitedWalletId"], resource["DebitedFunds"], +1)


def _move(client: ClientState, wallet_id: str | None, funds: dict[str, Any] | None, sign: int) -> None:
    """Move nothing where no amount is told: what a test has put there needs none."""
    wallet = None if wallet_id is None else _wallet(client, wallet_id)
    if wallet is not None and funds is not None:
        wallet["Balance"]["Amount"] += sign * funds["Amount"]


def _wallet(client: ClientState, identifier: str) -> Resource | None:
    return client.find("Wallet", identifier) or client.find(PLATFORM_WALLETS, identifier)
