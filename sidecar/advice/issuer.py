"""Who issued a certificate, read from its bytes (RFC 5280 section 4.1): for a message, never to trust anybody."""

from __future__ import annotations

from typing import Final

from sidecar.core.der import OBJECT_ID, SEQUENCE, SET, element, issuer_field
from sidecar.core.text import printable

#: Of a distinguished name what people know an issuer by: X.520 commonName, organizationName.
_COMMON_NAME: Final = bytes((0x55, 0x04, 0x03))
_ORGANIZATION: Final = bytes((0x55, 0x04, 0x0A))
#: Characters. RFC 5280 has 64 for each.
_LONGEST: Final = 64


def issuer(der: bytes) -> str:
    """Return the issuer's common name and organisation, as far as there are any, printable and short.

    What cannot be read gives ``"somebody without a name"``: the bytes are a stranger's.
    """
    try:
        found = _attributes(der)
    except ValueError:
        found = {}
    names = [found[kind] for kind in (_COMMON_NAME, _ORGANIZATION) if found.get(kind)]
    return ", ".join(f'"{name}"' for name in dict.fromkeys(names)) or "somebody without a name"


def _attributes(der: bytes) -> dict[bytes, str]:
    at, end = element(der, *issuer_field(der), SEQUENCE)
    found: dict[bytes, str] = {}
    while at < end:
        start, at = element(der, at, end, SET)
        start, stop = element(der, start, at, SEQUENCE)
        kind, after = element(der, start, stop, OBJECT_ID)
        value, stop = element(der, after, stop)
        text = der[value:stop].decode("utf-8", "replace")
        found.setdefault(der[kind:after], printable(text, _LONGEST).replace('"', "?"))
    return found
