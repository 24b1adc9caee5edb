"""The platform's own wallets, bank accounts, payouts and pay-ins.

Each wallet is opened with a wire, so that there is something to pay out and convert.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from sidecar.emulator import money
from sidecar.emulator.engine import acts
from sidecar.emulator.engine.kinds import TRANSACTIONS, Kind, fields
from sidecar.emulator.engine.routes import Emulated, does
from sidecar.emulator.messages import json_response
from sidecar.emulator.resources import bank_accounts, bank_wires, payouts

if TYPE_CHECKING:
    from sidecar.emulator.engine.calls import Call
    from sidecar.emulator.messages import EmulatedResponse
    from sidecar.emulator.state import ClientState, Resource

FUNDS_TYPES: Final = ("FEES", "CREDIT")
_CURRENCIES: Final = ("EUR", "GBP", "USD")
#: What each wallet is opened with, in minor units.
_OPENING: Final = 1_000_000

CLIENT_WALLET: Final = Kind(
    name="ClientWallet",
    collection=money.PLATFORM_WALLETS,
    prefix="",
    template=fields("Description", "FundsType", "Currency", "Balance", Owners=()),
)
BANK_ACCOUNT: Final = msgspec.structs.replace(bank_accounts.BANK_ACCOUNT, name="ClientBankAccount")
PAY_OUT: Final = msgspec.structs.replace(
    payouts.PAY_OUT,
    name="ClientPayOut",
    required=("DebitedWalletId", "DebitedFunds", "BankAccountId"),
    links={"DebitedWalletId": money.PLATFORM_WALLETS, "BankAccountId": "BankAccount"},
)
BANK_WIRE: Final = msgspec.structs.replace(
    bank_wires.BANK_WIRE,
    name="ClientPayIn",
    required=("CreditedWalletId", "DeclaredDebitedFunds"),
    links={"CreditedWalletId": money.PLATFORM_WALLETS},
)


def opened(client: ClientState, at: int) -> list[Resource]:
    """Return the platform's wallets; they are opened when they are first asked for."""
    collection = client.collection(money.PLATFORM_WALLETS)
    if not collection:
        for funds_type in FUNDS_TYPES:
            for currency in _CURRENCIES:
                _open(client, funds_type, currency, at)
    return list(collection.values())


def _open(client: ClientState, funds_type: str, currency: str, at: int) -> None:
    transactions = list(client.collection(TRANSACTIONS).values())
    earned = sum(_fees(each, currency) for each in transactions) if funds_type == "FEES" else 0
    wallet = acts.build(CLIENT_WALLET, client, at)
    wallet.update(Id=f"{funds_type}_{currency}", FundsType=funds_type, Currency=currency)
    wallet["Balance"] = {"Currency": currency, "Amount": earned}
    acts.keep(client, wallet)
    opening = acts.build(BANK_WIRE, client, at)
    nothing, amount = {"Currency": currency, "Amount": 0}, {"Currency": currency, "Amount": _OPENING}
    opening.update(CreditedWalletId=wallet["Id"], DeclaredDebitedFunds=amount, DeclaredFees=nothing)
    opening.update(DebitedFunds=amount, CreditedFunds=dict(amount), Fees=nothing)
    money.succeed(client, opening, at)
    acts.keep(client, opening)


def _fees(transaction: Resource, currency: str) -> int:
    fees = transaction.get("Fees")
    earned = fees and transaction["Status"] == "SUCCEEDED" and fees["Currency"] == currency
    return int(fees["Amount"]) if fees and earned else 0


def list_wallets(call: Call) -> EmulatedResponse:
    """Show the platform's wallets, or those of one ``FundsType``."""
    wanted = call.parameters.get("FundsType", "").upper()
    wallets = opened(call.client, call.at)
    return acts.page(call, [wallet for wallet in wallets if wanted in {"", wallet["FundsType"]}])


def view(call: Call) -> EmulatedResponse:
    """Show one of the platform's wallets."""
    return json_response(200, _wallet(call))


def transactions(call: Call) -> EmulatedResponse:
    """Show what moved money of one of the platform's wallets, fees included."""
    wallet = _wallet(call)
    identifier, currency, earns = wallet["Id"], wallet["Currency"], wallet["FundsType"] == "FEES"
    concerned = [
        each
        for each in call.client.collection(TRANSACTIONS).values()
        if identifier in {each["DebitedWalletId"], each["CreditedWalletId"]} or (earns and _fees(each, currency))
    ]
    return acts.page(call, concerned)


def _wallet(call: Call) -> Resource:
    opened(call.client, call.at)
    identifier = f"{call.parameters['FundsType']}_{call.parameters['Currency']}".upper()
    return call.found(money.PLATFORM_WALLETS, identifier)


def create(call: Call) -> EmulatedResponse:
    """Make a resource that concerns the platform's wallets, which have to be there."""
    opened(call.client, call.at)
    return acts.create(call)


def complete_account(call: Call, resource: Resource) -> None:
    """Belong to nobody but the platform."""
    del call
    resource["Type"] = "IBAN"


def complete_pay_out(call: Call, resource: Resource) -> None:
    """Take the money, without fees: they would be the platform's own."""
    resource["Fees"] = resource["Fees"] or {"Currency": resource["DebitedFunds"]["Currency"], "Amount": 0}
    payouts.complete(call, resource)


def complete_pay_in(call: Call, resource: Resource) -> None:
    """Wait for the wire, without fees."""
    currency = resource["DeclaredDebitedFunds"]["Currency"]
    resource["DeclaredFees"] = resource["DeclaredFees"] or {"Currency": currency, "Amount": 0}
    bank_wires.complete(call, resource)


EMULATED: Final = Emulated(
    scope="Client.Wallets",
    routes=(
        does("GET", "clients/wallets", list_wallets, kind=CLIENT_WALLET),
        does("GET", "clients/wallets/{FundsType}", list_wallets, kind=CLIENT_WALLET),
        does("GET", "clients/wallets/{FundsType}/{Currency}", view, kind=CLIENT_WALLET),
        does("GET", "clients/wallets/{FundsType}/{Currency}/transactions", transactions),
        does("POST", "clients/bankaccounts/iban", create, kind=BANK_ACCOUNT, effect=complete_account),
        does(
            "POST",
            "clients/payouts",
            create,
            kind=PAY_OUT,
            effect=complete_pay_out,
            event="PAYOUT_NORMAL_CREATED",
        ),
        does(
            "POST",
            "clients/payins/bankwire/direct",
            create,
            kind=BANK_WIRE,
            effect=complete_pay_in,
            event="PAYIN_NORMAL_CREATED",
            scope="Client.PayIns",
        ),
    ),
)
