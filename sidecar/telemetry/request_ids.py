"""The ids of calls: that of the log line, and of an own error's ``Id``."""

from __future__ import annotations

from typing import Final

#: Crockford's base32: no letter that reads as a digit.
_DIGITS: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS: Final = tuple(high + low for high in _DIGITS for low in _DIGITS)


class RequestIds:
    """Ids that are unique among processes and cheap to make: a random prefix and a counter, in base32."""

    __slots__ = ("_block", "_low", "_prefix", "_stem")

    def __init__(self, entropy: bytes) -> None:
        """``entropy`` is at least 5 random bytes (40 bits, 8 digits of prefix)."""
        if len(entropy) < 5:
            raise ValueError("a request id's prefix needs 5 random bytes")
        self._prefix = _base32(int.from_bytes(entropy[:5]), width=8)
        self._block = 0
        self._stem = f"{self._prefix}-{_base32(0, width=4)}"
        self._low = 0

    def new(self) -> str:
        """Return the next id, ``<8 digits>-<6 or more digits>``."""
        low = self._low
        if low == len(_PAIRS):
            self._block += 1
            self._stem = f"{self._prefix}-{_base32(self._block, width=4)}"
            low = 0
        self._low = low + 1
        return self._stem + _PAIRS[low]


def _base32(number: int, *, width: int) -> str:
    digits = ""
    while number or len(digits) < width:
        number, digit = divmod(number, 32)
        digits = _DIGITS[digit] + digits
    return digits
