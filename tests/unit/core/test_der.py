"""Elements of DER: their lengths in every form, and the walk to a certificate's issuer."""

from __future__ import annotations

import pytest

from sidecar.core.der import INTEGER, OBJECT_ID, SEQUENCE, SET, element, issuer_field


def tlv(tag: int, contents: bytes) -> bytes:
    """Write an element as X.690 says, section 10.1: its length in the shortest form."""
    size = len(contents)
    if size < 0x80:
        return bytes((tag, size)) + contents
    digits = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes((tag, 0x80 | len(digits))) + digits + contents


@pytest.mark.parametrize("size", [0, 1, 0x7F, 0x80, 0xFF, 0x100, 0xFFFF, 0x10000])
def test_an_element_of_any_length_is_found(size: int) -> None:
    der = b"before" + tlv(SET, bytes(size)) + b"behind"
    start, end = element(der, 6, len(der), SET)
    assert (end - start, der[end:]) == (size, b"behind")
    assert element(der, 6, len(der)) == (start, end)


def test_an_element_ends_before_its_end() -> None:
    der = tlv(SET, b"abc")
    assert element(der, 0, len(der)) == (2, 5)
    with pytest.raises(ValueError, match="cut short"):
        element(der, 0, len(der) - 1)


@pytest.mark.parametrize("der", [b"", b"\x31", tlv(OBJECT_ID, b"abc")])
def test_what_is_too_short_or_has_another_tag_is_none(der: bytes) -> None:
    with pytest.raises(ValueError, match="RFC 5280"):
        element(der, 0, len(der), SET)


@pytest.mark.parametrize(
    "length",
    [
        pytest.param(b"\x80", id="BER: none at all"),
        pytest.param(b"\x81\x7f", id="one byte, where none is needed"),
        pytest.param(b"\x82\x00\xff", id="a zero in front"),
        pytest.param(b"\x82\x01", id="cut off"),
        pytest.param(b"\x85\x01\x00\x00\x00\x00", id="five bytes"),
    ],
)
def test_only_the_shortest_form_of_a_length_is_der(length: bytes) -> None:
    der = bytes((SET,)) + length
    with pytest.raises(ValueError, match="not DER"):
        element(der, 0, len(der))


def test_four_bytes_of_length_are_read_and_are_more_than_there_is() -> None:
    der = bytes((SET,)) + b"\x84\x01\x00\x00\x00"
    with pytest.raises(ValueError, match="cut short"):
        element(der, 0, len(der))


@pytest.mark.parametrize("version", [b"", tlv(0xA0, tlv(INTEGER, b"\x02"))])
def test_the_issuer_stands_behind_the_algorithm_with_a_version_or_without(version: bytes) -> None:
    issuer = tlv(SEQUENCE, b"issuer" * 40)
    fields = version + tlv(INTEGER, b"\x01") + tlv(SEQUENCE, b"algorithm") + issuer + b"more"
    der = tlv(SEQUENCE, tlv(SEQUENCE, fields) + b"signature")
    at, end = issuer_field(der)
    assert der[at:end] == issuer + b"more"


@pytest.mark.parametrize("tags", [(SET, SEQUENCE), (INTEGER, SET)])
def test_a_field_that_is_another_than_expected_is_refused(tags: tuple[int, int]) -> None:
    fields = b"".join(tlv(tag, b"\x01") for tag in tags)
    with pytest.raises(ValueError, match="RFC 5280"):
        issuer_field(tlv(SEQUENCE, tlv(SEQUENCE, fields)))


@pytest.mark.parametrize("tags", [(SET, SEQUENCE), (SEQUENCE, SET)])
def test_what_holds_the_fields_has_to_be_two_sequences(tags: tuple[int, int]) -> None:
    outer, inner = tags
    fields = tlv(INTEGER, b"\x01") + tlv(SEQUENCE, b"algorithm")
    with pytest.raises(ValueError, match="RFC 5280"):
        issuer_field(tlv(outer, tlv(inner, fields)))
