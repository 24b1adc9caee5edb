"""What is this machine itself."""

from __future__ import annotations

import ipaddress


def is_loopback(address: str) -> bool:
    """Tell whether an IP address is a loopback address; anything that is no address is none."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    return (mapped or parsed).is_loopback


def is_loopback_name(host: str) -> bool:
    """Tell whether a host is a loopback address, or a name that is one by definition (RFC 6761 section 6.3).

    Other names are not looked up: what they lead to may change.
    """
    name = host.lower().rstrip(".")
    return name == "localhost" or name.endswith(".localhost") or is_loopback(host)
