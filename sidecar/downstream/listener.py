"""Where a port listens: TCP on several addresses, a Unix socket, or both (contract section 3).

Sockets are bound here rather than by the event loop, since the loop would take
another free port for each family, replace a live Unix socket, and say of an
address in use nothing that a user can act on.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import os
import socket
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from sidecar.core.system_errors import mend, reason
from sidecar.core.text import printable_name
from sidecar.downstream import holder
from sidecar.downstream.addresses import Bound, ListenError, PortInUseError, describe_socket
from sidecar.network.resolver import Resolver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from sidecar.downstream.inherited import Inherited

    #: Makes the protocol of a new connection.
    Factory: TypeAlias = Callable[[], asyncio.BaseProtocol]

#: Connections that the kernel keeps until they are accepted; it cuts this to its own limit (net.core.somaxconn).
_BACKLOG: Final = 1024
#: Connections that asyncio accepts in one pass of the loop; it takes the number for the kernel's queue too, which is
#: set again after it. Those beyond the cap are closed some passes later: with more of them at once, a burst would
#: take the last descriptor, and asyncio would accept nobody for a second.
_ACCEPTED: Final = 4
#: Attempts to find a port that is free on every address.
_TRIES: Final = 20
#: Bytes that the kernel keeps of what a caller sends, before they are read (Linux doubles it for its own books).
#: A connection that waits for memory holds one read: with 64 KiB, a thousand of them may take 230 MiB together.
#: Less makes larger bodies slower: 100 kB took 0.6 ms with 64 KiB, 0.9 with this, 1.1 with 32 KiB.
_RECEIVED: Final = 48 * 1024
#: What the process or the machine has too little of.
_SHORTAGES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
#: The mode of a Unix socket until its own is set: nobody else gets in meanwhile.
_UMASK: Final = 0o177
#: Since Python 3.13 the loop would remove the socket's file: also one that a service manager made, and goes on to use.
_LEAVE_FILE: Final[dict[str, Any]] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
#: Seconds for a live process to be found behind a Unix socket; one with a full backlog is alive too.
_PROBE: Final = 1.0


class Listeners:
    """The open listeners of one port."""

    def __init__(self, section: str, inherited: Inherited | None = None) -> None:
        """``section`` (``LISTEN``, ``ADMIN``) names the variables in messages: ``SIDECAR_<section>_PORT``.

        A socket among ``inherited`` is used instead of a new one for its address.
        """
        self._variable = f"SIDECAR_{section}_"
        self._inherited = inherited
        self._servers: list[asyncio.AbstractServer] = []
        self._files: list[tuple[Path, tuple[int, int]]] = []
        #: What is listened on, in the order in which it was asked for.
        self.bound: Final[list[Bound]] = []

    async def open_tcp(
        self, hosts: Sequence[str], port: int, factory: Factory, *, else_any: bool = False
    ) -> str | None:
        """Listen on ``port`` of every host; 0 takes one that is free on all of them.

        A loopback address that this machine lacks is passed over, unless no
        other one is left. Raises ListenError. With ``else_any`` a port that is
        in use is no error: a free one is taken.

        Returns why ``port`` is not what is listened on, and who has it if that is known; None if it is.
        """
        addresses = await self._resolve(hosts)
        in_use = None
        try:
            sockets = self._bind_all(addresses, port)
        except PortInUseError as error:
            if not else_any:
                raise
            in_use, sockets = error.problem, self._bind_all(addresses, 0)
        for sock in sockets:
            _limit_reads(sock)
            server = await asyncio.get_running_loop().create_server(factory, sock=sock, backlog=_ACCEPTED)
            sock.listen(_BACKLOG)
            self._servers.append(server)
            self.bound.append(describe_socket(sock))
        return in_use

    async def open_unix(self, path: Path, mode: int, factory: Factory) -> None:
        """Listen on a Unix socket at ``path`` with the file ``mode``; replace one that nobody serves any more.

        Raises ListenError, also if a live process has the socket.
        """
        sock = None if self._inherited is None else self._inherited.unix(path, mode)
        if sock is None:
            sock, identity = self._bind_unix(path, mode)
            self._files.append((path, identity))
        _limit_reads(sock)
        loop = asyncio.get_running_loop()
        self._servers.append(await loop.create_unix_server(factory, sock=sock, backlog=_ACCEPTED, **_LEAVE_FILE))
        sock.listen(_BACKLOG)
        self.bound.append(describe_socket(sock))

    @property
    def of_one_family(self) -> list[Bound]:
        """The listener on every address of one family, if the other family has none."""
        found = [bound for bound in self.bound if bound.one_family is not None]
        return found if len(found) == 1 else []

    def close(self) -> None:
        """Accept no more, and remove the Unix socket's file if it is still ours. May be repeated."""
        for server in self._servers:
            server.close()
        self._servers.clear()
        for path, made in self._files:
            with suppress(OSError):
                found = path.lstat()
                if (found.st_dev, found.st_ino) == made:
                    path.unlink()
        self._files.clear()

    # --- TCP ---------------------------------------------------------------------------------------------------------

    async def _resolve(self, hosts: Iterable[str]) -> list[tuple[int, str]]:
        """Return families and addresses, each once."""
        found: dict[tuple[int, str], None] = {}
        for host in hosts:
            try:
                infos = await Resolver(f"{self._variable}HOST").resolve(host, 0)
            except (OSError, UnicodeError):
                raise ListenError("host " + host, "cannot be resolved", self._mend("HOST")) from None
            for family, _, _, _, address in infos:
                found[family, str(address[0])] = None
        return list(found)

    def _bind_all(self, addresses: Sequence[tuple[int, str]], port: int) -> list[socket.socket]:
        for attempt in range(1, _TRIES + 1):
            sockets: list[socket.socket] = []
            missing: OSError | None = None
            chosen = port
            for family, host in addresses:
                try:
                    sock = self._inherited_tcp(family, host, chosen) or _bind(family, host, chosen)
                except OSError as error:
                    if _lacks_family(error) and ipaddress.ip_address(host.partition("%")[0]).is_loopback:
                        missing = error
                        continue
                    _close_all(sockets)
                    if error.errno == errno.EADDRINUSE and port == 0 and attempt < _TRIES:
                        break  # the port that was free for the first address is not for this one
                    raise self._explain(error, host, chosen) from None
                sockets.append(sock)
                chosen = sock.getsockname()[1]
            else:
                if missing is not None and not sockets:
                    raise self._explain(missing, addresses[0][1], port)
                return sockets
        raise AssertionError("the last attempt returns or raises")

    def _inherited_tcp(self, family: int, host: str, port: int) -> socket.socket | None:
        return None if self._inherited is None else self._inherited.tcp(family, host, port)

    def _explain(self, error: OSError, host: str, port: int) -> ListenError:
        if error.errno == errno.EADDRINUSE:
            return PortInUseError(port, holder.of_port(host, port), self._mend("PORT"))
        if error.errno == errno.EACCES:
            return ListenError(f"port {port}", "is for privileged users", f"{self._mend('PORT')} to 1024 or above")
        if _lacks_family(error):
            return ListenError(f"address {host}", "is not one of this machine's", self._mend("HOST"))
        if error.errno in _SHORTAGES:  # another address would help nobody
            where = f"{self._variable}PORT: port {port}"
            return ListenError(where, f"cannot be opened ({reason(error)})", mend(error) or "")
        return ListenError(f"address {host}", f"cannot be used ({reason(error)})", self._mend("HOST"))

    def _mend(self, key: str) -> str:
        return f"set {self._variable}{key}"

    # --- Unix --------------------------------------------------------------------------------------------------------

    def _bind_unix(self, path: Path, mode: int) -> tuple[socket.socket, tuple[int, int]]:
        try:
            _remove_stale(path, self._mend("UNIX_SOCKET"))
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        except OSError as error:
            raise self._no_socket(path, "cannot be looked at", error) from None
        umask = os.umask(_UMASK)
        try:
            sock.bind(str(path))
            try:
                path.chmod(mode)
                made = path.lstat()
            except OSError:
                path.unlink(missing_ok=True)
                raise
        except OSError as error:
            sock.close()
            raise self._no_socket(path, "cannot be made a socket", error) from None
        finally:
            os.umask(umask)
        sock.setblocking(False)
        return sock, (made.st_dev, made.st_ino)

    def _no_socket(self, path: Path, what: str, error: OSError) -> ListenError:
        """Say what the system refused, under which key, and what to do."""
        if error.errno is None:  # said by Python itself, before the system is asked
            return ListenError(path, "is longer than the path of a socket may be", self._mend("UNIX_SOCKET"))
        where = f"{self._variable}UNIX_SOCKET: {printable_name(path)}"
        return ListenError(where, f"{what} ({reason(error)})", mend(error) or "name another path")


