"""A certificate's dates: read as `cryptography` reads them, and what follows from them."""

from __future__ import annotations

import base64
import datetime as dt
import math

import pytest
import trustme
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.certificate import Validity, ValidityStanding, moment, validity

CA = trustme.CA()
DAY = 86_400
START, END = 1_700_000_000, 1_700_000_000 + 365 * DAY
DATES = Validity(START, END)


def utc(*parts: int) -> dt.datetime:
    return dt.datetime(*parts, tzinfo=dt.UTC)  # type: ignore[arg-type,misc]


def issue(not_before: dt.datetime, not_after: dt.datetime, key: trustme.KeyType = trustme.KeyType.ECDSA) -> bytes:
    certificate = CA.issue_cert("client@example.org", not_before=not_before, not_after=not_after, key_type=key)
    return certificate.cert_chain_pems[0].bytes()


LEAF = issue(utc(2026, 1, 2, 3, 4, 5), utc(2027, 1, 2, 3, 4, 5))
DER = base64.b64decode(b"".join(LEAF.split(b"\n")[1:-2]))


def pem(der: bytes) -> bytes:
    return b"-----BEGIN CERTIFICATE-----\n" + base64.b64encode(der) + b"\n-----END CERTIFICATE-----\n"


# --- reading ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", trustme.KeyType)
@pytest.mark.parametrize(
    ("not_before", "not_after"),
    [
        pytest.param(utc(2026, 1, 2, 3, 4, 5), utc(2027, 1, 2, 3, 4, 5), id="a year"),
        pytest.param(utc(1999, 12, 31, 23, 59, 59), utc(2000, 1, 1), id="over the turn of the century"),
        pytest.param(utc(1950, 1, 1), utc(2049, 12, 31, 23, 59, 59), id="the outermost years of two digits"),
        pytest.param(utc(2049, 12, 31), utc(2050, 1, 1), id="from two digits to four"),
        pytest.param(utc(2051, 1, 1), utc(9999, 12, 31, 23, 59, 59), id="never expires (RFC 5280 4.1.2.5)"),
    ],
)
def test_the_dates_are_those_of_the_certificate(
    not_before: dt.datetime, not_after: dt.datetime, key: trustme.KeyType
) -> None:
    content = issue(not_before, not_after, key)
    other = x509.load_pem_x509_certificate(content)
    assert validity(content) == Validity(int(not_before.timestamp()), int(not_after.timestamp()))
    assert validity(content).not_after == int(other.not_valid_after_utc.timestamp())


def test_with_a_chain_behind_it_the_leafs_dates_count() -> None:
    assert validity(LEAF + CA.cert_pem.bytes()) == validity(LEAF)
    assert validity(LEAF + CA.cert_pem.bytes()) != validity(CA.cert_pem.bytes())


def test_text_and_a_key_before_the_certificate_are_passed_over() -> None:
    key = CA.issue_cert("x").private_key_pem.bytes()
    assert validity("Aussteller: Müller\n".encode() + key + LEAF) == validity(LEAF)


