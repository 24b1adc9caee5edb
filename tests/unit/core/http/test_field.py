"""What a line of upstream's head means by its name: who reads it, whether it goes down, and whether it names others."""

from __future__ import annotations

import pytest

from sidecar.core.http.field import Field


@pytest.mark.parametrize(
    ("name", "value", "key", "goes_down", "nominates"),
    [
        (b"X-Any", b"x-a", b"", True, False),
        (b"DATE", b"x-a", b"date", True, False),
        (b"Content-Length", b"2", b"content-length", True, False),
        (b"Keep-Alive", b"x-a", b"keep-alive", False, False),
        (b"Connection", b"keep-alive", b"connection", False, False),
        (b"Connection", b"close", b"connection", False, False),
        (b"connection", b"close, X-A", b"connection", False, True),
    ],
)
def test_a_line_is_known_by_its_name(name: bytes, value: bytes, key: bytes, goes_down: bool, nominates: bool) -> None:
    field = Field(name, value)
    assert (field.name, field.value, field.line) == (name, value, name + b": " + value)
    assert (field.key, field.goes_down, field.nominates) == (key, goes_down, nominates)
