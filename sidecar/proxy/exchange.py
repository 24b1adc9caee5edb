"""One authenticated exchange with upstream: a connection, a token, the request, the response.

The token is taken last, just before writing, so that none grows old while a
call waits for a connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from sidecar.proxy.upstream_response import UpstreamResponse
from sidecar.telemetry.record import Attempt
from sidecar.upstream.connection import ExchangePhase

if TYPE_CHECKING:
    from sidecar.core.clock import Clock
    from sidecar.core.http.headers import RequestTemplate
    from sidecar.core.tokens.state import Token
    from sidecar.proxy.call import Call
    from sidecar.telemetry.record import CallRecord, Purpose
    from sidecar.tokens.manager import TokenManager
    from sidecar.upstream.pool import Pool
    from sidecar.upstream.sending import BodySource


class WaitBudget:
    """How long token waits and connects may still take, in all attempts of one call together."""

    __slots__ = ("_began", "_clock", "_connection_seconds", "_left", "_since", "token_seconds")

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock: Final = clock
        self._left = seconds
        self._since = 0.0
        # The attempt under way: when it began (``Clock.now``), and how long it waited for its connection.
        self._began = self._connection_seconds = 0.0
        #: Seconds spent waiting for tokens.
        self.token_seconds = 0.0

    def start(self) -> float:
        """Begin to wait; return the moment (``Clock.now``) at which to stop waiting."""
        self._since = self._clock.now()
        return self._since + self._left

    def stop(self) -> float:
        """Stop waiting; return how long it was (seconds)."""
        waited = self._clock.now() - self._since
        self._left -= waited
        return waited

    def connected(self) -> None:
        """Stop the wait for a connection, with which an attempt begins."""
        self._began = self._since
        self._connection_seconds = self.stop()

    def no_wait(self) -> None:
        """Begin an attempt that needs no wait for a connection."""
        self._began = self._clock.now()
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
            Attempt(self._began - record.started, self._connection_seconds, token, upstream, result, purpose),
        )
        record.token_wait_seconds = self.token_seconds


class Request(msgspec.Struct, frozen=True):
    """What goes out: prepared once, rendered for each delivery."""

    template: RequestTemplate
    body: bytes | BodySource | None = None
    #: The method is HEAD: the response has no body.
    head_only: bool = False


class Exchanger:
    """Makes exchanges on a pool's connections."""

    def __init__(self, pool: Pool, clock: Clock) -> None:
        self._pool: Final = pool
        self._clock: Final = clock

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
        """Send ``request`` once; return the received and the generation of the token that it carried.

        ``newer_than`` is the generation that a 401 burnt; ``fresh`` asks for a
        new connection; ``sending`` is told when the request is about to be written, and on which one.
        Raises UpstreamFailure, and SidecarError if there is no token.
        """
        connection = None if fresh else self._pool.take_idle()
        if connection is None:
            try:
                connection = await self._pool.acquire(waiting.start(), fresh=fresh)
            finally:
                waiting.connected()
        else:
            waiting.no_wait()
        try:
            token = tokens.take_nowait(newer_than=newer_than)
            if token is None:
                token = await _wait_for_token(tokens, waiting, newer_than)
                await connection.ensure_alive()
            head = request.template.render(token.value.reveal())
        except BaseException:
            connection.release()
            raise
        if sending is not None:
            sending.begins(connection)
        try:
            response = await connection.exchange(head, request.body, head_only=request.head_only, timeout=timeout)
        except BaseException:
            connection.abort()
            raise
        if sending is not None:
            sending.answered()
        try:
            received = UpstreamResponse.of(response)
            if received.rest is not None and connection.phase is ExchangePhase.CLOSED:
                await received.look_ahead()
        except BaseException:
            response.release()
            raise
        return received, token.generation


async def _wait_for_token(tokens: TokenManager, waiting: WaitBudget, newer_than: int) -> Token:
    try:
        return await tokens.take(waiting.start(), newer_than=newer_than)
    finally:
        waiting.token_seconds += waiting.stop()
