"""Ended calls that the observers do not know yet: which they are told together, and when.

Whoever observes calls needs less for several at once, and holds up no caller once
the response is out::

    a call that has ended                          is told, with all before it
    by an error of the sidecar's own               at once: its line is a warning
    with an outcome that somebody may look up      at once
    as the 64th                                    at once: more are never kept
    as the 16th or later                           when the next call has begun, while that waits for Mangopay
    otherwise                                      50 ms after the first of them

Pure: this says what is due, and :class:`~sidecar.telemetry.recorder.CallRecorder` does it.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sidecar.telemetry.record import CallRecord

#: Calls after which a batch is full.
FULL: Final = 16
#: Calls that are kept at most. So many end before another begins only where hundreds are served at once.
MOST: Final = 64
#: Seconds for which a call is kept at most.
LONGEST: Final = 0.05


class Due(Enum):
    """What is to be done."""

    NOTHING = "wait for what has been begun"
    TIMER = "tell the calls after LONGEST seconds"
    SOON = "tell them in the next pass of the event loop"
    NOW = "tell them"


# Read for each call: Python 3.11 finds a global of the module faster than a member of an enum.
_NOTHING: Final = Due.NOTHING


class Batch:
    """The calls that are not told yet, in the order in which they ended."""

    __slots__ = ("_asked", "_records", "_timed")

    def __init__(self) -> None:
        self._records: list[CallRecord] = []
        # SOON has been said of these calls.
        self._asked = False
        # A timer runs. It goes on when its calls are told earlier, so that there is one in 50 ms, not one a batch.
        self._timed = False

    def __len__(self) -> int:
        return len(self._records)

    def add(self, record: CallRecord) -> Due:
        """Keep a call that has ended; return what is due now."""
        records = self._records
        records.append(record)
        if record.error is not None or record.outcome is not None or len(records) >= MOST:
            return Due.NOW
        if self._timed:
            return _NOTHING
        self._timed = True
        return Due.TIMER

    def call_begins(self) -> Due:
        """Return what is due when a call begins."""
        if self._asked or len(self._records) < FULL:
            return _NOTHING
        self._asked = True
        return Due.SOON

    def timer_ended(self) -> None:
        """Note that the timer has ended: the next call that is kept needs one."""
        self._timed = False

    def take(self) -> list[CallRecord]:
        """Return the calls, and keep them no more."""
        records, self._records = self._records, []
        self._asked = False
        return records
