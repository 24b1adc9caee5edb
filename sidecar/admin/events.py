"""Server-sent events for the status page: the same document, live (HTML Living Standard, section 9.2).

One ticker runs while somebody listens. About once a second it writes what is new,
encoded once, to every listener, and never waits for one: whoever has not taken what
was written before is dropped, and the browser connects again by itself::

    event: status    the snapshot: /status without recent_calls and history
    event: calls     {"reset", "skipped", "calls"}: those that ended since, newest last
    event: history   the samples, whenever there is a new one

A new listener first gets everything: ``status``, ``calls`` with ``reset``, ``history``.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import msgspec

from sidecar.admin.status import CallsEvent
from sidecar.telemetry.recent import CALLS

if TYPE_CHECKING:
    from sidecar.admin.state import AdminState
    from sidecar.core.clock import Clock
    from sidecar.runtime import Tasks

#: Seconds between two ticks.
TICK: Final = 1.0
#: Listeners at most.
MOST_STREAMS: Final = 8
#: Bytes that a listener may leave unread; a tick adds some 5 KB, and 100 KB with 200 calls.
MOST_UNREAD: Final = 256 * 1024

#: Milliseconds until a browser connects again by itself.
_RETRY: Final = b"retry: 2000\n\n"

_json: Final = msgspec.json.encode


class Feed:
    """What listeners have been told already, and so what is news to them."""

    def __init__(self, state: AdminState) -> None:
        self._state: Final = state
        self._calls = self._samples = 0

    def all(self) -> bytes:
        """Return everything, for somebody who has been told nothing."""
        state = self._state
        calls = CallsEvent(reset=True, skipped=0, calls=state.recent_calls()[::-1])
        history = _event(b"history", state.history())
        return b"".join((_RETRY, _event(b"status", state.snapshot()), _event(b"calls", calls), history))

    def news(self) -> bytes:
        """Return what happened since the last time this was called."""
        state = self._state
        events = [_event(b"status", state.snapshot())]
        new, self._calls = state.calls_ended - self._calls, state.calls_ended
        if new:
            shown = min(new, CALLS)
            calls = CallsEvent(reset=False, skipped=new - shown, calls=state.recent_calls(shown)[::-1])
            events.append(_event(b"calls", calls))
        if state.samples_taken != self._samples:
            self._samples = state.samples_taken
            events.append(_event(b"history", state.history()))
        return b"".join(events)

    def skip(self) -> None:
        """Count all that there is now as told."""
        self._calls, self._samples = self._state.calls_ended, self._state.samples_taken


def _event(name: bytes, data: object) -> bytes:
    # JSON has no line end of its own, so one "data" line carries all of it.
    return b"event: %b\ndata: %b\n\n" % (name, _json(data))


class EventStream:
    """One listener's connection."""

    __slots__ = ("_ended", "_transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport: Final = transport
        self._ended: Final[asyncio.Future[None]] = asyncio.get_running_loop().create_future()

    def write(self, data: bytes) -> bool:
        """Send ``data``; return False if the listener is gone, or so slow that it is dropped."""
        transport = self._transport
        if self._ended.done() or transport.is_closing():
            return False
        if transport.get_write_buffer_size() > MOST_UNREAD:
            self.end()
            return False
        transport.write(data)
        return True

    def end(self) -> None:
        """Close the connection; one that leaves bytes unread is cut. May be repeated."""
        if self._transport.get_write_buffer_size():
            self._transport.abort()
        else:
            self._transport.close()
        if not self._ended.done():
            self._ended.set_result(None)

    async def ended(self) -> None:
        """Return once the stream is over, for whatever reason."""
        await self._ended


class EventStreams:
    """All listeners, and the ticker that serves them."""

    def __init__(self, state: AdminState, *, clock: Clock, tasks: Tasks) -> None:
        self._feed: Final = Feed(state)
        self._clock: Final = clock
        self._tasks: Final = tasks
        self._streams: Final[dict[EventStream, None]] = {}
        self._ticker: asyncio.Task[None] | None = None
        self._closed = False

    def __len__(self) -> int:
        return len(self._streams)

    @property
    def full(self) -> bool:
        """Whether no further listener is served."""
        return self._closed or len(self._streams) >= MOST_STREAMS

    def everything(self) -> bytes:
        """Return the first events of a new listener; call :meth:`join` with them before anything is awaited."""
        return self._feed.all()

    def join(self, stream: EventStream, everything: bytes) -> None:
        """Serve one listener more, beginning with ``everything``."""
        if self._streams:
            self._tell_news()  # so that what follows is news to the new one as well
        else:
            self._feed.skip()
        if not stream.write(everything):
            return
        self._streams[stream] = None
        if self._ticker is None or self._ticker.done():
            self._ticker = self._tasks.spawn(self._tick(), name="admin.events")

    def leave(self, stream: EventStream) -> None:
        """Serve a listener no more. May be repeated."""
        self._streams.pop(stream, None)
        stream.end()

    def close(self) -> None:
        """End every stream at once, and take no new one."""
        self._closed = True
        for stream in tuple(self._streams):
            self.leave(stream)
        if self._ticker is not None:
            self._ticker.cancel()

    async def _tick(self) -> None:
        try:
            while self._streams:
                await self._clock.sleep_until(self._clock.now() + TICK)
                self._tell_news()
        finally:
            # If the document cannot be made, no page must take silence for calm.
            for stream in tuple(self._streams):
                self.leave(stream)

    def _tell_news(self) -> None:
        news = self._feed.news()
        for stream in tuple(self._streams):
            if not stream.write(news):
                self.leave(stream)
