"""What is asked of a head that has been read."""

from __future__ import annotations

import pytest

from sidecar.core.http.field import Field
from sidecar.core.http.messages import ResponseHead


def head(*fields: tuple[bytes, bytes]) -> ResponseHead:
    return ResponseHead(1, 200, b"OK", [Field(name, value) for name, value in fields], [], [])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"date", "Sun, 06 Nov 1994 08:49:37 GMT"),
        (b"content-type", "text/plain"),
        (b"x-name", "Zo\xeb"),
        (b"x-absent", None),
    ],
)
def test_the_first_field_of_a_name_counts_in_any_case(name: bytes, value: str | None) -> None:
    read = head(
        (b"Date", b"Sun, 06 Nov 1994 08:49:37 GMT"),
        (b"CONTENT-TYPE", b"text/plain"),
        (b"content-type", b"text/html"),
        (b"X-Name", b"Zo\xeb"),
    )
    assert read.first(name) == value
    assert read.raw_headers[1] == (b"CONTENT-TYPE", b"text/plain")
