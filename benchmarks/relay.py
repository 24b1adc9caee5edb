"""A relay that makes loopback as slow as a network: ``python -m benchmarks.relay PORT TO ROUND_TRIP_MS``.

Each direction is delayed by half of the round trip. A handshake of TCP costs a
round trip before the first byte can leave, which no relay can delay since the kernel
answers it; so what a caller sends first is held for a round trip more, as if it had
left only then. For a caller that speaks first, as in HTTP and TLS, the two cannot
be told apart. For machines without netem, and for all, so that the numbers agree.
"""

from __future__ import annotations

import asyncio
import contextlib
import selectors
import sys
from collections import deque
from typing import Final, cast

#: What one read takes.
_PIECE: Final = 64 * 1024


class Delayed:
    """Writes to a stream what it is given, some time later and in order."""

    def __init__(self, writer: asyncio.StreamWriter, delay: float) -> None:
        self._writer = writer
        self._delay = delay
        self._loop = asyncio.get_running_loop()
        self._pieces: deque[bytes] = deque()

    def put(self, piece: bytes, *, not_before: float = 0.0) -> None:
        """Write ``piece`` when its time has come; an empty one is the end of the stream."""
        self._pieces.append(piece)
        # Due times never decrease, and the loop keeps the order of equal ones.
        self._loop.call_at(max(self._loop.time(), not_before) + self._delay, self._write)

    def _write(self) -> None:
        piece = self._pieces.popleft()
        with contextlib.suppress(OSError, RuntimeError):
            if piece:
                self._writer.write(piece)
            elif self._writer.can_write_eof():
                self._writer.write_eof()


class Relay:
    """Accepts connections, and passes on what comes, late."""

    def __init__(self, to: int, round_trip: float) -> None:
        self._to = to
        self._round_trip = round_trip

    async def serve(self, port: int) -> None:
        """Serve for ever."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", port, backlog=1024)
        print("ready", flush=True)
        async with server:
            await server.serve_forever()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        established = asyncio.get_running_loop().time() + self._round_trip
        upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", self._to)
        try:
            await asyncio.gather(
                _pass_on(reader, Delayed(upstream_writer, self._round_trip / 2), established),
                _pass_on(upstream_reader, Delayed(writer, self._round_trip / 2), 0.0),
            )
            await asyncio.sleep(self._round_trip)
        finally:
            upstream_writer.close()
            writer.close()


async def _pass_on(reader: asyncio.StreamReader, to: Delayed, not_before: float) -> None:
    with contextlib.suppress(ConnectionError):
        while piece := await reader.read(_PIECE):
            to.put(piece, not_before=not_before)
    to.put(b"", not_before=not_before)


def main(port: str, to: str, round_trip_ms: str) -> None:
    """Run the command line."""
    # select() has timeouts of microseconds; epoll() would round each delay up to a millisecond.
    policy = asyncio.SelectorEventLoop(selectors.SelectSelector())
    with asyncio.Runner(loop_factory=lambda: policy) as runner:
        runner.run(Relay(int(to), float(round_trip_ms) / 1000).serve(int(port)))


if __name__ == "__main__":
    main(*cast(tuple[str, str, str], tuple(sys.argv[1:])))
