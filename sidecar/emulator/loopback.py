"""Which peers and hosts count as this machine: loopback, and what ``--trust`` names."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

#: RFC 1123 section 2.1, with the underscore that container names may have.
_NAME: Final = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")


def is_loopback(address: str) -> bool:
    """Tell whether an IP address is a loopback address; False for text that is no address."""
    parsed = parse_address(address)
    return parsed is not None and parsed.is_loopback


def parse_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return an IP address, an IPv4-mapped one as what it stands for; None: it is no address."""
    try:
        parsed = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(parsed, "ipv4_mapped", None) or parsed


def is_loopback_name(host: str) -> bool:
    """Tell whether a host is a loopback address, or a name that is one by definition (RFC 6761 section 6.3).

    Other names are not looked up: what they lead to may change.
    """
    name = host.lower().rstrip(".")
    return name == "localhost" or name.endswith(".localhost") or is_loopback(host)


class Trusted:
    """Who counts as this machine besides itself: networks and names that somebody has named, such as a CI job's.

    A peer is trusted by its address, the host of a hook's URL also by its name, which is looked up when it is called.
    """

    def __init__(self, texts: Iterable[str] = ()) -> None:
        """Raises ValueError for a text that is neither a network (``172.16.0.0/12``) nor a name."""
        networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
        names = set[str]()
        for text in texts:
            try:
                networks.append(ipaddress.ip_network(text))
            except ValueError:
                name = text.lower()
                if not _NAME.fullmatch(name) or name.replace(".", "").isdecimal():
                    message = f"neither a network such as 172.16.0.0/12 nor a host name: {text!r}"
                    raise ValueError(message) from None
                names.add(name)
        self._networks: Final = tuple(networks)
        self._names: Final = frozenset(names)

    def has_peer(self, address: str) -> bool:
        """Tell whether a peer's address is in one of the networks."""
        parsed = parse_address(address)
        return parsed is not None and any(parsed in network for network in self._networks)

    def has_host(self, host: str) -> bool:
        """Tell whether a URL's host is one of the names, or an address in one of the networks."""
        return host.lower().rstrip(".") in self._names or self.has_peer(host)

    def is_here(self, host: str, peer: str | None) -> bool:
        """Tell whether a request to ``host`` cannot be that of a web page from elsewhere whose own name leads here.

        The name of such a page has a dot, and is no address. Names without a dot are those of containers: they count
        for peers in the networks.
        """
        if is_loopback_name(host) or parse_address(host) is not None or self.has_host(host):
            return True
        return peer is not None and self.has_peer(peer) and host != "" and "." not in host
