"""Elements of DER (X.690), and the way to a certificate's fields (RFC 5280 section 4.1).

Nothing is trusted by what is read here: it may be a stranger's.
"""

from __future__ import annotations

from typing import Final

# X.680 tags, as DER writes them.
INTEGER: Final = 0x02
OBJECT_ID: Final = 0x06
SEQUENCE: Final = 0x30
SET: Final = 0x31
_VERSION: Final = 0xA0  # [0] EXPLICIT; version 1 has none


def element(der: bytes, at: int, end: int, tag: int | None = None) -> tuple[int, int]:
    """Return where the contents of the element at ``at`` begin and end; it must have ``tag`` and fit before ``end``.

    Raises ValueError.
    """
    if at + 2 > end or tag not in (None, der[at]):
        raise ValueError("the certificate is not built as RFC 5280 says")
    length, start = der[at + 1], at + 2
    if length & 0x80:
        count = length & 0x7F
        digits = der[start : min(start + count, end)]
        # DER: the shortest form only. Four bytes say 4 GiB, and no length at all says BER.
        if not 1 <= count == len(digits) <= 4 or digits[0] == 0 or (length := int.from_bytes(digits)) < 0x80:
            raise ValueError("the certificate is not DER")
        start += count
    if start + length > end:
        raise ValueError("the certificate is cut short")
    return start, start + length


def issuer_field(der: bytes) -> tuple[int, int]:
    """Return where a certificate's issuer stands, and where the fields end of which it is one. Raises ValueError.

    Walked over are version, serial number and signature algorithm; behind the issuer are the dates.
    """
    start, end = element(der, 0, len(der), SEQUENCE)
    at, end = element(der, start, end, SEQUENCE)
    if der[at : at + 1] == bytes((_VERSION,)):
        at = element(der, at, end)[1]
    for tag in (INTEGER, SEQUENCE):
        at = element(der, at, end, tag)[1]
    return at, end