def _limit_reads(sock: socket.socket) -> None:
    """Have the connections that come here bring no more in one read than :data:`_RECEIVED`.

    They inherit the size of the listening socket's buffer, which else grows with the connection to some MiB.
    """
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVED)


def _bind(family: int, host: str, port: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        # A port whose last connections still linger in TIME_WAIT can be taken again.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # "::" would take IPv4 too, and 0.0.0.0 could then not be bound to the same port.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host, port))
        # Listening takes the port for good; until then another process might bind it too.
        sock.listen(_BACKLOG)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


def _lacks_family(error: OSError) -> bool:
    return error.errno in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT}


def _close_all(sockets: Iterable[socket.socket]) -> None:
    for sock in sockets:
        sock.close()


def _remove_stale(path: Path, advice: str) -> None:
    """Make way for a new socket; raise ListenError if what is there is in use or no socket, and OSError."""
    if not path.is_socket():
        if path.exists() or path.is_symlink():
            raise ListenError(path, "is there and is not a socket", advice)
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(_PROBE)
            probe.connect(str(path))
            who = holder.of_unix_socket(probe)
    except ConnectionRefusedError:
        path.unlink(missing_ok=True)
    except (BlockingIOError, TimeoutError):  # Linux says EAGAIN where its queue is full (unix(7))
        raise ListenError(path, "is served by a running process", f"stop that, or {advice}") from None
    else:
        raise ListenError(path, f"is served {who or 'by a running process'}", f"stop that, or {advice}")
