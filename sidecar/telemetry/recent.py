"""The last calls that went wrong, for the status document."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sidecar.telemetry.record import CallRecord


class RecentErrors:
    """Keeps the newest records of calls that the sidecar ended itself: some 500 bytes each."""

    __slots__ = ("_records",)

    def __init__(self, limit: int = 20) -> None:
        self._records: deque[CallRecord] = deque(maxlen=limit)

    def observe(self, record: CallRecord) -> None:
        """Keep ``record`` if the call ended with an error of the sidecar's own."""
        if record.error is not None:
            self._records.append(record)

    def newest_first(self) -> list[CallRecord]:
        """The records kept."""
        return list(reversed(self._records))
