"""The store in a file: what it survives, what it takes for no store, and how its clock goes on."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import json
import os
import re
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from sidecar.config import ConfigError
from sidecar.core.tokens.file_content import LONGEST_FILE
from sidecar.tokens.stores import file
from sidecar.tokens.stores.backend import StoreError
from sidecar.tokens.stores.file import MOST_THREADS, FileBackend, boot_id
from sidecar.tokens.stores.file_trust import check_place
from tests.support.canary import CANARY_TOKEN, record
from tests.support.clock import FakeClock
from tests.support.crashing_writer import NEW, OLD, ROUNDS, WRITERS

if TYPE_CHECKING:
    from collections.abc import Callable

NAME = "a document"
KEEP = 1000.0


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tokens"


@pytest.fixture
def store(path: Path, clock: FakeClock) -> FileBackend:
    return FileBackend(path, clock, boot="this boot")


async def content(store: FileBackend) -> bytes | None:
    return (await store.read(NAME)).content


# --- compare and swap ------------------------------------------------------------------------------------------------


async def test_a_document_is_swapped_only_if_it_is_the_one_that_was_read(store: FileBackend) -> None:
    assert await content(store) is None
    assert (await store.swap(NAME, None, OLD, KEEP))[0]
    swapped, found = await store.swap(NAME, None, NEW, KEEP)
    assert (swapped, found.content) == (False, OLD)
    swapped, found = await store.swap(NAME, OLD, NEW, KEEP)
    assert (swapped, found.content, await content(store)) == (True, NEW, NEW)


async def test_documents_of_several_accounts_live_side_by_side_until_nobody_wants_them(
    store: FileBackend, clock: FakeClock
) -> None:
    await store.swap(NAME, None, OLD, 10)
    await store.swap("another", None, NEW, 1000)
    assert await content(store) == OLD
    await clock.advance(10)
    assert await content(store) is None
    assert (await store.swap(NAME, None, NEW, KEEP))[0]
    await clock.advance(20)
    await store.swap("another", NEW, OLD, KEEP)
    await clock.advance(KEEP)
    await store.probe()
    assert b"document" not in Path(store._path).read_bytes()


async def test_it_is_readable_by_its_owner_alone_whatever_the_umask(store: FileBackend, path: Path) -> None:
    before = os.umask(0)
    try:
        await store.swap(NAME, None, OLD, KEEP)
    finally:
        os.umask(before)
    modes = {each.name: each.stat().st_mode & 0o777 for each in path.parent.iterdir()}
    assert modes == {"tokens": 0o600, "tokens.lock": 0o600}


def run_writers(what: str, directory: Path) -> Any:
    found = subprocess.run(
        [sys.executable, "-m", "tests.support.crashing_writer", what, directory],
        check=True,
        capture_output=True,
        text=True,
    )
    assert not found.stderr
    return json.loads(found.stdout)


async def test_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    found = await asyncio.to_thread(run_writers, "count", tmp_path)
    assert found == {"statuses": [0] * WRITERS, "number": WRITERS * ROUNDS}


# --- interruptions ---------------------------------------------------------------------------------------------------


async def test_a_writer_killed_after_any_step_leaves_the_old_state_or_the_new_one(tmp_path: Path) -> None:
    steps = await asyncio.to_thread(run_writers, "crash", tmp_path)
    assert len(steps) >= 20
    assert [step["status"] for step in steps].count(0) == 2, "one of each kind comes to its end"
    states = [step["content"].encode() for step in steps]
    half = len(states) // 2
    for row in (states[:half], states[half:]):
        assert set(row) == {OLD, NEW}
        assert row == sorted(row), "once it is the new one it stays so"
    for step in steps:
        assert step["mode"] == 0o600
        assert set(step["left"]) <= {"store", "store.lock", "store.new"}
        assert step["went_on"], "the next one is not held up"
        assert step["left_then"] == ["store", "store.lock"]


async def test_nothing_is_renamed_that_is_not_on_the_disk(
    store: FileBackend, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    fsync, rename = os.fsync, os.rename

    def noted_fsync(descriptor: int) -> None:
        done.append(f"fsync {Path(f'/proc/self/fd/{descriptor}').readlink().name}")
        fsync(descriptor)

    def noted_rename(source: Path, target: Path) -> None:
        done.append(f"rename {source.name} {target.name}")
        rename(source, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "rename", noted_rename)
    await store.swap(NAME, None, OLD, KEEP)
    assert done == ["fsync tokens.new", "rename tokens.new tokens", f"fsync {path.parent.name}"]


async def test_a_file_system_that_cannot_flush_a_directory_will_do(
    store: FileBackend, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def failing(name: Any, flags: int, *arguments: Any, **options: Any) -> int:
        if flags & os.O_DIRECTORY:
            raise OSError(errno.EINVAL, "told by the test")
        return real(name, flags, *arguments, **options)

    monkeypatch.setattr(os, "open", failing)
    assert (await store.swap(NAME, None, OLD, KEEP))[0]
    assert await content(store) == OLD


async def test_a_lock_that_was_tidied_away_meanwhile_is_none(
    store: FileBackend, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever comes next locks a new file, so the old one must not count."""
    lock = path.parent / "tokens.lock"
    real = fcntl.flock
    removals = 2

    def tidied(descriptor: int, operation: int) -> None:
        nonlocal removals
        if removals:
            removals -= 1
            lock.unlink()
            if removals:
                lock.touch()
        real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", tidied)
    with store._locked(), lock.open("rb") as other, pytest.raises(BlockingIOError):
        real(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert removals == 0


async def test_a_file_system_that_hangs_holds_up_nothing_else(
    store: FileBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Host names are resolved in the event loop's own threads: none of them may be left hanging."""
    going_on = threading.Event()
    monkeypatch.setattr(store, "_look", going_on.wait)
    for _ in range(MOST_THREADS):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(store.read(NAME), 0.01)
    with pytest.raises(StoreError, match="does not come back from what it was asked before"):
        await store.read(NAME)
    assert await asyncio.wait_for(asyncio.to_thread(lambda: 1), 20) == 1
    going_on.set()
    monkeypatch.undo()
    while (threads := [thread for thread in threading.enumerate() if thread.name == "store"]) != []:
        threads[0].join()
    assert await content(store) is None


def test_a_process_ends_while_a_file_system_hangs(path: Path) -> None:
    program = """
import asyncio, pathlib, sys, threading
from sidecar.runtime import SystemClock
from sidecar.tokens.stores.file import MOST_THREADS, FileBackend

async def main():
    store = FileBackend(pathlib.Path(sys.argv[1]), SystemClock())
    store._look = threading.Event().wait
    try:
        await asyncio.wait_for(store.read("x"), 0.01)
    except TimeoutError:
        print("given up")

asyncio.run(main())
"""
    command: list[str | Path] = [sys.executable, "-c", program, path]
    assert subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout == "given up\n"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES])
