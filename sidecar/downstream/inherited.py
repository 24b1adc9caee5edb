"""Listening sockets that a service manager has opened already (sd_listen_fds(3)).

They outlive the process, so while it restarts callers wait in the kernel's
queue instead of being refused. The configuration stays the one place that says
where to listen: a socket that was handed over is used for the address that it
has, if that is configured, and one that is not is an error.
"""

from __future__ import annotations

import os
import socket
import stat
from typing import TYPE_CHECKING, Final

from sidecar.downstream.addresses import ListenError, describe_socket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

#: The first descriptor that is handed over (SD_LISTEN_FDS_START).
_FIRST: Final = 3


class Inherited:
    """Sockets that wait to be used, each once."""

    def __init__(self, sockets: Iterable[socket.socket] = ()) -> None:
        self._sockets: Final = list(sockets)

    @classmethod
    def of_this_process(cls, environ: Mapping[str, str]) -> Inherited:
        """Take what LISTEN_FDS announces, if LISTEN_PID says that it is for this process.

        Raises ListenError for a descriptor that is no listening stream socket.
        """
        if environ.get("LISTEN_PID") != str(os.getpid()):
            return cls()
        announced = environ.get("LISTEN_FDS", "")
        number = int(announced) if announced.isascii() and announced.isdecimal() else 0
        return cls([_adopt(descriptor) for descriptor in range(_FIRST, _FIRST + number)])

    def tcp(self, family: int, host: str, port: int) -> socket.socket | None:
        """Take the socket with this address, if there is one. Port 0 asks for none: it means any free port.

        Raises ListenError for one of ``::`` that takes IPv4 too, which is more than that address means here.
        """
        found = self._take(lambda sock: sock.family == family and sock.getsockname()[:2] == (host, port))
        if found is None or family != socket.AF_INET6 or host != "::":
            return found
        if found.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY):
            return found
        found.close()
        raise ListenError(
            f"http://[::]:{port}",
            "was handed over with IPv4 besides, and means IPv6 alone",
            "set BindIPv6Only=ipv6-only in its unit, with a ListenStream of its own for 0.0.0.0 if that is configured",
        )

    def unix(self, path: Path, mode: int) -> socket.socket | None:
        """Take the socket at ``path``, if there is one. Raises ListenError if others may use it than ``mode`` lets."""
        found = self._take(lambda sock: sock.family == socket.AF_UNIX and sock.getsockname() == str(path))
        if found is None:
            return None
        complaint = ""
        try:
            actual = stat.S_IMODE(path.stat().st_mode)
            if actual & ~mode:
                complaint = f"was handed over with the mode {actual:04o}, which lets more users in than {mode:04o}"
        except OSError:
            complaint = "was handed over, and is not there any more"
        if complaint:
            found.close()
            raise ListenError(path, complaint, "check SocketMode in its unit, and SIDECAR_LISTEN_UNIX_SOCKET_MODE")
        return found

    def refuse_rest(self) -> None:
        """Raise ListenError if a socket was handed over whose address is not configured: nobody would serve it."""
        for sock in self._sockets:
            where = describe_socket(sock).url
            self.close()
            mend = (
                "configure that address (SIDECAR_LISTEN_HOST, _PORT, _UNIX_SOCKET), or take it out of the socket unit"
            )
            raise ListenError(where, "was handed over, and is not where the configuration listens", mend)

    def close(self) -> None:
        """Close those that were not taken."""
        while self._sockets:
            self._sockets.pop().close()

    def _take(self, fits: Callable[[socket.socket], bool]) -> socket.socket | None:
        for sock in self._sockets:
            if fits(sock):
                self._sockets.remove(sock)
                return sock
        return None


def _adopt(descriptor: int) -> socket.socket:
    """Make a handed-over descriptor a socket, unless it is something else."""
    where, mend = f"descriptor {descriptor}", "let the socket unit have ListenStream only, and no Accept"
    try:
        sock = socket.socket(fileno=descriptor)
    except OSError:
        raise ListenError(where, "was handed over, and is no socket", mend) from None
    if sock.type != socket.SOCK_STREAM or not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        sock.close()
        raise ListenError(where, "was handed over, and is no listening stream socket", mend)
    # They come inheritable and blocking.
    sock.set_inheritable(False)
    sock.setblocking(False)
    return sock
