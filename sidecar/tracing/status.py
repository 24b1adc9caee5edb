"""What is shown of traces."""

from __future__ import annotations

import msgspec


class TracingStatus(msgspec.Struct, frozen=True):
    """What ``/status`` shows of traces and of the collector that they are sent to."""

    #: Where the collector is: scheme, host and port.
    collector: str
    #: Whether it took the last spans; None: none have been sent yet.
    up: bool | None
    #: When that began (Unix time).
    since: float | None
    #: What was last wrong with it; it ends the sentence "The collector …".
    last_error: str | None
    #: Calls whose spans it took, and calls whose spans are lost.
    sent: int
    lost: int
