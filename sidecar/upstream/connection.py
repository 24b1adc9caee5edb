"""One connection to upstream: a request goes out, a response comes in, and it is always known what was sent.

**Phases.** A loss, a timeout or a byte out of place leads to CLOSED from any of them::

    READY ──exchange()──► HEAD ──final head──► BODY ──last byte──► DONE ──release()──► READY
                            └────────── a response without a body ────┘

**What was sent.** Whether a failed call may be sent again depends on it (:mod:`sidecar.core.resend`), so ``sent`` says
how much of the request was *handed to the transport*: NOTHING, PART or ALL. What the system did with those bytes
cannot be known, so ``sent`` may say too much, and never too little. With it every failure carries whether the
connection was ``reused``, and whether a byte of the response had come.

**Whose bytes.** A response belongs to the request before it, and to nothing else. A byte that comes while nothing is
asked, or behind the end of a response, closes the connection: it could be taken for the response to the next call, of
another customer. So :meth:`Connection.is_alive` is false as soon as anything waits to be read.

**Reuse.** A connection goes back to the pool only if the request was sent whole, the response was received whole, and
both sides keep it open. A response that comes before the request is sent ends the sending, and so the connection.

**Deadlines.** ``deadline`` is a moment that the pool's sweeper looks at; no timer is set. It runs while upstream is
waited for (:meth:`Connection.start_timer`), and stands while the caller is: a caller that sends or reads slowly does
not use up upstream's time.

**Cancelling.** A call that is cancelled within an exchange or a read closes its connection: bytes that come later
would belong to no request.
"""

from __future__ import annotations

import math
from enum import Enum
from typing import TYPE_CHECKING, Final, Protocol, cast

from sidecar.core.http.response_head import BadResponseError, HeadReader, check_body_framing
from sidecar.core.resend import AttemptFailure, FailureKind, Sent
from sidecar.patience import next_pass
from sidecar.turns import Backlog
from sidecar.upstream.byte_protocol import ByteProtocol, wake
from sidecar.upstream.errors import UpstreamError, os_detail
from sidecar.upstream.response import Response
from sidecar.upstream.sending import ONE_WRITE_LIMIT, BodySource, send, until_sent

if TYPE_CHECKING:
    import asyncio

    from sidecar.core.clock import Clock
    from sidecar.core.http.messages import ResponseHead
    from sidecar.runtime import Tasks
    from sidecar.turns import Turns

#: Passes of the event loop after which what waited on a socket has been read (asyncio needs two).
_LOOP_PASSES: Final = 4
#: Seconds for which a new connection that was given back unused still counts as new: upstream closes none so early.
_NEW_FOR: Final = 1.0


class ExchangePhase(Enum):
    """Where in its life a connection is."""

    READY = "ready"
    HEAD = "head"
    BODY = "body"
    DONE = "done"
    CLOSED = "closed"


# Read for each call: Python 3.11 finds a global of the module faster than a member of an enum.
_READY: Final = ExchangePhase.READY
_HEAD: Final = ExchangePhase.HEAD
_BODY: Final = ExchangePhase.BODY
_DONE: Final = ExchangePhase.DONE
_CLOSED: Final = ExchangePhase.CLOSED
_NOTHING: Final = Sent.NOTHING
_PART: Final = Sent.PART
_ALL: Final = Sent.ALL


class ConnectionOwner(Protocol):
    """What a connection tells the pool that owns it."""

    #: Turns of all its connections to work through bytes that are many pieces.
    turns: Turns

    def give_back(self, connection: Connection) -> None:
        """Take back a connection that is READY."""

    def forget(self, connection: Connection) -> None:
        """Strike off a connection that has just closed."""


