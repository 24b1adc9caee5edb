"""Which file may be a store, and where one may lie.

Only a regular file of our own user that nobody else can open is trusted: its tokens
stand in it as they are, and whoever can write it can put a token there that we then use.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from sidecar.config import ConfigError
from sidecar.core.causes import Cause
from sidecar.core.system_errors import mend, reason
from sidecar.core.text import printable_name
from sidecar.tokens.stores.backend import StoreError

if TYPE_CHECKING:
    from pathlib import Path

#: The mode of every file that is written.
MODE: Final = 0o600
_READ_BY_OTHERS: Final = "every user who could read it may have its tokens: revoke them if that was not only you"


class Unfit(NamedTuple):
    """Why what lies there is no store, and what to do."""

    why: str
    mend: str


DAMAGED: Final = Unfit("is damaged, or was written by something else", "nothing is lost but one token request")


def rejected(path: Path) -> Path:
    """Return where a file is put that cannot be trusted."""
    return path.with_name(f"{path.name}.rejected")


def judge(found: os.stat_result) -> Unfit | None:
    """Say why a file cannot be trusted. Raises StoreError for a directory, which is nobody's store and stays."""
    if stat.S_ISDIR(found.st_mode):
        raise StoreError("is a directory", Cause.STORE_UNUSABLE)
    if not stat.S_ISREG(found.st_mode):
        what = "is a symbolic link" if stat.S_ISLNK(found.st_mode) else "is no regular file"
        return Unfit(what, "name the file itself in token.store")
    if found.st_uid != os.geteuid():
        return Unfit("belongs to another user", "give each user's sidecars a file of their own")
    if stat.S_IMODE(found.st_mode) & 0o077:
        return Unfit(f"is open to other users (mode {stat.S_IMODE(found.st_mode):04o})", _READ_BY_OTHERS)
    return None


def check_place(path: Path) -> None:
    """Raise ConfigError if no file could ever be kept at ``path``."""
    try:
        complaint = _complaint_of(path)
    except OSError as error:
        what = f"names {printable_name(path)}, which cannot be looked at ({reason(error)})"
        raise ConfigError("token.store", what, mend(error) or "name another file") from None
    if complaint is not None:
        raise ConfigError("token.store", *complaint)


def _complaint_of(path: Path) -> tuple[str, str] | None:
    """Return what is wrong with ``path``, and what to do; None: nothing. Raises OSError."""
    directory = path.parent
    advice = "name a file in a directory that belongs to the sidecar's user"
    if not directory.is_dir():
        return f"names a file in {printable_name(directory)}, which is no directory", advice
    if os.statvfs(directory).f_flag & os.ST_RDONLY:
        read_only = OSError(errno.EROFS, "")
        return f"names a file in {printable_name(directory)} ({reason(read_only)})", mend(read_only) or ""
    if not os.access(directory, os.W_OK | os.X_OK):
        return f"names a file in {printable_name(directory)}, where this user may write none", advice
    if path.is_dir():
        return f"names {printable_name(path)}, which is a directory", "name a file in it"
    with suppress(FileNotFoundError):
        rejected(path).lstat()  # the longest of the names that are written: the system may refuse it
    return None