@pytest.mark.parametrize("call", ["open", "fsync", "rename"])
async def test_a_disk_that_fails_is_told_in_words_and_leaves_the_old_state(
    store: FileBackend, call: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.swap(NAME, None, OLD, KEEP)
    real: Callable[..., Any] = getattr(os, call)

    def failing(*arguments: Any, **options: Any) -> Any:
        if call != "open" or arguments[1] & os.O_EXCL:
            raise OSError(code, "told by the test")
        return real(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, call, failing)
        with pytest.raises(StoreError) as caught:
            await store.swap(NAME, OLD, NEW, KEEP)
        with pytest.raises(StoreError):
            await store.probe()
    assert str(caught.value).startswith(f"cannot be written: {os.strerror(code)}")
    assert await content(store) == OLD
    assert (await store.swap(NAME, OLD, NEW, KEEP))[0]


async def test_a_file_that_cannot_be_read_is_told_in_words(
    store: FileBackend, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.swap(NAME, None, OLD, KEEP)
    real = os.open

    def failing(name: Path, *arguments: Any, **options: Any) -> int:
        if name == path:
            raise PermissionError(errno.EACCES, "told by the test")
        return real(name, *arguments, **options)

    monkeypatch.setattr(os, "open", failing)
    with pytest.raises(StoreError, match=r"^cannot be read: Permission denied, for the user that the sidecar runs as$"):
        await store.read(NAME)


async def test_a_lock_that_another_process_holds_is_not_waited_for_for_long(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file, "_LOCK_TIMEOUT", 0.02)
    store = FileBackend(path, file_clock())
    await store.swap(NAME, None, OLD, KEEP)
    with (path.parent / "tokens.lock").open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(StoreError, match="locked by another process"):
            await store.swap(NAME, OLD, NEW, KEEP)
        assert await content(store) == OLD, "reading needs no lock"
    assert (await store.swap(NAME, OLD, NEW, KEEP))[0]


def file_clock() -> Any:
    from sidecar.runtime import SystemClock

    return SystemClock()


# --- what is no store ------------------------------------------------------------------------------------------------


def garbage(path: Path) -> None:
    path.write_bytes(b"\x00\xff garbage")
    path.chmod(0o600)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def another_json(path: Path) -> None:
    path.write_text('{"access_token": "x"}')
    path.chmod(0o600)


def nested(path: Path) -> None:
    path.write_bytes(b"[" * 100_000)
    path.chmod(0o600)


def huge(path: Path) -> None:
    path.write_bytes(b" " * (LONGEST_FILE + 1))
    path.chmod(0o600)


def open_to_the_group(path: Path) -> None:
    path.chmod(0o640)


def open_to_all(path: Path) -> None:
    path.chmod(0o604)


def symbolic_link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def dangling_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


def unix_socket(path: Path) -> None:
    path.unlink()
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.path.relpath(path))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (garbage, "damaged"),
        (empty, "damaged"),
        (truncated, "damaged"),
        (another_json, "damaged"),
        (nested, "damaged"),
        (huge, "damaged"),
        (open_to_the_group, "open to other users (mode 0640)"),
        (open_to_all, "open to other users (mode 0604)"),
        (symbolic_link, "symbolic link"),
        (dangling_link, "symbolic link"),
        (pipe, "no regular file"),
        (unix_socket, "no regular file"),
    ],
)
@pytest.mark.parametrize("first", ["read", "swap", "probe"])
async def test_what_cannot_be_trusted_is_set_aside_and_told_once(
    store: FileBackend, path: Path, spoil: Callable[[Path], None], reason: str, first: str
) -> None:
    await store.swap(NAME, None, OLD, KEEP)
    spoil(path)
    with pytest.raises(StoreError, match=re.escape(reason)):
        await store.inspect()
    assert not (path.parent / "tokens.rejected").exists(), "to look changes nothing"
    with capture_logs() as logs:
        if first == "read":
            assert await content(store) is None
        elif first == "swap":
            assert (await store.swap(NAME, None, NEW, KEEP))[0]
        else:
            await store.probe()
        assert await content(store) == (NEW if first == "swap" else None)
    (told,) = logs
    assert (told["event"], told["log_level"]) == ("store.file_set_aside", "warning")
    assert reason in told["reason"]
    assert told["mend"]
    kept = path.parent / "tokens.rejected"
    assert told["kept"] == str(kept)
    assert not kept.is_file() or kept.is_symlink() or kept.stat().st_mode & 0o777 == 0o600
    await store.inspect()


