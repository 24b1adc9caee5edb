"""Naming who issued a certificate, from bytes that a stranger sent."""

from __future__ import annotations

import datetime as dt
import ssl

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from sidecar.advice.issuer import issuer

AUTHORITY = trustme.CA(organization_name="Planted Inc.", organization_unit_name="Unit")
LEAF = ssl.PEM_cert_to_DER_cert(AUTHORITY.issue_cert("leaf.test").cert_chain_pems[0].bytes().decode())
NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
NOBODY = "somebody without a name"


def test_the_organisation_of_the_issuer_is_named() -> None:
    assert issuer(LEAF) == '"Planted Inc."'


def test_the_common_name_comes_first_wherever_it_stands() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Proxy Ltd."),
        x509.NameAttribute(NameOID.COMMON_NAME, "Zürich Root"),
    ])  # fmt: skip
    builder = x509.CertificateBuilder(name, x509.Name([]), key.public_key(), 1, NOW, NOW)
    assert issuer(builder.sign(key, SHA256()).public_bytes(Encoding.DER)) == '"Zürich Root", "Proxy Ltd."'


@pytest.mark.parametrize(
    "der",
    [b"", b"\x30", b"\x30\x80", b"\x30\x84\xff\xff\xff\xff", b"-----BEGIN", pytest.param(LEAF[:60], id="cut off")],
)
def test_what_is_no_certificate_has_no_name(der: bytes) -> None:
    assert issuer(der) == NOBODY


def test_a_name_that_would_disturb_a_terminal_is_made_harmless() -> None:
    hostile = LEAF.replace(b"Planted Inc.", b'\x1b[31m\n"\x00Inc.')
    assert len(hostile) == len(LEAF)
    name = issuer(hostile)
    assert name.isprintable()
    assert name == '"?[31m???Inc."'


@given(st.binary(max_size=200))
def test_no_bytes_are_too_strange(noise: bytes) -> None:
    assert issuer(noise).isprintable()


@given(st.integers(0, len(LEAF) - 1), st.integers(0, 255))
def test_a_certificate_with_one_byte_changed_still_gives_a_printable_name(at: int, value: int) -> None:
    changed = bytearray(LEAF)
    changed[at] = value
    assert issuer(bytes(changed)).isprintable()
