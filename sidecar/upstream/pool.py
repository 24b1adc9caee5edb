"""The connections to upstream: at most so many, the one used last reused first, none that is known to be dead.

**Slots.** The pool has ``size`` slots, and a connection holds one from before it is dialed until it has closed,
whether it is in use or idle. So ``open`` counts slots, and never exceeds ``size``::

                  acquire: none is idle, a slot is free
        (no slot) ───────────────────────────────────────► OPENING ──dialed──► IN USE
            ▲                                                 │                │   ▲
            │◄──────────────────failed────────────────────────┘       give_back│   │acquire, take_idle
            │                                                                  ▼   │
            └◄──forget: it has closed, in whatever state, for whatever reason── IDLE

Nothing is counted twice or forgotten, because each way out of a state is one call: a connection that lives is given
back by :meth:`Pool.give_back`, and one that has closed is struck off by :meth:`Pool.forget`, which it calls itself
and once.

**Waiting.** A call that finds neither an idle connection nor a free slot waits. First come, first served: what
becomes free goes to the call that waits longest, before any later call can see it. It gets a connection, or the slot
of one that closed; a call that asked for a *fresh* connection gets the slot only. What was granted to a call that was
cancelled in the same moment is handed on, so that no slot is lost.

**Which connection.** Last in, first out: under little load few connections are used, and the others age and close. A
connection is looked at once more before it is given out (:meth:`Connection.is_alive`), since a request that is
written to a dead one may not be resent if it is a write.

**What ends a connection that is idle.** Its age (``IDLE_TIMEOUT``, or what upstream announced, less a margin), a close
by upstream, and :meth:`Pool.retire`: each call of it begins a new *generation*, and a connection of an older one
carries no other exchange, so that a replaced certificate is not shown any more.

**Time.** There is no timer for each connection, read or waiting call, but one task (the sweeper) that looks at all
deadlines every ``_SWEEP_INTERVAL`` seconds while a slot is taken. No deadline comes early, and none later than that.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from enum import Enum
from typing import TYPE_CHECKING, Final

from sidecar.core.resend import FailureKind
from sidecar.core.standstill import Standstill
from sidecar.patience import look_at_sockets
from sidecar.turns import Turns
from sidecar.upstream.connection import Connection, ExchangePhase
from sidecar.upstream.errors import before_a_byte

if TYPE_CHECKING:
    from sidecar.core.clock import Clock
    from sidecar.runtime import Tasks
    from sidecar.upstream.dialing import Dialer

#: Seconds that an idle connection is kept. Common servers and load balancers close after 60 s or more; nginx's own
#: default is 75. What upstream says itself (Keep-Alive: timeout) counts if it is shorter.
IDLE_TIMEOUT: Final = 30.0

#: Seconds by which we stop using a connection before the moment that upstream announced.
_KEEP_ALIVE_MARGIN: Final = 1.0

#: Seconds between two looks at all deadlines. Cheaper than a timer for each read, and close enough for timeouts
#: of seconds.
_SWEEP_INTERVAL: Final = 0.5


class _Grant(Enum):
    """What a waiter may get instead of a connection."""

    SLOT = "a slot to open a connection of its own"
    NOTHING = "nothing: its deadline has passed, or the pool was closed"


class _Waiter:
    """A call that waits for a connection."""

    __slots__ = ("began", "deadline", "fresh", "granted")

    def __init__(
        self, granted: asyncio.Future[Connection | _Grant], deadline: float, *, began: float, fresh: bool
    ) -> None:
        self.granted: Final = granted
        #: ``Clock.now``, as the deadline.
        self.began: Final = began
        self.deadline = deadline
        self.fresh: Final = fresh

    def expire(self) -> None:
        """End the wait; who waits leaves the queue by itself."""
        if not self.granted.done():
            self.granted.set_result(_Grant.NOTHING)


class Pool:
    """Hands out connections to one endpoint, which ``dialer`` opens; ``size`` is the number of slots."""

    def __init__(self, dialer: Dialer, *, size: int, clock: Clock, tasks: Tasks) -> None:
        self._dialer: Final = dialer
        self._size: Final = size
        self._clock: Final = clock
        self._tasks: Final = tasks
        self._slots_taken = 0
        #: Oldest first: the end is the top of the stack.
        self._idle: list[Connection] = []
        self._open_ones: set[Connection] = set()
        self._waiters: deque[_Waiter] = deque()
        self._sweeper: asyncio.Task[None] | None = None
        self._closed = False
        # Of the sweeper that runs; it looked last at that moment (``Clock.now``).
        self._standstill: Standstill | None = None
        self._looked = 0.0
        #: Turns of all connections to work through bytes that are many pieces.
        self.turns = Turns()
        #: Counts calls of :meth:`retire`.
        self._generation = 0

    def __repr__(self) -> str:
        """Say how many connections are open and idle, and how many calls wait for one."""
        return f"<Pool [{self.open} open, {self.idle} idle, {self.waiting} waiting]>"

    @property
    def open(self) -> int:
        """Connections in use, idle, or being opened."""
        return self._slots_taken

    @property
    def idle(self) -> int:
        """Connections that wait for a call."""
        return len(self._idle)

    @property
    def waiting(self) -> int:
        """Calls that wait for a connection."""
        return len(self._waiters)

    async def acquire(self, deadline: float, fresh: bool = False) -> Connection:
        """Return a connection that is alive; a new one if ``fresh``.

        ``deadline`` (seconds of the clock) bounds the wait for a slot and the
        opening together. Raises UpstreamError: NO_SLOT, or RESOLVE, CONNECT
        or TLS if a new connection cannot be opened, DEAD_BEFORE_WRITE if it
        died at once.
        """
        if self._closed:
            raise before_a_byte(FailureKind.NO_SLOT, "the pool is closed")
        if not fresh:
            idle = self.take_idle(self._clock.now())
            if idle is not None:
                return idle
        elif self._idle and self._slots_taken >= self._size:
            self._idle[0].abort()
        if self._slots_taken < self._size:
            self._slots_taken += 1
        else:
            granted = await self._wait(deadline, fresh)
            if isinstance(granted, Connection):
                await granted.ensure_alive()
                return granted
            deadline = granted
        return await self._open(deadline)

    def retire(self) -> None:
        """Let no connection of now carry another exchange: idle ones close, those in use once their exchange is over.

        For when the dialer makes them otherwise from now on, with another certificate.
        """
        self._generation += 1
        for connection in tuple(self._idle):
            connection.abort()

    async def close(self) -> None:
        """Close every connection at once; exchanges under way and waiting calls fail."""
        self._closed = True
        while (waiter := self._next_waiter()) is not None:
            waiter.granted.set_result(_Grant.NOTHING)
        for connection in tuple(self._open_ones):
            connection.abort()
        if self._sweeper is not None and not self._sweeper.done():
            self._sweeper.cancel()
            await asyncio.wait((self._sweeper,))

    # --- getting one -------------------------------------------------------------------------------------------------

    def take_idle(self, now: float) -> Connection | None:
        """Return the connection that was used last if one is alive ``now`` (``Clock.now``), without waiting."""
        idle = self._idle
        while idle:
            connection = idle[-1]
            if connection.deadline > now and connection.is_alive():
                idle.pop()
                connection.pooled = False
                connection.deadline = math.inf
                connection.reused = now >= connection.fresh_until
                return connection
            connection.abort()
        return None

    async def _wait(self, deadline: float, fresh: bool) -> Connection | float:
        """Wait for another call to let go; return its connection, or, for a slot, the deadline (it may have moved)."""
        granted: asyncio.Future[Connection | _Grant] = asyncio.get_running_loop().create_future()
        waiter = _Waiter(granted, deadline, began=self._clock.now(), fresh=fresh)
        self._waiters.append(waiter)
        try:
            grant = await granted
        except asyncio.CancelledError:
            if not granted.cancelled():
                self._hand_on(granted.result())
            raise
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
        if isinstance(grant, Connection):
            return grant
        if grant is _Grant.NOTHING:
            raise before_a_byte(FailureKind.NO_SLOT, f"all {self._size} connections are in use")
        return waiter.deadline

    def _hand_on(self, grant: Connection | _Grant) -> None:
        """Give away what a call was granted in the moment in which it was cancelled."""
        if isinstance(grant, Connection):
            grant.release()
        elif grant is _Grant.SLOT:
            self._free_slot()

    async def _open(self, deadline: float) -> Connection:
        """Open a connection in the slot that the caller has taken."""
        if self._sweeper is None or self._sweeper.done():
            self._sweeper = self._tasks.spawn(self._sweep(), name="upstream.sweep")
        try:
            connection = await self._dial(deadline)
        except BaseException:
            self._free_slot()
            raise
        self._open_ones.add(connection)
        if self._closed:
            connection.abort()
            raise before_a_byte(FailureKind.NO_SLOT, "the pool is closed")
        await connection.ensure_alive()
        return connection

    async def _dial(self, deadline: float) -> Connection:
        limit = deadline - self._clock.now()
        if limit <= 0:
            raise before_a_byte(FailureKind.NO_SLOT, "a connection became free too late")
        connection, raw = await self._dialer.dial(self._make, limit)
        connection.watch(raw)
        if connection.phase is ExchangePhase.CLOSED:
            raise before_a_byte(FailureKind.CONNECT, "upstream closed the new connection at once")
        return connection

    def _make(self) -> Connection:
        return Connection(self, self._clock, self._tasks, generation=self._generation)

    # --- getting it back: what a connection calls -------------------------------------------------------------------

    def give_back(self, connection: Connection) -> None:
        """Take back a connection that can carry another exchange, and pass it to the call that waits longest."""
        if connection.pooled:
            return  # given back before: two calls must never share a connection
        kept_for = IDLE_TIMEOUT
        if connection.keep_alive is not None:
            kept_for = min(kept_for, connection.keep_alive - _KEEP_ALIVE_MARGIN)
        if self._closed or kept_for <= 0 or connection.generation != self._generation:
            connection.abort()
            return
        waiter = self._next_waiter()
        if waiter is None:
            # Upstream's own patience goes on while this process stands still.
            connection.deadline = self._clock.now() + kept_for
            connection.pooled = True
            self._idle.append(connection)
        elif waiter.fresh:
            self._waiters.appendleft(waiter)  # it gets the slot of this connection
            connection.abort()
        else:
            connection.reused = self._clock.now() >= connection.fresh_until
            waiter.granted.set_result(connection)

    def forget(self, connection: Connection) -> None:
        """Let go of a connection that has closed."""
        if connection in self._open_ones:
            self._open_ones.remove(connection)
            if connection.pooled:
                self._idle.remove(connection)
            self._free_slot()

    def _free_slot(self) -> None:
        """Give a slot up, or to the call that waits longest."""
        waiter = self._next_waiter()
        if waiter is None:
            self._slots_taken -= 1
        else:
            waiter.granted.set_result(_Grant.SLOT)

    def _next_waiter(self) -> _Waiter | None:
        """Take the call that waits longest out of the queue, less those that were cancelled a moment ago."""
        if self._waiters:
            self._look(self._clock.now())  # what it gets it has to use by its deadline, which may have moved
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.granted.done():
                return waiter
        return None

    # --- time --------------------------------------------------------------------------------------------------------

    async def _sweep(self) -> None:
        """Watch all deadlines for as long as there is something to watch."""
        self._looked = self._clock.now()
        self._standstill = standstill = Standstill(self._looked, 2 * _SWEEP_INTERVAL)
        while self._slots_taken:
            await self._clock.sleep_until(self._clock.now() + _SWEEP_INTERVAL)
            now = self._clock.now()
            before = self._late(now)
            self._look(now)
            if not before:
                continue
            await look_at_sockets()
            # However long that took on a busy machine, the process did not stand still.
            self._looked = self._clock.now()
            standstill.look(self._looked)
            for each in before:
                if each.deadline <= now:
                    each.expire()
        self._standstill = None

    def _look(self, now: float) -> None:
        """Move the deadlines of all that began before a standstill, if this look tells of one."""
        if self._standstill is None:
            return
        due, self._looked = self._looked + _SWEEP_INTERVAL, now
        if not (stood_still := self._standstill.look(now)):
            return
        for connection in self._open_ones:
            if not connection.pooled and connection.began <= due:
                connection.deadline += stood_still
        for waiter in self._waiters:
            if waiter.began <= due:
                waiter.deadline += stood_still

    def _late(self, now: float) -> list[Connection | _Waiter]:
        everything: tuple[Connection | _Waiter, ...] = (*self._open_ones, *self._waiters)
        return [each for each in everything if each.deadline <= now]
