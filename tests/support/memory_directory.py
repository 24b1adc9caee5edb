"""A directory in memory, for files that are waited for: a disk can pause for longer than a token store may take."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_MEMORY: Final = "/dev/shm"


@contextmanager
def directory_in_memory() -> Iterator[Path]:
    """Yield an empty directory, on the disk after all where the system has none in memory."""
    with TemporaryDirectory(dir=_MEMORY if os.access(_MEMORY, os.W_OK) else None) as directory:
        yield Path(directory)
