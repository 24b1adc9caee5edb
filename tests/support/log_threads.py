"""Threads that write a log to a file."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Seconds for one of them, which ends once its writer is closed and all is written.
_PATIENCE = 10.0


@contextmanager
def ended_log_threads() -> Iterator[None]:
    """Wait at the end for those that began meanwhile: a late one would write to the next file of their number."""
    before = set(threading.enumerate())
    try:
        yield
    finally:
        for thread in set(threading.enumerate()) - before:
            if thread.name == "log":
                thread.join(_PATIENCE)
