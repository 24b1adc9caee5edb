"""A body that is nested without end is no body, and breaks nothing."""

from __future__ import annotations

import base64

import pytest

from sidecar.emulator import tokenization
from sidecar.emulator.engine.bodies import DEEPEST, parse_object
from tests.support.clock import FakeClock
from tests.support.emulator import Platform


def nested(opening: bytes, closing: bytes, depth: int) -> bytes:
    return b'{"Tag":' + opening * depth + b"1" + closing * depth + b"}"


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_a_body_may_be_nested_so_deep_and_no_deeper(opening: bytes, closing: bytes) -> None:
    assert parse_object(nested(opening, closing, DEEPEST - 2)) is not None
    for depth in (DEEPEST, 500, 100_000):
        assert parse_object(nested(opening, closing, depth)) is None, depth


def test_what_looks_at_a_body_before_breaks_on_none_either() -> None:
    """A Tag that asks for an answer, and the card in registration data; some Pythons read what is so deep."""
    deep = nested(b"[", b"]", 5_000).replace(b'"Tag":', b'"Tag":"SCA","x":')
    platform = Platform(FakeClock())
    assert platform.call("POST", "users/natural", deep).status in (400, 401)
    data = tokenization.PREFIX + base64.urlsafe_b64encode(deep).decode()
    assert tokenization.read(data) == tokenization.TEST_CARD


def test_a_page_of_blanks_takes_no_longer_than_one_of_text() -> None:
    platform = Platform(FakeClock())
    document = platform.create(f"users/{platform.user}/kyc/documents", {"Type": "IDENTITY_PROOF"})["Id"]
    page = f"users/{platform.user}/kyc/documents/{document}/pages"
    assert platform.call("POST", page, {"File": " " * 1_000_000 + "!"}).status == 400
    assert platform.call("POST", page, {"File": " \n aGVs \n bG8= \n"}).status == 204
