"""Card tokenization: a card's number, date and code in, an opaque piece of data out.

It stands for the server of another company that ``CardRegistrationURL`` names. The data
says what Mangopay learns of the card; the number itself is kept nowhere.
"""

from __future__ import annotations

import base64
import hashlib
import time
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX: Final = "data="
ERROR: Final = "errorCode="
#: Messages of the errors, by code (Mangopay: "Error codes", card tokenization).
MESSAGES: Final[Mapping[str, str]] = {
    "02624": "Card expired",
    "02625": "Invalid card number",
    "02626": "Invalid date. Use mmdd format",
    "02627": "Invalid CCV number",
    "09101": "Username/Password is incorrect",
    "105299": "Token processing error",
}


class TokenizedCard(msgspec.Struct, frozen=True):
    """What is learnt of a card."""

    alias: str
    expiration: str
    fingerprint: str


#: The sandbox's test card: what data of unknown origin stands for.
TEST_CARD: Final = TokenizedCard("497010XXXXXX4422", "1229", "50a6a8da09654c4cab901814a741f924")


def tokenize(form: Mapping[str, str], wall: float) -> str:
    """Return ``data=…`` for the card in a form, or ``errorCode=…``; ``wall`` is the time in Unix seconds."""
    number = "".join(form.get("cardNumber", "").split())
    expiration, code = form.get("cardExpirationDate", ""), form.get("cardCvx", "")
    if not (number.isascii() and number.isdecimal() and 12 <= len(number) <= 19 and _luhn(number)):
        return f"{ERROR}02625"
    if not (expiration.isdecimal() and len(expiration) == 4 and 1 <= int(expiration[:2]) <= 12):
        return f"{ERROR}02626"
    now = time.gmtime(wall)
    if (2000 + int(expiration[2:]), int(expiration[:2])) < (now.tm_year, now.tm_mon):
        return f"{ERROR}02624"
    if not (code.isdecimal() and len(code) in {3, 4}):
        return f"{ERROR}02627"
    alias = f"{number[:6]}{'X' * (len(number) - 10)}{number[-4:]}"
    card = TokenizedCard(alias, expiration, hashlib.sha256(number.encode()).hexdigest()[:32])
    return PREFIX + base64.urlsafe_b64encode(msgspec.json.encode(card)).decode().rstrip("=")


def read(data: str) -> TokenizedCard | None:
    """Return the card that registration data stands for: the test card, if it is not from here; None: no card."""
    if not data.startswith(PREFIX):
        return None
    encoded = data.removeprefix(PREFIX)
    try:
        raw = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
        return msgspec.json.decode(raw, type=TokenizedCard)
    except (ValueError, RecursionError):  # of base64's and msgspec's among them
        return TEST_CARD


def error_code(data: str) -> str:
    """Return the code of the error that registration data tells of."""
    code = data.removeprefix(ERROR)
    return code if data.startswith(ERROR) and code in MESSAGES else "105299"


def _luhn(number: str) -> bool:
    """Tell whether the check digit is right (ISO/IEC 7812-1, annex B)."""
    digits = [int(digit) for digit in reversed(number)]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[1::2]]
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0
