"""The stage of the threat suite, one for all of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.wire.threats.stage import Harness

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="package")
def stage() -> Iterator[Harness]:
    """Sidecars in front of a recording upstream."""
    stage = Harness()
    yield stage
    stage.close()