def test_line_ends_of_windows_and_the_old_label_are_read() -> None:
    assert validity(LEAF.replace(b"\n", b"\r\n")) == validity(LEAF)
    assert validity(LEAF.replace(b" CERTIFICATE", b" X509 CERTIFICATE")) == validity(LEAF)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "there is no PEM certificate"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "there is no PEM certificate"),
        (LEAF[:200], "there is no PEM certificate"),
        (LEAF.replace(b"END CERT", b"END X509 CERT"), "there is no PEM certificate"),
        (b"-----BEGIN CERTIFICATE-----\nA=A\n-----END CERTIFICATE-----\n", "no base64"),
        (LEAF.replace(b"-----\nMI", b"-----\n=MI", 1), "no base64"),
        (pem(b"\x30\x00"), "not built as RFC 5280 says"),
        (pem(DER[:100]), "cut short"),
        (pem(b"\x30\x80" + DER[4:]), "not DER"),
        (pem(b"\x30\x84\x00\x00\x01\x00" + bytes(256)), "not DER"),
        (pem(b"\x30\x85\x01\x00\x00\x00\x00"), "not DER"),
        (pem(b"\x30\x81\x05" + bytes(5)), "not DER"),
        (pem(DER.replace(b"\x17\x0d", b"\x16\x0d", 1)), "no dates"),
        (pem(DER.replace(b"260102030405Z", b"26010203040Z5")), "another form"),
        (pem(DER.replace(b"\x30\x1e\x17", b"\x30\x20\x17", 1)), "more than two dates"),
    ],
)
def test_what_is_no_certificate_is_refused(content: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        validity(content)


def sequence(*parts: bytes, tag: int = 0x30) -> bytes:
    content = b"".join(parts)
    return bytes((tag, len(content))) + content


@pytest.mark.parametrize(
    ("issuer", "dates", "words"),
    [
        pytest.param(0x31, 0x30, "not built as RFC 5280 says", id="an issuer that is no sequence"),
        pytest.param(0x30, 0x31, "not built as RFC 5280 says", id="dates that are no sequence"),
        pytest.param(0x30, 0x30, "", id="both as they should be"),
    ],
)
def test_each_field_has_to_be_what_rfc_5280_says(issuer: int, dates: int, words: str) -> None:
    times = (b"\x17\x0d260102030405Z", b"\x17\x0d270102030405Z")
    fields = (b"\x02\x01\x01", sequence(), sequence(tag=issuer), sequence(*times, tag=dates))
    content = pem(sequence(sequence(*fields)))
    if not words:
        assert validity(content) == validity(LEAF)
        return
    with pytest.raises(ValueError, match=words):
        validity(content)


@pytest.mark.parametrize("dates", [(), (b"\x17\x0d260102030405Z",)], ids=["none", "one"])
def test_a_certificate_without_both_dates_is_refused_whatever_follows(dates: tuple[bytes, ...]) -> None:
    behind = b"\x17\x0d270102030405Z" * 2
    with pytest.raises(ValueError, match="RFC 5280"):
        validity(pem(sequence(sequence(b"\x02\x01\x01", sequence(), sequence(), sequence(*dates), behind))))


def test_a_certificate_of_version_1_has_no_version() -> None:
    dates = sequence(b"\x17\x0d260102030405Z", b"\x17\x0d270102030405Z")
    fields = (b"\x02\x01\x01", sequence(), sequence(), dates)
    version_3 = b"\xa0\x03\x02\x01\x02"
    first, third = (pem(sequence(sequence(*parts))) for parts in (fields, (version_3, *fields)))
    assert validity(first) == validity(third) == validity(LEAF)


@given(st.data())
def test_whatever_is_damaged_the_response_is_dates_or_a_refusal(data: st.DataObject) -> None:
    der = bytearray(DER)
    for _ in range(data.draw(st.integers(1, 4))):
        der[data.draw(st.integers(0, len(der) - 1))] = data.draw(st.integers(0, 255))
    content = pem(bytes(der[: data.draw(st.integers(0, len(der)))]))
    try:
        found = validity(content)
    except ValueError:
        return
    assert isinstance(found, Validity)


# --- what follows ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wall", "standing"),
    [
        (START - 0.5, ValidityStanding.NOT_YET_VALID),
        (START, ValidityStanding.VALID),
        (END, ValidityStanding.VALID),
        (END + 0.5, ValidityStanding.EXPIRED),
    ],
)
def test_both_dates_are_included(wall: float, standing: ValidityStanding) -> None:
    assert DATES.standing(wall) is standing


@pytest.mark.parametrize(
    ("left", "days", "warning"),
    [
        (365 * DAY, 365, None),
        (30 * DAY + 1, 30, None),
        (30 * DAY, 30, 30),
        (7 * DAY + 1, 7, 30),
        (7 * DAY, 7, 7),
        (DAY + 1, 1, 7),
        (DAY, 1, 1),
        (1, 0, 1),
        (0, 0, 1),
        (-1, 0, 0),
        (-400 * DAY, 0, 0),
    ],
)
def test_days_left_and_the_warning_that_is_due(left: int, days: int, warning: int | None) -> None:
    assert (DATES.days_left(END - left), DATES.warning(END - left)) == (days, warning)


@given(st.floats(START - 400 * DAY, END + 400 * DAY))
def test_until_the_next_warning_nothing_changes_and_then_it_does(wall: float) -> None:
    following = DATES.next_warning(wall)
    assert following > wall
    if following < math.inf:
        assert DATES.warning(math.nextafter(following, 0)) == DATES.warning(wall)
        assert DATES.warning(following) != DATES.warning(wall)
    else:
        assert DATES.warning(wall) == 0


@pytest.mark.parametrize(("days", "following"), [(30, 7), (7, 1)])
def test_a_warning_that_is_due_now_is_not_the_next(days: int, following: int) -> None:
    assert DATES.next_warning(END - days * DAY) == END - following * DAY


@pytest.mark.usefixtures("elsewhere")
def test_dates_are_utc_wherever_they_are_read() -> None:
    assert validity(LEAF) == Validity(
        int(utc(2026, 1, 2, 3, 4, 5).timestamp()), int(utc(2027, 1, 2, 3, 4, 5).timestamp())
    )
    assert moment(0) == "1970-01-01T00:00:00Z"


def test_dates_are_written_as_rfc_3339_says() -> None:
    assert moment(0) == "1970-01-01T00:00:00Z"
    assert str(Validity(0, 1_000_000_000)) == "valid from 1970-01-01T00:00:00Z to 2001-09-09T01:46:40Z"
