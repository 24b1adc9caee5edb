"""The document that sidecars share: what is written is read again, and nothing else is; moments of two clocks."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.secret import Secret
from sidecar.core.tokens.shared_document import (
    LONGEST,
    CredentialEntry,
    Lease,
    SharedDocument,
    StoredToken,
    StoreTime,
    certificate_name,
    document_name,
    entry_name,
    fingerprint,
    read_document,
    write_document,
)
from sidecar.core.tokens.state import LOCKOUT, Latch
from tests.support.canary import CANARY_API_KEY, CANARY_TOKEN, record

NAME = document_name("acme", "https://api.mangopay.com")
FULL = SharedDocument(
    7,
    Latch(1.5, 31.5, 1, LOCKOUT),
    {
        "api:1": CredentialEntry(
            "e",
            10.0,
            generation=3,
            token=StoredToken(Secret("value"), 1.25, 1201.25),
            failures=2,
            retry_at=12.0,
            refusals={"": Latch(1.0, 40.0, 2, "credentials")},
            lease=Lease("h", 7, 9.0, 9.5, 14.5, probe=True),
        ),
        "embedded:1": CredentialEntry("f", 11.0),
    },
)


@pytest.mark.parametrize("document", [SharedDocument(), FULL])
def test_what_is_written_is_read_again(document: SharedDocument) -> None:
    assert read_document(write_document(document)) == document


def test_a_document_of_the_longest_length_is_read() -> None:
    content = write_document(FULL)
    assert read_document(content + b" " * (LONGEST - len(content))) == FULL


def test_where_nothing_is_there_is_an_empty_document() -> None:
    assert read_document(None) == SharedDocument()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b'{"fence": -1}',
        b'{"fence": 1.5}',
        b'{"fence": "1"}',
        b'{"another": 1}',
        b'{"parts": {"a": {}}}',
        b'{"parts": {"a": {"epoch": "e", "touched_at": 1, "generation": -1}}}',
        b'{"parts": {"a": {"epoch": "e", "touched_at": 1e999}}}',
        b'{"parts": {"a": {"epoch": "e", "touched_at": NaN}}}',
        b'{"parts": {"a": {"epoch": "e", "touched_at": 1, "token": {"value": 7, "sent_at": 1, "expires_at": 2}}}}',
        b'{"parts": {"a": {"epoch": "e", "touched_at": 1, "token": {"value": "v", "sent_at": 1}}}}',
        b'{"lockout": {"since": 1, "until": null, "count": 1, "cause": "lockout"}}',
        b"\xff\xfe",
        b"[" * 100_000,
        b" " * (LONGEST + 1),
        write_document(FULL)[:-1],
        write_document(FULL) + b"x",
    ],
)
def test_anything_else_is_refused_in_words_of_our_own(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"^it is ") as caught:
        read_document(content)
    assert caught.value.__cause__ is None


@given(st.binary(max_size=200))
def test_no_bytes_make_it_fail_otherwise(content: bytes) -> None:
    with suppress(ValueError):
        assert write_document(read_document(content))


def test_a_token_shows_in_no_repr() -> None:
    document = SharedDocument(parts={"a": CredentialEntry("e", 1.0, token=StoredToken(Secret(CANARY_TOKEN), 1.0, 2.0))})
    record("repr", repr(document))
    assert "***" in repr(document)


def test_accounts_and_environments_have_names_of_their_own() -> None:
    names = {document_name(client, url) for client in ("a", "b") for url in ("https://x", "https://x/y", "https://y")}
    assert len(names) == 6
    assert all(name.startswith("mangopay-sidecar:1:") for name in names)


def test_a_fingerprint_tells_keys_and_accounts_apart_and_reveals_none() -> None:
    key = CANARY_API_KEY.encode()
    prints = {fingerprint(NAME, key), fingerprint(NAME, key + b"x"), fingerprint(NAME + "/x", key)}
    assert len(prints) == 3
    assert all(len(each) == 16 for each in prints)
    assert fingerprint(NAME, key) == fingerprint(NAME, key)
    record("fingerprints", repr(prints))


@given(
    real=st.floats(0, 1e6),
    skew=st.floats(-1e6, 1e6),
    way=st.tuples(st.floats(0, 2), st.floats(0, 2)),
    distance=st.floats(-1e5, 1e5),
)
def test_moments_of_the_other_clock_lie_between_the_first_and_the_last_that_they_may_be(
    real: float, skew: float, way: tuple[float, float], distance: float
) -> None:
    """The store's clock is read at ``real``; the question took ``way[0]`` there, and ``way[1]`` back."""
    time = StoreTime(real + skew, real - way[0], real + way[1])
    moment = real + distance
    tolerance = 1e-6
    assert time.earliest(moment + skew) <= moment + tolerance
    assert time.latest(moment + skew) >= moment - tolerance
    assert time.stored(moment) <= moment + skew + tolerance
    assert time.latest(moment + skew) - time.earliest(moment + skew) == pytest.approx(sum(way), abs=1e-5)


def test_names_tell_keys_and_certificates_apart_and_reveal_neither() -> None:
    document, other = document_name("acme", "https://a.test"), document_name("acme", "https://b.test")
    names = [
        entry_name(document, "api", Secret(CANARY_API_KEY)),
        entry_name(document, "embedded", Secret(CANARY_API_KEY)),
        entry_name(document, "api", Secret("another")),
        entry_name(other, "api", Secret(CANARY_API_KEY)),
    ]
    assert len(set(names)) == 4
    assert names[0].startswith("api:")
    assert names[0] == entry_name(document, "api", Secret(CANARY_API_KEY)), "the same in every process"
    assert not any(CANARY_API_KEY in name for name in names)
    assert certificate_name(document, b"") == ""
    assert certificate_name(document, b"PEM") != certificate_name(document, b"pem") != ""
