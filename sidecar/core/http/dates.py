"""Dates in text from elsewhere, read without ever raising: whatever is no date is None.

A date decides how long to wait and whether a stored response is ours, and it is
written by whoever answers. The parsers of the standard library raise a different
exception for each way to be wrong, so they are called here alone.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

#: Characters. The longest HTTP-date (RFC 9110 section 5.6.7, the obsolete form of RFC 850) has 33.
_LONGEST: Final = 64


def read_http_date(text: str) -> float | None:
    """Return an HTTP-date in any of its three forms (RFC 9110 section 5.6.7) as Unix seconds; None if it is none."""
    return _read(parsedate_to_datetime, text)


def read_date(date: str | float) -> float | None:
    """Return a date as Mangopay writes them as Unix seconds: a number, its digits, an HTTP-date, or ISO 8601.

    None if it is none of these, or no moment (infinite, not a number).
    """
    if isinstance(date, str):
        text = date.strip()
        if not (text.isascii() and text.isdigit()):
            seconds = read_http_date(text)
            return _read(datetime.fromisoformat, text) if seconds is None else seconds
        date = text if len(text) <= _LONGEST else math.inf
    try:
        seconds = float(date)
    except OverflowError:
        return None
    return seconds if math.isfinite(seconds) else None


def _read(parse: Callable[[str], datetime], text: str) -> float | None:
    if len(text) > _LONGEST:
        return None
    try:
        moment = parse(text)
        # Left without a zone: "-0000", the asctime form, and ISO 8601 without one. All are UTC here.
        return (moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
