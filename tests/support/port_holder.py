"""What messages say of a port that a test holds, or a child of it."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def held_by(pid: int | None = None) -> str:
    """Return ``by NAME, pid PID`` for a process (default: this one) where the system tells that; else nothing."""
    pid = os.getpid() if pid is None else pid
    if sys.platform != "linux":
        return ""
    name = Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").removesuffix("\n")
    return f"by {name}, pid {pid}"


def in_use(port: int | str, pid: int | None = None) -> str:
    """Return the first half of the message."""
    by = held_by(pid)
    return f"port {port} is in use ({by})" if by else f"port {port} is in use"
