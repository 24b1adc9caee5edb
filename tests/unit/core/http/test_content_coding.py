"""Content codings are undone up to a limit, or not at all."""

from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.content_coding import decode_content

LIMIT = 1000


@pytest.mark.parametrize("coding", ["gzip", "GZIP", " gzip ", "x-gzip"])
def test_gzip_is_undone(coding: str) -> None:
    assert decode_content(gzip.compress(b"token"), coding, limit=LIMIT) == b"token"


@pytest.mark.parametrize("coding", ["", "identity", "Identity"])
def test_no_coding_leaves_the_body_as_it_is(coding: str) -> None:
    assert decode_content(b"token", coding, limit=2) == b"token"


@pytest.mark.parametrize(
    ("body", "coding"),
    [
        pytest.param(b"token", "br", id="another coding"),
        pytest.param(gzip.compress(gzip.compress(b"a")), "gzip, gzip", id="two codings"),
        pytest.param(zlib.compress(b"token"), "deflate", id="deflate"),
        pytest.param(zlib.compress(b"token"), "gzip", id="deflate called gzip"),
        pytest.param(b"token", "gzip", id="not compressed"),
        pytest.param(b"", "gzip", id="nothing"),
        pytest.param(gzip.compress(b"token")[:-1], "gzip", id="cut short"),
        pytest.param(gzip.compress(b"token")[:-8] + b"\0" * 8, "gzip", id="a wrong checksum"),
        pytest.param(gzip.compress(b"token") + b"x", "gzip", id="something behind it"),
    ],
)
def test_what_cannot_be_undone_is_nothing(body: bytes, coding: str) -> None:
    assert decode_content(body, coding, limit=LIMIT) is None


def test_a_bomb_is_decoded_no_further_than_one_byte_past_the_limit() -> None:
    bomb = gzip.compress(b" " * 50_000_000)
    assert len(bomb) < 64 * 1024
    decoded = decode_content(bomb, "gzip", limit=64 * 1024)
    assert decoded is not None
    assert len(decoded) == 64 * 1024 + 1


def test_a_body_of_exactly_the_limit_is_whole() -> None:
    whole = gzip.compress(b"x" * LIMIT)
    assert decode_content(whole, "gzip", limit=LIMIT) == b"x" * LIMIT
    assert decode_content(whole[:-1], "gzip", limit=LIMIT) is None


@given(st.binary(max_size=2000))
def test_whatever_was_compressed_comes_back_or_is_too_long(body: bytes) -> None:
    assert decode_content(gzip.compress(body), "gzip", limit=LIMIT) == body[: LIMIT + 1]


@given(st.binary(max_size=200), st.text(max_size=20) | st.just("gzip"))
def test_no_body_raises(body: bytes, coding: str) -> None:
    decoded = decode_content(body, coding, limit=LIMIT)
    assert decoded is None or len(decoded) <= LIMIT + 1
