"""Addresses that are listened on, in words: where one is, who can reach it, and why it cannot be used."""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING, Final

import msgspec

from sidecar.core.endpoint import from_here

if TYPE_CHECKING:
    from pathlib import Path


class ListenError(Exception):
    """An address cannot be used; the message is one line that says which one, why, and the mend."""

    def __init__(self, where: str | Path, why: str, mend: str) -> None:
        #: Without what to do.
        self.problem: Final = f"{where} {why}"
        super().__init__(f"{self.problem}: {mend}")


class PortInUseError(ListenError):
    """Another socket has the port; ``by`` says whose it is, and is empty if that is not known."""

    def __init__(self, port: int, by: str, mend: str) -> None:
        super().__init__(f"port {port}", f"is in use ({by})" if by else "is in use", mend)


class Bound(msgspec.Struct, frozen=True):
    """An address that is listened on."""

    #: ``http://127.0.0.1:18080``, ``http://[::1]:18080`` or ``unix:/run/sidecar.sock``.
    url: str
    #: Only processes of this machine (or pod) get there.
    is_loopback: bool
    #: The same as a process of this machine reaches it.
    local_url: str
    #: None for a Unix socket.
    port: int | None = None

    @property
    def one_family(self) -> str | None:
        """Which family every address of this machine is served in, and how to add the other; None: it is one address.

        ``::`` never takes IPv4 as well, whatever the system's own habit (net.ipv6.bindv6only).
        """
        if self.url.startswith("http://0.0.0.0:"):
            return "IPv4 only: name :: besides for IPv6"
        return "IPv6 only: name 0.0.0.0 besides for IPv4" if self.url.startswith("http://[::]:") else None


def describe_socket(sock: socket.socket) -> Bound:
    """Say where a bound socket is."""
    if sock.family == socket.AF_UNIX:
        url = f"unix:{sock.getsockname()}"
        return Bound(url, is_loopback=True, local_url=url)
    host, port = sock.getsockname()[:2]
    form = f"http://[%s]:{port}" if sock.family == socket.AF_INET6 else f"http://%s:{port}"
    loopback = ipaddress.ip_address(host.partition("%")[0]).is_loopback
    return Bound(form % host, is_loopback=loopback, local_url=form % from_here(host), port=port)
