"""The ``request`` line: one for each call (contract section 9)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from sidecar.core.text import milliseconds
from sidecar.telemetry.line_format import Line

if TYPE_CHECKING:
    from sidecar.telemetry.line_format import Entry
    from sidecar.telemetry.record import Recovery


class RequestLine(Line):
    """One call, as the log tells it; what follows ``bytes`` is only there if there is something to say."""

    id: str
    environment: str
    method: str
    path: str
    status: int | None
    duration_ms: float
    upstream_ms: float
    token_wait_ms: float
    attempts: int
    recovered: tuple[Recovery, ...]
    bytes_in: int
    bytes: int
    error: str | None = None
    outcome: str | None = None
    detail: str | None = None
    idempotency_key: str | None = None
    caller: str | None = None
    client_id_ours: bool | None = None
    mangopay_id: str | None = None
    mangopay_type: str | None = None
    cf_ray: str | None = None
    traceparent: str | None = None
    x_request_id: str | None = None
    lane: str | None = None
    held_ms: float | None = None
    deprecated: str | None = None

    def for_people(self) -> tuple[str, Entry]:
        """Return the call in one short line; with its id, and what is known of it, only if it had no success."""
        status = "unanswered" if self.status is None else str(self.status)
        words = f"{self.method} {self.path} {status} in {milliseconds(self.duration_ms)}"
        if self.status is not None and self.status < 400 and self.level == "info" and self.caller is None:
            return words, {"recovered": self.recovered}
        fields = msgspec.structs.asdict(self)
        return words, {key: fields[key] for key in ("id", *_TROUBLE)}


#: What is told of a call without success, besides its id, on a terminal.
_TROUBLE: Final = (
    *("error", "outcome", "detail", "idempotency_key", "caller", "client_id_ours", "recovered"),
    *("mangopay_type", "mangopay_id", "cf_ray"),
)
