"""How many connections there can be, where few files may be open (contract section 3, ``listen.max_connections``)."""

from __future__ import annotations

from typing import Final, NamedTuple

#: Descriptors besides callers' and upstream's: refused callers and admin connections, a quarter and an eighth of them;
#: listeners, logs, the store's and token calls.
SPARE: Final = 256
#: Of few descriptors, the share that is spared.
_SHARE: Final = 4
#: Callers' connections at least, however few descriptors there are.
_LEAST: Final = 8


class Descriptors(NamedTuple):
    """What the descriptors are for."""

    #: Callers' connections.
    connections: int
    #: Refused callers' connections that wait for their response.
    refused: int
    #: Connections to the admin port.
    admin: int


def wanted(max_connections: int, pool_size: int) -> int:
    """Return how many descriptors such a configuration needs."""
    return max_connections + pool_size + SPARE


def share_out(allowed: int, max_connections: int, pool_size: int) -> Descriptors:
    """Share out ``allowed`` descriptors: upstream's connections first, which every caller needs."""
    spare = min(SPARE, allowed // _SHARE)
    connections = max(min(max_connections, allowed - pool_size - spare), _LEAST)
    return Descriptors(min(connections, max_connections), max(spare // 4, 1), max(spare // 8, 1))
