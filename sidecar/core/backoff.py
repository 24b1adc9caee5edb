"""How long to keep quiet after a failure: doubling pauses, and the server's own word for it (``Retry-After``)."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from sidecar.core.http.dates import read_http_date

_DELAY_SECONDS: Final = re.compile(r"[0-9]+", re.ASCII)


class Backoff(msgspec.Struct, frozen=True):
    """Pauses that double from ``first`` to ``limit`` (seconds), each moved by up to ``spread`` of itself either way."""

    first: float
    limit: float
    spread: float = 0.0

    def delay(self, failures: int, roll: float) -> float:
        """Seconds to wait after so many consecutive ``failures`` (at least 1); ``roll`` is random, 0 to 1."""
        pause = min(self.first * 2.0 ** min(max(failures - 1, 0), 32), self.limit)
        return pause * (1.0 + self.spread * (2.0 * roll - 1.0))


def read_retry_after(value: str | None, *, date: str | None, wall: float) -> float | None:
    """Return the seconds that a ``Retry-After`` asks for (RFC 9110 section 10.2.3); None if it asks for nothing.

    A date is compared with the response's own ``Date`` where there is one, so that
    a clock that goes wrong on either side does not matter, else with ``wall``.
    What cannot be read, and a moment that has passed, ask for nothing. There is
    no upper limit: whoever waits sets one.
    """
    if value is None:
        return None
    value = value.strip()
    if _DELAY_SECONDS.fullmatch(value):
        seconds = float(value)
    elif (until := read_http_date(value)) is not None:
        answered = read_http_date(date) if date is not None else None
        seconds = until - (wall if answered is None else answered)
    else:
        return None
    return seconds if seconds > 0 else None
