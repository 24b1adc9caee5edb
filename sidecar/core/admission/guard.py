"""Who may speak to the proxy port at all (contract section 4.7).

The sidecar adds a credential to whatever reaches it, so a web page on the same
machine is the adversary. The checklist:

1. **Host** is a name that only a deliberate caller uses. A page whose own name
   was rebound to 127.0.0.1 still sends its own name.
2. **Origin** is absent. Browsers send it on every POST and on every request
   across origins; no SDK does. This covers preflights and WebSockets too.
3. **Sec-Fetch-Site** is absent or ``none``. Browsers send it on every request
   to a loopback address; ``none`` means that a person typed the address.
4. Without Sec-Fetch-Site there are not both **a browser's User-Agent and
   Accept-Language**. Safari before 16.4 sends no Sec-Fetch-Site at all, and no
   browser does to a plain ``http://`` name other than localhost (Fetch Metadata,
   section 2). Each browser sends these two with every request, and no page can
   take them off; of HTTP clients none sends both by itself (PowerShell's
   User-Agent begins as a browser's does, but it names no language).

Callers (section 4.8) are in :mod:`sidecar.core.admission.caller`, methods and paths in
:mod:`sidecar.core.admission.policy`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from sidecar.core.endpoint import parse_host, without_dot
from sidecar.core.errors import ErrorCode, SidecarError
from sidecar.core.http.header_index import HeaderIndex, RawHeaders, index_of, select
from sidecar.core.malformed import Malformed
from sidecar.core.text import printable


@dataclass(frozen=True, slots=True)
class GuardRules:
    """What the guard of one listener asks for.

    ``allowed_hosts`` are names without a port, compared without regard to case
    and to a dot at the end; an IPv6 address may have brackets or not. ``check_host``
    is off on a Unix socket, which no browser reaches. ``for_browsers``: a browser
    without Sec-Fetch-Site may come in (the status page).
    """

    allowed_hosts: frozenset[str]
    check_host: bool = True
    for_browsers: bool = False

    def __post_init__(self) -> None:
        names = frozenset(_as_in_host(name) for name in self.allowed_hosts if name)
        object.__setattr__(self, "allowed_hosts", names)


def _as_in_host(name: str) -> str:
    """Return a configured name as it is compared: lower case, IPv6 in brackets, without a dot at the end."""
    return f"[{name}]".lower() if ":" in name and not name.startswith("[") else without_dot(name.lower())


_HOST: Final = 1
_ORIGIN: Final = 2
_FETCH_SITE: Final = 3
_USER_AGENT: Final = 4
_ACCEPT_LANGUAGE: Final = 5

_BY_NAME: Final = {
    b"host": _HOST,
    b"origin": _ORIGIN,
    b"sec-fetch-site": _FETCH_SITE,
    b"user-agent": _USER_AGENT,
    b"accept-language": _ACCEPT_LANGUAGE,
}
#: How every browser's User-Agent begins.
_BROWSER: Final = b"Mozilla/"
_FIELDS: Final = select(lambda name: _BY_NAME.get(name.lower()))


def check_guard(raw: RawHeaders, rules: GuardRules, header_index: HeaderIndex | None = None) -> None:
    """Let a request pass, or raise; ``header_index`` is that of ``raw``, where the caller has it.

    Raises SidecarError: ``HOST_NOT_ALLOWED`` (``detail`` has the Host for the log, as it can be listed),
    ``BROWSER_NOT_ALLOWED``, or ``BAD_REQUEST`` for more than one Host.
    """
    host: bytes | None = None
    browser = typed = agent = language = False
    for field, index in (index_of(raw) if header_index is None else header_index)[_FIELDS]:
        value = raw[index][1]
        if field == _HOST:
            if host is not None:
                raise Malformed.HOST.error()
            host = value
        elif field == _USER_AGENT:
            agent = agent or value.startswith(_BROWSER)
        elif field == _ACCEPT_LANGUAGE:
            language = True
        elif field == _FETCH_SITE and value == b"none":
            typed = True
        else:
            browser = True
    if rules.check_host and (host is None or len(host) > _LONGEST_HOST or not _host_allowed(host, rules.allowed_hosts)):
        name = _listable(host)
        raise SidecarError(
            ErrorCode.HOST_NOT_ALLOWED,
            "Host not allowed: add it to SIDECAR_LISTEN_ALLOWED_HOSTS (the log names it)" if name else _NO_NAME,
            detail=f"host={name or _shown(host)}",
        )
    old_browser = agent and language and not typed and not rules.for_browsers
    if browser or old_browser:
        raise SidecarError(
            ErrorCode.BROWSER_NOT_ALLOWED,
            "Web pages may not call the sidecar: call it from your server, without Origin and Sec-Fetch-Site headers",
            detail=None if browser else "a browser's User-Agent with Accept-Language, and no Sec-Fetch-Site",
        )


_NO_NAME: Final = (
    "Host not allowed: it is no host name or address, with a port or without (the log shows it): have the client send "
    "the one that it connects to"
)
# A DNS name has at most 253 characters (RFC 1035 section 3.1), a port 5.
_LONGEST_HOST: Final = 260


@lru_cache(maxsize=256)
def _host_allowed(value: bytes, allowed: frozenset[str]) -> bool:
    if not value.isascii():
        return False
    host = value.decode("ascii").lower()
    name, bracket, rest = host.partition("]") if host.startswith("[") else ("", "", "")
    if bracket:
        name, colon, port = name + bracket, rest[:1], rest[1:]
    else:
        name, colon, port = host.partition(":")
    if colon not in {"", ":"} or (colon and not _is_port(port)):
        return False
    # Not "localhost.": browsers do not agree that it is this machine, and some send no Sec-Fetch-Site to it.
    return name in {"localhost", "[::1]"} or _is_ipv4_loopback(name) or without_dot(name) in allowed


def _is_port(port: str) -> bool:
    return port.isdigit() and len(port) <= 5 and int(port) <= 65535


def _is_ipv4_loopback(name: str) -> bool:
    """Say whether a name is in 127.0.0.0/8 in its one canonical spelling: ``127.1`` and ``0177.0.0.1`` are not."""
    octets = name.split(".")
    if len(octets) != 4 or octets[0] != "127":
        return False
    return all(octet.isdigit() and str(int(octet)) == octet and int(octet) < 256 for octet in octets)


#: A Host that may be listed: an address in brackets or a name, and a port or none.
_NAME_AND_PORT: Final = re.compile(r"(?:\[([^\]]*)\]|([^:\[\]]*))(?::[0-9]{1,5})?")


def _listable(host: bytes | None) -> str | None:
    """Return a Host as ``listen.allowed_hosts`` takes it, without its port; None if it takes no such thing."""
    if host is None or len(host) > _LONGEST_HOST:
        return None
    match = _NAME_AND_PORT.fullmatch(host.decode("latin-1"))
    try:
        return None if match is None else without_dot(parse_host(match[1] or match[2] or ""))
    except ValueError:
        return None


def _shown(host: bytes | None) -> str:
    """Return a Host as a log may show it: printable ASCII, 100 characters at most."""
    return "(none)" if host is None else printable(host.decode("ascii", "surrogateescape"), 100)
