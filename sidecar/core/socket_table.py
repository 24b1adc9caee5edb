"""Which socket has a port, read from Linux's tables of sockets (``/proc/net/tcp`` and ``tcp6``, proc(5))."""

from __future__ import annotations

import ipaddress
import sys
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

#: TCP_LISTEN of <net/tcp_states.h>, as the table writes it.
_LISTENING: Final = "0A"
#: Fields of a line, from its left: the local address, the state, the owner, and the inode, which is 0 once nobody has
#: the socket open any more.
_LOCAL, _STATE, _UID, _INODE = 1, 3, 7, 9
_WORD: Final = 4


class Holder(NamedTuple):
    """A socket that somebody has open."""

    #: As ``/proc/PID/fd`` names it: ``socket:[INODE]``.
    inode: int
    #: Of the user that made it.
    uid: int


def holders(table: str, host: str, port: int, *, byteorder: str = sys.byteorder) -> tuple[Holder, ...]:
    """Return the sockets of ``table`` that keep ``port`` of ``host`` from being bound; listening ones first.

    ``host`` is an address. ``byteorder`` is that of the machine whose table it is. Lines that are no sockets are passed
    over.
    """
    wanted = ipaddress.ip_address(host.partition("%")[0])
    found = sorted((state != _LISTENING, holder) for state, holder in _on_port(table, wanted, port, byteorder))
    return tuple(holder for _, holder in found)


def _on_port(table: str, wanted: Address, port: int, byteorder: str) -> Iterator[tuple[str, Holder]]:
    for line in table.splitlines():
        fields = line.split()
        try:
            address, local_port = fields[_LOCAL].split(":")
            if int(local_port, 16) == port and _in_the_way(_read_address(address, byteorder), wanted):
                holder = Holder(inode=int(fields[_INODE]), uid=int(fields[_UID]))
                if holder.inode:
                    yield fields[_STATE], holder
        except (IndexError, ValueError):
            continue  # the heading, or a format of another kernel


def _read_address(digits: str, byteorder: str) -> Address:
    """Read an address: words of four bytes, each written as a number of this machine."""
    octets = bytes.fromhex(digits)
    if byteorder == "little":
        octets = b"".join(octets[at : at + _WORD][::-1] for at in range(0, len(octets), _WORD))
    address = ipaddress.ip_address(octets)
    return getattr(address, "ipv4_mapped", None) or address


def _in_the_way(taken: Address, wanted: Address) -> bool:
    """Whether a socket at ``taken`` keeps another one from ``wanted``; ``::`` may stand for IPv4 as well."""
    if taken == wanted:
        return True
    if taken.is_unspecified:
        return taken.version in {wanted.version, 6}
    return wanted.is_unspecified and taken.version == wanted.version
