"""What the log says of an exception that nobody foresaw: a bug of ours (contract section 9)."""

from __future__ import annotations

from typing import Protocol

import structlog

from sidecar.telemetry.line_format import place

_log = structlog.get_logger()


class EndedCall(Protocol):
    """What is told of the call that an exception ended: :class:`sidecar.telemetry.record.CallRecord`."""

    @property
    def id(self) -> str:
        """The request id."""

    @property
    def status(self) -> int:
        """The status that the caller gets; 0: none."""

    @property
    def idempotency_key(self) -> str | None:
        """The request's key, if it has one to read a stored response back by."""


def log_unforeseen(error: BaseException, record: EndedCall | None = None) -> None:
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
