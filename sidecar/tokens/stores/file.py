"""A store in one file: for several processes of one user on a machine, and for restarts.

The file is replaced whole: written beside, flushed to the disk, renamed. So
whatever is interrupted, and where, it holds either the old state or the new one::

    lock ─► read ─► compare ─► write PATH.new ─► fsync ─► rename to PATH ─► fsync the directory ─► unlock

What cannot be trusted (:mod:`sidecar.tokens.stores.file_trust`), and a file that
nobody can read, is set aside as ``PATH.rejected``. What stands in the file, and the
clock that it has of its own, is :mod:`sidecar.core.tokens.file_content`.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import structlog

from sidecar.core.causes import Cause
from sidecar.core.system_errors import mend, reason
from sidecar.core.text import printable_name
from sidecar.core.tokens.file_content import (
    LONGEST_FILE,
    FileContent,
    MachineTime,
    document_of,
    entry_for,
    first_content,
    read_content,
    time_of,
    updated,
    write_content,
)
from sidecar.threads import DaemonThreads, NoThreadError
from sidecar.tokens.stores.backend import StoredContent, StoreError
from sidecar.tokens.stores.file_trust import DAMAGED, MODE, Unfit, judge, rejected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sidecar.core.clock import Clock

T = TypeVar("T")

#: Seconds that the lock is waited for, and between two tries. It is held for milliseconds, by whoever is alive.
_LOCK_TIMEOUT: Final = 0.8
_LOCK_PAUSE: Final = 0.005
#: Calls that may hang at the same time. Both credentials' operations and lease renewals need fewer.
MOST_THREADS: Final = 8

_log = structlog.get_logger()


class FileBackend:
    """Documents in a file. Blocking I/O happens in a thread, which may hang without harm to anything else."""

    kind: Final = "file"

    def __init__(self, path: Path, clock: Clock, *, boot: str | None = None) -> None:
        """``boot`` names the time since the machine was started; None: as the system has it."""
        self.place: Final = printable_name(path)
        self._path: Final = path
        self._clock: Final = clock
        self._boot: Final = boot_id() if boot is None else boot
        self._new: Final = path.with_name(f"{path.name}.new")
        self._lock: Final = path.with_name(f"{path.name}.lock")
        self._rejected: Final = rejected(path)
        self._threads: Final = DaemonThreads("store", MOST_THREADS)

    async def read(self, name: str) -> StoredContent:
        """Return what is kept under ``name``. Raises StoreError."""
        found = await self._run(self._look)
        if not isinstance(found, Unfit):
            return _snapshot(found, name, self._here())
        settled, unfit = await self._run(self._settle)
        self._tell(unfit)
        return _snapshot(settled, name, self._here())

    async def swap(self, name: str, before: bytes | None, after: bytes, keep: float) -> tuple[bool, StoredContent]:
        """Put ``after`` in place of ``before``, see Backend. Raises StoreError."""
        swapped, snapshot, unfit = await self._run(partial(self._swap, name, before, after, keep))
        self._tell(unfit)
        return swapped, snapshot

    async def probe(self) -> None:
        """Write the file as it is. Raises StoreError."""
        self._tell(await self._run(self._rewrite))

    async def rest(self) -> None:
        """Nothing is kept open."""

    async def close(self) -> None:
        """Nothing is kept open."""

    async def inspect(self) -> None:
        """Look at the file as it lies there, and change nothing. Raises StoreError."""
        found = await self._run(self._look)
        if isinstance(found, Unfit):
            raise StoreError(f"{found.why}: a sidecar of this user would set it aside", Cause.STORE_NOT_OURS)

    async def _run(self, call: Callable[[], T]) -> T:
        try:
            return await self._threads.run(call)
        except NoThreadError:
            raise StoreError("does not come back from what it was asked before") from None

    def _tell(self, unfit: Unfit | None) -> None:
        if unfit is not None:
            kept = printable_name(self._rejected)
            _log.warning("store.file_set_aside", file=self.place, reason=unfit.why, kept=kept, mend=unfit.mend)

    # --- in a thread -------------------------------------------------------------------------------------------------

    def _settle(self) -> tuple[FileContent, Unfit | None]:
        with _words("cannot be set aside"), self._locked():
            return self._look_again()

    def _swap(
        self, name: str, before: bytes | None, after: bytes, keep: float
    ) -> tuple[bool, StoredContent, Unfit | None]:
        with _words("cannot be written"), self._locked():
            content, unfit = self._look_again()
            here = self._here()
            snapshot = _snapshot(content, name, here)
            if snapshot.content != before:
                return False, snapshot, unfit
            self._write(updated(content, here, {name: entry_for(after, snapshot.now + keep)}))
            return True, StoredContent(after, snapshot.now), unfit

    def _rewrite(self) -> Unfit | None:
        with _words("cannot be written"), self._locked():
            content, unfit = self._look_again()
            self._write(updated(content, self._here(), {}))
            return unfit

    def _look_again(self) -> tuple[FileContent, Unfit | None]:
        """Read the file under the lock; if it is unfit move it out of the way, and say why."""
        found = self._look()
        if not isinstance(found, Unfit):
            return found, None
        status = os.lstat(self._path)
        if stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid():
            os.chmod(self._path, MODE)  # noqa: PTH101 - as the calls around it
        os.replace(self._path, self._rejected)  # noqa: PTH105 - as the calls around it
        return first_content(self._here()), found

    def _look(self) -> FileContent | Unfit:
        """Read the file, as if it held nothing if there is none. Raises StoreError."""
        with _words("cannot be read"):
            try:
                descriptor = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            except FileNotFoundError:
                return first_content(self._here())
            except OSError:
                # A symbolic link, a socket or another user's file; what is none of these has been opened in vain.
                if (unfit := judge(os.lstat(self._path))) is not None:
                    return unfit
                raise
            try:
                if (unfit := judge(os.fstat(descriptor))) is not None:
                    return unfit
                with os.fdopen(descriptor, "rb", closefd=False) as file:
                    return read_content(file.read(LONGEST_FILE + 1)) or DAMAGED
            finally:
                os.close(descriptor)

    def _write(self, content: FileContent) -> None:
        with suppress(FileNotFoundError):
            os.unlink(self._new)  # noqa: PTH108 - as the calls around it; left there by one that was killed
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(self._new, flags, MODE), "wb") as file:
            file.write(write_content(content))
            file.flush()
            os.fsync(file.fileno())
        os.rename(self._new, self._path)  # noqa: PTH104 - as the calls around it
        # Everybody sees the new state by now. Some file systems cannot flush a directory; without it, what a loss
        # of power could undo is worth one token request.
        with suppress(OSError):
            directory = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lock of all processes that use this file. Raises StoreError, OSError."""
        end = self._clock.now() + _LOCK_TIMEOUT
        while (descriptor := self._try_lock()) is None:
            if self._clock.now() >= end:
                raise StoreError(f"is locked by another process for over {_LOCK_TIMEOUT:g} s")
            time.sleep(_LOCK_PAUSE)
        try:
            yield
        finally:
            os.close(descriptor)

    def _try_lock(self) -> int | None:
        """Return the descriptor that holds the lock; None: somebody else has it, or its file is another one now."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor, held = os.open(self._lock, flags, MODE), False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Where somebody tidies up, the file may be gone, and the next process would lock a new one.
            held = os.path.samestat(os.fstat(descriptor), os.lstat(self._lock))
        except (BlockingIOError, FileNotFoundError):
            held = False
        finally:
            if not held:
                os.close(descriptor)
        return descriptor if held else None

    def _here(self) -> MachineTime:
        """Read the clocks. Only after the file: what is read in it was noted before."""
        return MachineTime(self._clock.now(), self._boot, self._clock.wall())


def _snapshot(content: FileContent, name: str, here: MachineTime) -> StoredContent:
    return StoredContent(document_of(content, name, here), time_of(content, here))


def boot_id() -> str:
    """Return a name for the time since this machine was started; empty where the system has none (not Linux)."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


@contextmanager
def _words(what: str) -> Iterator[None]:
    """Turn an error of the system into a StoreError."""
    try:
        yield
    except OSError as error:
        why = reason(error)
        if error.errno in (errno.EACCES, errno.EPERM):
            why += ", for the user that the sidecar runs as"
        elif (advice := mend(error)) is not None:
            why += f": {advice}"
        refused = error.errno in (errno.EACCES, errno.EPERM, errno.ELOOP)
        raise StoreError(f"{what}: {why}", Cause.STORE_REFUSED if refused else Cause.STORE_NOT_WRITABLE) from None
