"""What several files of unit tests need."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This machine's time zone is far from UTC."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "XXX-9")  # POSIX: nine hours east, whatever the machine knows of zones
        time.tzset()
        yield
    time.tzset()
