"""What several files of unit tests need."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from sidecar.core.admission.guard import _host_allowed
from sidecar.core.http import response_head
from sidecar.core.http.header_table import INDEXES
from sidecar.core.redact import mask_path

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def nothing_remembered() -> None:
    """Each test works out by itself what others have kept: else the tables hide that a rule is broken."""
    response_head._STATUS_LINES.clear()
    response_head._FIELD_LINES.clear()
    INDEXES.clear()
    _host_allowed.cache_clear()
    mask_path.cache_clear()


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This machine's time zone is far from UTC."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "XXX-9")  # POSIX: nine hours east, whatever the machine knows of zones
        time.tzset()
        yield
    time.tzset()
