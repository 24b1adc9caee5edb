"""What can be asked of a user beyond the user: electronic money, blocks, and whether a company's number is one."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from sidecar.emulator.engine.kinds import TRANSACTIONS
from sidecar.emulator.engine.routes import Emulated, does
from sidecar.emulator.messages import json_response

if TYPE_CHECKING:
    from sidecar.emulator.engine.calls import Call
    from sidecar.emulator.messages import EmulatedResponse

#: A company's number, of whatever country.
_COMPANY_NUMBER: Final = re.compile(r"[A-Z0-9-]{5,20}")


def emoney(call: Call) -> EmulatedResponse:
    """Tell what came into and went out of a user's wallets in a year, or a month of it."""
    user, currency = call.parameters["UserId"], call.query.get("currency", "EUR").upper()
    since, until = _period(call)
    wallets = call.client.collection("Wallet").values()
    owned = {wallet["Id"] for wallet in wallets if user in (wallet["Owners"] or ())}
    moved = [
        each
        for each in call.client.collection(TRANSACTIONS).values()
        if each["Status"] == "SUCCEEDED" and since <= (each["ExecutionDate"] or 0) < until
    ]
    sums = {
        f"{side}EMoney": {"Currency": currency, "Amount": sum(_amount(each, side, owned, currency) for each in moved)}
        for side in ("Credited", "Debited")
    }
    return json_response(200, {"UserId": user, **sums})


def _period(call: Call) -> tuple[float, float]:
    """Return the beginning and the end of the period in the path, in Unix seconds."""
    year, month = call.parameters["Year"], call.parameters.get("Month")
    if not (year.isascii() and year.isdecimal() and len(year) == 4 and year > "0000"):
        raise call.incorrect("Year", "The year has four digits.")
    first = int(month) if month is not None and month.isdecimal() and len(month) <= 2 else 1 if month is None else 0
    if not 1 <= first <= 12:
        raise call.incorrect("Month", "The month is a number from 1 to 12.")
    after = int(year) * 12 + first + (12 if month is None else 1) - 1
    start = datetime(int(year), first, 1, tzinfo=UTC)
    return start.timestamp(), start.replace(year=min(9999, after // 12), month=after % 12 + 1).timestamp()


def _amount(transaction: dict[str, Any], side: str, owned: set[str], currency: str) -> int:
    funds = transaction[f"{side}Funds"]
    concerned = transaction[f"{side}WalletId"] in owned and funds is not None and funds["Currency"] == currency
    return int(funds["Amount"]) if concerned else 0


def blocks(call: Call) -> EmulatedResponse:
    """Tell that nothing of a user is blocked, unless the user is closed."""
    closed = call.found("User", call.parameters["UserId"])["UserStatus"] == "CLOSED"
    scope = {"Inflows": closed, "Outflows": closed}
    return json_response(200, {"ActionCode": "008701" if closed else None, "ScopeBlocked": scope})


def validate_formats(call: Call) -> EmulatedResponse:
    """Tell whether a company's number looks like one; 400 if it does not."""
    company = call.body().get("CompanyNumber")
    if not isinstance(company, dict) or not isinstance(company.get("CompanyNumber"), str):
        raise call.incorrect("CompanyNumber", "The CompanyNumber field is required.")
    number = company["CompanyNumber"]
    if not _COMPANY_NUMBER.fullmatch(number):
        raise call.incorrect("CompanyNumber", "The CompanyNumber has 5 to 20 letters, digits or dashes.")
    told = {"CountryCode": company.get("CountryCode"), "CompanyNumber": number, "IsValid": True}
    return json_response(200, {"CompanyNumber": {**told, "ValidationRules": [_COMPANY_NUMBER.pattern]}})


EMULATED: Final = Emulated(
    scope="Users.Details",
    routes=(
        does("GET", "users/{UserId}/emoney/{Year}", emoney),
        does("GET", "users/{UserId}/emoney/{Year}/{Month}", emoney),
        does("GET", "users/{UserId}/regulatory", blocks),
        does("GET", "users/{UserId}/blockstatus", blocks),
        does("POST", "users/data-formats/validation", validate_formats),
    ),
)
