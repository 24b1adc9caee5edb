"""Who issued a certificate, read from its bytes (RFC 5280 section 4.1): for a message, never to trust anybody."""

from __future__ import annotations

from typing import Final

_SEQUENCE: Final = 0x30
_SET: Final = 0x31
_OBJECT_ID: Final = 0x06
_VERSION: Final = 0xA0
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
    except (ValueError, IndexError):
        found = {}
    names = [found[kind] for kind in (_COMMON_NAME, _ORGANIZATION) if found.get(kind)]
    return ", ".join(f'"{name}"' for name in dict.fromkeys(names)) or "somebody without a name"


def _attributes(der: bytes) -> dict[bytes, str]:
    certificate, _ = _element(der, 0, _SEQUENCE)
    fields, _ = _element(certificate, 0, _SEQUENCE)
    at = _element(fields, 0, _VERSION)[1] if fields[0] == _VERSION else 0
    _, at = _element(fields, at, None)  # serialNumber
    _, at = _element(fields, at, _SEQUENCE)  # signature
    name, _ = _element(fields, at, _SEQUENCE)
    found: dict[bytes, str] = {}
    at = 0
    while at < len(name):
        relative, at = _element(name, at, _SET)
        pair, _ = _element(relative, 0, _SEQUENCE)
        kind, after = _element(pair, 0, _OBJECT_ID)
        value, _ = _element(pair, after, None)
        found.setdefault(kind, _shown(value))
    return found


def _shown(value: bytes) -> str:
    text = value.decode("utf-8", "replace")[:_LONGEST]
    return "".join(character if character.isprintable() and character != '"' else "?" for character in text)


def _element(data: bytes, at: int, tag: int | None) -> tuple[bytes, int]:
    """Return the contents of the element at ``at``, and where the next one begins."""
    if tag is not None and data[at] != tag:
        raise ValueError("another tag")
    length, start = data[at + 1], at + 2
    if length & 0x80:
        count = length & 0x7F
        if not 1 <= count <= 4:
            raise ValueError("no DER length")
        length = int.from_bytes(data[start : start + count])
        start += count
    if start + length > len(data):
        raise ValueError("cut short")
    return data[start : start + length], start + length
