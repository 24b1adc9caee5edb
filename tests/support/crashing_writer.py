"""Writers of a file store that are killed at each step of a write, or write all at once.

Run as a program of one thread, so that it can fork. ``python -m tests.support.crashing_writer crash DIRECTORY``
kills one writer after each call of the system that a swap makes, and prints what each left behind;
``… count DIRECTORY`` has writers count up one number together.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sidecar.runtime import SystemClock
from sidecar.tokens.stores.file import FileBackend

if TYPE_CHECKING:
    from collections.abc import Callable

#: Every call of the system that the file store makes, but plain reading and writing.
_CALLS: Final = (
    *((os, name) for name in ("open", "fstat", "lstat", "unlink", "fsync", "rename", "replace", "chmod", "close")),
    (fcntl, "flock"),
)
NAME: Final = "a document"
OLD: Final = b'{"number":1}'
NEW: Final = b'{"number":2}'
NEXT: Final = b'{"number":3}'
WRITERS: Final = 4
ROUNDS: Final = 50


def backend(path: Path) -> FileBackend:
    return FileBackend(path, SystemClock())


def swap(path: Path, before: bytes | None, after: bytes) -> bool:
    """Swap in this thread, as the store does in one of its own."""
    return backend(path)._swap(NAME, before, after, 60.0)[0]


def die_at(step: int, *, torn: bool) -> None:
    """Have this process killed right after its ``step``-th call; ``torn``: with half of what it wrote lost."""
    count = 0

    def dying(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            nonlocal count
            result = call(*arguments, **options)
            if count == step:
                if torn and name == "fsync":
                    os.ftruncate(arguments[0], os.lseek(arguments[0], 0, os.SEEK_END) // 2)
                os._exit(77)
            count += 1
            return result

        return wrapped

    for module, name in _CALLS:
        setattr(module, name, dying(name, getattr(module, name)))


def child(run: Callable[[], object]) -> int:
    """Run in a forked process; return its exit status."""
    for thread in threading.enumerate():  # one that has done its work may still be on its way out
        if thread is not threading.current_thread():
            thread.join(10)
    if (pid := os.fork()) == 0:
        run()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def crash(directory: Path) -> None:
    found = []
    for torn in (False, True):
        for step in range(100):
            path = directory / f"{step}{torn}" / "store"
            path.parent.mkdir()
            swap(path, None, OLD)

            def killed(path: Path = path, step: int = step, torn: bool = torn) -> None:
                die_at(step, torn=torn)
                swap(path, OLD, NEW)

            status = child(killed)
            left = sorted(each.name for each in path.parent.iterdir())
            content = asyncio.run(backend(path).read(NAME)).content
            went_on = swap(path, content, NEXT)
            found.append(
                {
                    "status": status,
                    "content": content.decode() if content else None,
                    "left": left,
                    "mode": path.stat().st_mode & 0o777,
                    "went_on": went_on,
                    "left_then": sorted(each.name for each in path.parent.iterdir()),
                }
            )
            if status == 0:
                break
    print(json.dumps(found))


def spare_the_disk() -> None:
    """Flush nothing: what is written outlives the process all the same, and a disk can pause for a second.

    For writers that come close upon each other: the file's lock is waited for for less than that.
    """

    os.fsync = lambda fd: None


def count(directory: Path) -> None:
    spare_the_disk()
    path = directory / "store"

    def up() -> None:
        for _ in range(ROUNDS):
            while True:
                content = asyncio.run(backend(path).read(NAME)).content
                number = 0 if content is None else json.loads(content)
                if swap(path, content, json.dumps(number + 1).encode()):
                    break

    pids = []
    for _ in range(WRITERS):
        if (pid := os.fork()) == 0:
            up()
            os._exit(0)
        pids.append(pid)
    statuses = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
    content = asyncio.run(backend(path).read(NAME)).content
    print(json.dumps({"statuses": statuses, "number": json.loads(content or b"null")}))


if __name__ == "__main__":
    {"crash": crash, "count": count}[sys.argv[1]](Path(sys.argv[2]))
