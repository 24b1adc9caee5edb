"""What a certificate's own file says of it: its dates, and in how many ways a client certificate can be unusable.

The dates are read here and not by a library, because mTLS is for everybody and
``cryptography`` costs 17 MiB of memory. Nothing is trusted by what is read:
OpenSSL reads the same certificate, and the other side decides about it.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from datetime import UTC, datetime
from enum import Enum, StrEnum
from typing import Final

import msgspec

from sidecar.core.der import SEQUENCE, element, issuer_field

_DAY: Final = 86_400

#: Days before its end at which a certificate is warned of, once each.
WARNING_DAYS: Final = (30, 7, 1)

# RFC 7468 section 5.1; the second label is an old name for the same.
_PEM: Final = re.compile(rb"-----BEGIN (X509 |)CERTIFICATE-----([A-Za-z0-9+/=\s]++)-----END \1CERTIFICATE-----")

# X.680 tags.
_UTC_TIME: Final = 0x17
_GENERALIZED_TIME: Final = 0x18

# RFC 5280 section 4.1.2.5: always with seconds and Z. Years of two digits are 1950 to 2049.
_UTC_FORM: Final = re.compile(rb"([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})Z")
_GENERALIZED_FORM: Final = re.compile(rb"([0-9]{4})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})Z")


class Defect(StrEnum):
    """What can be wrong with the files that TLS needs."""

    UNREADABLE = "unreadable"
    NO_CERTIFICATE = "no_certificate"
    NO_KEY = "no_key"
    KEY_ENCRYPTED = "key_encrypted"
    WRONG_PASSWORD = "wrong_password"  # noqa: S105 - the name of a defect
    KEY_MISMATCH = "key_mismatch"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    UNUSABLE = "unusable"


class ValidityStanding(Enum):
    """Where a moment lies, seen from a certificate's dates."""

    NOT_YET_VALID = "not yet valid"
    VALID = "valid"
    EXPIRED = "expired"


class Validity(msgspec.Struct, frozen=True):
    """From when until when a certificate is valid, both included (Unix time, seconds)."""

    not_before: int
    not_after: int

    def standing(self, wall: float) -> ValidityStanding:
        """Tell where the moment ``wall`` lies."""
        if wall < self.not_before:
            return ValidityStanding.NOT_YET_VALID
        return ValidityStanding.VALID if wall <= self.not_after else ValidityStanding.EXPIRED

    def days_left(self, wall: float) -> int:
        """Return the whole days that are left at ``wall``; 0 also once it has expired."""
        return max(0, math.floor((self.not_after - wall) / _DAY))

    def warning(self, wall: float) -> int | None:
        """Return the smallest of :data:`WARNING_DAYS` that has been reached at ``wall``, 0 if it has expired."""
        left = self.not_after - wall
        if left < 0:
            return 0
        return min((days for days in WARNING_DAYS if left <= days * _DAY), default=None)

    def next_warning(self, wall: float) -> float:
        """Return the moment at which :meth:`warning` says something else; infinite after the last."""
        moments = [self.not_after - days * _DAY for days in WARNING_DAYS] + [math.nextafter(self.not_after, math.inf)]
        return min((moment for moment in moments if moment > wall), default=math.inf)

    def __str__(self) -> str:
        return f"valid from {moment(self.not_before)} to {moment(self.not_after)}"


def moment(unix: float) -> str:
    """Write a moment as people and RFC 3339 do, to the second."""
    return datetime.fromtimestamp(unix, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def validity(pem: bytes) -> Validity:
    """Return the dates of the first certificate in ``pem``: with a chain behind it, that is the leaf.

    Raises ValueError if there is none, or if its dates cannot be read.
    """
    match = _PEM.search(pem)
    if match is None:
        raise ValueError("there is no PEM certificate")
    try:
        der = base64.b64decode(b"".join(match[2].split()), validate=True)
    except binascii.Error:
        raise ValueError("the PEM certificate is no base64") from None
    return _read_validity(der)


def _read_validity(der: bytes) -> Validity:
    at, end = issuer_field(der)
    at = element(der, at, end, SEQUENCE)[1]
    at, end = element(der, at, end, SEQUENCE)
    not_before, at = _time(der, at, end)
    not_after, at = _time(der, at, end)
    if at != end:
        raise ValueError("the certificate has more than two dates")
    return Validity(not_before, not_after)


def _time(der: bytes, at: int, end: int) -> tuple[int, int]:
    """Return the Unix time that stands at ``at``, and where it ends."""
    start, stop = element(der, at, end)
    tag = der[at]
    if tag not in (_UTC_TIME, _GENERALIZED_TIME):
        raise ValueError("the certificate has no dates")
    form = _UTC_FORM if tag == _UTC_TIME else _GENERALIZED_FORM
    match = form.fullmatch(der, start, stop)
    if match is None:
        raise ValueError("the certificate has a date of another form than RFC 5280 allows")
    year, month, day, hour, minute, second = map(int, match.groups())
    if tag == _UTC_TIME:
        year += 2000 if year < 50 else 1900
    return int(datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp()), stop
