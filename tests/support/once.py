"""What all workers of one run of the suite need, and only one of them makes."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest


class OncePerRun:
    """Makes things and keeps them in files that the workers share; they are gone with pytest's temporary files."""

    def __init__(self, factory: pytest.TempPathFactory) -> None:
        base = factory.getbasetemp()
        # A worker's own directory lies in the one of the whole run.
        self._directory: Final = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def get(self, name: str, make: Callable[[], bytes]) -> bytes:
        """Return what ``make`` returned to whoever came first. What it raises is not kept."""
        file = self._directory / f"once-{name}"
        with file.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not file.exists():
                new = file.with_suffix(".new")
                new.write_bytes(make())
                new.rename(file)
        return file.read_bytes()
