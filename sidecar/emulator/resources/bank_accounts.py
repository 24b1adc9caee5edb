"""Bank accounts, of whatever type is in the path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.emulator.engine.kinds import Kind, fields
from sidecar.emulator.engine.routes import Emulated, creates, lists, updates, views

if TYPE_CHECKING:
    from sidecar.emulator.engine.calls import Call
    from sidecar.emulator.state import Resource

BANK_ACCOUNT: Final = Kind(
    name="BankAccount",
    collection="BankAccount",
    prefix="bankacc_m_",
    template=fields(
        *("UserId", "Type", "OwnerName", "OwnerAddress", "IBAN", "BIC", "AccountNumber", "SortCode", "ABA"),
        *("DepositAccountType", "BankName", "InstitutionNumber", "BranchCode", "Country"),
        Active=True,
    ),
    read_only=frozenset({"UserId", "Type"}),
    required=("OwnerName", "OwnerAddress"),
)


def complete(call: Call, resource: Resource) -> None:
    """Write the type as Mangopay does; the SDKs put it into the path in any case."""
    del call
    resource["Type"] = str(resource["Type"]).upper()


def deactivate(call: Call, resource: Resource) -> None:
    """End the account, unless the body says that it is to stay: nothing else can be changed."""
    resource["Active"] = call.body().get("Active") is True


EMULATED: Final = Emulated(
    scope="Bankaccounts",
    parents={"BankAccountId": "BankAccount"},
    routes=(
        creates(
            "users/{UserId}/bankaccounts/{Type}",
            BANK_ACCOUNT,
            complete,
            fixed={"UserId": "{UserId}", "Type": "{Type}"},
        ),
        views("users/{UserId}/bankaccounts/{Id}", BANK_ACCOUNT),
        updates("users/{UserId}/bankaccounts/{Id}", BANK_ACCOUNT, deactivate, {"Active", "Tag"}),
        lists("users/{UserId}/bankaccounts", BANK_ACCOUNT, "UserId"),
        lists("bankaccounts/{BankAccountId}/transactions", None, "BankAccountId"),
    ),
)
