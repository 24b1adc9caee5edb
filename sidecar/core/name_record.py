"""When a host name is looked up, and whom its result serves (contract section 5.10). For one name, without any I/O.

::

    UNKNOWN ──ASK──► ASKED ──found──► KNOWN ──KEPT seconds, or doubted──► UNKNOWN
       ▲               └─failed─┐
       └────────────────────────┘

Whoever comes while a lookup is under way waits for its result, and a result
that comes after everybody has given up is kept all the same: a slow name server
costs the first callers their time, and nobody after them. A lookup may also
never come back; after :data:`PATIENCE` seconds the next caller begins another
one beside it, until :data:`MOST` are under way.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, Generic, TypeVar

A = TypeVar("A")

#: Seconds that a result serves. Long enough for a burst and its retries, short enough to follow a change of DNS.
KEPT: Final = 10.0
#: Seconds after which a lookup counts as hanging. Two name servers that are asked in turn take 10 (resolv.conf(5)).
PATIENCE: Final = 10.0
#: Lookups of one name under way at the same time.
MOST: Final = 4


class Step(Enum):
    """What a caller who needs the name has to do."""

    #: Take the result that is there.
    USE = "use"
    #: Wait for a lookup that is under way.
    WAIT = "wait"
    #: Begin a lookup, and wait for it.
    ASK = "ask"


class NameRecord(Generic[A]):
    """What is known of one name; all moments are those of one clock, in seconds."""

    def __init__(self) -> None:
        self._result: A | None = None
        self._good_until = 0.0
        #: When each lookup that has not come back was begun, oldest first.
        self._under_way: list[float] = []

    @property
    def result(self) -> A | None:
        """The last result, whether it still serves or not; None: there is none."""
        return self._result

    def next_step(self, now: float) -> Step:
        """Say what a caller does who needs the name at the moment ``now``."""
        if self._result is not None and now < self._good_until:
            return Step.USE
        if not self._under_way:
            return Step.ASK
        hangs = now - self._under_way[-1] >= PATIENCE
        return Step.ASK if hangs and len(self._under_way) < MOST else Step.WAIT

    def asked(self, now: float) -> None:
        """Note that a lookup has been begun."""
        self._under_way.append(now)

    def came_back(self, begun: float, now: float, result: A | None) -> None:
        """Note what came of the lookup that was begun at the moment ``begun``; None: it failed."""
        self._under_way.remove(begun)
        if result is not None:
            self._result = result
            self._good_until = now + KEPT

    def doubt(self, result: A) -> None:
        """Let ``result`` serve nobody else: no connection came of it. A newer result stays."""
        if self._result is result:
            self._result = None
