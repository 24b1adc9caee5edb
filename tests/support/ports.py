"""Ports for programs that have to be told one, and ports that refuse."""

from __future__ import annotations

import errno
import socket
import sys
from typing import Final

#: Bound, and never listening: as long as this process lives, the system gives these ports to nobody that asks for any.
_RESERVED: Final[list[socket.socket]] = []


def free_port() -> int:
    """Return a port of 127.0.0.1, and of ::1 where there is one, that nobody listens on, and that no other test gets.

    Several tests run at the same time. A port that was merely free a moment ago, or a server's that has just stopped,
    may be another's by the time that the program under test is there, and that other one then answers in its place.
    On Linux a program that asks for a reserved port gets it, if it sets SO_REUSEADDR, as servers do; elsewhere nothing
    can be reserved.
    """
    while True:
        holder = _bound(socket.AF_INET, "127.0.0.1", 0)
        port: int = holder.getsockname()[1]
        holders = [holder]
        try:
            holders.append(_bound(socket.AF_INET6, "::1", port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                holder.close()
                continue
        if sys.platform == "linux":
            _RESERVED.extend(holders)
        else:
            for each in holders:
                each.close()
        return port


def _bound(family: socket.AddressFamily, host: str, port: int) -> socket.socket:
    holder = socket.socket(family)
    try:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind((host, port))
    except OSError:
        holder.close()
        raise
    return holder
