"""What answers on the admin port may be any program: what it says is read with care."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from sidecar.admin.client import read
from sidecar.admin.status import Readiness, Status
from tests.support.status import status


def test_a_document_is_read_as_it_was_written() -> None:
    document = status()
    assert read(msgspec.json.encode(document), Status) == document


def test_no_text_in_it_can_move_a_cursor_or_forge_a_line() -> None:
    document = rb'{"ready": false, "reason": "a\u001b[2Jb", "message": "one\nerror two\u009b\u202e", "more": ["\r"]}'
    assert read(document, Readiness) == Readiness(ready=False, reason="a?[2Jb", message="one?error two??")
    assert read(document, dict[str, Any]) == {
        "ready": False,
        "reason": "a?[2Jb",
        "message": "one?error two??",
        "more": ["?"],
    }
    assert read(rb'{"\u0007": {"\n": 1.5}}', dict[str, Any]) == {"?": {"?": 1.5}}


@pytest.mark.parametrize(
    "document",
    [b"", b"hi", b"[]", b'{"ready": "yes"}', b'{"ready": true}', b'"\xff"', b"[" * 100_000, b'{"a":' * 100_000],
    ids=["nothing", "no JSON", "a list", "another type", "fields missing", "no UTF-8", "deep lists", "deep objects"],
)
def test_what_is_no_such_document_is_none(document: bytes) -> None:
    assert read(document, Readiness) is None
