"""What the system says when it refuses something, and what a person can do about it (errno(3))."""

from __future__ import annotations

import errno
import os
from typing import Final

_RIGHTS: Final = "give the user that the sidecar runs as the right to (chown, chmod), or name another place"
_ROOM: Final = "make room on that file system"
_DESCRIPTORS: Final = "raise the limit of open files (ulimit -n)"

#: By error number.
_MENDS: Final = {
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
    errno.ENOENT: "check the path and the mount",
    errno.ENOTDIR: "check the path: a part of it that should be a directory is a file",
    errno.EISDIR: "name a file in that directory",
    errno.ELOOP: "name the file itself: the links on its path lead in a circle",
    errno.EMLINK: "name the file itself: the links on its path are too many",
    errno.ENAMETOOLONG: "name a shorter path",
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EROFS: "name a place on a file system that can be written",
    errno.EIO: "check the disk or the mount: the file system fails",
    errno.ESTALE: "mount that file system again",
    errno.EMFILE: _DESCRIPTORS,
    errno.ENFILE: "see what holds the machine's file descriptors: none is left",
    errno.EAGAIN: "raise the limit of processes (ulimit -u, or the container's)",
    errno.ENOMEM: "give it more memory",
    errno.ENOBUFS: "give it more memory",
}


def reason(error: OSError) -> str:
    """Say in the system's own words what it found; never a name that stands in ``error``."""
    number = error.errno or 0
    if number in errno.errorcode:
        return os.strerror(number)
    # A resolver's error has numbers of its own, and fixed words (gai_strerror(3)); any other without a number has none.
    return error.strerror if number and error.strerror else type(error).__name__


def mend(error: OSError) -> str | None:
    """Say what to do about it; None: that depends."""
    return _MENDS.get(error.errno or 0)
