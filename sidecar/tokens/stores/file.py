"""A store in one file: for several processes of one user on a machine, and for restarts.

The file is replaced whole: written beside, flushed to the disk, renamed. So
whatever is interrupted, and where, it holds either the old state or the new one::

    lock ─► read ─► compare ─► write PATH.new ─► fsync ─► rename to PATH ─► fsync the directory ─► unlock

Only a regular file of our own user with mode 0600 is trusted. Anything else under
its name, and a file that nobody can read, is set aside as ``PATH.rejected``.

The file has a clock of its own, which goes on while the machine sleeps and across
restarts of it: see :class:`_Content`.
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
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

import msgspec
import structlog

from sidecar.config import ConfigError
from sidecar.core.causes import Cause
from sidecar.core.system_errors import mend, reason
from sidecar.core.text import printable_name
from sidecar.core.tokens.shared_document import LONGEST
from sidecar.threads import DaemonThreads, NoThreadError
from sidecar.tokens.stores.backend import StoredContent, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sidecar.core.clock import Clock

T = TypeVar("T")

#: Bytes: some accounts' documents.
_MOST: Final = 8 * LONGEST
#: Seconds that the lock is waited for, and between two tries. It is held for milliseconds, by whoever is alive.
_LOCK_TIMEOUT: Final = 0.8
_LOCK_PAUSE: Final = 0.005
_MODE: Final = 0o600
#: Of the files beside the store's own.
_LONGEST_SUFFIX: Final = ".rejected"
#: Calls that may hang at the same time. Both credentials' operations and lease renewals need fewer.
MOST_THREADS: Final = 8

_log = structlog.get_logger()


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is kept under one name, and until when (the file's clock)."""

    until: float
    document: msgspec.Raw


