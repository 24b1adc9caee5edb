"""Who has a port or a Unix socket that this process wants: its name and number, where the system tells them.

Linux tells by ``/proc``; elsewhere nothing is known. Only the program's short name is
read (``/proc/PID/comm``), and never its command line, where a secret may stand.

A process that keeps its memory from others, as every sidecar does (PR_SET_DUMPABLE),
shows its descriptors to root alone. For anybody else the sidecars of the socket's
owner are the likely holders, and are told as no more than that.
"""

from __future__ import annotations

import os
import socket
import struct
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sidecar.core.socket_table import Holder, holders
from sidecar.core.text import printable
from sidecar.downstream.peer import UCRED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_PROC: Final = Path("/proc")
_TABLES: Final = ("net/tcp", "net/tcp6")
_PROGRAM: Final = "mangopay-sidecar"
#: Characters that the kernel keeps of a program's name (TASK_COMM_LEN less the zero at its end).
_SHORT: Final = 15


def of_port(host: str, port: int, *, proc: Path = _PROC) -> str:
    """Return who keeps ``port`` of the address ``host`` from being bound: ``by nginx, pid 812``; empty if not known."""
    found = [holder for table in _TABLES for holder in holders(_text(proc / table), host, port)]
    for holder in found:
        if (pid := _with_descriptor(proc, holder.inode)) is not None:
            return _by(proc, [pid])
    return f"probably {by}" if found and (by := _by(proc, _sidecars(proc, found[0]))) else ""


def of_unix_socket(connected: socket.socket, *, proc: Path = _PROC) -> str:
    """Return who listens on the Unix socket that ``connected`` leads to, as :func:`of_port` does."""
    try:
        pid = int(UCRED.unpack(connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, UCRED.size))[0])
    except (OSError, AttributeError, struct.error):
        return ""
    return _by(proc, [pid])


def _by(proc: Path, pids: Iterable[int]) -> str:
    """Name processes of one program; empty if there are none, or their name cannot be read."""
    numbers = sorted(pids)
    name = _name(proc, numbers[0]) if numbers else ""
    return f"by {name}, pid {' or '.join(map(str, numbers))}" if name else ""


def _name(proc: Path, pid: int) -> str:
    """Return the short name of a program, which may have given itself any."""
    name = printable(_text(proc / str(pid) / "comm").removesuffix("\n"), _SHORT)
    return _PROGRAM if name == _PROGRAM[:_SHORT] else name


def _with_descriptor(proc: Path, inode: int) -> int | None:
    """Return a process that has the socket open, if it lets us look at its descriptors."""
    wanted = f"socket:[{inode}]"
    for pid in _pids(proc):
        with suppress(OSError):
            for descriptor in (proc / str(pid) / "fd").iterdir():
                with suppress(OSError):
                    if str(descriptor.readlink()) == wanted:
                        return pid
    return None


def _sidecars(proc: Path, holder: Holder) -> list[int]:
    """Return the sidecars of the socket's owner, whose descriptors cannot be looked at."""
    others = (pid for pid in _pids(proc) if pid != os.getpid())
    return [pid for pid in others if _name(proc, pid) == _PROGRAM and _uid(proc, pid) == holder.uid]


def _uid(proc: Path, pid: int) -> int | None:
    for line in _text(proc / str(pid) / "status").splitlines():
        if line.startswith("Uid:"):
            return int(line.split()[1])
    return None


def _pids(proc: Path) -> Iterator[int]:
    """Return the processes, the youngest first: what has just taken a port is the likely one."""
    try:
        names = [entry.name for entry in proc.iterdir()]
    except OSError:
        return
    yield from sorted((int(name) for name in names if name.isdecimal()), reverse=True)


def _text(path: Path) -> str:
    """Return what a file of /proc says; nothing if it cannot be read. Whoever names a program may write any bytes."""
    try:
        return path.read_bytes().decode("utf-8", "replace")
    except OSError:
        return ""
