"""What a store gets to see of a token: nothing in Redis, and nothing that could be moved or changed."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.secret import Secret
from sidecar.core.tokens.shared_document import document_name
from sidecar.tokens.stores.sealing import Encrypted, Plain, derived_key, token_context
from tests.support.canary import CANARY_API_KEY, CANARY_TOKEN, leaks, record

KEY, VALUE = Secret(CANARY_API_KEY), Secret(CANARY_TOKEN + "-1")
NAME = document_name("acme", "https://api.mangopay.com")
TOKEN: dict[str, Any] = {
    "document": NAME,
    "credential": "api",
    "generation": 7,
    "sent_at": 1000.25,
    "expires_at": 2200.25,
}
CONTEXT = token_context(**TOKEN)


def test_what_was_sealed_opens_again_and_shows_neither_token_nor_key() -> None:
    sealing = Encrypted()
    sealed = sealing.seal(KEY, CONTEXT, VALUE)
    record("what Redis sees", sealed.reveal())
    assert leaks(base64.b64decode(sealed.reveal()).decode("latin-1")) == []
    assert sealing.open(KEY, CONTEXT, sealed) == VALUE


@pytest.mark.parametrize(
    "change",
    [
        {"document": document_name("other", "https://api.mangopay.com")},
        {"document": document_name("acme", "https://api.sandbox.mangopay.com")},
        {"credential": "embedded"},
        {"generation": 8},
        {"sent_at": 1000.5},
        {"expires_at": 2200.250001},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_value_of_another_token_does_not_open(change: dict[str, Any]) -> None:
    sealing = Encrypted()
    sealed = sealing.seal(KEY, CONTEXT, VALUE)
    assert sealing.open(KEY, token_context(**{**TOKEN, **change}), sealed) is None


def test_another_key_opens_nothing() -> None:
    sealing = Encrypted()
    sealed = sealing.seal(KEY, CONTEXT, VALUE)
    assert sealing.open(Secret(CANARY_API_KEY + "x"), CONTEXT, sealed) is None


@given(st.text(max_size=80) | st.binary(max_size=80).map(lambda raw: base64.b64encode(raw).decode()))
def test_what_is_no_sealed_value_does_not_open(text: str) -> None:
    assert Encrypted().open(KEY, CONTEXT, Secret(text)) is None


@given(st.data())
def test_a_value_changed_in_any_bit_does_not_open(data: st.DataObject) -> None:
    sealing = Encrypted()
    raw = bytearray(base64.b64decode(sealing.seal(KEY, CONTEXT, VALUE).reveal()))
    bit = data.draw(st.integers(0, len(raw) * 8 - 1))
    raw[bit // 8] ^= 1 << bit % 8
    assert sealing.open(KEY, CONTEXT, Secret(base64.b64encode(raw).decode())) is None


def test_every_sealing_uses_a_nonce_of_its_own() -> None:
    sealed = {Encrypted().seal(KEY, CONTEXT, VALUE).reveal()[:16] for _ in range(100)}
    assert len(sealed) == 100


def test_it_is_aes_256_gcm_with_a_key_by_hkdf_sha_256() -> None:
    """Recomputed by RFC 5869's own formulas, so that another implementation could open it."""
    extracted = hmac.digest(bytes(32), CANARY_API_KEY.encode(), hashlib.sha256)
    expanded = hmac.digest(extracted, b"mangopay-sidecar token store: AES-256-GCM\x01", hashlib.sha256)
    assert derived_key(KEY) == expanded
    raw = base64.b64decode(Encrypted(lambda size: b"n" * size).seal(KEY, CONTEXT, VALUE).reveal())
    assert raw[:12] == b"n" * 12
    assert AESGCM(expanded).decrypt(raw[:12], raw[12:], CONTEXT) == VALUE.reveal().encode()


def test_in_a_file_a_value_stands_as_it_is() -> None:
    assert Plain().open(KEY, CONTEXT, Plain().seal(KEY, CONTEXT, VALUE)) == VALUE
