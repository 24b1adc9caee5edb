"""A body that is nested without end is no body, and breaks nothing."""

from __future__ import annotations

import pytest

from sidecar.emulator.engine.bodies import DEEPEST, parse_object


def nested(opening: bytes, closing: bytes, depth: int) -> bytes:
    return b'{"Tag":' + opening * depth + b"1" + closing * depth + b"}"


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_a_body_may_be_nested_so_deep_and_no_deeper(opening: bytes, closing: bytes) -> None:
    assert parse_object(nested(opening, closing, DEEPEST - 2)) is not None
    for depth in (DEEPEST, 500, 100_000):
        assert parse_object(nested(opening, closing, depth)) is None, depth