class _Content(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file, with three clocks as they stood when it was written.

    Its own clock goes on as this machine's does, as long as that has not been
    restarted since; after that, as the wall clock does.
    """

    #: The file's. Begins as Unix time.
    clock: float
    #: The machine's (``Clock.now``), and a name for the time since it was started; empty: unknown.
    machine: float
    boot: str
    wall: float
    entries: dict[str, _Entry]


class _Unfit(NamedTuple):
    """Why what lies there is no store."""

    why: str
    mend: str


_READ_BY_OTHERS: Final = "every user who could read it may have its tokens: revoke them if that was not only you"


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
        self._rejected: Final = path.with_name(path.name + _LONGEST_SUFFIX)
        self._threads: Final = DaemonThreads("store", MOST_THREADS)

    async def read(self, name: str) -> StoredContent:
        """Return what is kept under ``name``. Raises StoreError."""
        found = await self._run(self._look)
        if not isinstance(found, _Unfit):
            return self._snapshot(found, name)
        settled, unfit = await self._run(self._settle)
        self._tell(unfit)
        return self._snapshot(settled, name)

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
        if isinstance(found, _Unfit):
            raise StoreError(f"{found.why}: a sidecar of this user would set it aside", Cause.STORE_NOT_OURS)

    async def _run(self, call: Callable[[], T]) -> T:
        try:
            return await self._threads.run(call)
        except NoThreadError:
            raise StoreError("does not come back from what it was asked before") from None

    def _tell(self, unfit: _Unfit | None) -> None:
        if unfit is not None:
            kept = printable_name(self._rejected)
            _log.warning("store.file_set_aside", file=self.place, reason=unfit.why, kept=kept, mend=unfit.mend)

    # --- in a thread -------------------------------------------------------------------------------------------------

    def _settle(self) -> tuple[_Content | None, _Unfit | None]:
        with _words("cannot be set aside"), self._locked():
            return self._look_again()

    def _swap(
        self, name: str, before: bytes | None, after: bytes, keep: float
    ) -> tuple[bool, StoredContent, _Unfit | None]:
        with _words("cannot be written"), self._locked():
            found, unfit = self._look_again()
            snapshot = self._snapshot(found, name)
            if snapshot.content != before:
                return False, snapshot, unfit
            entries = {} if found is None else found.entries
            entry = _Entry(snapshot.now + keep, msgspec.Raw(after))
            self._write(snapshot.now, {**entries, name: entry})
            return True, StoredContent(after, snapshot.now), unfit

    def _rewrite(self) -> _Unfit | None:
        with _words("cannot be written"), self._locked():
            found, unfit = self._look_again()
            self._write(self._now(found), {} if found is None else found.entries)
            return unfit

    def _look_again(self) -> tuple[_Content | None, _Unfit | None]:
        """Read the file under the lock; if it is unfit move it out of the way, and say why."""
        found = self._look()
        if not isinstance(found, _Unfit):
            return found, None
        status = os.lstat(self._path)
        if stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid():
            os.chmod(self._path, _MODE)  # noqa: PTH101 - as the calls around it
        os.replace(self._path, self._rejected)  # noqa: PTH105 - as the calls around it
        return None, found

    def _look(self) -> _Content | _Unfit | None:
        """Read the file; None: there is none. Raises StoreError."""
        with _words("cannot be read"):
            try:
                descriptor = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            except FileNotFoundError:
                return None
            except OSError:
                # A symbolic link, a socket or another user's file; what is none of these has been opened in vain.
                if (unfit := _judge(os.lstat(self._path))) is not None:
                    return unfit
                raise
            try:
                if (unfit := _judge(os.fstat(descriptor))) is not None:
                    return unfit
                with os.fdopen(descriptor, "rb", closefd=False) as file:
                    return _parse(file.read(_MOST + 1))
            finally:
                os.close(descriptor)

    def _write(self, now: float, entries: dict[str, _Entry]) -> None:
        kept = {name: entry for name, entry in entries.items() if entry.until > now}
        content = msgspec.json.encode(_Content(now, self._clock.now(), self._boot, self._clock.wall(), kept))
        with suppress(FileNotFoundError):
            os.unlink(self._new)  # noqa: PTH108 - as the calls around it; left there by one that was killed
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(self._new, flags, _MODE), "wb") as file:
            file.write(content)
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
        descriptor, held = os.open(self._lock, flags, _MODE), False
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

    # --- the file's clock --------------------------------------------------------------------------------------------

    def _snapshot(self, found: _Content | None, name: str) -> StoredContent:
        now = self._now(found)
        entry = None if found is None else found.entries.get(name)
        return StoredContent(None if entry is None or entry.until <= now else bytes(entry.document), now)

    def _now(self, found: _Content | None) -> float:
        if found is None:
            return self._clock.wall()
        machine = self._clock.now()
        if self._boot and found.boot == self._boot and machine >= found.machine:
            return found.clock + (machine - found.machine)
        return found.clock + max(0.0, self._clock.wall() - found.wall)


def boot_id() -> str:
    """Return a name for the time since this machine was started; empty where the system has none (not Linux)."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


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
        path.with_name(path.name + _LONGEST_SUFFIX).lstat()
    return None


def _judge(found: os.stat_result) -> _Unfit | None:
    """Say why a file cannot be trusted. Raises StoreError for a directory, which is nobody's store and stays."""
    if stat.S_ISDIR(found.st_mode):
        raise StoreError("is a directory", Cause.STORE_UNUSABLE)
    if not stat.S_ISREG(found.st_mode):
        what = "is a symbolic link" if stat.S_ISLNK(found.st_mode) else "is no regular file"
        return _Unfit(what, "name the file itself in token.store")
    if found.st_uid != os.geteuid():
        return _Unfit("belongs to another user", "give each user's sidecars a file of their own")
    if stat.S_IMODE(found.st_mode) & 0o077:
        return _Unfit(f"is open to other users (mode {stat.S_IMODE(found.st_mode):04o})", _READ_BY_OTHERS)
    return None


_decode: Final = msgspec.json.Decoder(_Content).decode


def _parse(content: bytes) -> _Content | _Unfit:
    if len(content) <= _MOST:
        with suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return _decode(content)
    return _Unfit("is damaged, or was written by something else", "nothing is lost but one token request")


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
