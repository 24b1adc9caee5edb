"""A network of one's own with nothing in it but loopback, in which the default ports are free.

``python -m tests.deploy.network COMMAND…`` runs a command in the network namespace that it is started in, once ``lo``
is up there; :func:`isolated` gives the whole command line that makes one.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import sys
from typing import Final

#: <linux/sockios.h>, <linux/if.h>
_SIOCSIFFLAGS: Final = 0x8914
_IFF_UP: Final = 0x1


def bring_loopback_up() -> None:
    """Set ``lo`` up: in a new network namespace it is down (network_namespaces(7))."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", _IFF_UP))


def isolated(*command: str) -> list[str]:
    """Return ``command`` as it is to be run to have a network of its own (Linux only)."""
    as_root = () if os.geteuid() == 0 else ("--map-root-user",)
    return ["unshare", *as_root, "--net", sys.executable, "-m", "tests.deploy.network", *command]


if __name__ == "__main__":
    bring_loopback_up()
    os.execvp(sys.argv[1], sys.argv[1:])