async def test_another_user_s_file_is_set_aside(
    store: FileBackend, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.swap(NAME, None, OLD, KEEP)
    me = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: me + 1)
    with capture_logs() as logs:
        assert await content(store) is None
    assert "another user" in logs[0]["reason"]
    assert (path.parent / "tokens.rejected").exists()


async def test_what_cannot_be_set_aside_is_left_and_told(
    store: FileBackend, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    garbage(path)

    def refused(*_: object) -> None:
        raise PermissionError(errno.EPERM, "told by the test")

    monkeypatch.setattr(os, "replace", refused)
    for _ in range(2):
        with pytest.raises(StoreError, match="cannot be set aside: Operation not permitted"):
            await store.read(NAME)
    assert path.read_bytes().endswith(b"garbage")


async def test_a_directory_is_never_moved(store: FileBackend, path: Path) -> None:
    path.mkdir()
    with pytest.raises(StoreError, match=r"^is a directory$"):
        await store.read(NAME)
    with pytest.raises(StoreError, match=r"^is a directory$"):
        await store.swap(NAME, None, OLD, KEEP)
    assert path.is_dir()


async def test_a_lock_file_that_is_a_link_is_not_followed(store: FileBackend, path: Path) -> None:
    (path.parent / "tokens.lock").symlink_to("elsewhere")
    with pytest.raises(StoreError, match="cannot be written"):
        await store.swap(NAME, None, OLD, KEEP)
    assert not (path.parent / "elsewhere").exists()


async def test_a_link_where_the_new_file_goes_is_not_followed(store: FileBackend, path: Path) -> None:
    victim = path.parent / "victim"
    victim.write_text("precious")
    (path.parent / "tokens.new").symlink_to("victim")
    assert (await store.swap(NAME, None, OLD, KEEP))[0]
    assert victim.read_text() == "precious"


async def test_its_repr_shows_no_token(store: FileBackend) -> None:
    await store.swap(NAME, None, json.dumps(CANARY_TOKEN).encode(), KEEP)
    record("repr", repr(store) + repr(await store.read(NAME)))


# --- its clock -------------------------------------------------------------------------------------------------------


async def moment(store: FileBackend) -> float:
    return (await store.read(NAME)).now


async def test_the_clock_begins_as_unix_time_and_goes_on_with_the_machine(store: FileBackend, clock: FakeClock) -> None:
    begun = clock.wall()
    assert await moment(store) == begun
    await store.swap(NAME, None, OLD, KEEP)
    clock.step_wall(5000)
    await clock.advance(100)
    assert await moment(store) == begun + 100


@pytest.mark.parametrize(("off", "passed"), [(300.0, 300.0), (0.0, 0.0), (-5000.0, 0.0)])
async def test_after_a_restart_it_goes_on_as_the_wall_clock_did_and_never_back(
    store: FileBackend, path: Path, clock: FakeClock, off: float, passed: float
) -> None:
    await store.swap(NAME, None, OLD, KEEP)
    before = await moment(store)
    restarted = FakeClock(now=12.0, wall=clock.wall() + off)
    later = FileBackend(path, restarted, boot="the next boot")
    assert await moment(later) == before + passed
    assert (await later.swap(NAME, OLD, NEW, KEEP))[0]
    await restarted.advance(50)
    restarted.step_wall(9000)
    assert await moment(later) == before + passed + 50


async def test_a_machine_s_clock_that_runs_from_another_zero_is_not_believed(
    store: FileBackend, path: Path, clock: FakeClock
) -> None:
    """As in a container with a time namespace of its own: the boot is the same, the zero is not."""
    await store.swap(NAME, None, OLD, KEEP)
    before = await moment(store)
    assert await moment(FileBackend(path, FakeClock(now=3.0, wall=clock.wall() + 7), boot="this boot")) == before + 7


async def test_where_the_system_names_no_boot_the_wall_clock_counts(path: Path, clock: FakeClock) -> None:
    store = FileBackend(path, clock, boot="")
    await store.swap(NAME, None, OLD, KEEP)
    before = await moment(store)
    clock.step_wall(60)
    assert await moment(store) == before + 60


def test_linux_names_each_boot() -> None:
    assert len(boot_id()) == 36
    assert boot_id() == boot_id()


# --- places ----------------------------------------------------------------------------------------------------------


def test_a_place_that_can_never_work_is_told_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_place(tmp_path / "tokens")
    with pytest.raises(ConfigError, match=r"^token\.store names a file in .*nowhere, which is no directory: name"):
        check_place(tmp_path / "nowhere" / "tokens")
    with pytest.raises(ConfigError, match=r"which is a directory: name a file in it$"):
        check_place(tmp_path)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(ConfigError, match=r"where this user may write none: name a file in a directory that belongs"):
        check_place(tmp_path / "tokens")
