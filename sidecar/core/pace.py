"""The least rate at which bytes have to move (contract section 3).

A limit on pauses alone lets a peer that moves a byte now and then hold a
connection, and memory, for as long as it likes (slow POST, slow read). So it
must also keep up a rate on average, once some time has passed.
"""

from __future__ import annotations

from typing import Final

#: Bytes a second.
LEAST_RATE: Final = 1024
#: Seconds for which any rate will do, at most.
GRACE: Final = 30.0


def patience(pause: float, waited: float, moved: int) -> float:
    """Return for how long (seconds) a peer may be waited for now.

    ``pause`` is the longest pause that it may make, ``waited`` for how long it
    was waited for until now (seconds), ``moved`` the bytes that came of it. Any
    rate will do for as long as one pause may last, or for :data:`GRACE` if that is shorter.
    """
    return max(0.0, min(pause, min(pause, GRACE) + moved / LEAST_RATE - waited))
