"""What a store gets to see of a token's value.

In a file the value stands as it is: only its owner can read the file. Redis is
shared, copied and backed up; there the value is encrypted (AES-256-GCM) with a key
that is derived (HKDF-SHA-256, RFC 5869) from the API key, which the store never
sees. Everything that makes the token this one is authenticated with it: so a value
that was moved to another account, credential or generation, or given other
moments, does not open.
"""

from __future__ import annotations

import base64
import binascii
import os
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from sidecar.core.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable

_INFO: Final = b"mangopay-sidecar token store: AES-256-GCM"
#: Bytes (NIST SP 800-38D section 8.2.2): random for each value; one key seals a value an hour.
_NONCE: Final = 12


class Sealing(Protocol):
    """How values go into a store and come out of it. ``context`` says which token it is."""

    def seal(self, key: Secret, context: bytes, value: Secret) -> Secret:
        """Return what the store is given."""
        ...

    def open(self, key: Secret, context: bytes, sealed: Secret) -> Secret | None:
        """Return the value; None if it was not sealed with this key, for this context."""
        ...


def token_context(document: str, credential: str, generation: int, sent_at: float, expires_at: float) -> bytes:
    """Return what a sealed value is bound to. ``document`` names environment and ClientId."""
    return msgspec.json.encode([document, credential, generation, sent_at, expires_at])


class Plain:
    """The value as it is."""

    def seal(self, key: Secret, context: bytes, value: Secret) -> Secret:
        """Return ``value``."""
        return value

    def open(self, key: Secret, context: bytes, sealed: Secret) -> Secret | None:
        """Return ``sealed``."""
        return sealed


class Encrypted:
    """The value encrypted and authenticated. Needs the package ``cryptography``."""

    def __init__(self, random: Callable[[int], bytes] = os.urandom) -> None:
        """``random`` gives so many random bytes."""
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._aead: Final = AESGCM
        self._invalid: Final = InvalidTag
        self._random: Final = random

    def seal(self, key: Secret, context: bytes, value: Secret) -> Secret:
        """Return nonce, ciphertext and tag in base64."""
        nonce = self._random(_NONCE)
        sealed = self._aead(derived_key(key)).encrypt(nonce, value.reveal().encode(), context)
        return Secret(base64.b64encode(nonce + sealed).decode("ascii"))

    def open(self, key: Secret, context: bytes, sealed: Secret) -> Secret | None:
        """Return the value; None if it is no such thing, or was sealed otherwise."""
        try:
            content = base64.b64decode(sealed.reveal(), validate=True)
            value = self._aead(derived_key(key)).decrypt(content[:_NONCE], content[_NONCE:], context)
            return Secret(value.decode())
        except (self._invalid, binascii.Error, ValueError):
            return None


def derived_key(key: Secret) -> bytes:
    """Return the 32 bytes that the tokens of an API key are encrypted with."""
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(algorithm=SHA256(), length=32, salt=None, info=_INFO).derive(key.reveal().encode())
