"""Directories in which others could put a file, socket or link of theirs in place of ours.

Whoever may write to a directory may rename what is in it, whoever that belongs
to; only the sticky bit (as on /tmp) keeps them from what is not theirs
(unlink(2), rename(2)). The same holds for each directory above it.
"""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def open_directory_above(path: Path) -> Path | None:
    """Return the nearest directory above ``path`` in which every user of the machine could replace it, or None.

    A directory that cannot be inspected counts as closed; using it will fail with its own error.
    """
    try:
        parent = path.parent.resolve()
    except (OSError, RuntimeError):  # a loop of links
        return None
    for directory in (parent, *parent.parents):
        try:
            mode = directory.stat().st_mode
        except OSError:
            continue
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            return directory
    return None
