"""Chunks, read again by a parser that is not ours."""

from __future__ import annotations

import http.client
import io

from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.http.chunks import LAST_CHUNK, chunk


class Sent:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._data)


@given(st.lists(st.binary(min_size=1, max_size=5000)))
def test_the_standard_library_reads_what_was_framed(pieces: list[bytes]) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    framed = b"".join(map(chunk, pieces)) + LAST_CHUNK
    response = http.client.HTTPResponse(Sent(head + framed))  # type: ignore[arg-type]
    response.begin()
    assert response.read() == b"".join(pieces)
    response.close()


def test_the_size_is_hexadecimal() -> None:
    """RFC 9112 section 7.1."""
    assert chunk(b"x" * 26) == b"1a\r\n" + b"x" * 26 + b"\r\n"
