"""Files that a command makes."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def write_new(file: Path, content: bytes, mode: int) -> None:
    """Write ``content`` to a ``file`` that is not there yet, whole or not at all.

    ``mode`` is that of open(2). Neither a file nor a link, dangling or not, is written through (O_EXCL). Raises
    OSError, FileExistsError among them.
    """
    descriptor = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
    except BaseException:
        with suppress(OSError):
            file.unlink()
        raise
