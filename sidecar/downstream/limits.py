"""What one port allows its callers, and the moment from which their deadlines count."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from sidecar.downstream.memory import ConnectionMemory


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What one port allows its callers; the section ``listen`` of the configuration. Seconds and bytes."""

    header_timeout: float
    body_timeout: float
    keepalive_timeout: float
    max_connections: int
    max_body: int


class Deadlines(Protocol):
    """What the parts of a connection need of their port: :class:`sidecar.downstream.server.ProxyServer`."""

    #: How long each phase and each pause may last.
    limits: ConnectionLimits
    #: A moment up to two ticks ahead, of a clock that stands still when the process does: deadlines count from here,
    #: so that none comes early.
    next_deadline_base: float
    #: What connections may hold together.
    memory: ConnectionMemory
