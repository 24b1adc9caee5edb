"""Where upstream is: decided once from the configuration, never from a request."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

import msgspec

DEFAULT_PORTS: Final = {"http": 80, "https": 443}

# Underscores are no part of RFC 1123 host names, but Docker Compose gives services such names.
_LABEL: Final = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_URL: Final = r"(?i:(https?)://)([^/?#\\]*)([^?#\\]*)"
# RFC 3986 section 3.3: one or more pchar a segment; an empty segment would be a "//" in the target.
_PREFIX: Final = r"(?:/(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})+)*"


def parse_host(text: str) -> str:
    """Return a host name, IPv4 or IPv6 address (no brackets, no zone) in its normal form, lower case.

    A name may be absolute, with a dot at its end, which stays: see :func:`without_dot`.
    Raises ValueError, with a sentence that does not repeat ``text``. Addresses that resolvers read in
    several ways (``127.1``, ``0x7f000001``, leading zeros) are refused.
    """
    if not text:
        raise ValueError("the host is missing")
    if not text.isascii():
        raise ValueError("the host has a character that is not ASCII: write it in its xn-- form")
    if ":" in text:
        return _parse_ipv6(text)
    name = text.lower()
    labels = without_dot(name).split(".")
    if labels[-1].isdigit() or labels[-1].startswith("0x"):
        try:
            return str(ipaddress.IPv4Address(name))
        except ValueError:
            raise ValueError("the host looks like an IPv4 address and is none") from None
    if len(without_dot(name)) > 253 or not all(re.fullmatch(_LABEL, label) for label in labels):
        raise ValueError("the host is neither a host name nor an IP address")
    return name


def without_dot(name: str) -> str:
    """Return a host name without the dot that makes it absolute (RFC 1034 section 3.1).

    The dot is for the resolver, which then passes over its search list. ``Host``, SNI and certificates are without it
    (RFC 6066 section 3).
    """
    return name.removesuffix(".")


def _parse_ipv6(text: str) -> str:
    try:
        if "%" not in text:
            return str(ipaddress.IPv6Address(text))
    except ValueError:
        pass
    raise ValueError("the host is not an IPv6 address")


def parse_port(digits: str) -> int:
    """Return a TCP port from 1 to 65535, written in at most five ASCII digits; raises ValueError."""
    if digits.isascii() and digits.isdigit() and len(digits) <= 5 and 0 < int(digits) <= 65535:
        return int(digits)
    raise ValueError("the port is not a number from 1 to 65535")


def parse_authority(authority: str, default_port: int | None) -> tuple[str, int]:
    """Split ``host[:port]``, an IPv6 address in brackets, into host and port; raises ValueError.

    Without a ``default_port`` the port must be there. User information is refused.
    """
    if "@" in authority:
        raise ValueError("user information does not belong in the URL")
    if authority.startswith("["):
        host, bracket, rest = authority[1:].partition("]")
        if not bracket or ":" not in host or (rest and not rest.startswith(":")):
            raise ValueError("the brackets around the IPv6 address are wrong")
        colon, digits = rest[:1], rest[1:]
    else:
        host, colon, digits = authority.partition(":")
        if ":" in digits:
            raise ValueError("an IPv6 address must stand in brackets")
    if colon:
        return parse_host(host), parse_port(digits)
    if default_port is None:
        raise ValueError("the port is missing")
    return parse_host(host), default_port


def is_loopback(host: str) -> bool:
    """Tell whether ``host``, in the form of :func:`parse_host`, cannot leave this machine.

    That is ``localhost``, 127.0.0.0/8 and ``::1``. Names below ``localhost`` are left out: not every
    resolver keeps them at home as RFC 6761 section 6.3 asks.
    """
    if host in ("localhost", "::1"):
        return True
    return host.startswith("127.") and host.rpartition(".")[2].isdigit()


class Endpoint(msgspec.Struct, frozen=True):
    """The address that all calls go to. Only :meth:`parse` makes checked ones."""

    #: ``"http"`` or ``"https"``.
    scheme: str
    #: As it is resolved: lower case, an IPv6 address without brackets, an absolute name with its dot.
    host: str
    #: 1 to 65535.
    port: int
    #: Put before every target: ``""`` or ``"/x/y"``, never with a trailing slash.
    prefix: str

    @classmethod
    def parse(cls, url: str) -> Endpoint:
        """Read an ``http://`` or ``https://`` URL that may carry a path prefix.

        Query, fragment, user information, dot segments and backslashes are refused. Raises ValueError
        with a sentence that does not repeat ``url``, which may hold a password.
        """
        if "?" in url or "#" in url:
            raise ValueError("the URL has a query or a fragment")
        match = re.fullmatch(_URL, url)
        if match is None:
            raise ValueError("the URL does not begin with http:// or https://, or has a backslash")
        scheme, authority, path = match[1].lower(), match[2], match[3]
        host, port = parse_authority(authority, DEFAULT_PORTS[scheme])
        return cls(scheme, host, port, _parse_prefix(path))

    @property
    def name(self) -> str:
        """The host as it is verified: without the dot at the end of an absolute name."""
        return without_dot(self.host)

    @property
    def host_header(self) -> bytes:
        """The value of ``Host`` (RFC 9110 section 7.2): no port where it is the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.name
        if self.port == DEFAULT_PORTS[self.scheme]:
            return host.encode("ascii")
        return f"{host}:{self.port}".encode("ascii")

    @property
    def origin(self) -> str:
        """Scheme, host and port as a person writes them: ``https://api.mangopay.com``."""
        return f"{self.scheme}://{self.host_header.decode('ascii')}"

    @property
    def is_loopback(self) -> bool:
        """Whether the host cannot leave this machine."""
        return is_loopback(self.host)


def _parse_prefix(path: str) -> str:
    prefix = path.removesuffix("/")
    if not re.fullmatch(_PREFIX, prefix):
        raise ValueError("the URL's path has an empty segment or a character that must be percent-encoded")
    if any(re.sub("%2e", ".", segment, flags=re.IGNORECASE) in (".", "..") for segment in prefix.split("/")):
        raise ValueError("the URL's path has a dot segment")
    return prefix


def from_here(host: str) -> str:
    """Return where this machine reaches its own listener on ``host``: on every address means on loopback, too."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
