"""Accounts of a wallet at a bank: banking aliases, and the virtual accounts that follow them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sidecar.emulator import money
from sidecar.emulator.engine import acts
from sidecar.emulator.engine.kinds import Kind, fields, one_of
from sidecar.emulator.engine.routes import Emulated, creates, does, lists, updates, views
from sidecar.emulator.messages import json_response

if TYPE_CHECKING:
    from sidecar.emulator.engine.calls import Call
    from sidecar.emulator.messages import EmulatedResponse
    from sidecar.emulator.state import Resource

_BIC: Final = "MPAYLUL1XXX"
#: Where there are accounts, and in which currencies.
_CURRENCIES: Final = {"DE": ("EUR",), "ES": ("EUR",), "FR": ("EUR",), "GB": ("GBP",), "LU": ("EUR",), "US": ("USD",)}

ALIAS: Final = Kind(
    name="BankingAlias",
    collection="BankingAlias",
    prefix="bankalias_m_",
    template=fields(
        *("CreditedUserId", "WalletId", "OwnerName", "Country", "IBAN", "BIC"),
        Active=True,
        Type="IBAN",
        VirtualAccountPurpose="COLLECTION",
    ),
    read_only=frozenset({"WalletId", "IBAN", "BIC", "VirtualAccountPurpose"}),
    optional=frozenset({"AccountNumber"}),
    required=("OwnerName", "Country"),
    links={"CreditedUserId": "User"},
)

VIRTUAL_ACCOUNT: Final = Kind(
    name="VirtualAccount",
    collection="VirtualAccount",
    prefix="vacc_m_",
    template=fields(
        *("WalletId", "CreditedUserId", "Country", "LocalAccountDetails", "Capabilities"),
        **money.result(money.SUCCESS),
        VirtualAccountPurpose="Collection",
        Status="ACTIVE",
        Active=True,
        AccountOwner="MANGOPAY",
        InternationalAccountDetails=(),
    ),
    read_only=frozenset(
        {"WalletId", "CreditedUserId", "Status", "Active", "AccountOwner", "ResultCode", "ResultMessage"}
        | {"LocalAccountDetails", "InternationalAccountDetails", "Capabilities"}
    ),
    required=("Country", "VirtualAccountPurpose"),
    checks={"Country": one_of(*_CURRENCIES)},
)


def complete_alias(call: Call, resource: Resource) -> None:
    """Belong to the wallet's owner, and have a number of its own."""
    resource["CreditedUserId"] = resource["CreditedUserId"] or money.owner(call.client, resource["WalletId"])
    resource["IBAN"] = _iban(resource["Country"], resource["Id"])
    resource["BIC"] = _BIC


def complete(call: Call, resource: Resource) -> None:
    """Belong to the wallet's owner, and be ready at once."""
    country = resource["Country"]
    iban = _iban(country, resource["Id"])
    address = {
        "StreetName": "Boulevard Royal",
        "PostCode": "2449",
        "TownName": "Luxembourg",
        "CountrySubDivision": None,
        "Country": country,
    }
    resource["CreditedUserId"] = money.owner(call.client, resource["WalletId"])
    resource["LocalAccountDetails"] = {
        "BankName": "Emulated Bank",
        "Address": address,
        "Account": {"Iban": iban, "Bic": _BIC},
    }
    resource["InternationalAccountDetails"] = [
        {"BankName": "Emulated Bank", "Address": address, "Account": {"Iban": iban, "Bic": _BIC}}
    ]
    resource["Capabilities"] = {
        "LocalPayinAvailable": True,
        "InternationalPayinAvailable": True,
        "Currencies": _CURRENCIES[country],
    }


def close(call: Call) -> EmulatedResponse:
    """Close an account: nothing else can be changed."""
    account = acts.find(call)
    account.update(Status="CLOSED", Active=False)
    call.client.tell("VIRTUAL_ACCOUNT_CLOSED", account["Id"], call.at)
    return json_response(200, account)


def availability(call: Call) -> EmulatedResponse:
    """Tell where accounts can be had, and in which currencies."""
    del call
    told: list[dict[str, Any]] = [
        {"Country": country, "Available": True, "Currencies": currencies} for country, currencies in _CURRENCIES.items()
    ]
    return json_response(200, {"Collection": told, "UserOwned": told})


def _iban(country: str, identifier: str) -> str:
    """Return the number of an account; its check digits are made up."""
    return f"{country}00MPAY{identifier[-8:]}"


_ACCOUNTS: Final = "wallets/{WalletId}/virtual-accounts"

EMULATED: Final = Emulated(
    scope="Payins",
    routes=(
        creates(
            "wallets/{WalletId}/bankingaliases/iban",
            ALIAS,
            complete_alias,
            fixed={"WalletId": "{WalletId}"},
        ),
        lists("wallets/{WalletId}/bankingaliases", ALIAS, "WalletId"),
        views("bankingaliases/{Id}", ALIAS),
        updates("bankingaliases/{Id}", ALIAS, settable={"Active", "OwnerName", "Tag"}),
        creates(_ACCOUNTS, VIRTUAL_ACCOUNT, complete, "VIRTUAL_ACCOUNT_ACTIVE", fixed={"WalletId": "{WalletId}"}),
        lists(_ACCOUNTS, VIRTUAL_ACCOUNT, "WalletId"),
        views(f"{_ACCOUNTS}/{{Id}}", VIRTUAL_ACCOUNT),
        does("PUT", f"{_ACCOUNTS}/{{Id}}", close, kind=VIRTUAL_ACCOUNT),
        does("GET", "virtual-accounts/availability", availability),
    ),
)
