"""Who is at the other end of a Unix socket (contract section 3, ``listen.allowed_uids``)."""

from __future__ import annotations

import socket
import struct
from functools import cache
from pathlib import Path
from typing import Final

#: Linux, unix(7); macOS has none.
_SO_PEERCRED: Final[int | None] = getattr(socket, "SO_PEERCRED", None)
#: struct ucred { pid_t pid; uid_t uid; gid_t gid; } (unix(7)).
UCRED: Final = struct.Struct("iII")
#: macOS, <sys/ucred.h>: struct xucred begins with cr_version and cr_uid and is 76 bytes long.
_XUCRED: Final = struct.Struct("=II")
_XUCRED_SIZE: Final = 76
_SOL_LOCAL: Final = 0
_LOCAL_PEERCRED: Final = 1

#: What the kernel calls every user that has no number in our user namespace (Linux, user_namespaces(7)).
_OVERFLOW_FILE: Final = Path("/proc/sys/kernel/overflowuid")
_OVERFLOW_UID: Final = 65534


def peer_uid(sock: socket.socket) -> int | None:
    """Return the user id of the process that connected, as it was then; None if the system does not tell."""
    try:
        if _SO_PEERCRED is not None:
            return int(UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, _SO_PEERCRED, UCRED.size))[1])
        return int(_XUCRED.unpack_from(sock.getsockopt(_SOL_LOCAL, _LOCAL_PEERCRED, _XUCRED_SIZE))[1])
    except (OSError, struct.error):
        return None


def uid_allowed(uid: int | None, allowed: frozenset[int]) -> bool:
    """Whether a peer may come in. The overflow uid never may: it stands for anybody from another namespace."""
    return uid is not None and uid in allowed and uid != overflow_uid()


@cache
def overflow_uid() -> int:
    """Return the kernel's overflow uid."""
    try:
        return int(_OVERFLOW_FILE.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return _OVERFLOW_UID
