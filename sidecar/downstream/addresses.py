"""Addresses that are listened on, in words: where one is, who can reach it, and why it cannot be used."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class ListenError(Exception):
    """An address cannot be used; the message is one line that says which one, why, and the mend."""

    def __init__(self, where: str | Path, why: str, mend: str) -> None:
        super().__init__(f"{where} {why}: {mend}")


@dataclass(frozen=True, slots=True)
class Bound:
    """An address that is listened on."""

    #: ``http://127.0.0.1:8080``, ``http://[::1]:8080`` or ``unix:/run/sidecar.sock``.
    url: str
    #: Only processes of this machine (or pod) get there.
    is_loopback: bool
    #: None for a Unix socket.
    port: int | None = None

    @property
    def local_url(self) -> str:
        """The same as a process of this machine reaches it: every address of it includes loopback."""
        return self.url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")


def describe(sock: socket.socket) -> Bound:
    """Say where a bound socket is."""
    if sock.family == socket.AF_UNIX:
        return Bound(f"unix:{sock.getsockname()}", is_loopback=True)
    host, port = sock.getsockname()[:2]
    shown = f"[{host}]" if sock.family == socket.AF_INET6 else host
    loopback = ipaddress.ip_address(host.partition("%")[0]).is_loopback
    return Bound(f"http://{shown}:{port}", is_loopback=loopback, port=port)