class Connection(ByteProtocol):
    """A connection that carries one exchange after another.

    Whoever acquired it must end with :meth:`Response.release`, :meth:`release`
    (nothing was sent) or :meth:`abort`.
    """

    __slots__ = (
        "_backlog",
        "_clock",
        "_death",
        "_error",
        "_head_arrived",
        "_head_only",
        "_heads",
        "_owner",
        "_persistent",
        "_response",
        "_response_started",
        "_tasks",
        "_timeout",
        "deadline",
        "fresh_until",
        "generation",
        "keep_alive",
        "phase",
        "pooled",
        "reused",
        "sent",
    )

    def __init__(self, owner: ConnectionOwner, clock: Clock, tasks: Tasks, *, generation: int = 0) -> None:
        super().__init__()
        self._owner: Final = owner
        self._clock: Final = clock
        self._tasks: Final = tasks
        self.phase = _READY
        #: How often the pool had been retired when this was opened: older connections are not reused.
        self.generation: Final = generation
        #: It had been in the pool before this call got it, so upstream may be about to close it as idle.
        self.reused = False
        #: It was opened for a call that gave it back unused, as its token was not there: until this moment
        #: (``Clock.now``) it counts as new.
        self.fresh_until = -math.inf
        #: How much of this call's request was handed to the transport.
        self.sent = _NOTHING
        #: When the pool's sweeper calls :meth:`expire` (seconds of the clock).
        self.deadline = math.inf
        #: Idle in the pool.
        self.pooled = False
        #: For how long upstream said that it keeps an idle connection (seconds).
        self.keep_alive: int | None = None
        self._timeout = math.inf
        self._head_only = False
        self._heads: Final = HeadReader()
        self._response: Response | None = None
        self._response_started = False
        self._persistent = False
        self._error: Exception | None = None
        self._death = "something nobody asked for came in"
        self._head_arrived: asyncio.Future[None] | None = None
        # Bytes of a chunked body that wait for their turn.
        self._backlog: Backlog | None = None

    def __repr__(self) -> str:
        """Say in which phase it is, whether it carried a call before, and how much of the present one was sent."""
        return f"<Connection [{self.phase.name}, {'reused' if self.reused else 'new'}, sent {self.sent.name}]>"

    # --- one exchange ------------------------------------------------------------------------------------------------

    async def exchange(
        self,
        head: bytes,
        body: bytes | BodySource | None,
        *,
        head_only: bool,
        timeout: float,
    ) -> Response:
        """Send a request and return its response as soon as the final head is there.

        Whoever has waited since the pool gave the connection out calls :meth:`ensure_alive` first.
        ``head_only`` says that the method is HEAD. ``timeout`` (seconds) is how
        long upstream may take to read what waits for it, to send the head once
        the request is sent, and to send more of the body. When the head comes
        before the request is sent, sending stops and the connection is not reused.

        Raises UpstreamError, and whatever a BodySource raises. After either,
        and when it is cancelled, the connection is closed.
        """
        if self.phase is not _READY:
            await self.ensure_alive()
        self.phase = _HEAD
        self._head_only = head_only
        self._timeout = timeout
        sender = self._start_sending(head, body)
        if sender is None:
            await self._await_head()
        else:
            await until_sent(self, sender, self._await_head())
        response = self._response
        assert response is not None  # noqa: S101 - the head has arrived, and nothing went wrong
        return response

    async def _await_head(self) -> None:
        """Return when the final head is there; else raise, with the connection closed."""
        try:
            if self._response is None and self._error is None:
                self._head_arrived = self.loop.create_future()
                await self._head_arrived
            self._raise_error()
        except BaseException:
            self.abort()
            raise
        finally:
            self._head_arrived = None

    def _raise_error(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error

    def is_alive(self) -> bool:
        """Whether a request can be sent now: open, idle, and nothing waits to be read.

        After a handshake a part of a session ticket may have come; after a response, only what nobody asked for.
        """
        if self.phase is not _READY or not self.is_quiet():
            return False
        return not (self.has_undelivered() and (self.pooled or self.reused))

    async def ensure_alive(self) -> None:
        """Raise UpstreamError, of kind DEAD_BEFORE_WRITE, unless the connection is alive.

        What waits on the socket may be harmless (a TLS 1.3 server sends session tickets right after the handshake), so
        the loop may read it first.
        """
        if self.is_alive():
            return
        if self.phase not in {_READY, _CLOSED}:
            raise RuntimeError("a connection carries one exchange at a time")
        try:
            for _ in range(_LOOP_PASSES):
                await next_pass()
                if self.is_alive():
                    return
        except BaseException:
            self.abort()
            raise
        self.abort()
        failure = AttemptFailure(FailureKind.DEAD_BEFORE_WRITE, _NOTHING, self.reused, response_started=False)
        raise UpstreamError(failure, f"dead before use: {self._death}")

    def _start_sending(self, head: bytes, body: bytes | BodySource | None) -> asyncio.Task[None] | None:
        if body is None or (isinstance(body, bytes) and len(body) <= ONE_WRITE_LIMIT):
            self.write(head + body if body else head)
            self.sent_all()
            return None
        self.sent = _PART
        self.write(head)
        return self._tasks.spawn(send(self, body), name="upstream.send")

    @property
    def awaiting_head(self) -> bool:
        """Whether a request is on its way and no final head has come yet."""
        return self.phase is _HEAD

    def sent_all(self) -> None:
        """Note that the request's last byte was written; from now on upstream is waited for."""
        self.sent = _ALL
        self.start_timer()

    def give_up_sending(self, error: Exception) -> None:
        """Close because the request's body cannot be read to its end; the exchange raises ``error``."""
        self._error = error
        self._close()

    # --- its end -----------------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """Give the connection back after its response, or close it; called once, by :meth:`Response.release`."""
        if self.phase is _DONE and self._persistent and self.sent is _ALL:
            self._response = None
            self._response_started = False
            self.sent = _NOTHING
            self.phase = _READY
            self.fresh_until = -math.inf
            self._owner.give_back(self)
        else:
            self.abort()

    def release(self, *, fresh: bool = False) -> None:
        """Give back a connection on which nothing was sent; ``fresh``: nor before, so it is new for a moment more."""
        if self.phase is _READY:
            self.fresh_until = self._clock.now() + _NEW_FOR if fresh else -math.inf
            self._owner.give_back(self)

    def abort(self) -> None:
        """Close at once, whatever goes on; an exchange or read under way fails. May be called again."""
        self._fail(FailureKind.LOST, "closed by the sidecar")

    def expire(self) -> None:
        """End what has passed its deadline."""
        if self.phase is _READY:
            detail = "it was idle for too long"
        elif self.phase is _BODY:
            detail = f"no more of the body within {self._timeout:g} s"
        elif self.sent is _ALL:
            detail = f"no response within {self._timeout:g} s"
        else:
            detail = f"upstream took nothing of the request for {self._timeout:g} s"
        self._fail(FailureKind.TIMEOUT, detail)

    def start_timer(self) -> None:
        """Let the exchange expire once its timeout has passed from now on."""
        self.deadline = self._clock.now() + self._timeout

    @property
    def began(self) -> float:
        """When the time that ends at :attr:`deadline` began to run."""
        return self.deadline - self._timeout

    def stop_timer(self) -> None:
        """Let the exchange take as long as it likes: it is not upstream that is waited for."""
        self.deadline = math.inf

    def _fail(self, kind: FailureKind, detail: str) -> None:
        if self.phase in {_HEAD, _BODY}:
            failure = UpstreamError(AttemptFailure(kind, self.sent, self.reused, self._response_started), detail)
            if self._response is not None:
                self._response.fail(failure)
            else:
                self._error = failure
        elif self.phase is _READY:
            self._death = detail
        self._close()

    def _close(self) -> None:
        if self.phase is _CLOSED:
            return
        self.phase = _CLOSED
        self.deadline = math.inf
        if self._backlog is not None:
            self._backlog.clear()
        self.abort_transport()
        wake(self._head_arrived)
        self._owner.forget(self)

    # --- what comes in -----------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Take bytes from upstream."""
        try:
            if self.phase is _HEAD:
                self._response_started = True
                found = self._heads.feed(data)
                if found is None:
                    return
                self._begin_response(*found)
            elif self.phase is _BODY:
                self._feed_in_turn(data)
            elif data:
                # Nothing was asked, or all of it was answered: whatever this is, it must not be taken for the
                # response to the next request.
                self._close()
        except BadResponseError as error:
            self._fail(FailureKind.BROKEN, str(error))

    def _begin_response(self, head: ResponseHead, data: bytes) -> None:
        """Take the final head, and what has come of the body with it."""
        framing = check_body_framing(head, head_only=self._head_only)
        self._persistent = framing.persistent
        self.keep_alive = framing.keep_alive
        self.deadline = math.inf
        if len(data) == framing.length:  # nearly every response comes in one piece
            self._response = Response(self, head, framing, data)
            self.phase = _DONE
        else:
            self._response = response = Response(self, head, framing)
            self.phase = _DONE if response.complete else _BODY
            if data:
                self._feed_in_turn(data)
        wake(self._head_arrived)

    def _feed_in_turn(self, data: bytes) -> None:
        """Feed the response now, or, if ``data`` may be very many chunks, in turns with others'."""
        if cast("Response", self._response).framing.length is not None:
            self._feed(data)
            return
        if self._backlog is None:
            self._backlog = Backlog(self._owner.turns, self._take_turn)
        if data := self._backlog.first_turn(data):
            self._feed(data)
        elif self._backlog.go_on():
            self.pause_reading()

    def _take_turn(self, data: bytes) -> None:
        try:
            self._feed(data)
        except BadResponseError as error:
            self._fail(FailureKind.BROKEN, str(error))
        if self.phase is _DONE and self._backlog:
            self._close()  # more has come than the response has
        elif self.phase is _BODY and not cast("Response", self._response).full:
            self.resume_reading()

    def resume_reading(self) -> None:
        """Read on, from what waits for its turn first."""
        if not self._backlog or not self._backlog.go_on():
            super().resume_reading()

    def _feed(self, data: bytes) -> None:
        response = cast("Response", self._response)
        surplus = response.feed(data)
        if response.complete:
            self.phase = _DONE
            self.resume_reading()
            if surplus:
                self._close()
        elif response.full:
            self.pause_reading()

    def eof_received(self) -> None:
        """Take the end of what upstream sends; a connection that is closed on one side is of no use."""
        self._fail(FailureKind.LOST, "upstream closed the connection")

    def connection_lost(self, exc: Exception | None) -> None:
        """Learn that the connection is gone."""
        super().connection_lost(exc)
        self._fail(FailureKind.LOST, os_detail(exc) if exc else "upstream closed the connection")
