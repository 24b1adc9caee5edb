"""What the log says of an exception that nobody foresaw: a bug of ours (contract section 9)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from sidecar.telemetry.line_format import place

if TYPE_CHECKING:
    from sidecar.telemetry.record import CallRecord

_log = structlog.get_logger()


def log_unforeseen(error: BaseException, record: CallRecord | None = None) -> None:
    """Write ``request.failed``: the exception's class and place, not its words, which may quote the request.

    ``record`` is the call's that it ended, if there is one: its line has the call's id and status, and its
    ``Idempotency-Key``, so that the payment can be reconciled.
    """
    _log.error(
        "request.failed",
        error=type(error).__name__,
        where=place(error),
        id=None if record is None else record.id,
        status=None if record is None else record.status,
        idempotency_key=None if record is None else record.idempotency_key,
    )
