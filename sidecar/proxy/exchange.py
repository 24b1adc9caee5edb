"""One authenticated exchange with upstream: a connection, a token, the request, the response.

The token is taken last, just before writing, so that none grows old while a
call waits for a connection. A call that has to wait for its token gives the
connection back first: others may have theirs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.proxy.upstream_response import UpstreamResponse
from sidecar.telemetry.attempt import Attempt
from sidecar.upstream.connection import ExchangePhase

if TYPE_CHECKING:
    from sidecar.core.clock import Clock
    from sidecar.core.tokens.state import Token
    from sidecar.proxy.call import Call
    from sidecar.proxy.outgoing import Request
    from sidecar.telemetry.attempt import Purpose
    from sidecar.telemetry.record import CallRecord
    from sidecar.tokens.manager import TokenManager
    from sidecar.upstream.connection import Connection
    from sidecar.upstream.pool import Pool


class WaitBudget:
    """How long token waits and connects may still take, in all attempts of one call together.

    Time in which the process stood still does not count.
    """

    __slots__ = (
        "_attended",
        "_attended_since",
        "_began",
        "_clock",
        "_connection_seconds",
        "_left",
        "_since",
        "generation",
        "token_seconds",
    )

    def __init__(self, clock: Clock, seconds: float, attended: Clock) -> None:
        self._clock: Final = clock
        self._attended: Final = attended
        self._left = seconds
        # When the wait under way began, by either clock.
        self._since = self._attended_since = 0.0
        # The attempt under way: when it began (``Clock.now``), and how long it waited for its connection.
        self._began = self._connection_seconds = 0.0
        #: The generation of the token that the attempt under way carries; 0 until its request is about to be written.
        self.generation = 0
        #: Seconds spent waiting for tokens.
        self.token_seconds = 0.0

    def start(self) -> float:
        """Begin to wait; return the moment (``Clock.now``) at which to stop waiting."""
        self._since = self._clock.now()
        self._attended_since = self._attended.now()
        return self._since + self._left

    def stop(self) -> float:
        """Stop waiting; return how long it was (seconds)."""
        self._left -= self._attended.now() - self._attended_since
        return self._clock.now() - self._since

    @property
    def is_over(self) -> bool:
        """Whether nothing is left."""
        return self._left <= 0.0

    def connected(self) -> None:
        """Stop the wait for a connection, with which an attempt begins."""
        self._began = self._since
        self._connection_seconds = self.stop()

    def reconnected(self) -> None:
        """Stop the wait for another connection within an attempt, after a wait for its token."""
        self._connection_seconds += self.stop()

    def no_wait(self, now: float) -> None:
        """Begin an attempt that needs no wait for a connection, ``now`` (``Clock.now``)."""
        self._began = now
        self._connection_seconds = 0.0

    def record_attempt(
        self, record: CallRecord, result: int | str, *, upstream: float | None = None, purpose: Purpose = "call"
    ) -> None:
        """Add the attempt that is over now to the call's timeline; see :class:`Attempt`.

        ``upstream`` (seconds) may be left out if the attempt ends now.
        """
        token = self.token_seconds - record.token_wait_seconds
        if upstream is None:
            upstream = self._clock.now() - self._began - self._connection_seconds - token
        record.timeline += (
            Attempt(
                self._began - record.started,
                self._connection_seconds,
                token,
                upstream,
                result,
                purpose,
                self.generation,
            ),
        )
        record.token_wait_seconds = self.token_seconds
        self.generation = 0


class Exchanger:
    """Makes exchanges on a pool's connections."""

    def __init__(self, pool: Pool, clock: Clock, attended: Clock | None = None) -> None:
        """``attended`` counts what calls wait (without it ``clock``): see :class:`sidecar.patience.AttendedClock`."""
        self._pool: Final = pool
        self._clock: Final = clock
        self._attended: Final = clock if attended is None else attended

    def wait_budget(self, seconds: float) -> WaitBudget:
        """Return the budget of one call."""
        return WaitBudget(self._clock, seconds, self._attended)

    async def exchange(
        self,
        request: Request,
        tokens: TokenManager,
        waiting: WaitBudget,
        *,
        timeout: float,
        newer_than: int = 0,
        fresh: bool = False,
        sending: Call | None = None,
    ) -> tuple[UpstreamResponse, int]:
        """Send ``request`` once; return the response and the generation of the token that it carried.

        ``timeout`` is seconds, see :meth:`Connection.exchange`; the waits for a connection and a
        token come out of ``waiting``. ``newer_than`` is the generation that a 401 burnt; ``fresh``
        asks for a new connection; ``sending`` is told when the request is about to be written, and
        on which connection. Cancelling this closes the connection. Raises UpstreamError, and
        SidecarError if there is no token.
        """
        now = self._clock.now()
        connection = None if fresh else self._pool.take_idle(now)
        if connection is None:
            try:
                connection = await self._pool.acquire(waiting.start(), fresh=fresh)
            finally:
                waiting.connected()
            now = self._clock.now()
        else:
            waiting.no_wait(now)
        try:
            token = tokens.take_nowait(now, newer_than=newer_than)
        except BaseException:
            connection.release(fresh=not connection.reused)
            raise
        if token is None:
            connection.release(fresh=not connection.reused)
            connection, token = await self._wait_for_token(tokens, waiting, newer_than, fresh)
            now = self._clock.now()
        try:
            head = request.template.render(token.value.reveal())
        except BaseException:
            connection.release()
            raise
        waiting.generation = token.generation
        if sending is not None:
            sending.begins(connection, now)
        try:
            response = await connection.exchange(head, request.body, head_only=request.head_only, timeout=timeout)
        except BaseException:
            connection.abort()
            raise
        if sending is not None:
            sending.head_arrived()
        try:
            received = UpstreamResponse.of(response)
            if received.rest is not None and connection.phase is ExchangePhase.CLOSED:
                await received.look_ahead()
        except BaseException:
            response.release()
            raise
        return received, token.generation

    async def _wait_for_token(
        self, tokens: TokenManager, waiting: WaitBudget, newer_than: int, fresh: bool
    ) -> tuple[Connection, Token]:
        """Wait for a token without a connection, then get one; return both.

        If the token was burnt or expired while the call waited for its connection, it begins anew for as long as there
        is time.
        Raises SidecarError if there is no token, and UpstreamError.
        """
        while True:
            try:
                taken = await tokens.take(waiting.start(), newer_than=newer_than)
            finally:
                waiting.token_seconds += waiting.stop()
            try:
                connection = await self._pool.acquire(waiting.start(), fresh=fresh)
            finally:
                waiting.reconnected()
            try:
                token = tokens.take_again(taken, self._clock.now(), newer_than=newer_than)
                if token is None and waiting.is_over:
                    # Without waiting: a token that is about to expire, or the error that says why there is none.
                    token = await tokens.take(waiting.start(), newer_than=newer_than)
            except BaseException:
                connection.release()
                raise
            if token is not None:
                return connection, token
            connection.release(fresh=not connection.reused)
