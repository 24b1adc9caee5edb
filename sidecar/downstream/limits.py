"""What one port allows its callers, and the moment from which their deadlines count."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What one port allows its callers; the section ``listen`` of the configuration. Seconds and bytes."""

    header_timeout: float = 10.0
    body_timeout: float = 30.0
    keepalive_timeout: float = 75.0
    max_connections: int = 1000
    max_body: int = 64 * 1024 * 1024


class Deadlines(Protocol):
    """Where deadlines come from: :class:`sidecar.downstream.server.ProxyServer`."""

    #: How long each phase and each pause may last.
    limits: ConnectionLimits
    #: A moment (``Clock.now``) up to two ticks ahead: deadlines count from here, so that none comes early.
    next_deadline_base: float
