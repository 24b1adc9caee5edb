"""Ports for programs that have to be told one, and ports that refuse."""

from __future__ import annotations

import socket
import sys
from typing import Final

#: Bound, and never listening: as long as this process lives, the system gives these ports to nobody that asks for any.
_RESERVED: Final[list[socket.socket]] = []


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on, and that no other test gets.

    Several tests run at the same time. A port that was merely free a moment ago may be another's by the time that the
    program under test is there, and that other one then answers in its place. On Linux a program that asks for a
    reserved port gets it, if it sets SO_REUSEADDR, as servers do; elsewhere nothing can be reserved.
    """
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", 0))
    port: int = holder.getsockname()[1]
    if sys.platform == "linux":
        _RESERVED.append(holder)
    else:
        holder.close()
    return port
